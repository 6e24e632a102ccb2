"""An event loop for code that has none: one loop thread, from which plain threads call awaitables.

Strategy: the thread starts at the first `run()` and belongs to the process that started it. A forked child finds the
process id changed and starts its own, so an application that a host loads before forking works in every worker.

Rule 1: everything async of one application under a WSGI host runs on this one loop, so connection pools made at
start-up stay valid in handlers.
Rule 2: contextvars cross over and back: the awaitable sees what the calling thread had set, and what it sets is seen
by the calling thread afterwards.
"""

import asyncio
import contextvars
import inspect
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Portal:
    """Runs awaitables on an event loop in a thread of its own; safe to use from many threads and after a fork.

    Args:
        loop_factory: Makes the loop; None takes asyncio's own.
    """

    __slots__ = ("_lock", "_loop_factory", "_thread")

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._loop_factory = loop_factory
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether this process has a loop thread already."""
        thread = self._thread
        return thread is not None and thread.pid == os.getpid()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run `awaitable` on the loop and wait for its result.

        A calling thread that is interrupted (Ctrl-C, a host's time-out) cancels the awaitable.

        Raises:
            RuntimeError: Called on the loop's own thread, where waiting could never end.
        """
        call: Call[T] = self._make_call(awaitable)
        thread = self._current_thread()
        if thread.is_here():
            call.discard()
            raise RuntimeError("Portal.run() was called on the portal's own loop thread: await the call instead")
        return call.result(thread)

    def iterate(self, source: AsyncIterator[T]) -> "PortalIterator[T]":
        """Return a plain iterator over an async one, which stays in one task on the loop from first item to last."""
        return PortalIterator(self._current_thread(), source)

    def close(self) -> None:
        """Cancel what still runs, close the loop and end its thread. A later `run()` starts a fresh one."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.pid == os.getpid():
            thread.stop()

    def _make_call(self, awaitable: Awaitable[T]) -> "Call[T]":
        return Call(awaitable)

    def _make_thread(self, inherited: "LoopThread | None") -> "LoopThread":
        return LoopThread(self._loop_factory, inherited)

    def _current_thread(self) -> "LoopThread":
        thread = self._thread
        if thread is not None and thread.pid == os.getpid():
            return thread
        with self._lock:
            thread = self._thread
            if thread is None or thread.pid != os.getpid():
                # A parent's loop is kept alive, never closed: its selector is shared with the parent after a fork.
                thread = self._make_thread(thread)
                thread.start_and_wait()
                self._thread = thread
        return thread


class LoopThread(threading.Thread):
    """One loop and its thread, in one process."""

    loop: asyncio.AbstractEventLoop
    _stopping: asyncio.Event

    def __init__(
        self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None, inherited: "LoopThread | None"
    ) -> None:
        super().__init__(name="cello-portal", daemon=True)
        self.pid = os.getpid()
        self._loop_factory = loop_factory
        self._inherited = inherited
        self._is_up = threading.Event()
        self.is_stopping = False
        self._gate = threading.Lock()

    def run(self) -> None:
        """Run the loop, on its thread."""
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._is_up.set()
        await self._stopping.wait()

    def start_and_wait(self) -> None:
        """Start, and return when the loop is there."""
        self.start()
        self._is_up.wait()

    def is_here(self) -> bool:
        """Whether the loop is run by the calling thread."""
        return threading.get_ident() == self.ident

    def settled(self) -> None:
        """Take note that somebody has what he waited for; called on the loop."""

    def post(self, callback: Callable[[Any], None], *, is_awaited: bool = False) -> bool:
        """Have `callback` called on the loop soon, from any thread; False when the loop takes no more.

        `is_awaited` says that a thread waits, until `settled()`. What was taken before `stop()` has become a task by
        the time tasks are cancelled, so no caller waits for ever.
        """
        with self._gate:
            if self.is_stopping:
                return False
            self.loop.call_soon_threadsafe(callback, self)
            return True

    def stop(self) -> None:
        """Cancel what still runs, close the loop, and end."""
        with self._gate:
            self.is_stopping = True
            self.loop.call_soon_threadsafe(self._stopping.set)
        self.join()


class Call(Generic[T]):
    """One awaitable on its way to the loop, and its outcome on the way back."""

    __slots__ = ("_awaitable", "_context", "_done", "_error", "_result", "_task")

    _result: T

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._awaitable = awaitable
        self._context = contextvars.copy_context()
        self._error: BaseException | None = None
        self._task: asyncio.Task[T] | None = None
        # PERF: a plain lock as latch: a concurrent.futures.Future makes a condition and a lock for the same hand-over.
        self._done = threading.Lock()
        self._done.acquire()

    def result(self, thread: LoopThread) -> T:
        """Have it run and wait for it; an interrupt cancels it, whenever it strikes."""
        try:
            self._have_run(thread)
            self._done.acquire()
        except BaseException:
            thread.post(self._cancel)
            raise
        adopt_context(self._context)
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # the traceback refers to this frame: no circle is left for the collector

    def _have_run(self, thread: LoopThread) -> None:
        if not thread.post(self._begin):
            self.discard()
            raise RuntimeError("the portal was closed: the process is shutting down")

    def _begin(self, thread: LoopThread) -> None:
        self._task = thread.loop.create_task(as_coroutine(self._awaitable), context=self._context)
        self._task.add_done_callback(self._finish)

    def _finish(self, task: "asyncio.Task[T]") -> None:
        if task.cancelled():
            self._error = asyncio.CancelledError()
        else:
            self._error = task.exception()
            if self._error is None:
                self._result = task.result()
        self._done.release()

    def _cancel(self, thread: LoopThread) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self.discard()

    def discard(self) -> None:
        """Have it never run."""
        if inspect.iscoroutine(self._awaitable):
            self._awaitable.close()


class PortalIterator(Iterator[T]):
    """A plain iterator over an async iterator that lives on the portal's loop; close it when you leave early.

    An item is produced only when it is asked for, so a slow consumer holds back the producer. The async iterator runs
    inside one task and one context throughout: task groups and cancel scopes across its `yield`s work.
    """

    __slots__ = ("_context", "_ended", "_has_asked", "_items", "_source", "_task", "_thread", "_wanted")

    def __init__(self, thread: LoopThread, source: AsyncIterator[T]) -> None:
        self._thread = thread
        self._source = source
        self._items: SimpleQueue[_Item[T]] = SimpleQueue()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._wanted: asyncio.Event | None = None
        self._has_asked = False
        self._ended = False

    def __next__(self) -> T:
        return self.next_within(None)

    def next_within(self, timeout_s: float | None) -> T:
        """Return the next item.

        Raises:
            TimeoutError: It is not there yet; a later call goes on waiting for the same one.
        """
        if self._ended:
            raise StopIteration
        if not self._has_asked:
            if not self._thread.post(self._ask, is_awaited=True):
                raise RuntimeError("the portal was closed: the process is shutting down")
            self._has_asked = True
        try:
            item = self._items.get(timeout=timeout_s)
        except Empty:
            raise TimeoutError from None
        self._has_asked = False
        if item.is_last:
            self._ended = True
            if item.error is not None:
                raise item.error
            raise StopIteration
        return cast(T, item.value)

    def close(self) -> None:
        """Cancel the producer and wait until its clean-up has run; errors of the clean-up are raised here."""
        if self._ended:
            return
        if not self._thread.post(self._abandon, is_awaited=True) and self._task is None:
            self._ended = True
            return
        while not (item := self._items.get()).is_last:
            pass
        self._ended = True
        if item.error is not None and not isinstance(item.error, asyncio.CancelledError):
            raise item.error

    def _ask(self, thread: LoopThread) -> None:
        if self._task is None:
            self._wanted = asyncio.Event()
            self._start(thread, self._pump(self._wanted))
        else:
            cast(asyncio.Event, self._wanted).set()

    def _abandon(self, thread: LoopThread) -> None:
        if self._task is None:
            self._start(thread, close_async_iterator(self._source))
        else:
            self._task.cancel()

    def _start(self, thread: LoopThread, coroutine: Coroutine[Any, Any, None]) -> None:
        self._task = thread.loop.create_task(coroutine, context=self._context)
        self._task.add_done_callback(self._finish)

    async def _pump(self, wanted: asyncio.Event) -> None:
        try:
            async for value in self._source:
                self._items.put(_Item(value))
                self._thread.settled()
                await wanted.wait()
                wanted.clear()
        finally:
            await close_async_iterator(self._source)

    def _finish(self, task: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._items.put(_Item(None, is_last=True, error=error))
        self._thread.settled()


class _Item(Generic[T]):
    """What a producer hands over: a value, or its end with or without an error."""

    __slots__ = ("error", "is_last", "value")

    def __init__(self, value: T | None, *, is_last: bool = False, error: BaseException | None = None) -> None:
        self.value = value
        self.is_last = is_last
        self.error = error


def as_coroutine(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Return `awaitable` as a coroutine, which is what a task takes."""
    if inspect.iscoroutine(awaitable):
        return awaitable

    async def wait() -> T:
        return await awaitable

    return wait()


def adopt_context(context: contextvars.Context) -> None:
    """Set in the current context every variable that has another value in `context`."""
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)


async def close_async_iterator(source: AsyncIterator[Any]) -> None:
    """Run the clean-up of an async generator left early; other async iterators may have an `aclose()` too."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


_UNSET = object()
