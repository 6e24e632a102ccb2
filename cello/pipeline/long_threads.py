"""Threads for what may take hours: WebSocket conversations of `def` handlers, event streams of `def` generators.

They are their own, so that whoever waits for a client here takes no thread from handlers that answer requests. A thread
is started only when all are busy, and ends when it had nothing to do for a while.

SECURITY: their stacks have the system's usual size, of which only what was touched is memory. On smaller ones deeply
nested JSON of a client runs through the end of the stack before Python counts too many levels, and ends the process:
on 3.13 that takes 2 MiB.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from queue import Empty
from typing import ParamSpec, TypeVar

from cello.pipeline.threads import Crew, Promised, WorkerThreads

P = ParamSpec("P")
T = TypeVar("T")

IDLE_S = 10.0


class LongThreads(WorkerThreads):
    """A pool that grows to `size` threads and shrinks again.

    Args:
        size: Most threads.
        idle_s: Seconds after which a thread without work ends.
    """

    def __init__(self, size: int, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        super().__init__(size)

    def _new_crew(self) -> Crew:
        return _ElasticCrew(self._idle_s)

    def offer(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T] | None":
        """Call on a thread of its own, in a copy of the caller's context; None when all `size` are busy."""
        if self.pending >= self.size:  # a race of offers may go a thread's width beyond it: such a call waits its turn
            return None
        future: Future[T] = Future()
        self.start(Promised(future, partial(copy_context().run, call, *args, **kwargs)))
        return future


class _ElasticCrew(Crew):
    """A crew whose members leave when there is nothing to do."""

    title = "cello-long"

    def __init__(self, idle_s: float) -> None:
        super().__init__()
        self._idle_s = idle_s

    def _work(self) -> None:
        while True:
            try:
                job = self.queue.get(timeout=self._idle_s)
            except Empty:
                with self.lock:
                    # What was handed in meanwhile has counted this thread among those that are free.
                    if not self.queue.empty() or self.is_closed:
                        continue
                    self.threads.remove(threading.current_thread())
                    return
            if job is None:
                return
            was_made = job.perform()
            with self.lock:
                self.pending -= 1
            if was_made:
                job.deliver()
            del job  # else a thread that waits would keep its last conversation alive
