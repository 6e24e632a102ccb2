"""The test client's WebSocket through cello's own server: frames made and read by wsproto, over a socket pair."""

import asyncio
from collections import deque
from typing import Any

import h11
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from cello.testing.outgoing import Outgoing
from cello.testing.response import ResponseHead, TestResponse
from cello.testing.transport import TransportError
from cello.testing.websocket import WebSocketDenied


class NativeSocket:
    """One conversation on a connection of its own; a `SocketConnection`.

    Args:
        reader, writer: The client's end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Connection(ConnectionType.CLIENT)
        self._messages: deque[str | bytes] = deque()
        self._parts: list[Any] = []
        self._is_over = False
        self.fields: list[tuple[bytes, bytes]] = []
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""

    async def begin(self, request: Outgoing) -> "NativeSocket":
        """Send the handshake, and read its answer.

        Raises:
            WebSocketDenied: It was not accepted.
        """
        http = h11.Connection(h11.CLIENT)
        head = h11.Request(method=request.method, target=request.target, headers=list(request.headers))
        self._writer.write((http.send(head) or b"") + (http.send(h11.EndOfMessage()) or b""))
        body = b""
        answer: h11.Response | h11.InformationalResponse | None = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await self._reader.read(65_536))
            elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                self.fields = list(event.headers.raw_items())
                protocol = [value for name, value in event.headers if name == b"sec-websocket-protocol"]
                self.subprotocol = protocol[0].decode("ascii") if protocol else None
                self._read(http.trailing_data[0])
                return self
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                break
        self._writer.close()
        if answer is None:
            raise TransportError("the server closed the connection without an answer")
        fields = list(answer.headers.raw_items())
        raise WebSocketDenied(TestResponse(ResponseHead(request, answer.status_code, fields), body, []))

    async def send(self, message: str | bytes) -> None:
        """Send a message; one to a server that has closed is lost."""
        made = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        try:
            self._writer.write(self._frames.send(made))
            await self._writer.drain()
        except (LocalProtocolError, ConnectionError):
            return

    async def receive(self) -> str | bytes | None:
        """Return the next message, None when the application has closed."""
        while not self._messages and not self._is_over:
            data = await self._reader.read(65_536)
            if data:
                self._read(data)
            else:
                self._is_over = True
                self._closed(1006, "")
        return self._messages.popleft() if self._messages else None

    def _read(self, data: bytes) -> None:
        self._frames.receive_data(data)
        try:
            for event in self._frames.events():
                if isinstance(event, Message):
                    self._parts.append(event.data)
                    if event.message_finished:
                        self._messages.append(self._parts[0][:0].join(self._parts))
                        self._parts.clear()
                elif isinstance(event, Ping):
                    self._writer.write(self._frames.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self._closed(event.code, event.reason or "")
                    self._is_over = True
                    if self._frames.state is ConnectionState.REMOTE_CLOSING:
                        self._writer.write(self._frames.send(event.response()))
        except RemoteProtocolError as error:
            raise TransportError(f"the server broke the WebSocket protocol: {error}") from error

    def _closed(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the server to end the connection."""
        if self._frames.state is ConnectionState.OPEN:
            self._writer.write(self._frames.send(CloseConnection(code=code, reason=reason or None)))
        try:
            while await self._reader.read(65_536):
                continue
        except ConnectionError:
            self._is_over = True
        self._closed(code, reason)
        self._writer.close()
