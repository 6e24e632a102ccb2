"""WebSocket as a handler sees it: one object for both colours, and the messages it sends and receives.

Strategy. A gateway makes the `WebSocket` over a port of its own. In a `def` handler the port's calls block and return
what they come to; in an `async def` handler they return something to await. `WebSocket` passes on whichever it gets, so
`ws.send_text("x")` in the one and `await ws.send_text("x")` in the other are the same line of code here.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from cello.errors import ClientDisconnected
from cello.http import json_codec
from cello.http.request import Request
from cello.http.websocket_message import WebSocketMessage

_BINARY = (bytes, bytearray, memoryview)


class SocketPort(Protocol):
    """A gateway's side of one WebSocket. What its calls give must be awaited where it is not `is_blocking`."""

    @property
    def is_blocking(self) -> bool:
        """Whether calls block, for a `def` handler on a thread of its own."""

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed."""

    @property
    def close_code(self) -> int | None:
        """The code of the close, once there was one: 1005 when the peer gave none, 1006 when it just went."""

    @property
    def close_reason(self) -> str:
        """The reason that came with it."""

    @property
    def loop(self) -> Any:
        """The event loop that `offer` and `drop` are called on; None where any thread may."""

    def send(self, message: str | bytes) -> Any:
        """Send a message; wait while the peer does not keep up.

        Raises:
            ClientDisconnected: The connection is closed.
        """

    def offer(self, message: str | bytes) -> bool:
        """Send a message if that needs no waiting; return whether it was sent.

        Raises:
            ClientDisconnected: The connection is closed.
        """

    def drop(self, code: int, reason: str) -> None:
        """Begin to close, and wait for nothing."""

    def ping(self, payload: bytes, *, is_pong: bool = False) -> Any:
        """Send a ping or pong."""

    def recv(self, timeout_s: float | None) -> Any:
        """Return the next message, or None when the connection is closed.

        Raises:
            TimeoutError: There was none in time.
        """

    def following(self) -> Any:
        """Return the next message; where there are no more raise StopAsyncIteration, or StopIteration if blocking."""

    def close(self, code: int, reason: str) -> Any:
        """Close and wait for the peer to do so, within bounds; nothing happens when it is closed."""


class WebSocket:
    """One conversation with one client.

    In a `def` handler its methods block, on a thread that belongs to the conversation; in an `async def` handler they
    are awaited. Made by hand it is an offline stand-in for unit tests: it receives `incoming`, and keeps what is sent
    for `get_queued_messages()`.

    Args:
        request: The request that opened it.
        incoming: What the stand-in receives: text, bytes or messages.

    Attributes:
        request: The request that opened it.
        subprotocol: What both sides agreed on, or None.
    """

    __slots__ = ("__weakref__", "_port", "_state", "request", "subprotocol")

    def __init__(self, request: Request | None = None, incoming: Iterable[str | bytes | WebSocketMessage] = ()) -> None:
        self.request = Request("GET", "/") if request is None else request
        self.subprotocol: str | None = None
        self._port: SocketPort = _Offline(incoming)
        self._state: SimpleNamespace | None = None

    @classmethod
    def connected_by(cls, port: SocketPort, request: Request, subprotocol: str | None) -> "WebSocket":
        """Make the WebSocket of a connection; for gateways."""
        self = cls.__new__(cls)
        self.request = request
        self.subprotocol = subprotocol
        self._port = port
        self._state = None
        return self

    def send_text(self, text: str) -> Any:
        """Send a text message.

        Raises:
            ClientDisconnected: The connection is closed.
            TypeError: It is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"send_text takes str, not {type(text).__name__}; there are send_binary and send_json")
        return self._port.send(text)

    def send_binary(self, data: bytes) -> Any:
        """Send a binary message.

        Raises:
            ClientDisconnected: The connection is closed.
            TypeError: It is not bytes.
        """
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise TypeError(f"send_binary takes bytes, not {type(data).__name__}")
            data = bytes(data)
        return self._port.send(data)

    send_bytes = send_binary

    def send_json(self, data: Any) -> Any:
        """Send `data` as JSON, in a text message.

        Raises:
            ClientDisconnected: The connection is closed.
            TypeError: It has no JSON form.
        """
        return self._port.send(json_codec.encode(data).decode())

    def send(self, message: "WebSocketMessage | str | bytes | Any") -> Any:
        """Send a message, text or bytes as they are, and anything else as JSON.

        Raises:
            ClientDisconnected: The connection is closed.
        """
        # PERF: what comes back as it came costs a third of what a chain of isinstance does; bench/load, websocket.
        if type(message) is WebSocketMessage or isinstance(message, WebSocketMessage):
            if message.type == "text":
                return self._port.send(message.content)
            if message.type == "binary":
                return self._port.send(message.data or b"")
        elif isinstance(message, str):
            return self._port.send(message)
        elif isinstance(message, _BINARY):
            return self._port.send(bytes(message))
        else:
            return self.send_json(message)
        if message.type == "close":
            return self._port.close(1000, "")
        return self._port.ping(message.data or b"", is_pong=message.type == "pong")

    @property
    def loop(self) -> Any:
        """The event loop that `offer` and `drop` must be called on; None where any thread may."""
        return self._port.loop

    def offer(self, message: str | bytes) -> bool:
        """Send text or bytes if the client takes it without waiting; return whether it was sent. Never to be awaited.

        Raises:
            ClientDisconnected: The connection is closed.
        """
        return self._port.offer(message)

    def drop(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close, without waiting for the client. Never to be awaited."""
        self._port.drop(code, reason)

    def ping(self, payload: bytes = b"") -> Any:
        """Send a ping; the server does so by itself while a connection is silent."""
        return self._port.ping(payload)

    def recv(self, timeout: float | None = None) -> Any:
        """Return the next `WebSocketMessage`, or None when the connection is closed.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: There was none in time.
        """
        return self._port.recv(timeout)

    def close(self, code: int = 1000, reason: str = "") -> Any:
        """Close the connection; nothing happens when it is closed.

        Args:
            code: 1000-1014 as RFC 6455 §7.4 has them, or 3000-4999.
            reason: At most 123 bytes of UTF-8; what is longer is cut.

        Raises:
            ValueError: A code that must not be sent.
        """
        if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
            raise ValueError(f"the close code {code!r:.40} must not be sent (RFC 6455 §7.4)")
        return self._port.close(code, reason)

    def __iter__(self) -> Iterator[WebSocketMessage]:
        """Iterate over the messages until the connection is closed; in `def` handlers."""
        if not self._port.is_blocking:
            raise TypeError("in an async handler write: async for message in ws")
        return _Messages(self._port)

    def __aiter__(self) -> AsyncIterator[WebSocketMessage]:
        """Iterate over the messages until the connection is closed; in `async def` handlers."""
        if self._port.is_blocking:
            raise TypeError("in a def handler write: for message in ws")
        return _AsyncMessages(self._port)

    async def arecv(self, timeout: float | None = None) -> WebSocketMessage | None:  # noqa: ASYNC109  # compat
        """Do what `recv` does, as a coroutine."""
        value: WebSocketMessage | None = await self._awaited(self.recv(timeout))
        return value

    async def asend(self, message: "WebSocketMessage | str | bytes | Any") -> None:
        """Do what `send` does, as a coroutine."""
        await self._awaited(self.send(message))

    async def asend_text(self, text: str) -> None:
        """Do what `send_text` does, as a coroutine."""
        await self._awaited(self.send_text(text))

    async def asend_binary(self, data: bytes) -> None:
        """Do what `send_binary` does, as a coroutine."""
        await self._awaited(self.send_binary(data))

    async def _awaited(self, value: Any) -> Any:
        return value if self._port.is_blocking else await value

    async def disconnected(self) -> bool:
        """Whether the connection is closed; answers at once."""
        return not self._port.is_open

    @property
    def connected(self) -> bool:
        """Whether neither side has closed."""
        return self._port.is_open

    @property
    def close_code(self) -> int | None:
        """The code of the close, once there was one: 1005 when the peer gave none, 1006 when it just went."""
        return self._port.close_code

    @property
    def close_reason(self) -> str:
        """The reason that came with the close."""
        return self._port.close_reason

    @property
    def params(self) -> dict[str, str]:
        """The path parameters."""
        return self.request.params

    @property
    def query(self) -> Mapping[str, str]:
        """The query of the request that opened it."""
        return self.request.query

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields of the request that opened it."""
        return self.request.headers

    @property
    def app(self) -> Any:
        """The application."""
        return self.request.app

    @property
    def state(self) -> SimpleNamespace:
        """For whatever the handler wants to keep: `ws.state.user = …`."""
        if self._state is None:
            self._state = SimpleNamespace()
        return self._state

    def get_queued_messages(self) -> list[WebSocketMessage]:
        """Return what was sent on a stand-in.

        Raises:
            TypeError: This is a real connection.
        """
        if not isinstance(self._port, _Offline):
            raise TypeError("only a WebSocket made by hand keeps what is sent on it")
        return list(self._port.sent)

    def __repr__(self) -> str:
        return f"<WebSocket {self.request.raw_path} {'open' if self.connected else 'closed'}>"


class _Messages(Iterator[WebSocketMessage]):
    """The messages of a connection, for a `def` handler."""

    __slots__ = ("_following",)

    def __init__(self, port: SocketPort) -> None:
        self._following = port.following

    def __next__(self) -> WebSocketMessage:
        message: WebSocketMessage = self._following()
        return message


class _AsyncMessages(AsyncIterator[WebSocketMessage]):
    """The messages of a connection, for an `async def` handler."""

    __slots__ = ("_following",)

    def __init__(self, port: SocketPort) -> None:
        self._following = port.following

    def __anext__(self) -> Any:
        return self._following()


class _Offline:
    """The port of a stand-in."""

    is_blocking = True
    loop = None
    close_reason = ""

    def __init__(self, incoming: Iterable[str | bytes | WebSocketMessage]) -> None:
        made = (item if isinstance(item, WebSocketMessage) else WebSocketMessage(item) for item in incoming)
        self._incoming = deque(made)
        self.sent: list[WebSocketMessage] = []
        self.close_code: int | None = None

    @property
    def is_open(self) -> bool:
        return self.close_code is None

    def send(self, message: str | bytes) -> None:
        if self.close_code is not None:
            raise ClientDisconnected("the WebSocket is closed")
        self.sent.append(WebSocketMessage(message))

    def offer(self, message: str | bytes) -> bool:
        self.send(message)
        return True

    def drop(self, code: int, reason: str) -> None:
        self.close(code, reason)

    def ping(self, payload: bytes, *, is_pong: bool = False) -> None:
        self.sent.append(WebSocketMessage.pong(payload) if is_pong else WebSocketMessage.ping(payload))

    def recv(self, timeout_s: float | None) -> WebSocketMessage | None:
        return self._incoming.popleft() if self._incoming else None

    def following(self) -> WebSocketMessage:
        if not self._incoming:
            raise StopIteration
        return self._incoming.popleft()

    def close(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self.sent.append(WebSocketMessage.close())
