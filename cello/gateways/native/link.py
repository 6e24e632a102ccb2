"""The transport side of a connection: bytes out, reading on and off, its two deadlines, and its end.

`Connection` adds the requests. An `Exchange` sees only this much of its connection.

Two deadlines run at once: one of the phase (or of the exchange that answers), one of bytes that the client does not
take. `deadline` is the earlier, and all that the state's tick looks at.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from cello.errors import ClientDisconnected
from cello.gateways.native.state import ServerState
from cello.http.peer import Peer
from cello.wire.h1 import RequestParser

READY, BODY, DISCARDING, ANSWERING, RETURNING, LINGERING, CLOSED = range(7)

JOIN_BYTES = 262_144
"""Up to here queued pieces are joined into one write.

PERF: 16 pieces of 200 bytes leave in 3.5 µs joined and in 25 µs apart; bench/micro/test_native.py.
"""
LARGE_BYTES = 65_536
"""A piece of this size leaves at once, so that a pipelined batch never holds several of them."""
LINGER_SILENCE_S = 5.0
LINGER_S = 30.0
NEVER = math.inf


class Link(asyncio.Protocol, ABC):
    """Base of `Connection`.

    Attributes:
        transport: Set by `attach`.
        peer: Who is on the other side; one object for all requests of the connection.
        parser: Holds what was received and not yet pulled.
        deadline: When `on_deadline` wants to be called, by the state's clock.
        has_eof: The client sends no more.
        is_lost: The transport is gone.
    """

    __slots__ = (
        "_can_write",
        "_due",
        "_is_advancing",
        "_is_reading",
        "_linger_until",
        "_out",
        "_phase",
        "_stall_due",
        "_unsent_bytes",
        "_writable",
        "_write_timeout_s",
        "deadline",
        "has_eof",
        "is_lost",
        "is_tls",
        "parser",
        "peer",
        "state",
        "transport",
    )

    transport: asyncio.Transport
    peer: Peer

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.parser = RequestParser(state.tier.parse_head, state.dispatcher.limits)
        self.has_eof = False
        self.is_lost = False
        self.is_tls = False
        self.deadline = NEVER
        self._phase = READY
        self._due = NEVER
        self._stall_due = NEVER
        self._unsent_bytes = 0
        self._linger_until = NEVER
        self._write_timeout_s = state.dispatcher.timeouts.write
        self._out: list[bytes] = []
        self._can_write = True
        self._is_reading = True
        self._is_advancing = False  # while True, what is queued leaves with the write at its end
        self._writable: asyncio.Future[None] | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Take a transport and be counted."""
        self.transport = transport
        self.peer, self.is_tls = peer_of(transport, self.state.announced)
        self.state.connections.add(self)

    def detach(self) -> None:
        """Be lost: wake who waits for the client, and be forgotten."""
        self.is_lost = True
        self._phase = CLOSED
        self._out.clear()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ClientDisconnected("the client has gone"))
        self.state.connection_lost(self)

    # -- bytes out --

    def queue(self, *pieces: bytes) -> None:
        """Add to the next write; a large piece does not wait for it, so that few are held at once."""
        self._out += pieces
        if not self._is_advancing or len(pieces[-1]) >= LARGE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is queued."""
        out = self._out
        if not out or self.is_lost:
            return
        self._out = []
        if len(out) == 1:
            self.transport.write(out[0])
        elif sum(map(len, out)) <= JOIN_BYTES:
            self.transport.write(b"".join(out))
        else:
            # SECURITY: not `writelines`, which up to 3.12.8 and 3.13.1 never pauses its protocol (CVE-2024-12254).
            for piece in out:
                self.transport.write(piece)

    @property
    def can_write(self) -> bool:
        """Whether the client takes what is written; else `drain` first."""
        return self._can_write and not self.is_lost

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written.

        Raises:
            ClientDisconnected: It has gone.
        """
        if self.is_lost:
            raise ClientDisconnected("the client has gone")
        if not self._can_write:
            self._writable = self.state.loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    def pause_writing(self) -> None:
        """Stop producing: the client reads more slowly than it is answered."""
        self._can_write = False
        self.watch_unsent()

    def resume_writing(self) -> None:
        """Go on producing."""
        self._can_write = True
        if self._phase >= LINGERING:
            self.watch_unsent()
        else:
            self._stall_due = NEVER
            self.set_due(self._due)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # -- bytes in --

    def pause_reading(self) -> None:
        """Leave further bytes to the kernel; idempotent."""
        if self._is_reading:
            self._is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on; idempotent."""
        if not self._is_reading:
            self._is_reading = True
            self.transport.resume_reading()

    # -- what an exchange asks of its connection --

    @abstractmethod
    def may_keep_alive(self) -> bool:
        """Whether the connection can live on behind the answer."""

    @abstractmethod
    def exchange_over(self, keep_alive: bool) -> None:
        """Go on behind an answer that was queued or sent."""

    @abstractmethod
    def body_is_awaited(self) -> None:
        """Invite the body, read on, and watch its pace: a handler waits for it."""

    async def disconnected(self) -> bool:
        """Whether the client has gone, or at least sends no more; never waits."""
        return self.is_lost or self.has_eof

    # -- time --

    def set_due(self, due: float) -> None:
        """Set the deadline of the phase."""
        self._due = due
        stall_due = self._stall_due
        self.deadline = due if due < stall_due else stall_due

    def answer_is_due(self, seconds: float | None) -> None:
        """Have the phase end in so many seconds, or never."""
        self.set_due(NEVER if seconds is None else self.state.deadline_in(seconds))

    def watch_unsent(self) -> None:
        """Give the client the write timeout, from now, to take something of what is unsent."""
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stall_due = self.state.deadline_in(self._write_timeout_s)
        self.set_due(self._due)

    def on_deadline(self) -> None:
        """Do what is due: called by the state's tick."""
        now = self.state.now
        if now >= self._stall_due and self._has_stalled():
            self.abort()
        elif now >= self._due:
            if self._phase < LINGERING:
                self.phase_is_over()
            elif self.transport.get_write_buffer_size():
                self.set_due(self.state.deadline_in(LINGER_SILENCE_S))  # the client still reads; see _has_stalled
            else:
                self.abort()

    @abstractmethod
    def retire(self) -> None:
        """Half-close if idle for a while: called on each tick while the worker drains."""

    @abstractmethod
    def phase_is_over(self) -> None:
        """Act on a deadline before the end."""

    def _has_stalled(self) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent >= self._unsent_bytes:
            return True
        if unsent:
            self.watch_unsent()
        else:
            self._stall_due = NEVER
            self.set_due(self._due)
        return False

    # -- the end --

    def leave_transport(self) -> tuple[bytes, bool]:
        """Stop being the transport's protocol; return what was received and not used, and whether it can write."""
        self.resume_reading()
        self.state.connections.discard(self)
        self.is_lost = True
        self._phase = CLOSED
        return self.parser.take_rest(), self._can_write

    def abort(self) -> None:
        """Drop the connection; what was not sent is lost."""
        self._phase = CLOSED
        self.transport.abort()

    def close(self) -> None:
        """Close once everything is sent."""
        self.flush()
        self._phase = CLOSED
        self.watch_unsent()
        self.set_due(self.state.deadline_in(LINGER_S))
        self.transport.close()

    def linger(self) -> None:
        """Close our side and read on for a while (RFC 9112 §9.6).

        Closing with unread bytes makes the kernel send a reset, and the client may lose the answer to it.
        """
        if self.has_eof:
            self.close()
            return
        self.flush()
        self._phase = LINGERING
        self.resume_reading()
        self._linger_until = self.state.deadline_in(LINGER_S)
        self.watch_unsent()
        self.set_due(self.state.deadline_in(LINGER_SILENCE_S))
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def linger_on(self) -> None:
        """Wait on for a client that still sends, within bounds."""
        self.set_due(min(self.state.deadline_in(LINGER_SILENCE_S), self._linger_until))


def peer_of(transport: asyncio.BaseTransport, announced: Mapping[int, Any] | None = None) -> tuple[Peer, bool]:
    """Return who is connected, and whether by TLS; `announced` is that of the state."""
    is_tls = transport.get_extra_info("sslcontext") is not None
    client = transport.get_extra_info("peername")
    server = transport.get_extra_info("sockname")
    if announced:
        named = announced.get(transport.get_extra_info("socket").fileno())
        client, server = (client, server) if named is None else (named[0], named[1] or server)
    return (
        Peer(
            "https" if is_tls else "http",
            (client[0], client[1]) if isinstance(client, tuple) else None,
            (server[0], server[1]) if isinstance(server, tuple) else (server, None) if server else None,
        ),
        is_tls,
    )
