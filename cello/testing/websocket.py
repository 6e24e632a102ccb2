"""WebSocket in tests: the client's side of a conversation, as plain calls and as coroutines.

    with client.websocket_connect("/ws") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"

A handshake that is not accepted raises `WebSocketDenied`, with the answer in it.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from cello.errors import CelloError
from cello.http.websocket_message import WebSocketMessage
from cello.testing.outgoing import Outgoing
from cello.testing.response import TestResponse

T = TypeVar("T")


class SocketConnection(Protocol):
    """One conversation as a transport sees it.

    Attributes:
        fields: Of the answer that accepted it.
        subprotocol: What the application chose, or None.
    """

    fields: list[tuple[bytes, bytes]]
    subprotocol: str | None

    @property
    def close_code(self) -> int | None:
        """Of the close, once there was one."""

    @property
    def close_reason(self) -> str:
        """What came with it."""

    async def send(self, message: str | bytes) -> None:
        """Send a message."""

    async def receive(self) -> str | bytes | None:
        """Return the next message, None when the application has closed."""

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait until the application is done with it; nothing happens when it is."""


class WebSocketDenied(CelloError):
    """The application did not accept a handshake.

    Attributes:
        response: Its answer.
    """

    def __init__(self, response: TestResponse) -> None:
        super().__init__(f"the handshake was answered {response.status_code}: {response.text[:200]}")
        self.response = response


class WebSocketClosed(CelloError):
    """The application has closed, and the test wants another message.

    Attributes:
        code: Of the close.
        reason: What came with it.
    """

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the application closed the WebSocket: {code} {reason}")
        self.code = code
        self.reason = reason


def as_handshake(request: Outgoing, subprotocols: Sequence[str]) -> Outgoing:
    """Return `request` with the fields of a WebSocket handshake."""
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    if subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    given = {name.lower() for name, _ in request.headers}
    own = [field for field in fields if field[0].lower() not in given]
    return Outgoing(request.method, request.url, [*request.headers, *own], request.body)


class AsyncTestWebSocket:
    """The client's side of a conversation, for async tests; comes from `async with client.websocket_connect(…)`.

    Attributes:
        subprotocol: What the application chose, or None.
        headers: Of the answer that accepted it.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(self, connection: SocketConnection) -> None:
        self._connection = connection
        self._pending: asyncio.Task[str | bytes | None] | None = None
        self.subprotocol = connection.subprotocol
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in connection.fields}

    @property
    def close_code(self) -> int | None:
        """The code of the close, once there was one."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """What came with the close."""
        return self._connection.close_reason

    async def send(self, message: str | bytes) -> None:
        """Send text or bytes."""
        await self._connection.send(message)

    async def send_text(self, text: str) -> None:
        """Send a text message."""
        await self._connection.send(text)

    async def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        await self._connection.send(data)

    send_bytes = send_binary

    async def send_json(self, data: Any) -> None:
        """Send a text message of JSON."""
        await self._connection.send(json.dumps(data))

    async def recv(self, timeout: float | None = 30.0) -> WebSocketMessage | None:  # noqa: ASYNC109  # as `ws.recv`
        """Return the next message, None when the application has closed.

        Raises:
            TimeoutError: There was none in time.
        """
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._connection.receive())
        await asyncio.wait({self._pending}, timeout=timeout)
        if not self._pending.done():
            raise TimeoutError(f"no message in {timeout} s")
        pending, self._pending = self._pending, None
        message = pending.result()
        return None if message is None else WebSocketMessage(message)

    async def receive_text(self) -> str:
        """Return the next message, which must be text.

        Raises:
            WebSocketClosed: The application has closed.
        """
        message = await self._expect()
        if not isinstance(message.content, str):
            raise TypeError(f"the application sent {message!r}, not text")
        return message.content

    async def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary.

        Raises:
            WebSocketClosed: The application has closed.
        """
        message = await self._expect()
        if not isinstance(message.content, bytes):
            raise TypeError(f"the application sent {message!r}, not bytes")
        return message.content

    async def receive_json(self) -> Any:
        """Return what the next message says as JSON.

        Raises:
            WebSocketClosed: The application has closed.
        """
        return json.loads((await self._expect()).content)

    async def _expect(self) -> WebSocketMessage:
        message = await self.recv()
        if message is None:
            raise WebSocketClosed(self.close_code, self.close_reason)
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until the application is done with it."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
        await self._connection.close(code, reason)


class TestWebSocket:
    """The client's side of a conversation, for plain tests; comes from `with client.websocket_connect(…)`.

    Attributes:
        subprotocol: What the application chose, or None.
        headers: Of the answer that accepted it.
    """

    __test__ = False

    def __init__(self, other: AsyncTestWebSocket, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._other = other
        self._run = run
        self.subprotocol = other.subprotocol
        self.headers = other.headers

    @property
    def close_code(self) -> int | None:
        """The code of the close, once there was one."""
        return self._other.close_code

    @property
    def close_reason(self) -> str:
        """What came with the close."""
        return self._other.close_reason

    def send(self, message: str | bytes) -> None:
        """Send text or bytes."""
        self._run(self._other.send(message))

    def send_text(self, text: str) -> None:
        """Send a text message."""
        self._run(self._other.send(text))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        self._run(self._other.send(data))

    send_bytes = send_binary

    def send_json(self, data: Any) -> None:
        """Send a text message of JSON."""
        self._run(self._other.send_json(data))

    def recv(self, timeout: float | None = 30.0) -> WebSocketMessage | None:
        """Return the next message, None when the application has closed.

        Raises:
            TimeoutError: There was none in time.
        """
        message: WebSocketMessage | None = self._run(self._other.recv(timeout))
        return message

    def receive_text(self) -> str:
        """Return the next message, which must be text.

        Raises:
            WebSocketClosed: The application has closed.
        """
        text: str = self._run(self._other.receive_text())
        return text

    def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary.

        Raises:
            WebSocketClosed: The application has closed.
        """
        data: bytes = self._run(self._other.receive_bytes())
        return data

    def receive_json(self) -> Any:
        """Return what the next message says as JSON.

        Raises:
            WebSocketClosed: The application has closed.
        """
        return self._run(self._other.receive_json())

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait until the application is done with it."""
        self._run(self._other.close(code, reason))
