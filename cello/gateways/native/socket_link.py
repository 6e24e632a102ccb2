"""One WebSocket connection behind its handshake: frames in and out, keep-alive, and every way in which it can end.

    OPEN ──our close frame──▶ CLOSING ──theirs──▶ CLOSED
      │                                             ▲
      ├──their close frame, answered────────────────┤
      ├──a fault of theirs, told──▶ LINGERING ──eof─┤
      └──they just go───────────────────────────────┘

The link reads and answers control frames on the loop, whatever the handler does. Messages go to whoever talks for the
handler: a coroutine (socket_task.py), or a thread (socket_thread.py).

Rule 1: what is not received yet by the handler is bounded; beyond the bound the transport stops reading. While it does,
nothing is held against a client that stays silent.
Rule 2: what the client does not take is bounded: senders wait, and a client that takes nothing for the write timeout is
dropped. Of the pings that come meanwhile only the last is answered (RFC 6455 §5.5.3).
Rule 3: the talker hears of the end exactly once, whichever it is.

This source is compiled a second time as `cello._speedups.socket_link`, typed by a `.pxd` there. So it defines the class
that is compiled and nothing else.
"""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import cast

from cello import _speedups
from cello.errors import ClientDisconnected
from cello.gateways.native.state import ServerState
from cello.gateways.native.talker import CLOSE_TIMEOUT_S, NEVER, UNSENT_BYTES, Talker
from cello.wire.ws import (
    ABNORMAL,
    GOING_AWAY,
    PING,
    PONG,
    Close,
    Codec,
    Event,
    Failure,
    Ping,
    close_frame,
    control_frame,
)


