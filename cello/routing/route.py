"""One declared route: its methods, pattern, handler and options, checked when they are written down."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from cello.errors import ConfigError, RouteError, closest
from cello.routing.marks import CacheMark
from cello.routing.pattern import Pattern

Handler = Callable[..., Any]
Guard = Callable[..., Any]

STANDARD_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]+")  # RFC 6454 §6.2: no path, not even a slash


class RouteOptions(NamedTuple):
    """What a route decorator was told besides path and handler.

    Attributes:
        tags: OpenAPI tags, a blueprint's before the route's own.
        summary: One line for OpenAPI.
        description: Prose for OpenAPI.
        guards: Who may pass, a blueprint's before the route's own.
        name: For `url_for`; where None the handler's name serves.
        stream: The handler starts before the body is read and takes it with `request.stream()`.
        max_body_size: Bytes; where None the application's limit holds.
        timeout: Seconds until the first byte of the answer; where None the application's holds.
        blocking: True runs a `def` handler on a worker thread, False on the loop; None finds out.
        body: A model of the JSON body, for handlers whose signature does not name it.
        responses: Further responses for OpenAPI, by status.
        deprecated: Marks the route in OpenAPI.
        cancel_on_disconnect: Cancel the handler when its client goes away.
        include_in_schema: Whether OpenAPI describes the route.
        cache: Seconds, a `cello.cache(...)`, or whether its answers may be cached at all; None for what the handler's
            own mark says.
        rate_limit: A limit of its own in place of the application's, False for none; `enable_rate_limit` obeys it.
    """

    tags: tuple[str, ...] = ()
    summary: str | None = None
    description: str | None = None
    guards: tuple[Guard, ...] = ()
    name: str | None = None
    stream: bool = False
    max_body_size: int | None = None
    timeout: float | None = None
    blocking: bool | None = None
    body: Any = None
    responses: Mapping[Any, Any] | None = None
    deprecated: bool = False
    cancel_on_disconnect: bool = False
    include_in_schema: bool = True
    cache: Any = None
    rate_limit: Any = None


class SocketOptions(NamedTuple):
    """What a WebSocket route was told beyond the options of every route.

    Attributes:
        allowed_origins: From which pages it may be opened besides the application's own, in lower case; "*" is all.
        subprotocols: What its handler speaks, the preferred first.
        compress: Whether messages may be compressed (permessage-deflate).
    """

    allowed_origins: tuple[str, ...] = ()
    subprotocols: tuple[str, ...] = ()
    compress: bool = True


class Route:
    """A route as declared; two routes are equal only when they are the same object.

    Attributes:
        methods: As they must stand in the request line.
        pattern: The parsed path.
        handler: The function as written.
        options: All other things said about it.
        name: What `url_for` calls it.
        place: Where it was declared, "file.py:12".
        is_builtin: Whether it is an endpoint of a feature, such as health or metrics: the application's guards, limits,
            caches and own middleware leave it alone; its own `guards` are asked.
        socket: What makes it a WebSocket route, or None.
    """

    __slots__ = ("handler", "is_builtin", "methods", "name", "options", "pattern", "place", "socket")

    def __init__(
        self,
        methods: tuple[str, ...],
        pattern: Pattern,
        handler: Handler,
        options: RouteOptions,
        name: str,
        place: str,
        is_builtin: bool = False,
        socket: SocketOptions | None = None,
    ) -> None:
        self.methods = methods
        self.pattern = pattern
        self.handler = handler
        self.options = options
        self.name = name
        self.place = place
        self.is_builtin = is_builtin
        self.socket = socket

    def changed(
        self, *, pattern: Pattern | None = None, options: RouteOptions | None = None, name: str | None = None
    ) -> "Route":
        """Return the same route with something else about it."""
        return Route(
            self.methods,
            pattern or self.pattern,
            self.handler,
            options or self.options,
            name or self.name,
            self.place,
            self.is_builtin,
            self.socket,
        )

    @property
    def template(self) -> str:
        """The path with bare parameter names, as in OpenAPI and metrics."""
        return self.pattern.template

    def __str__(self) -> str:
        kind = "|".join(self.methods) if self.socket is None else "WebSocket"
        return f"{kind} {self.pattern.path} ({self.place})"


def check_handler(where: str, handler: object) -> Handler:
    """Return `handler`.

    Raises:
        ConfigError: It cannot be called.
    """
    if not callable(handler):
        raise ConfigError(f"{where}: the handler must be a function, not {handler!r:.80}")
    if isinstance(handler, type):
        raise ConfigError(
            f"{where}: the handler must be a function, not the class {handler.__qualname__}; register its methods "
            f"one by one, or an instance that can be called"
        )
    return handler


def handler_name(handler: Handler) -> str:
    """Return the name a handler goes by, also where it is a partial or an object with `__call__`."""
    inner = getattr(handler, "func", handler)
    return str(getattr(inner, "__name__", type(inner).__name__))


def check_methods(where: str, methods: object) -> tuple[str, ...]:
    """Return the methods in order, without repetitions.

    The standard methods may be written in any case. Any other is a token of its own (RFC 9110 §9.1: methods are
    case-sensitive) and stays as written.

    Raises:
        ConfigError: Not a non-empty list of method tokens.
    """
    if isinstance(methods, str | bytes) or not isinstance(methods, Iterable):
        raise ConfigError(f"{where}: methods must be a list such as ['GET', 'POST'], not {methods!r:.80}")
    checked: dict[str, None] = {}
    for method in methods:
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise ConfigError(f"{where}: {method!r:.80} is not an HTTP method")
        checked[method.upper() if method.upper() in STANDARD_METHODS else method] = None
    if not checked:
        raise ConfigError(f"{where}: methods must name at least one method")
    return tuple(checked)


def check_options(where: str, given: Mapping[str, Any], known: Collection[str] | None = None) -> RouteOptions:
    """Return the options given to a route or blueprint, checked.

    Args:
        where: What an error names.
        given: By name.
        known: Those that there are; None for all.

    Raises:
        ConfigError: An option is unknown or cannot have that value; the message names it and its closest relative.
    """
    known = RouteOptions._fields if known is None else known
    for option in given:
        if option not in known:
            close = closest(option, known)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown option {option!r}; {hint}")
    checked = {
        **given,
        "tags": _check_tags(where, given.get("tags")),
        "guards": _check_guards(where, given.get("guards")),
    }
    for option, (accepted, words) in _ACCEPTED.items():
        value = given.get(option)
        if value is None:
            checked.pop(option, None)
        elif not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
            raise ConfigError(f"{where}: {option} must be {words}, not {value!r:.80}")
    if given.get("name") == "":
        raise ConfigError(f"{where}: name must not be empty")
    if (size := given.get("max_body_size")) is not None and size < 0:
        raise ConfigError(f"{where}: max_body_size must be at least 0, not {size!r}")
    if (timeout := given.get("timeout")) is not None and not timeout > 0:
        raise ConfigError(f"{where}: timeout must be above 0 seconds, not {timeout!r}")
    if isinstance(lifetime := given.get("cache"), int | float) and not lifetime >= 0:
        raise ConfigError(f"{where}: cache must be at least 0 seconds, not {lifetime!r}")
    return RouteOptions(**checked)


def check_socket_options(where: str, origins: object, subprotocols: object, compress: object) -> SocketOptions:
    """Return what was given to a WebSocket route, checked.

    Raises:
        ConfigError: A value cannot be what it is meant to be.
    """
    for name, values in (("allowed_origins", origins), ("subprotocols", subprotocols)):
        if values is not None and not (isinstance(values, list | tuple) and all(isinstance(v, str) for v in values)):
            raise ConfigError(f"{where}: {name} must be a list of strings, not {values!r:.80}")
    for origin in origins or ():  # type: ignore[attr-defined]  # a list of strings by now
        if origin not in ("*", "null") and _ORIGIN.fullmatch(origin) is None:
            raise ConfigError(f"{where}: an origin is written as in 'https://app.example.com', not {origin!r:.80}")
    for subprotocol in subprotocols or ():  # type: ignore[attr-defined]  # a list of strings by now
        if _TOKEN.fullmatch(subprotocol) is None:
            raise ConfigError(f"{where}: a subprotocol is a token, not {subprotocol!r:.80}")
    if not isinstance(compress, bool):
        raise ConfigError(f"{where}: compress must be True or False, not {compress!r:.80}")
    lowered = tuple(origin.lower() for origin in origins or ())  # type: ignore[attr-defined]  # as above
    return SocketOptions(lowered, tuple(subprotocols or ()), compress)  # type: ignore[arg-type]  # as above


_ACCEPTED: dict[str, tuple[tuple[type, ...], str]] = {
    "summary": ((str,), "a string"),
    "description": ((str,), "a string"),
    "name": ((str,), "a string"),
    "stream": ((bool,), "True or False"),
    "max_body_size": ((int,), "a whole number of bytes"),
    "timeout": ((int, float), "a number of seconds"),
    "blocking": ((bool,), "True, False or None"),
    "responses": ((Mapping,), "a dict of status → description"),
    "deprecated": ((bool,), "True or False"),
    "cancel_on_disconnect": ((bool,), "True or False"),
    "include_in_schema": ((bool,), "True or False"),
    "cache": ((bool, int, float, CacheMark), "True, False, a number of seconds, or cello.cache(...)"),
}


def _check_tags(where: str, tags: object) -> tuple[str, ...]:
    """Return tags as a tuple.

    Raises:
        ConfigError: Not a list of strings.
    """
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError(f"{where}: tags must be a list of strings, not {tags!r:.80}")
    return tuple(tags)


def _check_guards(where: str, guards: object) -> tuple[Guard, ...]:
    """Return guards as a tuple.

    Raises:
        ConfigError: Not a list of callables, or one of them is a class.
    """
    if guards is None:
        return ()
    if not isinstance(guards, list | tuple):
        raise ConfigError(f"{where}: guards must be a list, not {guards!r:.80}")
    for guard in guards:
        # SECURITY: calling a class makes an object, which is true: the guard would let everybody pass.
        if isinstance(guard, type):
            raise ConfigError(f"{where}: the guard {guard.__name__} is a class; write {guard.__name__}(...)")
        if not callable(guard):
            raise ConfigError(f"{where}: a guard must be callable, not {guard!r:.80}")
    return tuple(guards)


def duplicate(method: str, new: Route, old: Route) -> RouteError:
    """Return the error of a route that matches what another already matches."""
    text = f"{method} {new.pattern.path} ({new.place}) "
    if new.pattern.path == old.pattern.path:
        return RouteError(f"{text}is registered already: {old.place}")
    if new.template == old.template:
        return RouteError(f"{text}is the same path as {old.pattern.path} ({old.place})")
    return RouteError(f"{text}contradicts {old.pattern.path} ({old.place}): both match the same paths")
