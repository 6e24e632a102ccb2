"""Talking with a WebSocket client from a thread: the port of `def` handlers.

The loop reads, and hands messages over through a queue that blocks outside the interpreter's lock. What is sent goes
right to the socket where it can (`Wire`, compiled, no TLS, nothing before it unsent), which saves waking the loop: a
third of the time of an echo. Else the loop writes it, all that came together in one go.

Rule: whoever writes, thread or loop, does so under the lock. So frames are never torn apart by others, and nothing
follows a close frame.
"""

import threading
from collections.abc import Callable
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from cello import _speedups
from cello.errors import ClientDisconnected
from cello.gateways.native.socket_link import SocketLink
from cello.gateways.native.talker import HELD_BYTES, HELD_MESSAGES
from cello.http.websocket_message import WebSocketMessage
from cello.wire.ws import PING, PONG, control_frame

UNWRITTEN_BYTES = 65_536
"""Handed to the loop and not yet written; beyond, senders wait."""


class Wire(Protocol):
    """A socket that another thread's transport owns."""

    def send(self, data: bytes) -> int:
        """Return how many bytes the socket took at once, or -1 when it is gone."""

    def forget(self) -> None:
        """Never touch the socket again."""


class Mailbox(Protocol):
    """A queue from the loop to the handler's thread, such as `queue.SimpleQueue`."""

    def put(self, item: str | bytes | None) -> None:
        """Add something."""

    def get(self, block: bool = True, timeout: float | None = None) -> str | bytes | None:
        """Take what has been there longest; wait for it."""

    def empty(self) -> bool:
        """Whether there is nothing."""

    def qsize(self) -> int:
        """Return how much there is."""


class ThreadPort:
    """The port of one conversation, and its link's talker.

    The link's calls come from the loop, all others from threads. Bytes are counted on either side of the queue by who
    is there alone, so no lock is needed for them.
    """

    __slots__ = (
        "_encode",
        "_frames",
        "_gave_bytes",
        "_has_stopped",
        "_is_over",
        "_is_told",
        "_link",
        "_lock",
        "_messages",
        "_must_wait",
        "_room",
        "_took_bytes",
        "_unwritten_bytes",
        "_wire",
    )

    is_blocking = True
    loop = None

    def __init__(self, link: SocketLink) -> None:
        self._link = link
        self._encode = link.codec.encode
        self._messages: Mailbox = SimpleQueue()
        self._gave_bytes = 0
        self._took_bytes = 0
        self._has_stopped = False  # the link does not read
        self._is_told = False  # the handler has seen the end
        self._is_over = False
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._frames: list[bytes] = []
        self._unwritten_bytes = 0
        self._must_wait = False
        self._room = threading.Event()

    def open_wire(self) -> None:
        """Send without the loop from now on, and be woken together with others, where that can be.

        Called once the link is attached, before anything was delivered.
        """
        transport = self._link.transport
        make_mailbox = getattr(transport, "mailbox", None)
        if make_mailbox is not None:
            self._messages = make_mailbox()
        sock = transport.get_extra_info("socket")
        if _speedups.enabled and sock is not None and transport.get_extra_info("sslcontext") is None:
            self._wire = import_module("cello._speedups.frames").Wire(sock.fileno())

    # -- the link speaks, on the loop --

    def deliver(self, message: str | bytes) -> bool:
        """Take a message."""
        self._messages.put(message)
        self._gave_bytes += len(message)
        if self._gave_bytes - self._took_bytes <= HELD_BYTES and self._messages.qsize() <= HELD_MESSAGES:
            return True
        self._has_stopped = True
        if self._messages.empty():  # taken just now, by a thread that had not seen the line above
            self._has_stopped = False
            return True
        return False

    def ended(self) -> None:
        """Let the handler see the end behind what has come."""
        self._is_over = True
        if self._wire is not None:
            self._wire.forget()
        self._messages.put(None)

    def writable(self) -> None:
        """Wake who waits to send."""
        self._must_wait = False
        self._room.set()

    def control(self, frame: bytes) -> None:
        """Have the link write a frame of its own, behind what was sent."""
        with self._lock:
            self._write_frames()
            self._link.put(frame)

    def _flush(self) -> None:
        """Write what was handed over."""
        with self._lock:
            self._write_frames()
        if self._link.can_write or self._is_over:
            self.writable()

    def _write_frames(self) -> None:
        frames, self._frames = self._frames, []
        self._unwritten_bytes = 0
        if frames:
            self._link.put(frames[0] if len(frames) == 1 else b"".join(frames))

    # -- the handler speaks, on its thread --

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed."""
        return not self._is_over and self._link.is_open

    @property
    def close_code(self) -> int | None:
        """Of the first close frame."""
        return self._link.close_code

    @property
    def close_reason(self) -> str:
        """What came with it."""
        return self._link.close_reason

    def send(self, message: str | bytes) -> None:
        """Send a message; wait while the client does not keep up."""
        with self._lock:  # over the encoding too: what is compressed refers to what was sent before
            self._send(self._encode(message))
        if self._must_wait:
            self._room.wait()

    def offer(self, message: str | bytes) -> bool:
        """Send a message, unless the client does not keep up; from any thread."""
        with self._lock:
            if not self._is_over and (self._must_wait or not self._link.can_write):
                return False
            self._send(self._encode(message))
        return True

    def drop(self, code: int, reason: str) -> None:
        """Begin to close."""
        self.close(code, reason)

    def ping(self, payload: bytes, *, is_pong: bool = False) -> None:
        """Send a ping or pong."""
        frame = control_frame(PONG if is_pong else PING, payload)
        with self._lock:
            self._send(frame)

    def recv(self, timeout_s: float | None) -> WebSocketMessage | None:
        """Return the next message, or None when there are no more."""
        if self._is_told:
            return None
        try:
            message = self._messages.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError from None
        if message is None:
            self._is_told = True
            return None
        self._took_bytes += len(message)
        if self._has_stopped and self._messages.empty():
            self._has_stopped = False
            self._on_loop(self._link.take_more)
        return WebSocketMessage(message)

    def following(self) -> WebSocketMessage:
        """Return the next message; StopIteration when there are no more."""
        message = self.recv(None)
        if message is None:
            raise StopIteration
        return message

    def close(self, code: int, reason: str) -> None:
        """Close, behind what was sent. The rest of the handshake is the loop's to wait for."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        self._on_loop(self._link.close, code, reason)

    def _send(self, frame: bytes) -> None:
        """Send a frame, or have the loop do so; called with the lock held.

        Raises:
            ClientDisconnected: The connection is closed.
        """
        if self._is_over:
            raise ClientDisconnected("the WebSocket is closed")
        if self._wire is not None and not self._frames and self._link.is_flushed():
            sent = self._wire.send(frame)
            if sent == len(frame):
                return
            frame = frame[max(0, sent) :]
        self._frames.append(frame)
        self._unwritten_bytes += len(frame)
        if self._unwritten_bytes > UNWRITTEN_BYTES or not self._link.can_write:
            self._room.clear()
            self._must_wait = True
        if len(self._frames) == 1:
            self._on_loop(self._flush)

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._link.state.loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            raise ClientDisconnected("the worker has ended") from None
