"""The body of a request whose handler takes it unread, and how fast a body must come.

Nothing is kept here: a read pulls the next piece out of the parser, and waits when there is none. What the handler
does not pull stays in the parser, and behind its bound the connection stops reading: that is the back-pressure.
"""

import asyncio

from cello.errors import BadRequest, ClientDisconnected, ContentTooLarge, HTTPError, ProtocolError
from cello.gateways.native.link import Link
from cello.wire.h1 import END_OF_MESSAGE, NEED_DATA

MIN_BYTES_PER_SECOND = 240
GRACE_S = 20.0


class Pace:
    """How a body is coming in, while somebody waits for it.

    SECURITY: one byte every now and then would hold a connection, and a handler, for days.

    Args:
        now: Seconds of the coarse clock.
        silence_s: The longest wait for a byte.
    """

    __slots__ = ("_last_byte", "_received_bytes", "_silence_s", "_since")

    def __init__(self, now: float, silence_s: float) -> None:
        self._silence_s = silence_s
        self._received_bytes = 0
        self._since = self._last_byte = now

    def add(self, size: int, now: float) -> None:
        """Note bytes that came."""
        self._received_bytes += size
        self._last_byte = now

    def is_too_slow(self, now: float) -> bool:
        """Whether the wait is over: too long silent, or below the least rate after the grace."""
        if now - self._last_byte > self._silence_s:
            return True
        waited = now - self._since
        return waited > GRACE_S and self._received_bytes < waited * MIN_BYTES_PER_SECOND

    def resume(self, now: float, since_last_wait: float) -> None:
        """Leave out the time in which nobody waited: a busy handler is not the client's fault."""
        self._since += since_last_wait
        self._last_byte = now


class RequestBody:
    """The `BodySource` of one streamed request."""

    __slots__ = ("_fault", "_link", "_paused_at", "_waiter", "is_complete", "pace")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiter: asyncio.Future[None] | None = None
        self._fault: Exception | None = None
        self._paused_at = 0.0
        self.pace: Pace | None = None
        self.is_complete = False

    @property
    def is_awaited(self) -> bool:
        """Whether a read waits for bytes."""
        return self._waiter is not None

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end.

        Raises:
            ClientDisconnected: The client left before the end, or the answer was sent meanwhile.
            HTTPError: 413 over the limit, 408 too slow, 400 malformed.
        """
        while not self.is_complete:
            if self._fault is not None:
                raise self._fault
            try:
                event = self._link.parser.next_event()
            except ProtocolError as error:
                self.fail(_as_answer(error))
                continue
            if event is END_OF_MESSAGE:
                self.is_complete = True
            elif event is NEED_DATA:
                await self._wait()
            else:
                assert isinstance(event, bytes)  # a head comes only behind END_OF_MESSAGE
                return event
        return b""

    def read_blocking(self) -> bytes:
        """Do the same for a `def` handler on a worker thread."""
        loop = self._link.state.loop
        if asyncio._get_running_loop() is loop:
            raise RuntimeError("a blocking read on the loop's own thread would wait for itself; use an async handler")
        return asyncio.run_coroutine_threadsafe(self.read(), loop).result()

    def wake(self, size: int = 0) -> None:
        """Let a waiting read look again; `size` bytes have come."""
        if self.pace is not None:
            self.pace.add(size, self._link.state.now)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, fault: Exception) -> None:
        """End the body with a fault for whoever reads it, now or later."""
        if not self.is_complete and self._fault is None:
            self._fault = fault
            self.wake()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("two readers wait for the body of one request")
        link = self._link
        if link.has_eof:
            self.fail(ClientDisconnected("the client left before its request was complete"))
            return
        now = link.state.now
        if self.pace is None:
            self.pace = Pace(now, link.state.dispatcher.timeouts.read_body)
        else:
            self.pace.resume(now, now - self._paused_at)
        self._waiter = link.state.loop.create_future()
        link.body_is_awaited()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._paused_at = link.state.now


def _as_answer(error: ProtocolError) -> HTTPError:
    if error.status == 413:
        return ContentTooLarge(str(error))
    return BadRequest(str(error)) if error.status == 400 else HTTPError(error.status, str(error))
