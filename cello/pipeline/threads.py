"""Where a `def` handler runs when the server has an event loop: on it, or on a worker thread.

`WorkerThreads` is the pool. `Offload` decides, one for each route: a handler runs on the loop while it is quick, which
saves a thread hop, and moves to the threads when it turns out to hold the loop.

Rule 1: each call adds what it took beyond the threshold to the route's debt, and a quick call pays back what it left
unused; so the debt of a route that is quick on average is zero, however often its host preempts it.
Rule 2: a route moves when its debt, the worst call not counted, reaches ten thresholds. No single call ever moves it;
two of 100 ms do, or a dozen of 2 ms.
Rule 3: on the threads a route is still measured. It comes back after 256 quick calls there; slow ones set it back by
more than their share. Each return makes the next one four times harder, so that no route swings for long.
Rule 4: `blocking=True` or `False` on the route settles it for good; `CELLO_OFFLOAD` settles it for all other routes.
"""

import asyncio
import logging
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from cello.config import ThreadPoolConfig
from cello.errors import ConfigError

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("cello.threads")

MOVE_THRESHOLDS = 10
WORST_THRESHOLDS = 250
RETURN_CALLS = 256
RETURN_CALLS_MOST = 65_536
SETBACK_CALLS = 32


def is_on_loop() -> bool:
    """Whether the calling thread runs an event loop that others wait for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Offload:
    """Whether the `def` handler of one route runs on a worker thread.

    A gateway on a loop reads `on_thread`. Where it is False it answers inline and reports the seconds to `held`; where
    it is True it has the threads run `watch`. Counts are kept without a lock: `watch` runs on many threads at once, and
    what a lost update costs is a return that comes a call later.

    Attributes:
        on_thread: The decision as it stands.
        adaptive: Whether it may change.
        moves: How often the route went to the threads, for metrics.
        threshold_s: How long a call may hold the loop, in seconds.
        debt_s: What calls have held it beyond that, less what quick ones paid back.
        timeout_s: How long a call may take at all, in seconds. Inline it cannot be interrupted, so it is logged.
        name: The handler's, for the log.
        on_abandoned: Called with a request whose client was told that its handler, on its thread, took too long.
    """

    __slots__ = (
        "_clock",
        "_quick",
        "_return_calls",
        "_worst_s",
        "adaptive",
        "debt_s",
        "moves",
        "name",
        "on_abandoned",
        "on_thread",
        "threshold_s",
        "timeout_s",
    )

    def __init__(
        self,
        threshold_s: float = 0.001,
        *,
        adaptive: bool = True,
        on_thread: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.on_thread = on_thread
        self.adaptive = adaptive
        self.moves = 0
        self.threshold_s = threshold_s
        self.timeout_s = math.inf
        self.name = "the handler"
        self.on_abandoned: tuple[Callable[[Any], object], ...] = ()
        self._clock = clock
        self.debt_s = 0.0
        self._worst_s = 0.0
        self._quick = 0
        self._return_calls = RETURN_CALLS

    @classmethod
    def decide(cls, blocking: bool | None, config: ThreadPoolConfig, mode: str | None = None) -> "Offload":
        """Return the decision for a route.

        Args:
            blocking: What the route says; None leaves it to `mode`.
            config: The threshold, and whether to adapt where `mode` is None.
            mode: As `offload_mode` returns it.
        """
        threshold_s = config.offload_threshold_ms / 1000
        if blocking is not None:
            return cls(threshold_s, adaptive=False, on_thread=blocking)
        mode = mode or ("adaptive" if config.adaptive else "never")
        return cls(threshold_s, adaptive=mode == "adaptive", on_thread=mode == "always")

    def held(self, seconds: float) -> None:
        """Take note that a call held the loop for so long."""
        # PERF: all that a quick call of a route without debt pays; bench/micro/test_offload.py.
        if seconds <= self.threshold_s and not self.debt_s:
            return
        if seconds > self.timeout_s:
            self.overran(seconds)
        if self.adaptive:
            self._weigh(seconds - self.threshold_s)

    def overran(self, seconds: float) -> None:
        """Log a call that took longer than it may, where nobody could interrupt it."""
        logger.warning(
            "%s took %.1f s, %g s are allowed: a def handler cannot be interrupted where it runs", self.name, seconds,
            self.timeout_s,
        )  # fmt: skip

    def _weigh(self, beyond_s: float) -> None:
        beyond_s = min(beyond_s, WORST_THRESHOLDS * self.threshold_s)
        debt_s = self.debt_s + beyond_s
        if debt_s <= 0.0:
            self.debt_s = self._worst_s = 0.0
            return
        self.debt_s = debt_s
        self._worst_s = max(self._worst_s, beyond_s)
        if debt_s - self._worst_s >= MOVE_THRESHOLDS * self.threshold_s:
            self.block()

    def block(self) -> None:
        """Move to the threads at once, as for a handler that was seen to block; a settled route stays where it is."""
        if self.adaptive and not self.on_thread:
            self.on_thread = True
            self.moves += 1
            self._quick = 0

    def watch(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call on the current worker thread, and take note of how long that took."""
        if not self.adaptive:
            return call(*args, **kwargs)
        started = self._clock()
        try:
            return call(*args, **kwargs)
        finally:
            self._ran(self._clock() - started)

    def _ran(self, seconds: float) -> None:
        # Half the threshold: what comes back should not be about to leave again.
        if seconds > self.threshold_s / 2:
            self._quick = max(0, self._quick - SETBACK_CALLS)
            return
        self._quick += 1
        if self._quick >= self._return_calls and self.on_thread:
            self._return_calls = min(self._return_calls * 4, RETURN_CALLS_MOST)
            self.debt_s = self._worst_s = 0.0
            self.on_thread = False


