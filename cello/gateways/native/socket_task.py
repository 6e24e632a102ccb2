"""Talking with a WebSocket client from coroutines: the port of `async def` handlers.

PERF: a message that somebody waits for resumes the coroutine right inside `data_received`, without a turn of the loop;
what `recv()` and `async for` give to be awaited is made once per conversation; and a send that the client takes at once
is written at once, and waits for nothing.

This source is compiled a second time as `cello._speedups.socket_task`, typed by a `.pxd` there. So it defines the
classes that are compiled and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from importlib import import_module
from typing import Any

from cello import _speedups
from cello.gateways.native import socket_waits
from cello.gateways.native.socket_link import SocketLink
from cello.gateways.native.talker import HELD_BYTES, HELD_MESSAGES
from cello.http.websocket_message import WebSocketMessage
from cello.wire.ws import PING, PONG, control_frame


class Received:
    """What a coroutine awaits for the next message; it has no state, so one serves a whole conversation.

    Args:
        port: Of the conversation.
        iterates: Whether it ends by StopAsyncIteration when there are no more messages, else by None.
    """

    __slots__ = ("_iterates", "_port")

    def __init__(self, port: "TaskPort", iterates: bool) -> None:
        self._port = port
        self._iterates = iterates

    def __await__(self) -> "Received":
        return self

    def __iter__(self) -> "Received":
        return self

    def __next__(self) -> "TaskPort":
        port = self._port
        if port._count:
            raise StopIteration(port.take())
        if port._is_over:
            if self._iterates:
                raise StopAsyncIteration
            raise StopIteration(None)
        port.begin_wait()
        return port


class Sent:
    """What a send that need not wait gives to be awaited: nothing, at once."""

    __slots__ = ("_nothing",)

    def __init__(self) -> None:
        self._nothing = iter(())

    def __await__(self) -> Any:
        return self._nothing


class TaskPort:
    """The port of one conversation, and its link's talker; for a task that waits it is as much of a future as needed.

    A future's callbacks cost a turn of the loop, this one's is called at once. So `deliver` is for the loop's own
    callbacks, where no task is running.

    Args:
        link: The connection.

    Attributes:
        room: See `socket_waits.Roomed`.
        when_left: Called when the client closes or goes, or None.
        was_left: Whether it was called.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_context",
        "_count",
        "_encode",
        "_held",
        "_held_bytes",
        "_is_cancelled",
        "_is_over",
        "_is_waiting",
        "_iteration",
        "_link",
        "_next",
        "_received",
        "_sent",
        "room",
        "was_left",
        "when_left",
    )

    def __init__(self, link: SocketLink) -> None:
        self._link = link
        self._encode = link.codec.encode
        self._next: str | bytes | None = None  # the message that was waited for
        self._held: deque[str | bytes] = deque()  # those behind it
        self._count = 0
        self._held_bytes = 0
        self._is_over = False
        self._received = Received(self, False)
        self._iteration = Received(self, True)
        self._sent = Sent()
        self.room: asyncio.Future[None] | None = None
        self.when_left: Callable[[], object] | None = None
        self.was_left = False
        self._asyncio_future_blocking = False
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._is_waiting = False
        self._is_cancelled = False

    @property
    def is_blocking(self) -> bool:
        """Whether calls block: no, what they give is awaited."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed."""
        return self._link.is_open

    @property
    def close_code(self) -> int | None:
        """Of the first close frame."""
        return self._link.close_code

    @property
    def close_reason(self) -> str:
        """What came with it."""
        return self._link.close_reason

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""
        return self._link.state.loop

    # -- the link speaks --

    def deliver(self, message: str | bytes) -> bool:
        """Take a message, and resume who waits for one."""
        self._count += 1
        if self._is_waiting and self._next is None:
            self._next = message
            self._resume()
            return True
        self._held.append(message)
        self._held_bytes += len(message)
        return self._held_bytes <= HELD_BYTES and self._count <= HELD_MESSAGES

    def ended(self) -> None:
        """Resume who waits for a message; those that came before are still received."""
        self._is_over = True
        # On the next turn: this may be the very task that waits, closing its own connection.
        self._link.state.loop.call_soon(self._resume)
        if self.when_left is not None:
            self.was_left = True
            self.when_left()

    def writable(self) -> None:
        """Wake who waits to send."""
        room = self.room
        if room is not None:
            self.room = None
            if not room.done():
                room.set_result(None)

    def control(self, frame: bytes) -> None:
        """Have the link write a frame of its own: whatever was sent has been written."""
        self._link.put(frame)

    # -- the handler speaks --

    def send(self, message: str | bytes) -> Any:
        """Send a message, now; what is returned waits for a client that does not keep up."""
        link = self._link
        link.write(self._encode(message))
        return self._sent if link.can_write else socket_waits.drain(link, self)

    def offer(self, message: str | bytes) -> bool:
        """Send a message, unless the client does not keep up."""
        link = self._link
        if not link.can_write and link.is_open:
            return False
        link.write(self._encode(message))
        return True

    def drop(self, code: int, reason: str) -> None:
        """Begin to close."""
        self._link.close(code, reason)

    def ping(self, payload: bytes, *, is_pong: bool = False) -> Any:
        """Send a ping or pong, now."""
        self._link.write(control_frame(PONG if is_pong else PING, payload))
        return self._sent

    def recv(self, timeout_s: float | None) -> Any:
        """Return what gives the next message, or None when there are no more."""
        received: Any = self._received
        return received if timeout_s is None else socket_waits.receive_within(received, timeout_s)

    def following(self) -> Any:
        """Return what gives the next message, or ends an iteration when there are no more."""
        return self._iteration

    def close(self, code: int, reason: str) -> Any:
        """Close, and wait until the client has too, or its time is up."""
        self.when_left = None
        return socket_waits.close(self._link, code, reason)

    def take(self) -> WebSocketMessage:
        """Return the message that has waited longest; there is one."""
        self._count -= 1
        content = self._next
        if content is not None:
            self._next = None
        else:
            content = self._held.popleft()
            self._held_bytes -= len(content)
            if not self._count:
                self._link.take_more()
        return WebSocketMessage(content)

    # -- what a task asks of a future --

    def begin_wait(self) -> None:
        """Be what the current task waits for.

        Raises:
            RuntimeError: Another task does.
        """
        if self._is_waiting:
            raise RuntimeError("two tasks wait for the messages of one WebSocket")
        self._is_waiting = True
        self._asyncio_future_blocking = True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._link.state.loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context) -> None:
        """Remember the task's callback."""
        self._callback = callback
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        """Have the task be told, on the next turn."""
        if not self._is_waiting:
            return False
        self._is_cancelled = True
        self._link.state.loop.call_soon(self._resume)
        return True

    def result(self) -> None:
        """Let the task go on.

        Raises:
            CancelledError: It was cancelled.
        """
        if self._is_cancelled:
            self._is_cancelled = False
            raise asyncio.CancelledError

    def _resume(self) -> None:
        """Resume who waits, now."""
        callback = self._callback
        context = self._context
        if self._is_waiting and callback is not None and context is not None:
            self._is_waiting = False
            self._callback = self._context = None
            context.run(callback, self)


PureTaskPort = TaskPort
if _speedups.enabled:
    # By way of the dict: a name that is a compiled class cannot be assigned to, and this source is compiled too.
    globals()["TaskPort"] = import_module("cello._speedups.socket_task").TaskPort
