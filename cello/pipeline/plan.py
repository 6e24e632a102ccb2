"""A Plan: everything that happens to a request of one route, decided before the first one comes.

A layer is one middleware (or the guards). Layers are numbered outside-in; the *depth* of a request is how many of them
it has entered. `before` holds (depth once entered, step, must be awaited); `after[depth]` and `on_error[depth]` hold
(layers further out, step, must be awaited) inside-out, for a request that came as far as `depth`. Runners only walk
these tuples.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from time import perf_counter
from typing import Any

from cello.errors import ConfigError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.deadlines import Deadlines
from cello.pipeline.faults import Faults
from cello.pipeline.middleware import Handler, hook_of, label
from cello.pipeline.result import to_response
from cello.pipeline.threads import Offload, WorkerThreads
from cello.routing.router import Route

Step = tuple[int, Callable[..., Any], bool]


class Plan:
    """How one route, or one kind of routeless request, is answered.

    Attributes:
        route: The route, or None.
        handler: Takes the request, gives what the user's handler returned (or a coroutine of it, if `awaits`).
        awaits: Whether what `handler` gives must be awaited.
        loop_handler: The handler as a loop calls it: a `def` handler among async steps goes to a worker thread when
            its debt says so, or when it reads the body itself.
        loop_awaits: Whether what `loop_handler` gives must be awaited.
        is_async: Whether any step must be awaited, so that the request needs a loop.
        depth: The number of layers.
        streams: The handler starts before the body is read.
        body_limit_bytes: Beyond it, 413.
        timeout_s: Seconds until 503, or None.
        cancel_on_disconnect: The handler is cancelled when its client leaves.
        offload: Whether a `def` handler runs on the loop or on a thread.
    """

    __slots__ = (
        "after",
        "awaits",
        "before",
        "body_limit_bytes",
        "cancel_on_disconnect",
        "deadlines",
        "depth",
        "faults",
        "handler",
        "is_async",
        "loop_awaits",
        "loop_handler",
        "offload",
        "on_error",
        "outline",
        "route",
        "streams",
        "timeout_s",
    )

    def __init__(
        self,
        route: Route | None,
        handler: Handler,
        layers: Sequence["Layer"],
        *,
        awaits: bool,
        faults: Faults,
        deadlines: Deadlines,
        offload: Offload,
        body_limit_bytes: int,
        threads: WorkerThreads | None = None,
        timeout_s: float | None = None,
        streams: bool = False,
        cancel_on_disconnect: bool = False,
        name: str = "",
    ) -> None:
        self.route = route
        self.handler = handler
        self.awaits = awaits
        self.before = tuple(_before(layers))
        self.after = tuple(_leaving(layers, "after", depth) for depth in range(len(layers) + 1))
        self.on_error = tuple(_leaving(layers, "on_error", depth) for depth in range(len(layers) + 1))
        self.depth = len(layers)
        steps = (*self.before, *self.after[-1], *self.on_error[-1])
        self.is_async = self.awaits or any(awaits for _, _, awaits in steps)
        self.loop_handler, self.loop_awaits = handler, awaits
        if self.is_async and not awaits and threads is not None:
            self.loop_handler, self.loop_awaits = _offloading(handler, offload, threads, always=streams), True
        self.faults = faults
        self.deadlines = deadlines
        self.offload = offload
        self.body_limit_bytes = body_limit_bytes
        self.timeout_s = timeout_s
        self.streams = streams
        self.cancel_on_disconnect = cancel_on_disconnect
        self.outline = tuple(_outline(layers, name, is_async=self.awaits))

    def within(self, step: Callable[..., Any]) -> "Plan":
        """Return the plan of what lies further in than the layer whose `before` is `step`, to run it once more.

        Raises:
            ValueError: No layer has that step.
        """
        reached = next((depth for depth, each, _ in self.before if each == step), None)
        if reached is None:
            raise ValueError(f"{describe(step)} is no step of {self!r}")
        inner = copy(self)
        inner.before = tuple(each for each in self.before if each[0] > reached)
        inner.after = tuple(tuple(each for each in steps if each[0] >= reached) for steps in self.after)
        inner.on_error = tuple(tuple(each for each in steps if each[0] >= reached) for steps in self.on_error)
        return inner

    def __repr__(self) -> str:
        return f"<Plan {self.outline!r:.200}>"


def _offloading(handler: Handler, offload: Offload, threads: WorkerThreads, *, always: bool) -> Handler:
    """Return a `def` handler as a coroutine function that obeys `offload`."""

    async def call(request: Any) -> Any:
        if always or offload.on_thread:
            return await threads.run(offload.watch, handler, request)
        started_s = perf_counter()
        try:
            return handler(request)
        finally:
            offload.held(perf_counter() - started_s)

    return call


class Layer:
    """The hooks of one middleware that are really there, and its place."""

    __slots__ = ("after", "band", "before", "names", "on_error", "wrap")

    def __init__(self, band: int, middleware: Any, *, plain_only: bool = False) -> None:
        def hook(name: str) -> Callable[..., Any] | None:
            found = hook_of(middleware, name)
            return None if plain_only and found is not None and must_be_awaited(found) else found

        self.band = band
        self.before = hook("before")
        self.after = hook("after")
        self.on_error = hook("on_error")
        self.wrap = hook_of(middleware, "wrap")
        hooks = ("before", "after", "on_error", "wrap")
        self.names = {hook: label(middleware, hook) for hook in hooks if getattr(self, hook) is not None}


def wrapped(handler: Handler, layers: Sequence[Layer], *, awaits: bool) -> tuple[Handler, bool]:
    """Return `handler` inside the `wrap` hooks of `layers`, the outermost outermost, and whether it must be awaited."""
    wraps = [(layer.names["wrap"], layer.wrap) for layer in layers if layer.wrap is not None]
    if not wraps:
        return handler, awaits
    made = _answering(handler, awaits=awaits)
    for name, wrap in reversed(wraps):
        made = wrap(made)
        if not callable(made):
            raise ConfigError(f"{name} must return a handler, not {made!r:.80}")
    return made, must_be_awaited(made)


def _answering(handler: Handler, *, awaits: bool) -> Handler:
    """Return `handler` with its value made a Response, so that every `wrap` sees the same kind."""
    if awaits:

        async def answer_async(request: Request) -> Response:
            return to_response(await handler(request))

        return answer_async

    def answer(request: Request) -> Response:
        return to_response(handler(request))

    return answer


def _before(layers: Sequence[Layer]) -> Iterable[Step]:
    for number, layer in enumerate(layers):
        if layer.before is not None:
            yield number + 1, layer.before, must_be_awaited(layer.before)


def _leaving(layers: Sequence[Layer], hook: str, depth: int) -> tuple[Step, ...]:
    steps = ((number, getattr(layers[number], hook)) for number in reversed(range(depth)))
    return tuple((number, step, must_be_awaited(step)) for number, step in steps if step is not None)


def _outline(layers: Sequence[Layer], name: str, *, is_async: bool) -> Iterable[str]:
    """Yield the lines of `app.explain`."""

    def line(band: object, hook: str, title: str, *, awaits: bool) -> str:
        return f"{band!s:>4}  {hook:<8}  {title}{' (async)' if awaits else ''}"

    for layer in layers:
        for hook in ("before", "wrap"):
            step = getattr(layer, hook)
            if step is not None:
                yield line(layer.band, hook, layer.names[hook], awaits=must_be_awaited(step))
    yield line("", "handler", name, awaits=is_async)
    for layer in reversed(layers):
        for hook in ("after", "on_error"):
            step = getattr(layer, hook)
            if step is not None:
                yield line(layer.band, hook, layer.names[hook], awaits=must_be_awaited(step))
