"""The application as its features see it: the `Host` of extension.py, over an `App`."""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from cello.config import LimitsConfig, TimeoutConfig
from cello.errors import ConfigError, too_late
from cello.pipeline.guarding import Guard
from cello.pipeline.inject import check_signature
from cello.pipeline.lifecycle import Lifecycle, State
from cello.pipeline.middleware import MiddlewareStack
from cello.routing.marks import cache_mark_of
from cello.routing.pattern import parse
from cello.routing.place import caller
from cello.routing.route import Route, SocketOptions, check_methods, check_options, handler_name
from cello.routing.router import Router
from cello.spans import Spans

if TYPE_CHECKING:
    from cello.extension import Check, Feature, HealthCheck
    from cello.features.channels import Channels
    from cello.features.inspector.switch import Inspector
    from cello.pipeline.dispatch import Dispatcher, MountLike
    from cello.review import Deployment, Finding
    from cello.shared.meter import Meter, Metric
    from cello.shared.regions import Shared

logger = logging.getLogger("cello")


class SwitchedSettings(Protocol):
    """What `App.set_…` decided."""

    limits: LimitsConfig
    timeouts: TimeoutConfig


class Switched(Protocol):
    """What a host needs of the application behind it."""

    name: str
    router: Router
    lifecycle: Lifecycle
    middleware: MiddlewareStack
    singletons: dict[str, object]
    guards: list[Guard]

    @property
    def mounts(self) -> "Iterable[MountLike]":
        """Other applications."""

    @property
    def settings(self) -> SwitchedSettings:
        """What `App.set_…` decided."""

    @property
    def dispatcher(self) -> "Dispatcher":
        """What answers requests."""


_OBEYED_BY = {"rate_limit": "rate_limit"}
"""Options of routes that a feature obeys, and its name."""


