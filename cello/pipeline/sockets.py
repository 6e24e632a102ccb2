"""WebSocket routes: the opening handshake as a request that goes through the whole pipeline, up to its 101.

Middleware, guards and dependencies see an upgrade like any GET, before it is accepted: what they answer or raise is the
answer. The handler's arguments are bound then, too. Only then comes `Accepted`, the 101, with the call of the handler
in it: the gateway accepts, makes the `WebSocket`, and calls.

SECURITY: browsers let any page open a WebSocket to any server, with the user's cookies. So a handshake with an Origin
is accepted only from the application's own origin, and those that the route allows.
"""

import functools
import inspect
import logging
import typing
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from cello.errors import BadRequest, ClientDisconnected, ConfigError, Forbidden
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.http.response import Response
from cello.http.websocket import WebSocket
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.depends import Overrides, Singletons
from cello.pipeline.inject import Binding, check_signature, compile_handler
from cello.pipeline.signature import Signature
from cello.routing.pattern import Pattern
from cello.routing.route import Route, SocketOptions

logger = logging.getLogger("cello.websocket")

_NAMES = ("ws", "websocket", "socket")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Accepted(Response):
    """The 101 that accepts a WebSocket.

    Attributes:
        call: Takes the WebSocket; the handler with its arguments.
        is_async: Whether what `call` gives must be awaited; else it blocks.
        subprotocol: What both sides speak, or None.
        compress: Whether compression may be agreed on.
    """

    __slots__ = ("call", "compress", "is_async", "subprotocol")

    def __init__(
        self, call: Callable[[WebSocket], Any], options: SocketOptions, subprotocol: str | None, *, is_async: bool
    ) -> None:
        super().__init__(b"", 101)
        self._content_type = None
        self.call = call
        self.is_async = is_async
        self.subprotocol = subprotocol
        self.compress = options.compress

    def settle(self, request: Request | None) -> None:
        """Do nothing: the only answer with an informational status has no content to be decided on."""
        self._is_settled = True


def check_socket_signature(handler: Callable[..., Any], pattern: Pattern) -> Signature:
    """Check what the signature of a WebSocket handler alone decides; called when its route is registered.

    Raises:
        ConfigError: It cannot be called with a WebSocket, or another parameter cannot be bound.
    """
    signature = check_signature(_collector(handler, pattern)[1], pattern)
    _refuse_bodies(signature.arguments)
    return signature


def compile_opening(
    route: Route, singletons: Singletons, overrides: Overrides
) -> tuple[Callable[[Request], Any], Binding]:
    """Return what answers the handshakes of a route, and where the arguments of its handler come from.

    Raises:
        ConfigError: The handler cannot be bound.
    """
    options = route.socket or SocketOptions()
    handler = route.handler
    socket_name, collect = _collector(handler, route.pattern)
    binding = compile_handler(collect, route.pattern.param_names, singletons, overrides, f"route {route}")
    _refuse_bodies(binding.arguments)
    bound = binding.call
    is_async = must_be_awaited(handler)

    def accept(request: Request, arguments: dict[str, Any]) -> Accepted:
        if socket_name is None:
            call: Callable[[WebSocket], Any] = lambda ws: handler(**arguments)  # noqa: E731  # as the one below
        elif socket_name == "":
            call = lambda ws: handler(ws, **arguments)  # noqa: E731  # a closure, not a function with a name
        else:
            call = lambda ws: handler(**{socket_name: ws}, **arguments)  # noqa: E731  # as above
        subprotocol = choose_subprotocol(request, options.subprotocols)
        return Accepted(call, options, subprotocol, is_async=is_async)

    def open_plain(request: Request) -> Any:
        check_origin(request, options.allowed_origins)
        arguments = bound(request)
        if inspect.isawaitable(arguments):
            return open_rest(request, arguments)
        return accept(request, arguments)

    async def open_rest(request: Request, arguments: Awaitable[dict[str, Any]]) -> Accepted:
        return accept(request, await arguments)

    async def open_async(request: Request) -> Accepted:
        check_origin(request, options.allowed_origins)
        return accept(request, await bound(request))

    return (open_async if binding.awaits else open_plain), binding


