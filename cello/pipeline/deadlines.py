"""Time limits on a loop: one coarse timer for all requests in flight.

PERF: `asyncio.timeout` schedules and cancels a timer per request (about 1.5 µs); here a request costs one dictionary
entry. In return a limit is met up to `TICK_S` late, which is what "30 seconds" can bear.

The timer runs only while something is in flight. Each loop has its own list.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

TICK_S = 0.25


class Deadlines:
    """The requests in flight that must end by a certain time."""

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: tuple[asyncio.AbstractEventLoop | None, Watch] = (None, Watch(time.monotonic))

    def watch(self) -> "Watch":
        """Return the list of the running loop.

        Only the list of the latest loop is kept: another one lives on as long as its loop has requests in flight.
        """
        loop = asyncio.get_running_loop()
        known, watch = self._latest
        if known is not loop:
            watch = Watch(loop.time)
            self._latest = (loop, watch)
        return watch


class Watch:
    """One loop's tasks and their deadlines. Not thread-safe: it belongs to the loop's thread."""

    __slots__ = ("_due", "_is_ticking", "clock", "expired")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.expired: set[asyncio.Task[Any]] = set()
        self._due: dict[asyncio.Task[Any], float] = {}
        self._is_ticking = False

    def add(self, task: "asyncio.Task[Any]", seconds: float) -> None:
        """Cancel `task` after `seconds`, unless it is removed before."""
        self._due[task] = self.clock() + seconds
        if not self._is_ticking:
            self._is_ticking = True
            asyncio.get_running_loop().call_later(min(TICK_S, seconds), self.tick)

    def remove(self, task: "asyncio.Task[Any]") -> bool:
        """Forget `task`; return whether it was cancelled because its time ran out."""
        self._due.pop(task, None)
        if task in self.expired:
            self.expired.discard(task)
            return True
        return False

    def tick(self) -> None:
        """Cancel what is overdue and come again while anything is left."""
        now = self.clock()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            self.expired.add(task)
            task.cancel()
        self._is_ticking = bool(self._due)
        if self._due:
            wait = min(TICK_S, max(0.001, min(self._due.values()) - now))
            asyncio.get_running_loop().call_later(wait, self.tick)


async def within(deadlines: Deadlines, seconds: float, work: Awaitable[T]) -> T:
    """Await `work` in the current task, for which `deadlines` holds nothing else.

    Raises:
        TimeoutError: It took longer.
    """
    watch = deadlines.watch()
    task = asyncio.current_task()
    assert task is not None  # coroutines run in tasks
    cancelled_before = task.cancelling()
    watch.add(task, seconds)
    try:
        return await work
    except asyncio.CancelledError:
        if not watch.remove(task) or task.uncancel() > cancelled_before:  # somebody else wants it to end, too
            raise
        raise TimeoutError from None
    finally:
        watch.remove(task)