class FeatureHost:
    """The `Host` of extension.py, over an application.

    Attributes:
        app: The application.
        spans: Where spans go.
        keeps_loop_free: Whether `def` handlers run on worker threads from their first call.
        declared_checks: The health checks that the application's author declared.
    """

    def __init__(self, app: Switched) -> None:
        self.app = app
        self.spans = Spans()
        self._installed: dict[str, Feature] = {}
        self._installing = ""
        self._checks: dict[str, HealthCheck] = {}
        self.declared_checks: list[str] = []
        self._security_schemes: dict[str, Mapping[str, Any]] = {}
        self._wanted: dict[str, Callable[[Route], bool]] = {}
        self.keeps_loop_free = False
        self._shared: Shared | None = None  # annotations of attributes are not evaluated
        self._meter: Meter | None = None
        self._made_at = caller()

    def install(self, feature: "Feature") -> None:
        """Switch a feature on.

        Raises:
            ConfigError: It is on already, or the application answers requests already.
        """
        switch = getattr(feature, "switch", f"enable_{feature.name}")
        if self.app.router.frozen:
            raise ConfigError(too_late(f"{switch}()"))
        if feature.name in self._installed:
            raise ConfigError(f"{switch}() was called already")
        self._installing = feature.name
        try:
            feature.install(self)
        finally:
            self._installing = ""
        self._installed[feature.name] = feature

    def channels(self) -> "Channels":
        """Return the channels; those of this machine's workers where `enable_channels` was not called."""
        feature = self._installed.get("channels")
        if feature is None:
            from cello.features.channels import Channels

            made = Channels()
            feature = self._installed.setdefault("channels", made)  # threads that come together get the same
            if feature is made:
                made.install(self)
        return cast("Channels", feature)

    def features(self) -> "Sequence[Feature]":
        """Return all that are switched on."""
        return tuple(self._installed.values())

    def installed(self, name: str) -> "Feature | None":
        """Return the feature of that name, if it is switched on."""
        return self._installed.get(name)

    def review(self, deployment: "Deployment") -> "list[Finding]":
        """Return what the features find wrong with their settings where the application is to run."""
        found: list[Finding] = []
        for feature in self._installed.values():
            review = getattr(feature, "review", None)
            if callable(review):
                found += review(deployment)
        return found

    def refuse_unmet_marks(self) -> None:
        """Raise where a route asks for a switch that is off: asking would do nothing. Warn of checks nobody asks.

        Raises:
            ConfigError: A route has a mark or an option of a feature that is not installed.
        """
        if self.declared_checks and "health_checks" not in self._installed:
            for name in self.declared_checks:
                logger.warning("the health check %r is never asked: call app.enable_health_checks()", name)
        for route in self.app.router.routes:
            for option, feature in _OBEYED_BY.items():
                if getattr(route.options, option) is not None and feature not in self._installed:
                    raise ConfigError(f"route {route}: it says {option}=, but app.enable_{feature}() was not called")
            if "caching" in self._installed:
                continue
            mark = cache_mark_of(route.handler, route.options.cache)
            if mark is not None and mark.ttl_s != 0:
                raise ConfigError(f"route {route}: it says {mark!r}, but app.enable_caching() was not called")

    def show_inspector(self) -> "Inspector":
        """Serve the page about this application, which is in debug mode, before it freezes."""
        from cello.features.inspector.switch import Inspector  # never outside of debug mode

        features = sorted(self._installed)
        inspector = cast("Inspector | None", self._installed.get("inspector"))
        if inspector is None:
            inspector = self._installed["inspector"] = Inspector()
            inspector.install(self)
        inspector.show(features)
        return inspector

    @property
    def limits(self) -> LimitsConfig:
        """What one connection and one request may use."""
        return self.app.settings.limits

    @property
    def timeouts(self) -> TimeoutConfig:
        """How long the server waits."""
        return self.app.settings.timeouts

    @property
    def dispatcher(self) -> "Dispatcher":
        """What answers requests."""
        return self.app.dispatcher

    @property
    def shared(self) -> "Shared":
        """Memory that all workers have in common."""
        if self._shared is None:
            from cello.shared.regions import Shared  # most applications have a switch that needs it, tests have not

            self._shared = Shared(f"{self._made_at} {self.app.name}")
            self.on_stop(self._shared.close, band=0)
        return self._shared

    @property
    def meter(self) -> "Meter":
        """All metrics that features count."""
        if self._meter is None:
            from cello.shared.meter import Meter

            self._meter = Meter()
        return self._meter

    def metric(
        self,
        kind: str,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] | None = None,
        *,
        of_machine: bool = False,
    ) -> "Metric":
        """Return a metric to count in."""
        return self.meter.metric(kind, name, text, labels, bounds, of_machine=of_machine)

    def on_collect(self, reader: Callable[[], object]) -> None:
        """Call `reader` when numbers are about to be read."""
        self.meter.on_collect(reader)

    def add_route(
        self,
        path: str,
        handler: Callable[..., Any],
        *,
        methods: Iterable[str] = ("GET",),
        guards: Sequence[Guard] | None = None,
        name: str | None = None,
        is_builtin: bool = True,
    ) -> None:
        """Serve an endpoint of a feature."""
        where = f"the endpoint {path!r:.80}"
        pattern = parse(path)
        check_signature(handler, pattern)
        options = check_options(where, {"guards": guards, "name": name, "include_in_schema": False})
        named = name or handler_name(handler)
        self.app.router.add(
            Route(check_methods(where, methods), pattern, handler, options, named, caller(), is_builtin)
        )

    def add_websocket(
        self, path: str, handler: Callable[..., Any], *, subprotocols: Sequence[str] = (), name: str | None = None
    ) -> None:
        """Serve WebSockets."""
        from cello.pipeline.sockets import check_socket_signature  # few features have a WebSocket

        pattern = parse(path)
        check_socket_signature(handler, pattern)
        options = check_options(f"the WebSocket {path!r:.80}", {"name": name})
        socket = SocketOptions(subprotocols=tuple(subprotocols))
        named = name or handler_name(handler)
        self.app.router.add(Route(("GET",), pattern, handler, options, named, caller(), socket=socket))

    def add_middleware(self, middleware: object, *, band: int | None = None) -> None:
        """Surround every request."""
        self.app.middleware.use(middleware, band, self._installing)

    def keep_loop_free(self) -> None:
        """Have `def` handlers run on worker threads from their first call."""
        self.keeps_loop_free = True

    def on_start(self, hook: Callable[[], Any], *, band: int = 30) -> None:
        """Run `hook` when a worker starts."""
        self.app.lifecycle.on_startup(hook, band)

    def on_stop(self, hook: Callable[[], Any], *, band: int = 30) -> None:
        """Run `hook` when a worker stops."""
        self.app.lifecycle.on_shutdown(hook, band)

    def on_drain(self, hook: Callable[[], None]) -> None:
        """Call `hook` when the worker begins to drain."""
        self.app.lifecycle.on_drain(hook)

    def provide(self, name: str, resource: object) -> None:
        """Make `resource` available by `name`.

        Raises:
            ConfigError: The name is taken.
        """
        if name in self.app.singletons:
            raise ConfigError(f"there is a dependency named {name!r} already")
        self.app.singletons[name] = resource

    def resource(self, name: str) -> Any:
        """Return what was provided under `name`, or None."""
        return self.app.singletons.get(name)

    def routes(self) -> Sequence[Route]:
        """Return every route."""
        return self.app.router.routes

    def mounts(self) -> Sequence[str]:
        """Return the prefixes of mounted applications."""
        return [mount.prefix for mount in self.app.mounts]

    def guards(self) -> Sequence[Guard]:
        """Return the guards of every route."""
        return tuple(self.app.guards)

    def add_security_scheme(
        self, name: str, scheme: Mapping[str, Any], wanted: Callable[[Route], bool] | None = None
    ) -> None:
        """Say how clients may sign in.

        Raises:
            ConfigError: The name is taken.
        """
        if name in self._security_schemes:
            raise ConfigError(f"there is a security scheme named {name!r} already")
        self._security_schemes[name] = scheme
        if wanted is not None:
            self._wanted[name] = wanted

    def wanted_schemes(self, route: Route) -> Sequence[str]:
        """Return the schemes that a route wants one of."""
        return [name for name, wanted in sorted(self._wanted.items()) if wanted(route)]

    def security_schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return all ways to sign in."""
        return self._security_schemes

    @property
    def state(self) -> State:
        """Where the application is in its life."""
        return self.app.lifecycle.state

    def add_check(self, name: str, check: "Check", *, critical: bool = True, timeout_s: float | None = None) -> None:
        """Have health checks ask `check`.

        Raises:
            ConfigError: The name is taken or empty, the check cannot be called, or the time is out of range.
        """
        if not (name and isinstance(name, str)):
            raise ConfigError(f"a health check's name is a string, as in @app.health_check('disk'), not {name!r:.80}")
        if name in self._checks:
            raise ConfigError(f"there is a health check named {name!r} already")
        if not callable(check):
            raise ConfigError(f"the health check {name!r:.80} is a function, not {check!r:.80}")
        try:
            inspect.signature(check).bind()
        except TypeError:
            raise ConfigError(f"the health check {name!r:.80} must take no arguments") from None
        except ValueError:  # a built-in without a signature: its call will tell
            pass
        if timeout_s is not None and not timeout_s > 0:
            raise ConfigError(f"the health check {name!r:.80}: its timeout is above 0 s, not {timeout_s!r:.80}")
        from cello.extension import HealthCheck  # a bare application has no use for that module

        self._checks[name] = HealthCheck(name, check, critical, timeout_s)

    def checks(self) -> "Sequence[HealthCheck]":
        """Return all that were added."""
        return tuple(self._checks.values())
