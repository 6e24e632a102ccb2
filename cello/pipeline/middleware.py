"""Middleware: what happens around handlers, and in which order.

The order follows from bands, not from the order of calls: whoever enables CORS after logging gets the same onion.
Lower bands are further out. Inside one band the application's own middleware is further out in the order of its calls;
features follow by name.

Rule 1: `before` runs outside-in. Returning anything but None answers early; what lies further in is not entered.
Rule 2: `after` runs inside-out, for exactly those whose `before` was entered, also on errors and early answers.
Rule 3: a hook that is not overridden costs nothing: it never appears in a plan.
"""

import inspect
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from cello.errors import ConfigError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.colour import describe
from cello.routing.router import Route

ORIGIN = 5
"""Where a request really comes from: what trusted proxies say."""
OBSERVE = 10
"""Logs, metrics, traces: they see every answer, refusals included."""
NAME = 12
"""Which request it is: its id."""
CORS = 15
"""Cross-origin headers, on errors too."""
HARDEN = 17
"""Security headers, on errors too."""
PROTECT = 20
"""Limits by client, circuit breaker."""
HOSTS = 22
"""Which hosts are answered for."""
DECODE = 25
"""Bodies of requests in plain form, for all that stands further in."""
SESSION = 28
"""What is remembered of this browser: the session, at hand for all that stands further in."""
IDENTIFY = 30
"""Who is asking: tokens, keys, passwords."""
FORGERY = 32
"""Whether a browser was tricked into asking: CSRF."""
GUARDS = 35
"""May they: the guards of the app, the blueprints and the route."""
QUOTA = 38
"""How much may they: limits by user or function."""
SHORTCUT = 40
"""Answers at hand: the cache."""
SHAPE = 45
"""The form of the answer: compression. The application's own middleware, further in, sees bodies as they were made."""
USER = 50
"""The application's own middleware."""

_NOT_FOR_BUILTINS = frozenset({PROTECT, GUARDS, QUOTA, SHORTCUT, USER})
"""What leaves endpoints of features alone: they are watched and shaped like any answer, but never limited or cached."""

Handler = Callable[[Request], Any]
HOOKS = ("before", "after", "on_error", "wrap")


