"""A portal whose callers run its loop themselves, in turn: a call by one thread at a time costs no switch of threads.

Strategy: whoever calls and finds that nobody runs the loop runs it until its own awaitable has ended, and leaves. A
thread of the portal's own stands by. It takes over when a caller leaves while others wait; when many call at once, so
that they do not hand the loop from one to the next; and when nobody called for a moment, so that what goes on in the
background (timers, idle connections) is served.

Rule 1: whoever runs the loop holds the turn. Nobody waits for it: whoever finds it taken posts its call, and waits for
the outcome.
Rule 2: work that would block the loop is done by the caller itself, which waits anyway, while it leaves the loop to
others (`run_where_it_waits`); so SQLite is asked without a switch of threads too.
Rule 3: on a thread that runs an event loop already nobody runs another: such a caller posts.
Rule 4: nor on the main thread, where handlers of signals run: one that raises (Ctrl-C, a host's time-out) would strike
the loop between two of its steps, and what it was about to do for others would never be done.

It is for loops on which our own code runs. What belongs to one thread has no place on it.

PERF: a call that does nothing costs a third of one to a loop with a thread, one that blocks a sixth; with eight callers
as much (bench/micro/test_portal.py).
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from cello.gateways.portal import Call, LoopThread, Portal
from cello.pipeline.threads import Awaited, WorkerThreads, is_on_loop

P = ParamSpec("P")
T = TypeVar("T")

STAND_BY_S = 0.01
CROWDED_CALLS = 64


class TurnPortal(Portal):
    """A `Portal`, run by its callers in turn."""

    __slots__ = ()

    def _make_call(self, awaitable: Awaitable[T]) -> Call[T]:
        return _TurnCall(awaitable)

    def _make_thread(self, inherited: LoopThread | None) -> LoopThread:
        return _StandBy(self._loop_factory, inherited)


class _Here(threading.local):
    """What the current thread is about."""

    call: "_TurnCall[Any] | None" = None


_here = _Here()


async def run_where_it_waits(threads: WorkerThreads, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call that blocks: on the thread that waits for the current task and runs the loop, else on `threads`."""
    leader = _here.call
    if leader is None or leader._task is not asyncio.current_task():
        return await threads.run(call, *args, **kwargs)
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[T] = loop.create_future()
    leader._errand = Awaited(threads, loop, waiter, partial(call, *args, **kwargs))
    loop.stop()
    return await waiter


class _StandBy(LoopThread):
    """The loop, whose turn it is, and the thread that runs it where no caller does."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None, inherited: LoopThread | None):
        super().__init__(loop_factory, inherited)
        self._turn = threading.Lock()
        # A lock that is free where somebody is wanted: an Event has a lock of its own, which an interrupt in the middle
        # of `set()` would leave locked.
        self._wanted = threading.Lock()
        self._wanted.acquire()
        self._waiting = 0
        self._turns = 0
        self._crowded = 0
        self._is_in_charge = False

    def run(self) -> None:
        runner = asyncio.Runner(loop_factory=self._loop_factory)
        self.loop = runner.get_loop()
        self._is_up.set()
        while not self.is_stopping:
            if not self._waiting:
                self._stand_by()
            with self._turn:
                self._is_in_charge = True
                if not self.is_stopping:
                    self.loop.run_forever()
                self._is_in_charge = False
            self._wanted.acquire(blocking=False)  # before it looks who waits: who comes later sees a turn that is free
        self._turn.acquire()  # for good
        with self._gate:  # `stop` has posted what it posts
            self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()  # what was posted becomes a task
        runner.close()

    def _stand_by(self) -> None:
        while True:
            turns = self._turns
            if self._wanted.acquire(timeout=STAND_BY_S) or (turns == self._turns and not self._turn.locked()):
                return

    def _call_in(self) -> None:
        """Have the portal's own thread look what there is to do."""
        with contextlib.suppress(RuntimeError):  # it was called already
            self._wanted.release()

    def is_here(self) -> bool:
        return is_on_loop() and asyncio.get_running_loop() is self.loop

    def take(self) -> bool:
        """Take the turn, if it is free and nobody waits."""
        if self._waiting or self.is_stopping or is_on_loop() or threading.get_ident() == threading.main_thread().ident:
            return False
        if not self._turn.acquire(blocking=False):
            return False
        self._turns += 1
        if not self.is_stopping:
            return True
        self._turn.release()
        return False

    def leave(self) -> None:
        """Give the turn back."""
        self._turn.release()
        if self._waiting:
            self._crowded = CROWDED_CALLS
            self._call_in()

    def post(self, callback: Callable[..., None], *, is_awaited: bool = False) -> bool:
        with self._gate:
            if self.is_stopping:
                return False
            self._waiting += is_awaited
            self.loop.call_soon_threadsafe(callback, self)
        if not self._turn.locked():
            self._call_in()
        return True

    def settled(self) -> None:
        with self._gate:
            self._waiting = max(0, self._waiting - 1)
        if not self._is_in_charge:
            return
        self._crowded = CROWDED_CALLS if self._waiting else max(0, self._crowded - 1)
        if not self._crowded:
            self.loop.stop()

    def stop(self) -> None:
        with self._gate:
            self.is_stopping = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._call_in()
        self.join()


class _TurnCall(Call[T]):
    """A call whose thread runs the loop, if it may."""

    __slots__ = ("_errand", "_has_ended", "_is_led", "_is_posted", "_thread")

    def __init__(self, awaitable: Awaitable[T]) -> None:
        super().__init__(awaitable)
        self._errand: Awaited | None = None
        self._has_ended = False
        self._is_led = False
        self._is_posted = False

    def _have_run(self, thread: LoopThread) -> None:
        assert isinstance(thread, _StandBy), "a TurnPortal has no other"
        self._thread = thread
        if thread.take():
            self._lead(thread)
            return
        self._is_posted = True
        if not thread.post(self._begin, is_awaited=True):
            self.discard()
            raise RuntimeError("the portal was closed: the process is shutting down")

    def _lead(self, thread: _StandBy) -> None:
        """Run the loop until the awaitable has ended, or somebody else has the loop."""
        has_turn = self._is_led = True
        outer, _here.call = _here.call, self
        try:
            self._begin(thread)
            while not self._has_ended and not thread.is_stopping:
                thread.loop.run_forever()
                errand, self._errand = self._errand, None
                if errand is None:
                    continue
                thread.leave()
                has_turn = self._is_led = False
                errand.perform()
                if not thread.take():
                    thread.post(partial(self._return, errand), is_awaited=True)
                    return
                has_turn = self._is_led = True
                errand.settle()
        finally:
            _here.call = outer
            self._is_led = False
            if has_turn:
                thread.leave()

    def _return(self, errand: Awaited, thread: _StandBy) -> None:
        """Go on after an errand during which somebody else has taken the loop."""
        errand.settle()
        if self._has_ended:
            thread.settled()
        else:
            self._is_posted = True

    def _finish(self, task: "asyncio.Task[T]") -> None:
        self._has_ended = True
        super()._finish(task)
        if self._is_led:
            self._thread.loop.stop()
        elif self._is_posted:
            self._thread.settled()