def offload_mode(environ: Mapping[str, str]) -> str | None:
    """Return what `CELLO_OFFLOAD` says: "adaptive", "always", "never", or None where it says nothing.

    Raises:
        ConfigError: It says anything else.
    """
    mode = environ.get("CELLO_OFFLOAD") or None
    if mode not in (None, "adaptive", "always", "never"):
        raise ConfigError(f"CELLO_OFFLOAD must be adaptive, always or never, not {mode!r:.80}")
    return mode


class WorkerThreads:
    """A pool that grows thread by thread, only while all it has are busy, and never shrinks.

    Why not `concurrent.futures.ThreadPoolExecutor`: its threads hold the interpreter until the last stuck handler
    returns, and an `await` on it pays for two futures and two locks of conditions where one of each does.
    `bench/micro/test_threads.py` holds the comparison.

    Safe to use from any thread. In a forked child it starts over without threads. Its queue has no bound of its own:
    the number of connections bounds it.

    Attributes:
        size: Most threads.
        dropped: Results that nobody waited for any more, e.g. after a handler's timeout.
    """

    def __init__(self, size: int = 64) -> None:
        self.size = size
        self.dropped = 0
        self._crew = self._new_crew()

    def _new_crew(self) -> "Crew":
        return Crew()

    @property
    def started(self) -> int:
        """How many threads there are."""
        return len(self._crew.threads)

    @property
    def pending(self) -> int:
        """How many calls were handed in and have not ended."""
        return self._crew.pending

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Call on a worker thread, in a copy of the caller's context; the future can be cancelled until it starts."""
        future: Future[T] = Future()
        context = copy_context()
        self.start(Promised(future, partial(context.run, call, *args, **kwargs)))
        return future

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call on a worker thread, in a copy of the caller's context, and wait for the result.

        When the waiting task is cancelled, a call that has not started never does; the result of one that has is
        dropped and counted.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        context = copy_context()
        self.start(Awaited(self, loop, waiter, partial(context.run, call, *args, **kwargs)))
        return await waiter

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """Let the threads finish what was handed in, and end them; return whether they all did in time.

        What is stuck stays behind on a daemon thread, which ends with the process. The pool can be used again: it then
        grows anew.
        """
        crew = self._crew
        if crew.pid != os.getpid():
            return True
        with crew.lock:
            if not crew.is_closed:
                crew.is_closed = True
                self._crew = self._new_crew()
                for _ in crew.threads:
                    crew.queue.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in crew.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in crew.threads)

    def start(self, job: "Job") -> None:
        """Have a worker thread do a job; who made it sees to what it delivers."""
        if self._crew.pid != os.getpid():
            self._crew = self._new_crew()
        while True:
            crew = self._crew
            with crew.lock:
                if crew.is_closed:
                    continue  # shut down since it was looked up; the next look-up finds its successor
                if crew.pending >= len(crew.threads) < self.size:
                    crew.hire()
                crew.pending += 1
                crew.queue.put(job)
                return


