"""One at a time: of all who miss the same key at once, one makes the answer and the others wait for it.

Threads and event loops alike wait here, so `def` and `async def` requests of one process share a flight. Who waits is
told how the flight ended and looks again; nobody is handed an answer past the rules.

Rule 1: a flight ends by `land`, whatever happens to its request; one that never lands is overtaken after `MOST_WAIT_S`.
Rule 2: what turned out not to be kept is not waited for again for a while: such requests must not queue up.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum

MOST_WAIT_S = 15.0
PASSING_S = 10.0
"""For how long requests for what could not be kept pass each other freely."""
MOST_PASSING = 10_000


class Landing(Enum):
    """How a flight ended."""

    STORED = "look again"
    NOT_STORED = "there is nothing to share: each for themselves, also those who come in a while"
    FAILED = "a stale answer will have to do, else each for themselves"
    LOST = "the request was given up: somebody else should try"


class Flight:
    """The making of one answer.

    Attributes:
        landing: How it ended, or None.
    """

    __slots__ = ("_event", "_waiting", "began_s", "key", "landing")

    def __init__(self, key: str, began_s: float) -> None:
        self.key = key
        self.began_s = began_s
        self.landing: Landing | None = None
        self._event = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def block(self) -> Landing | None:
        """Wait on this thread; None where it took too long."""
        self._event.wait(MOST_WAIT_S)
        return self.landing

    async def wait(self) -> Landing | None:
        """Wait on the running loop; None where it took too long."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop, waiter))
        if self.landing is None:  # it may have landed on another thread between the look and the queue
            try:
                await asyncio.wait_for(waiter, MOST_WAIT_S)
            except TimeoutError:
                return None
        return self.landing

    def end(self, landing: Landing) -> None:
        """Wake everybody."""
        self.landing = landing
        self._event.set()
        for loop, waiter in self._waiting:
            try:
                loop.call_soon_threadsafe(_wake, waiter)
            except RuntimeError:  # its loop has ended, and with it whoever waited
                continue


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Flights:
    """The flights of one process.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._flying: dict[str, Flight] = {}
        self._passing: OrderedDict[str, float] = OrderedDict()

    def board(self, key: str) -> tuple[Flight, bool] | None:
        """Return the flight for `key` and whether the caller leads it; None where nobody should wait."""
        now_s = self._clock()
        with self._lock:
            until_s = self._passing.get(key)
            if until_s is not None:
                if until_s > now_s:
                    return None
                del self._passing[key]
            flight = self._flying.get(key)
            if flight is not None and now_s - flight.began_s < MOST_WAIT_S:
                return flight, False
            flight = self._flying[key] = Flight(key, now_s)
            return flight, True

    def land(self, flight: Flight, landing: Landing) -> None:
        """End a flight, once."""
        with self._lock:
            if flight.landing is not None:
                return
            if self._flying.get(flight.key) is flight:
                del self._flying[flight.key]
            if landing is Landing.NOT_STORED:
                self._passing[flight.key] = self._clock() + PASSING_S
                self._passing.move_to_end(flight.key)
                if len(self._passing) > MOST_PASSING:
                    self._passing.popitem(last=False)
            flight.end(landing)
