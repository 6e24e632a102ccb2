"""The dispatcher: what a gateway holds of an application. It routes a request to its plan and runs the plan.

Made once, when the application freezes: every route is compiled then. Safe to use from any number of threads and loops.
"""

import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextvars import copy_context
from typing import Any, Protocol

from cello.config import LimitsConfig, ThreadPoolConfig, TimeoutConfig
from cello.errors import BadRequest, ConfigError, HTTPError, ProtocolError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.afterwork import finishing
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.course import (
    PortalLike,
    Unfinished,
    adopting,
    drive_async,
    drive_portal,
    drive_sync,
)
from cello.pipeline.deadlines import Deadlines
from cello.pipeline.faults import ExceptionHandler, Faults
from cello.pipeline.guarding import Guard, GuardLayer
from cello.pipeline.inject import Binding, compile_handler, with_checked_body
from cello.pipeline.long_threads import LongThreads
from cello.pipeline.middleware import GUARDS, Handler, MiddlewareStack
from cello.pipeline.plan import Layer, Plan, wrapped
from cello.pipeline.routeless import Routeless, not_found, refusing, upgrade
from cello.pipeline.run import run_async, run_portal, run_sync
from cello.pipeline.threads import Offload, WorkerThreads, offload_mode
from cello.routing.route import Route
from cello.routing.router import Router


class MountLike(Protocol):
    """A foreign application below a prefix."""

    @property
    def prefix(self) -> str:
        """The path it stands at."""

    @property
    def handler(self) -> Handler:
        """Takes the request with its body unread."""

    def matches(self, raw_path: str) -> bool:
        """Return whether a percent-encoded path is the prefix or below it."""