class Job(ABC):
    """A call on its way through the pool; its kinds differ in who waits for it."""

    __slots__ = ("call", "error", "result")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call
        self.error: BaseException | None = None
        self.result: object = None

    @abstractmethod
    def is_wanted(self) -> bool:
        """Whether anybody still waits; asked right before the call."""

    @abstractmethod
    def deliver(self) -> None:
        """Hand the result or error to whoever waits."""

    def perform(self) -> bool:
        """Make the call and keep what it came to; return whether it was made at all."""
        call, self.call = self.call, None
        if call is None or not self.is_wanted():
            return False
        try:
            self.result = call()
        except StopIteration as error:
            # A future cannot hold one: it would end the coroutine that awaits it.
            self.error = RuntimeError("the call raised StopIteration")
            self.error.__cause__ = error
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever waits, even a SystemExit
            self.error = error
        return True


class Promised(Job):
    """A call that a `concurrent.futures.Future` stands for."""

    __slots__ = ("future",)

    def __init__(self, future: "Future[T]", call: Callable[[], T]) -> None:
        super().__init__(call)
        self.future: Future[Any] = future

    def is_wanted(self) -> bool:
        """Whether the future was not cancelled."""
        return self.future.set_running_or_notify_cancel()

    def deliver(self) -> None:
        """Settle the future."""
        future, error, result = self.future, self.error, self.result
        self.error = self.result = None  # no circle through the traceback
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


class Awaited(Job):
    """A call that a coroutine awaits."""

    __slots__ = ("loop", "threads", "waiter")

    def __init__(
        self,
        threads: WorkerThreads,
        loop: asyncio.AbstractEventLoop,
        waiter: "asyncio.Future[T]",
        call: Callable[[], T],
    ) -> None:
        super().__init__(call)
        self.threads = threads
        self.loop = loop
        self.waiter: asyncio.Future[Any] = waiter

    def is_wanted(self) -> bool:
        """Whether the coroutine was not cancelled."""
        return not self.waiter.cancelled()

    def deliver(self) -> None:
        """Have the coroutine go on, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.settle)
        except RuntimeError:  # the loop was closed, and with it whoever waited
            self.threads.dropped += 1

    def settle(self) -> None:
        """Have the coroutine go on; called where its loop is run."""
        waiter, error, result = self.waiter, self.error, self.result
        self.error = self.result = None  # no circle through the traceback
        if waiter.cancelled():
            self.threads.dropped += 1
        elif error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(result)


class Crew:
    """The threads between two shutdowns, and their queue."""

    title = "cello-worker"

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.pending = 0
        self.is_closed = False

    def hire(self) -> None:
        """Start one more thread; where the system refuses, go on with those there are."""
        thread = threading.Thread(target=self._work, name=f"{self.title}-{len(self.threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self.threads:
                raise
        else:
            self.threads.append(thread)

    def _work(self) -> None:
        while (job := self.queue.get()) is not None:
            was_made = job.perform()
            # Before delivering: who gets the answer and asks again at once should find this thread free.
            with self.lock:
                self.pending -= 1
            if was_made:
                job.deliver()
            del job  # else a thread that waits would keep its last request alive