def check_origin(request: Request, allowed: tuple[str, ...]) -> None:
    """Let pass who comes from the application's own origin or an allowed one, and who is no browser.

    Raises:
        Forbidden: The Origin is another.
    """
    origin = request.get_header("origin")
    if origin is None or "*" in allowed or origin.lower() in allowed:
        return
    parts = urlsplit(origin)
    if parts.hostname is not None and _authority(origin) == _authority(f"{parts.scheme}://{request.host}"):
        return
    raise Forbidden(f"The origin {origin!r:.200} may not open this WebSocket.")


def _authority(origin: str) -> tuple[str | None, int | None]:
    parts = urlsplit(origin)
    try:
        return parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # a port that is none
        return None, None


def choose_subprotocol(request: Request, spoken: tuple[str, ...]) -> str | None:
    """Return the first subprotocol of ours that the client speaks too, or None.

    Raises:
        BadRequest: The client's list is malformed (RFC 6455 §4.1).
    """
    field = request.get_header("sec-websocket-protocol")
    if field is None:
        return None
    offered = [name.strip(" \t") for name in field.split(",")]
    if not all(map(is_token, offered)) or len(set(offered)) < len(offered):
        raise BadRequest("Sec-WebSocket-Protocol must list different tokens (RFC 6455 §4.1).")
    return next((name for name in spoken if name in offered), None)


def handler_ended(
    request: Request, error: BaseException | None, listeners: list[Callable[[Request, Exception], None]]
) -> tuple[int, str]:
    """Return the code and reason to close with when the handler returned or raised `error`, which is logged here."""
    if error is None or isinstance(error, ClientDisconnected):
        return 1000, ""
    logger.error("the WebSocket handler of %s raised", request.raw_path, exc_info=error)
    if isinstance(error, Exception):
        for listen in listeners:
            listen(request, error)
    return 1011, "internal error"


def _collector(handler: Callable[..., Any], pattern: Pattern) -> tuple[str | None, Callable[..., dict[str, Any]]]:
    """Return the name of the parameter that takes the WebSocket, and what collects the other arguments.

    The name is "" where it goes first by position, and None where the handler does not want it. What collects has the
    signature of `handler` without that parameter, all by keyword, so it is bound like any handler.
    """

    def collect(**arguments: Any) -> dict[str, Any]:
        return arguments

    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        raise ConfigError(f"{describe(handler)}: a WebSocket handler needs a signature") from None
    parameters = list(signature.parameters.values())
    chosen = _socket_parameter(handler, parameters, pattern)
    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in parameters
        if parameter is not chosen and parameter.kind not in (_VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    functools.update_wrapper(collect, handler)
    collect.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # what inspect looks for
    if chosen is None:
        return None, collect
    is_first = chosen is parameters[0] and chosen.kind is not inspect.Parameter.KEYWORD_ONLY
    return ("" if is_first else chosen.name), collect


_VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL


def _socket_parameter(
    handler: Callable[..., Any], parameters: list[inspect.Parameter], pattern: Pattern
) -> inspect.Parameter | None:
    """Return the parameter for the WebSocket: by its annotation, by its name, or the first that nothing else claims."""
    target = inspect.unwrap(handler)
    try:
        hints = typing.get_type_hints(target if inspect.isroutine(target) else target.__call__)
    except Exception:  # noqa: BLE001  # evaluating text can raise anything; then names decide
        hints = {}
    for parameter in parameters:
        hint = hints.get(parameter.name, parameter.annotation)
        if hint is WebSocket or (isinstance(hint, str) and hint.rpartition(".")[2] == "WebSocket"):
            return parameter
    for parameter in parameters:
        if parameter.name in _NAMES and parameter.default is inspect.Parameter.empty:
            return parameter
    first = parameters[0] if parameters else None
    if first is None or first.name == "request" or first.name in pattern.param_names:
        return None
    if first.kind is inspect.Parameter.KEYWORD_ONLY or first.default is not inspect.Parameter.empty:
        return None
    return first if first.name not in hints or first.kind is _VAR_POSITIONAL else None


def _refuse_bodies(arguments: typing.Iterable[Any]) -> None:
    for argument in arguments:
        if argument.source in ("body", "form", "file"):
            raise ConfigError(f"{argument.owner}: a WebSocket handshake has no body; receive it as a message")