class Dispatcher:
    """Answers requests for one application.

    Args:
        app: What `request.app` is.
        router: Its routes; bound to their plans and frozen here.
        middleware: Its middleware, features' included.
        guards: The guards of all its routes.
        exception_handlers: By exception class or HTTP status.
        singletons: The registered values, by name. Read when a request comes.
        overrides: `dependency_overrides`. Read when a request comes.
        limits: What a request may use.
        timeouts: How long a handler may take, among others.
        threadpool: How `def` handlers move to threads.
        threads: Those threads.
        mounts: Foreign applications, looked up before routes, the longest prefix first.
        debug: Whether errors are shown.
        request_class: What gateways make of incoming requests.

    Attributes:
        fault_listeners: Called with the request and each exception that becomes a 500.
        bindings: Where the arguments of each route's handler come from, for schemas.
        tree: The routes' plans, for a gateway that looks them up itself; see `has_mounts`.

    Raises:
        ConfigError: A handler cannot be bound, or a middleware or guard cannot work.
    """

    def __init__(
        self,
        *,
        app: Any,
        router: Router,
        middleware: MiddlewareStack | None = None,
        guards: Sequence[Guard] = (),
        exception_handlers: Mapping[type[BaseException] | int, ExceptionHandler] | None = None,
        singletons: Mapping[str, Any] | None = None,
        overrides: Mapping[Any, Any] | None = None,
        limits: LimitsConfig | None = None,
        timeouts: TimeoutConfig | None = None,
        threadpool: ThreadPoolConfig | None = None,
        threads: WorkerThreads | None = None,
        mounts: Iterable[MountLike] = (),
        debug: bool = False,
        request_class: type[Request] = Request,
        keeps_loop_free: bool = False,
    ) -> None:
        self.app = app
        self.limits = limits or LimitsConfig()
        self.timeouts = timeouts or TimeoutConfig()
        self.threadpool = threadpool or ThreadPoolConfig()
        self.threads = threads or WorkerThreads(self.threadpool.size)
        self.long_threads = LongThreads(self.threadpool.max_long)
        self.debug = debug
        self.request_class = request_class
        self.tree = router.tree
        self._router = router
        self._find = router.find
        self._middleware = middleware or MiddlewareStack()
        self._guards = tuple(guards)
        self._singletons = {} if singletons is None else singletons
        self._overrides = {} if overrides is None else overrides
        self._faults = Faults(exception_handlers or {}, debug=debug)
        self.fault_listeners = self._faults.listeners
        self._deadlines = Deadlines()
        self.stalls = Deadlines()  # of gateways: what a client is waited for; a task may be in both
        self._offload_mode = offload_mode(os.environ)
        self._keeps_loop_free = keeps_loop_free
        self.bindings: dict[Route, Binding] = {}
        self._plans: dict[Route, Plan] = {}
        for route in router.routes:
            self._plans[route] = self._plan_of(route)
        for route in router.sockets:
            self._plans[route] = self._plan_of_socket(route)
        for route, plan in self._plans.items():
            router.bind(route, plan)
        router.freeze()
        routeless = Routeless(router)
        self._allowed = routeless.allowed
        surroundings = [Layer(band, layer) for band, layer in self._middleware.for_no_route()]
        self._not_found = self._routeless(surroundings, not_found, "404")
        self._not_allowed = self._routeless(surroundings, routeless.not_allowed, "405")
        self._options = self._routeless(surroundings, routeless.options, "automatic OPTIONS")
        self._upgrade = self._routeless(surroundings, upgrade, "426")
        self._undecodable = self._routeless(surroundings, routeless.undecodable, "400")
        around_mounts = [Layer(band, layer) for band, layer in self._middleware.for_mounts()]
        plain = [Layer(band, layer, plain_only=True) for band, layer in self._middleware.for_refusals()]
        self._mounts = tuple((mount.matches, self._plan_of_mount(mount, around_mounts)) for mount in mounts)
        self._refusal = self._routeless(plain, not_found, "refusal")

    @property
    def has_mounts(self) -> bool:
        """Whether there are mounts, which go before whatever is in the tree."""
        return bool(self._mounts)

    def moves(self) -> dict[Route, int]:
        """Return how often the handler of each route was moved to the threads; of those where it was at all."""
        return {route: plan.offload.moves for route, plan in self._plans.items() if plan.offload.moves}

    def plan_of(self, route: Route) -> Plan:
        """Return how requests of a route are answered."""
        return self._plans[route]

    def plan_for(self, request: Request) -> Plan:
        """Return how `request` is to be answered, and tell it its route and path parameters; never raises."""
        request.app = self.app
        for matches, mounted in self._mounts:
            if matches(request.raw_path):
                return mounted
        try:
            found = self._find(request.method, request.raw_path)
            if found is None:
                return self._plan_without_route(request)
        except BadRequest:
            return self._undecodable
        plan: Plan
        plan, request.params = found  # type: ignore[assignment]  # the value bound to every route is its plan
        request.route = plan.route
        return plan

    def plan_for_socket(self, request: Request) -> Plan | None:
        """Return how the WebSocket handshake `request` is to be answered; None when its path has none: see `plan_for`.

        The answer of the plan is an `Accepted` (sockets.py), or what is to be sent in place of accepting.
        """
        if not self._router.sockets or any(matches(request.raw_path) for matches, _ in self._mounts):
            return None
        try:
            found = self._router.find_socket("GET", request.raw_path)
        except BadRequest:
            return None
        if found is None:
            return None
        plan: Plan
        plan, request.params = found  # type: ignore[assignment]  # the value bound to every route is its plan
        request.app = self.app
        request.route = plan.route
        return plan

    def answer(self, plan: Plan, request: Request) -> Response:
        """Answer on the calling thread; for plans that are not async. The response is settled.

        Raises:
            Unfinished: A plain function handed out an awaitable; await its `rest` on a loop for the response.
        """
        context = copy_context()
        try:
            return context.run(run_sync, plan, request)
        except Unfinished as unfinished:
            unfinished.rest = adopting(context, unfinished.rest)
            raise
        finally:
            work = request._afterwork
            if work is not None:
                work.context, work.offload = context, plan.offload

    def answer_async(self, plan: Plan, request: Request) -> Coroutine[Any, Any, Response]:
        """Return the coroutine that answers, in a task of its own and within the plan's time. Any plan will do."""
        return run_async(plan, request)

    def answer_portal(self, plan: Plan, request: Request, portal: PortalLike) -> Response:
        """Answer on the calling thread, with async steps on the portal's loop. Any plan will do."""
        context = copy_context()
        try:
            return context.run(run_portal, plan, request, portal)
        finally:
            work = request._afterwork
            if work is not None:
                work.context, work.offload = context, plan.offload

    def refuse(self, error: ProtocolError | HTTPError, request: Request | None = None) -> Response:
        """Return the settled answer to what a gateway will not take, seen by observers and CORS; never raises.

        There may be no loop to answer on: `async def` hooks and exception handlers do not see refusals.

        Args:
            error: What is wrong, with the status to say so.
            request: As much of it as is known, or None.
        """
        if request is None:
            request = self.request_class("GET", "/")
        if request.app is None:
            request.app = self.app
        return copy_context().run(refusing, self._refusal, request, error)

    def needs_finish(self, request: Request, response: Response | None) -> bool:
        """Return whether there is anything left to do after the answer was sent."""
        return request._afterwork is not None or (response is not None and response.background is not None)

    def finish(self, request: Request, response: Response | None) -> None:
        """Run clean-ups and background tasks on the calling thread.

        Raises:
            Unfinished: One of them must be awaited; await its `rest` on a loop.
        """
        drive_sync(finishing(request, response, None))

    async def finish_async(self, request: Request, response: Response | None) -> None:
        """Run clean-ups and background tasks on the running loop, plain tasks on worker threads."""
        await drive_async(finishing(request, response, self.threads))

    def finish_portal(self, request: Request, response: Response | None, portal: PortalLike) -> None:
        """Run clean-ups and background tasks on the calling thread, what is async on the portal's loop."""
        drive_portal(finishing(request, response, None), portal)

    def end_threads(self) -> None:
        """Let the threads finish what they were handed, within bounds, and end them; they start again when needed."""
        self.threads.shutdown()
        self.long_threads.shutdown()

    def explain(self, method: str, path: str) -> str:
        """Return in words what happens to `method path`: the route, every step in order, and its limits."""
        request = self.request_class(method, path)
        plan = self.plan_for(request)
        where = "no route" if plan.route is None else f"{plan.route}"
        kind = "async" if plan.is_async else "def, on a thread" if plan.offload.on_thread else "def"
        limits = f"body ≤ {plan.body_limit_bytes} bytes, time ≤ {plan.timeout_s or '∞'} s"
        return "\n".join([f"{method} {path} → {where}", f"{kind}; {limits}", *plan.outline])

    def _plan_of(self, route: Route) -> Plan:
        handler = route.handler
        binding = compile_handler(
            handler, route.pattern.param_names, self._singletons, self._overrides, f"route {route}"
        )
        self.bindings[route] = binding
        for argument in binding.arguments:
            if route.options.stream and argument.source in ("body", "form", "file"):
                raise ConfigError(f"{argument.owner}: a route with stream=True takes its body with request.stream()")
        surrounding = list(self._middleware.for_route(route))
        layers = self._layers(route, surrounding)
        options = route.options
        bound = binding.call
        if options.body is not None and all(argument.source != "body" for argument in binding.arguments):
            bound = with_checked_body(bound, options.body, f"route {route}", awaits=binding.awaits)
        call, awaits = wrapped(bound, layers, awaits=binding.awaits)
        timeout_s = options.timeout
        if timeout_s is None and not options.stream:  # an upload takes as long as its client needs
            timeout_s = self.timeouts.handler
        if options.blocking is not None and awaits:
            raise ConfigError(f"route {route}: blocking= is for def handlers; {describe(handler)} is async")
        mode = "always" if self._keeps_loop_free and not route.is_builtin else None
        offload = Offload.decide(options.blocking, self.threadpool, self._offload_mode or mode)
        offload.name = describe(handler)
        hooks = (getattr(middleware, "on_abandoned", None) for _, middleware in surrounding)
        offload.on_abandoned = tuple(hook for hook in hooks if callable(hook))
        if timeout_s is not None:
            offload.timeout_s = timeout_s
        return Plan(
            route,
            call,
            layers,
            awaits=awaits,
            faults=self._faults,
            deadlines=self._deadlines,
            offload=offload,
            body_limit_bytes=self.limits.max_body_size if options.max_body_size is None else options.max_body_size,
            threads=self.threads,
            timeout_s=timeout_s,
            streams=options.stream,
            cancel_on_disconnect=options.cancel_on_disconnect,
            name=describe(handler),
        )

    def _plan_of_socket(self, route: Route) -> Plan:
        """Return the plan of a WebSocket route's handshake."""
        from cello.pipeline.sockets import compile_opening  # few applications have a WebSocket

        opening, binding = compile_opening(route, self._singletons, self._overrides)
        self.bindings[route] = binding
        layers = self._layers(route, self._middleware.for_socket(route))
        call, awaits = wrapped(opening, layers, awaits=binding.awaits)
        return Plan(
            route,
            call,
            layers,
            awaits=awaits,
            faults=self._faults,
            deadlines=self._deadlines,
            offload=Offload.decide(None, self.threadpool, self._offload_mode),
            body_limit_bytes=0,
            threads=self.threads,
            timeout_s=self.timeouts.handler,
            cancel_on_disconnect=route.options.cancel_on_disconnect,
            name=describe(route.handler),
        )

    def _layers(self, route: Route, middleware: Iterable[tuple[int, Any]]) -> list[Layer]:
        """Return what surrounds a route, its guards among them."""
        layers = [Layer(band, layer) for band, layer in middleware]
        guards = route.options.guards if route.is_builtin else (*self._guards, *route.options.guards)
        if guards:
            outside = sum(layer.band <= GUARDS for layer in layers)
            layers.insert(outside, Layer(GUARDS, GuardLayer(guards)))
        return layers

    def _plan_of_mount(self, mount: MountLike, layers: Sequence[Layer]) -> Plan:
        """Return the plan of a foreign application: it does its own routing, guarding and timing."""
        awaits = must_be_awaited(mount.handler)
        call, awaits = wrapped(mount.handler, layers, awaits=awaits)
        return Plan(
            None,
            call,
            layers,
            awaits=awaits,
            faults=self._faults,
            deadlines=self._deadlines,
            offload=Offload.decide(None if awaits else True, self.threadpool, self._offload_mode),
            body_limit_bytes=self.limits.max_body_size,
            threads=self.threads,
            streams=True,
            name=f"mount {mount.prefix}",
        )

    def _routeless(self, layers: Sequence[Layer], handler: Handler, name: str) -> Plan:
        call, awaits = wrapped(handler, layers, awaits=False)
        return Plan(
            None,
            call,
            layers,
            awaits=awaits,
            faults=self._faults,
            deadlines=self._deadlines,
            offload=Offload.decide(None, self.threadpool, self._offload_mode),
            body_limit_bytes=self.limits.max_body_size,
            timeout_s=self.timeouts.handler,
            name=name,
        )

    def _plan_without_route(self, request: Request) -> Plan:
        path = request.raw_path
        if request.method in ("GET", "HEAD") and self._router.find_socket("GET", path) is not None:
            return self._upgrade
        if request.method == "OPTIONS" and (path == "*" or self._allowed(path)):
            return self._options
        return self._not_allowed if self._allowed(path) else self._not_found
