"""What all connections of one worker share: settings, the clock, the date, and who is connected.

How a server uses it:

    state = ServerState(dispatcher, loop, choose_tier())
    server = await loop.create_server(lambda: Connection(dispatcher, state), sock=listener)
    state.start()
    ...                          # until told to end; then stop accepting
    server.close()
    state.drain()                # answers carry Connection: close, idle connections are half-closed
    await state.wait_empty()     # under a timeout, then:
    state.abort()
    state.stop()

Time is coarse: one timer per worker asks every connection whose deadline has passed, so no request pays for a timer
of its own, and a limit is met up to one tick late, never early.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from cello.gateways.native.tasks import start_task
from cello.http.grammar import format_date
from cello.pipeline.dispatch import Dispatcher
from cello.wire.tiers import Tier

TICK_S = 0.5
IDLE_BEFORE_DRAIN_S = 1.0


class Tracked(Protocol):
    """A connection as the state sees it, in whichever lane it is."""

    deadline: float

    def on_deadline(self) -> None:
        """Do what is due; called once `deadline` has passed."""

    def retire(self) -> None:
        """Half-close if idle; called each tick while draining."""

    def abort(self) -> None:
        """Drop the connection."""


class Lanes(Protocol):
    """What the fast lanes of a worker share."""

    @property
    def served(self) -> int:
        """Requests that were answered in them."""


class ServerState:
    """One per worker; used by its loop's thread only.

    Args:
        dispatcher: What answers.
        loop: Runs everything.
        tier: The head scanner.
        clock: Monotonic seconds.
        wall_clock: Seconds since the epoch, for the Date field.

    Attributes:
        connections: The open ones.
        general_requests: Heads dispatched so far by the general lane.
        lanes: What counts the others, or None.
        refused_connections: Turned away because `max_connections` were open.
        announced: By descriptor, client and server as a PROXY header named them (None = it named none); None = there
            are no such headers.
        abandoned_handlers: Threaded handlers whose answer came after their time was up.
        draining: Whether the worker is to end.
        tasks: Work on the loop in flight; strong references, as the loop keeps weak ones only.
        now: The clock at the last tick, in seconds.
        common_fields: The ready lines Date and Server.
    """

    __slots__ = (
        "_clock",
        "_timer",
        "_waiters",
        "_wall_clock",
        "abandoned_handlers",
        "announced",
        "common_fields",
        "connections",
        "dispatcher",
        "draining",
        "general_requests",
        "lanes",
        "loop",
        "now",
        "refused_connections",
        "tasks",
        "tier",
    )

    def __init__(
        self,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        tier: Tier,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.dispatcher = dispatcher
        self.loop = loop
        self.tier = tier
        self._clock = clock
        self._wall_clock = wall_clock
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.connections: set[Tracked] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.announced: dict[int, tuple[tuple[str, int], tuple[str, int] | None] | None] | None = None
        self.general_requests = 0
        self.lanes: Lanes | None = None
        self.refused_connections = 0
        self.abandoned_handlers = 0
        self.draining = False
        self.now = clock()
        self.common_fields = self._render_common_fields()

    @property
    def requests(self) -> int:
        """Heads dispatched so far."""
        return self.general_requests + (0 if self.lanes is None else self.lanes.served)

    def start(self) -> None:
        """Start the coarse timer."""
        self._timer = self.loop.call_later(TICK_S, self._on_timer)

    def stop(self) -> None:
        """End the timer; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = self.loop.call_later(TICK_S, self._on_timer)
        self.tick()

    def tick(self) -> None:
        """Advance the clock and call every connection that is due."""
        now = self.now = self._clock()
        self.common_fields = self._render_common_fields()
        for connection in [connection for connection in self.connections if connection.deadline <= now]:
            connection.on_deadline()
        if self.draining:
            for connection in list(self.connections):
                connection.retire()

    def deadline_in(self, seconds: float) -> float:
        """Return the deadline that lies at least `seconds` ahead, for `Tracked.deadline`."""
        return self.now + TICK_S + seconds

    def drain(self) -> None:
        """From now on every answer closes its connection, and idle ones are half-closed by the timer."""
        self.draining = True

    def abort(self) -> None:
        """Drop every connection and cancel what runs for it."""
        for connection in list(self.connections):
            connection.abort()
        for task in self.tasks:
            task.cancel()

    async def wait_empty(self) -> None:
        """Return when no connection is open and the work behind the last answers is done."""
        while self.connections or self.tasks:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def connection_lost(self, connection: Tracked) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self._wake_if_empty()

    def spawn(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        """Run `work` on the loop, up to its first wait right now where Python can (3.12+).

        Args:
            work: What to run.
            context: What to run it in; None for a copy of the current one.
        """
        self.keep(start_task(work, self.loop, context))

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold a task until it is done."""
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self._task_done)

    def _task_done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        self._wake_if_empty()

    def _wake_if_empty(self) -> None:
        if self._waiters and not self.connections and not self.tasks:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    def _render_common_fields(self) -> tuple[bytes, bytes]:
        return f"Date: {format_date(self._wall_clock())}\r\n".encode("ascii"), b"Server: cello\r\n"
