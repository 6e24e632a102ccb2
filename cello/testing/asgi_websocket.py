"""The test client's WebSocket through ASGI: a strict host, which speaks messages and no frames."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cello.testing.outgoing import Outgoing
from cello.testing.response import ResponseHead, TestResponse
from cello.testing.transport import TransportError
from cello.testing.websocket import WebSocketDenied

Message = dict[str, Any]


class AsgiSocket:
    """One conversation, between the application's task and the test's; a `SocketConnection`."""

    def __init__(self, *, raise_errors: bool) -> None:
        self._raise_errors = raise_errors
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue()
        self._has_begun = False
        self._is_accepted = False
        self._task: asyncio.Task[None]
        self.fields: list[tuple[bytes, bytes]] = []
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""

    async def begin(
        self, app: Callable[[Any, Any, Any], Awaitable[None]], scope: Message, request: Outgoing
    ) -> "AsgiSocket":
        """Send the handshake.

        Raises:
            WebSocketDenied: It was not accepted.
        """
        self._to_app.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._run(app, scope))
        message = await self._from_app.get()
        if message is None:
            await self._task
            raise TransportError("the application returned without accepting or refusing the WebSocket")
        if message["type"] == "websocket.accept":
            self.subprotocol = message.get("subprotocol")
            self.fields = list(message.get("headers") or ())
            return self
        status, fields, body = 403, [], b""
        if message["type"] == "websocket.http.response.start":
            status, fields = message["status"], list(message["headers"])
            while (more := await self._from_app.get()) is not None:
                body += more.get("body", b"")
        await self._task
        raise WebSocketDenied(TestResponse(ResponseHead(request, status, fields), body, []))

    async def _run(self, app: Callable[[Any, Any, Any], Awaitable[None]], scope: Message) -> None:
        try:
            await app(scope, self._to_app.get, self._take)
        finally:
            self._from_app.put_nowait(None)

    async def _take(self, message: Any) -> None:
        """Take a message from the application."""
        kind = message["type"]
        if self.close_code is not None:
            raise OSError("the client has gone")
        if kind in ("websocket.accept", "websocket.close", "websocket.http.response.start") and not self._has_begun:
            self._has_begun = True
            self._is_accepted = kind == "websocket.accept"
        elif kind == "websocket.http.response.body" and self._has_begun and not self._is_accepted:
            pass  # with the start, the answer that refuses
        elif not self._is_accepted or kind not in ("websocket.send", "websocket.close"):
            raise TransportError(f"the application sent {kind!r} out of order")
        for name, _ in message.get("headers") or ():
            if name != name.lower():
                raise TransportError(f"ASGI header names are lower-case, not {name!r}")
        if kind == "websocket.close" and self._is_accepted:
            self.close_code, self.close_reason = message.get("code", 1000), message.get("reason") or ""
        self._from_app.put_nowait(message)

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        if self.close_code is None:
            kind = "text" if isinstance(message, str) else "bytes"
            self._to_app.put_nowait({"type": "websocket.receive", kind: message})

    async def receive(self) -> str | bytes | None:
        """Return the next message, None when the application has closed."""
        message = await self._from_app.get()
        if message is None or message["type"] == "websocket.close":
            self._from_app.put_nowait(None)
            return None
        text: str | bytes | None = message.get("text")
        return message["bytes"] if text is None else text

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the application to end."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": self.close_code, "reason": self.close_reason})
        await asyncio.wait({self._task})
        if self._raise_errors and not self._task.cancelled():
            await self._task
