"""WebSocket under ASGI hosts: the host speaks the protocol, the handler's calls become its messages.

The handshake goes through the pipeline like any request (`cello.pipeline.sockets`). What is not accepted is answered
where the host can carry an answer, else refused by a close, which hosts make a 403.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from cello.errors import ClientDisconnected, ConfigError, NotFound, ServiceUnavailable
from cello.gateways.inbox import Receive
from cello.gateways.live import Message, Send
from cello.http.request import Request
from cello.http.response import Response
from cello.http.websocket import WebSocket
from cello.http.websocket_message import WebSocketMessage
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.sockets import Accepted, handler_ended

T = TypeVar("T")

HELD_MESSAGES = 256
ABNORMAL, NO_STATUS, TOO_BIG = 1006, 1005, 1009


async def serve_websocket(
    dispatcher: Dispatcher, request: Request, extensions: Any, receive: Receive, send: Send
) -> None:
    """Serve one WebSocket scope, from its handshake to its end."""
    await receive()  # websocket.connect, which says no more than the scope
    port = AsgiPort(receive, send, dispatcher.limits.max_ws_message)
    request._gateway = port
    response: Response | None = None
    try:
        plan = dispatcher.plan_for_socket(request)
        if plan is None:
            response = dispatcher.refuse(NotFound(f"There is no WebSocket at {request.path:.200}."), request)
        else:
            response = await dispatcher.answer_async(plan, request)
        if isinstance(response, Accepted):
            threads = dispatcher.long_threads
            if not response.is_async and threads.pending >= threads.size:
                response = dispatcher.refuse(ServiceUnavailable("All threads for conversations are taken."), request)
        if isinstance(response, Accepted):
            assert plan is not None  # only a plan accepts
            await talk(dispatcher, request, response, port, cancel_when_left=plan.cancel_on_disconnect)
        else:
            await deny(response, extensions, send)
    finally:
        if response is not None and dispatcher.needs_finish(request, response):
            await dispatcher.finish_async(request, response)


async def deny(response: Response, extensions: Any, send: Send) -> None:
    """Refuse the handshake with `response`, as far as the host can carry it."""
    payload = response.payload
    if "websocket.http.response" not in (extensions or {}):
        await send({"type": "websocket.close", "code": 1000, "reason": f"the handshake was answered {response.status}"})
    else:
        fields = [(name.lower(), value) for name, value in response.fields()]
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": fields})
        body = payload if isinstance(payload, bytes) else b""
        await send({"type": "websocket.http.response.body", "body": body})
    if not isinstance(payload, bytes):
        payload.close()


async def talk(
    dispatcher: Dispatcher, request: Request, accepted: Accepted, port: "AsgiPort", *, cancel_when_left: bool
) -> None:
    """Accept, run the handler, and close."""
    await port.accept(accepted)
    error: BaseException | None = None
    watch: asyncio.Task[None] | None = None
    task = asyncio.current_task()
    try:
        if accepted.is_async:
            if cancel_when_left and task is not None:
                watch = asyncio.create_task(port.read_ahead(task.cancel))
            await accepted.call(WebSocket.connected_by(port, request, accepted.subprotocol))
        else:
            socket = WebSocket.connected_by(BlockingPort(port), request, accepted.subprotocol)
            await dispatcher.long_threads.run(accepted.call, socket)
    except asyncio.CancelledError as cancelled:
        if task is None or not task.cancelling():
            error = cancelled  # of the handler's own making
        elif watch is not None and port.was_left:
            task.uncancel()
        else:
            port.let_go()
            raise
    except Exception as raised:  # noqa: BLE001  # every exception becomes a close
        error = raised
    finally:
        if watch is not None:
            watch.cancel()
    await port.close(*handler_ended(request, error, dispatcher.fault_listeners))


class AsgiPort:
    """The port of one conversation, for `async def` handlers.

    Args:
        receive, send: The host's.
        limit_bytes: The longest message; hosts have limits of their own, often smaller ones.

    Attributes:
        was_left: Whether the client has closed or gone.
    """

    is_blocking = False

    def __init__(self, receive: Receive, send: Send, limit_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._limit_bytes = limit_bytes
        self._pending: asyncio.Task[Message] | None = None
        self._offered: deque[str | bytes] = deque()
        self._sending: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self._closing: asyncio.Task[None] | None = None
        self.was_left = False
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed, as far as the host has said."""
        return self.close_code is None

    async def disconnected(self) -> bool:
        """Whether the connection is closed; answers at once."""
        return self.close_code is not None

    async def accept(self, accepted: Accepted) -> None:
        """Accept the handshake."""
        fields = [(name.lower(), value) for name, value in accepted.fields()]
        await self._send({"type": "websocket.accept", "subprotocol": accepted.subprotocol, "headers": fields})

    async def send(self, message: str | bytes) -> None:
        """Send a message."""
        if self.close_code is not None:
            raise ClientDisconnected("the WebSocket is closed")
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: message})
        except OSError as error:  # what the ASGI spec has hosts raise once the client has gone
            self._note(ABNORMAL, "")
            raise ClientDisconnected("the client has gone") from error

    def offer(self, message: str | bytes) -> bool:
        """Send a message, unless the host has not taken too many yet; on the loop."""
        if self.close_code is not None:
            raise ClientDisconnected("the WebSocket is closed")
        if len(self._offered) >= HELD_MESSAGES:
            return False
        self._offered.append(message)
        if self._sending is None:
            self._sending = self.loop.create_task(self._send_offered())
        return True

    async def _send_offered(self) -> None:
        with suppress(ClientDisconnected):
            while self._offered:
                await self.send(self._offered.popleft())
        self._offered.clear()
        self._sending = None

    def drop(self, code: int, reason: str) -> None:
        """Begin to close."""
        self._offered.clear()
        self._closing = self.loop.create_task(self.close(code, reason))

    async def ping(self, payload: bytes, *, is_pong: bool = False) -> None:
        """Refuse: ASGI has no message for it.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("ASGI hosts send pings of their own and offer none to the application")

    async def recv(self, timeout_s: float | None) -> WebSocketMessage | None:
        """Return the next message, or None when the connection is closed."""
        if self.close_code is not None:
            return None
        if timeout_s is None and self._pending is None:
            return await self._take(await self._receive())
        # A host's `receive` that is cancelled may lose what it was about to give: so it never is.
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._receive())
        await asyncio.wait({self._pending}, timeout=timeout_s)
        if not self._pending.done():
            raise TimeoutError
        pending, self._pending = self._pending, None
        return await self._take(pending.result())

    async def following(self) -> WebSocketMessage:
        """Return the next message; StopAsyncIteration when there are no more."""
        message = await self.recv(None)
        if message is None:
            raise StopAsyncIteration
        return message

    async def _take(self, message: Message) -> WebSocketMessage | None:
        if message["type"] != "websocket.receive":
            code = message.get("code")
            self._note(NO_STATUS if code is None else code, message.get("reason") or "")
            self.was_left = True
            return None
        content: str | bytes | None = message.get("text")
        if content is None:
            content = message.get("bytes") or b""
        size = len(content)
        if size * 4 > self._limit_bytes and isinstance(content, str):
            size = len(content.encode())
        if size > self._limit_bytes:
            await self.close(TOO_BIG, f"a message of more than {self._limit_bytes} bytes")
            return None
        return WebSocketMessage(content)

    async def close(self, code: int, reason: str) -> None:
        """Close; nothing happens when it is closed."""
        if self.close_code is None:
            self._note(code, reason)
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
            except OSError:
                return  # the client was quicker
        self.let_go()

    async def read_ahead(self, left: Callable[[], object]) -> None:
        """Read what the host has to say, and call `left` once the client has gone."""
        ahead: asyncio.Queue[Message] = asyncio.Queue(HELD_MESSAGES)
        receive, self._receive = self._receive, ahead.get
        while True:
            message = await receive()
            await ahead.put(message)
            if message["type"] != "websocket.receive":
                if self.close_code is None:
                    self.was_left = True
                    left()
                return

    def let_go(self) -> None:
        """Let go of the host's messages."""
        self._note(ABNORMAL, "")
        if self._pending is not None:
            self._pending.cancel()

    def _note(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason


class BlockingPort:
    """The same for a `def` handler, on its thread: every call is the loop's to make."""

    is_blocking = True

    def __init__(self, port: AsgiPort) -> None:
        self._port = port

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed, as far as the host has said."""
        return self._port.is_open

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The host's."""
        return self._port.loop

    @property
    def close_code(self) -> int | None:
        """The code of the close."""
        return self._port.close_code

    @property
    def close_reason(self) -> str:
        """What came with it."""
        return self._port.close_reason

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        self._run(self._port.send(message))

    def offer(self, message: str | bytes) -> bool:
        """Send a message without waiting; on the loop."""
        return self._port.offer(message)

    def drop(self, code: int, reason: str) -> None:
        """Begin to close; on the loop."""
        self._port.drop(code, reason)

    def ping(self, payload: bytes, *, is_pong: bool = False) -> None:
        """Refuse, as `AsgiPort` does."""
        self._run(self._port.ping(payload, is_pong=is_pong))

    def recv(self, timeout_s: float | None) -> WebSocketMessage | None:
        """Return the next message, or None when the connection is closed."""
        return self._run(self._port.recv(timeout_s))

    def following(self) -> WebSocketMessage:
        """Return the next message; StopIteration when there are no more."""
        message = self.recv(None)
        if message is None:
            raise StopIteration
        return message

    def close(self, code: int, reason: str) -> None:
        """Close; nothing happens when it is closed."""
        self._run(self._port.close(code, reason))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._port.loop)
        except RuntimeError:
            call.close()
            raise ClientDisconnected("the host has ended") from None
        try:
            return future.result()
        except asyncio.CancelledError:
            raise ClientDisconnected("the host has ended") from None