class SocketLink:
    """The transport's protocol once a handshake was accepted.

    Args:
        state: The worker's.
        codec: Reads and writes frames.

    Attributes:
        transport: Set by `attach`.
        deadline: When `on_deadline` wants to be called, by the state's clock.
        close_code: Of the first close frame, in either direction; 1006 when there was none. None while open.
        close_reason: What came with it.
        codec: Reads and writes frames.
        can_write: Whether the client takes what is sent.
        is_open: Whether neither side has closed.
        is_reading: Whether the transport reads.
        gone: Done once the connection is.
    """

    __slots__ = (
        "_due",
        "_early",
        "_heard_s",
        "_is_deaf",
        "_is_pinged",
        "_owed_pong",
        "_receive",
        "_stall_due",
        "_talker",
        "_unsent_bytes",
        "_write",
        "can_write",
        "close_code",
        "close_reason",
        "codec",
        "deadline",
        "gone",
        "is_open",
        "is_reading",
        "state",
        "transport",
    )

    transport: asyncio.Transport
    _talker: Talker
    _write: Callable[[bytes], None]

    def __init__(self, state: ServerState, codec: Codec) -> None:
        self.state = state
        self.codec = codec
        self.close_code: int | None = None
        self.close_reason = ""
        self.can_write = True
        self.is_open = True
        self.is_reading = True
        self.gone: asyncio.Future[None] = state.loop.create_future()
        self.deadline = self._due = self._stall_due = NEVER
        self._receive = codec.receive
        self._early = b""
        self._heard_s = state.now
        self._is_deaf = False  # whatever comes is dropped
        self._is_pinged = False
        self._owed_pong: bytes | None = None
        self._unsent_bytes = 0

    def attach(self, transport: asyncio.Transport, talker: Talker, rest: bytes, *, can_write: bool) -> None:
        """Take over a transport whose 101 was written, and the bytes received behind the handshake."""
        self.transport = transport
        self.can_write = can_write
        self._talker = talker
        self._write = getattr(transport, "write_soon", transport.write)
        self.state.connections.add(self)
        transport.set_protocol(cast(asyncio.Protocol, self))  # it is one in all but ancestry
        self._watch_silence()
        if not can_write:
            self._watch_unsent()
        if rest:  # it waits until the handler has begun, so that its answers go before one to a close frame
            self._early = rest
            self._receive = self._receive_early
            self.state.loop.call_soon(self.data_received, b"")

    def _receive_early(self, data: bytes) -> list[Event]:
        self._receive = self.codec.receive
        early, self._early = self._early, b""
        return self._receive(early + data)

    # -- the transport speaks --

    def data_received(self, data: bytes) -> None:
        """Take bytes, and hand on what they complete."""
        self._heard_s = self.state.now
        if self._is_deaf:
            return
        events = self._receive(data)
        for event in events:
            if type(event) is str or type(event) is bytes:
                if self.is_open and not self._talker.deliver(event):
                    self._stop_reading()
            else:
                self._on_control(event)

    def eof_received(self) -> bool:
        """End: a client that sends no more is gone, even where it could still read."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody."""
        self._end(ABNORMAL, "")
        self._is_deaf = True
        self.can_write = False
        self._talker.writable()
        self.state.connection_lost(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        """Have senders wait."""
        self.can_write = False
        self._watch_unsent()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self.can_write = True
        self._stall_due = NEVER
        self._set_due(self._due)
        if self._owed_pong is not None:
            payload, self._owed_pong = self._owed_pong, None
            self._pong(payload)
        self._talker.writable()

    # -- the talker speaks --

    def write(self, frame: bytes) -> None:
        """Send a frame of the handler's.

        Raises:
            ClientDisconnected: The connection is closed, or the client has not kept up by far.
        """
        if not self.is_open:
            raise ClientDisconnected("the WebSocket is closed")
        if not self.can_write and self.transport.get_write_buffer_size() > UNSENT_BYTES:
            self.abort()
            raise ClientDisconnected(f"the client left more than {UNSENT_BYTES} bytes unread")
        self._write(frame)

    def put(self, frame: bytes) -> None:
        """Give a frame to the transport."""
        self._write(frame)

    def is_flushed(self) -> bool:
        """Whether the transport has nothing left to send; may be asked by any thread."""
        try:
            return self.can_write and not self.transport.get_write_buffer_size()
        except RuntimeError:  # asyncio's own counts a queue, which the loop changed meanwhile
            return False

    def take_more(self) -> None:
        """Read on: the handler has caught up."""
        if not self.is_reading:
            self.is_reading = True
            self._heard_s = self.state.now
            if not self._is_deaf:
                self.transport.resume_reading()
            self._watch_silence()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; nothing happens when it has begun."""
        if self.is_open:
            self._end(code, reason)
            self._talker.control(close_frame(code, reason))
            self.take_more()  # their close frame may stand behind messages that nobody wants any more
            self._set_due(self.state.deadline_in(CLOSE_TIMEOUT_S))

    # -- control frames --

    def _on_control(self, event: Event) -> None:
        if isinstance(event, Ping):
            if self.is_open:
                self._pong(event.payload)
        elif isinstance(event, Close):
            was_open = self.is_open
            self._end(event.code, event.reason)
            if was_open:
                self._talker.control(close_frame(event.code))
            self._hang_up()
        elif isinstance(event, Failure):
            was_open = self.is_open
            self._end(event.code, event.reason)
            if was_open:
                self._talker.control(close_frame(event.code, event.reason))
            self._linger()

    def _pong(self, payload: bytes) -> None:
        if self.can_write:
            self._talker.control(control_frame(PONG, payload))
        else:
            self._owed_pong = payload

    # -- time --

    def _set_due(self, due: float) -> None:
        self._due = due
        self.deadline = min(due, self._stall_due)

    def _watch_silence(self) -> None:
        """Have the deadline pass when nothing was heard for the interval; never while we do not listen."""
        state, interval_s = self.state, self.state.dispatcher.limits.ws_ping_interval
        self._is_pinged = False
        if self.is_open:
            listens = interval_s > 0 and self.is_reading
            self._set_due(self._heard_s - state.now + state.deadline_in(interval_s) if listens else NEVER)

    def _watch_unsent(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stall_due = self.state.deadline_in(self.state.dispatcher.timeouts.write)
        self._set_due(self._due)

    def on_deadline(self) -> None:
        """Do what is due: called by the state's tick."""
        if self.state.now >= self._stall_due:
            unsent = self.transport.get_write_buffer_size()
            if unsent and unsent >= self._unsent_bytes:
                self.abort()
            else:
                self._watch_unsent()
        elif self.is_open:
            self._on_silence()
        else:
            self.abort()

    def _on_silence(self) -> None:
        limits = self.state.dispatcher.limits
        silent_s = self.state.now - self._heard_s
        if not self.is_reading or silent_s < limits.ws_ping_interval:
            self._watch_silence()
        elif not self._is_pinged:
            self._is_pinged = True
            if self.can_write:
                self._talker.control(control_frame(PING))
            self._set_due(self.state.deadline_in(limits.ws_ping_timeout))
        elif silent_s < limits.ws_ping_timeout:
            self._watch_silence()
        else:
            self.abort()

    def retire(self) -> None:
        """Close: called on each tick while the worker drains."""
        self.close(GOING_AWAY, "the server is going away")

    # -- the end --

    def abort(self) -> None:
        """Drop the connection; what was not sent is lost."""
        self._end(ABNORMAL, "")
        self._is_deaf = True
        self.transport.abort()

    def _hang_up(self) -> None:
        """Close the connection behind both close frames: the server goes first (RFC 6455 §7.1.1)."""
        self._is_deaf = True
        self._watch_unsent()
        self._set_due(self.state.deadline_in(CLOSE_TIMEOUT_S))
        self.transport.close()

    def _linger(self) -> None:
        """Close our side and drop what still comes: closing at once could cost the client our close frame."""
        if not self.transport.can_write_eof():
            self._hang_up()
            return
        self._is_deaf = True
        self.transport.resume_reading()
        self._set_due(self.state.deadline_in(CLOSE_TIMEOUT_S))
        self.transport.write_eof()

    def _end(self, code: int, reason: str) -> None:
        """Note how it ends, the first time."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self.is_open = False
            self._talker.ended()
            self._talker.writable()

    def _stop_reading(self) -> None:
        if self.is_reading:
            self.is_reading = False
            self.transport.pause_reading()


PureSocketLink = SocketLink
if _speedups.enabled:
    # By way of the dict: a name that is a compiled class cannot be assigned to, and this source is compiled too.
    globals()["SocketLink"] = import_module("cello._speedups.socket_link").SocketLink