class Middleware:
    """Base of all middleware: override what you need, as `def` or `async def`.

    An object without this base works too, if it has at least one of the four hooks.

    Attributes:
        band: Where it stands; `USER` unless the class says otherwise.
        may_wait: Its plain hooks hand out awaitables at times, for work that is too long for the loop they run on. The
            plans they are in stay plain.
    """

    band: int = USER
    may_wait: bool = False

    def applies_to(self, route: Route | None) -> bool:
        """Return whether `route` needs this middleware; asked once per route, when its plan is compiled.

        None stands for everything without a route: 404, 405, the automatic OPTIONS, and what the server refuses.
        """
        return True

    def before(self, request: Request) -> object:
        """Look at the request before its handler. Return None to go on, or the answer."""
        return None

    def after(self, request: Request, response: Response) -> object:
        """Look at the answer. Return None to keep it, or another one."""
        return None

    def on_error(self, request: Request, error: BaseException) -> object:
        """Look at what was raised further in. Return None to let it pass on, or the answer.

        A cancelled request (its client left, its time ran out) is seen here as `asyncio.CancelledError`; nobody can be
        answered then, and `after` does not follow.
        """
        return None

    # Of a feature there may be `on_abandoned(request)` too: see `Offload`.

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that surrounds `handler`; called once, when the plan of a route is compiled.

        `handler(request)` gives a `Response`, or a coroutine of one when `inspect.iscoroutinefunction(handler)`.
        """
        return handler


class BeforeHook(Middleware):
    """A function of `@app.before_request` as middleware."""

    def __init__(self, function: Callable[[Request], object]) -> None:
        self.before = function  # type: ignore[assignment,method-assign]  # the hook is the function


class AfterHook(Middleware):
    """A function of `@app.after_request` as middleware."""

    def __init__(self, function: Callable[[Request, Response], object]) -> None:
        self.after = function  # type: ignore[assignment,method-assign]  # the hook is the function


class MiddlewareStack:
    """The middleware of one application, in the order of their bands."""

    def __init__(self) -> None:
        self._layers: list[tuple[int, Any]] = []
        self._ranks: list[tuple[int, bool, str]] = []  # of the layers, in their order

    def use(self, middleware: object, band: int | None = None, feature: str = "") -> None:
        """Add `middleware`, in its own band or in `band`.

        Args:
            middleware: See above.
            band: Where it stands.
            feature: The feature that it belongs to, which decides among those of one band.

        Raises:
            ConfigError: It is a class instead of an instance, or has none of the hooks.
        """
        if inspect.isclass(middleware):
            raise ConfigError(f"middleware must be an instance: {middleware.__qualname__}(…), not the class itself")
        if not any(callable(getattr(middleware, name, None)) for name in HOOKS):
            raise ConfigError(
                f"{middleware!r:.80} is no middleware: it has none of {', '.join(HOOKS)}. Write a class with "
                "before(self, request) or after(self, request, response); WSGI and ASGI middleware goes around the "
                "application: served = Middleware(app)"
            )
        place = getattr(middleware, "band", USER) if band is None else band
        rank = (place, not isinstance(middleware, AfterHook), feature and f"{type(middleware).__qualname__} {feature}")
        index = bisect_right(self._ranks, rank)
        self._ranks.insert(index, rank)
        self._layers.insert(index, (place, middleware))

    def before_request(self, function: Callable[[Request], object]) -> None:
        """Call `function(request)` before every handler, in the user band."""
        self._use_function(BeforeHook, function)

    def after_request(self, function: Callable[[Request, Response], object]) -> None:
        """Call `function(request, response)` after every handler, in the user band.

        Such functions stand outside of all else in their band, so they see its early answers too; last one first.
        """
        self._use_function(AfterHook, function)

    def _use_function(self, hook: Callable[[Any], Middleware], function: Callable[..., object]) -> None:
        if not callable(function):
            raise ConfigError(f"a hook must be callable, not {function!r:.80}")
        wanted = ("request",) if hook is BeforeHook else ("request", "response")
        try:
            inspect.signature(function).bind(*wanted)
        except TypeError:
            name = getattr(function, "__qualname__", repr(function))
            raise ConfigError(f"the hook {name:.80} must take ({', '.join(wanted)})") from None
        except ValueError:  # a built-in without a signature: its call will tell
            pass
        self.use(hook(function))

    def for_route(self, route: Route) -> Iterator[tuple[int, Any]]:
        """Yield (band, middleware) for a route, outermost first."""
        surrounding = (layer for layer in self._layers if _applies(layer[1], route))
        if route.is_builtin:
            return (layer for layer in surrounding if layer[0] not in _NOT_FOR_BUILTINS)
        return surrounding

    def for_socket(self, route: Route) -> Iterator[tuple[int, Any]]:
        """Yield what surrounds the handshake of a WebSocket route: all but what stores or shapes answers."""
        return (layer for layer in self.for_route(route) if layer[0] not in (SHORTCUT, SHAPE))

    def for_no_route(self) -> Iterator[tuple[int, Any]]:
        """Yield what surrounds 404, 405 and the automatic OPTIONS: all but what belongs to a route."""
        of_a_route = (GUARDS, QUOTA, SHORTCUT)
        return (layer for layer in self._layers if layer[0] not in of_a_route and _applies(layer[1], None))

    def for_refusals(self) -> Iterator[tuple[int, Any]]:
        """Yield what sees the server's own refusals: observers and CORS."""
        return (layer for layer in self._layers if layer[0] < PROTECT and _applies(layer[1], None))

    def for_mounts(self) -> Iterator[tuple[int, Any]]:
        """Yield what surrounds mounted applications: what sees refusals, and the check of hosts."""
        surrounding = (layer for layer in self._layers if layer[0] < PROTECT or layer[0] == HOSTS)
        return (layer for layer in surrounding if _applies(layer[1], None))


def _applies(middleware: Any, route: Route | None) -> bool:
    applies_to = getattr(middleware, "applies_to", None)
    return applies_to is None or bool(applies_to(route))


def hook_of(middleware: Any, name: str) -> Callable[..., Any] | None:
    """Return the hook `name` of `middleware`, or None when it is absent or only inherited from the base."""
    hook: Callable[..., Any] | None = getattr(middleware, name, None)
    if hook is None or getattr(hook, "__func__", None) is getattr(Middleware, name):
        return None
    return hook


def label(middleware: object, name: str) -> str:
    """Return how `app.explain` names a hook."""
    title: str | None = getattr(middleware, "title", None)
    if title is not None:
        return title
    hook = getattr(middleware, name)
    if isinstance(middleware, BeforeHook | AfterHook):
        return describe(hook)
    return f"{type(middleware).__qualname__}.{name}"
