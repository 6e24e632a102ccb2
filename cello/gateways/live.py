"""Streams that may be silent for long, under hosts: a piece now and then keeps them alive.

The own server has a clock of its own for this. Under ASGI a task beside the stream sends the piece; under WSGI the
host's thread waits for the next piece only so long, while another thread makes it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future
from time import monotonic
from typing import Any, Protocol

from cello.http.stream import Idle
from cello.pipeline.threads import WorkerThreads

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Heartbeat:
    """An ASGI host's `send` for a body that must not fall silent; an async context manager that keeps it alive."""

    __slots__ = ("_idle", "_is_complete", "_lock", "_send", "_sent_s", "_task")

    def __init__(self, send: Send, idle: Idle) -> None:
        self._send = send
        self._idle = idle
        self._lock = asyncio.Lock()  # a host's `send` is for one caller at a time
        self._sent_s = monotonic()
        self._is_complete = False
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, message: Message) -> None:
        """Send a message of the application's."""
        async with self._lock:
            self._is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await self._send(message)
            self._sent_s = monotonic()

    async def __aenter__(self) -> "Heartbeat":
        if self._idle.after_s is not None:
            self._task = asyncio.create_task(self._beat(self._idle.after_s))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()  # the host's: the client has gone, and the stream hears of that itself

    async def _beat(self, after_s: float) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._sent_s + after_s - monotonic()))
            async with self._lock:
                if self._is_complete:
                    return
                if monotonic() - self._sent_s >= after_s:
                    body = self._idle.make_piece()
                    await self._send({"type": "http.response.body", "body": body, "more_body": True})
                    self._sent_s = monotonic()


class Steps(Protocol):
    """An iterator that can be waited for within a time."""

    def next_within(self, timeout_s: float) -> bytes:
        """Return the next item.

        Raises:
            TimeoutError: It is not there yet; a later call goes on waiting for the same one.
            StopIteration: There is none.
        """

    def close(self) -> None:
        """End what makes the items."""


class ThreadSteps:
    """A plain iterator whose steps are taken on another thread.

    Args:
        source: May block for as long as it likes.
        threads: Where it is advanced.
    """

    __slots__ = ("_source", "_step", "_threads")

    def __init__(self, source: Iterator[bytes], threads: WorkerThreads) -> None:
        self._source = source
        self._threads = threads
        self._step: Future[bytes | None] | None = None

    def next_within(self, timeout_s: float) -> bytes:
        """Return the next item; see `Steps`."""
        if self._step is None:
            self._step = self._threads.submit(next, self._source, None)
        piece = self._step.result(timeout_s)
        self._step = None
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Close the iterator once its last step has ended; nobody waits for that."""
        self._threads.submit(self._close)

    def _close(self) -> None:
        if self._step is not None:
            self._step.exception()
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


class SteadyChunks(Iterator[bytes]):
    """What a WSGI host iterates: the items of `steps`, and a piece whenever they fail to come for too long."""

    __slots__ = ("_after_s", "_idle", "_steps", "close")

    def __init__(self, steps: Steps, idle: Idle, after_s: float) -> None:
        self._steps = steps
        self._idle = idle
        self._after_s = after_s
        self.close = steps.close

    def __next__(self) -> bytes:
        try:
            return self._steps.next_within(self._after_s)
        except TimeoutError:
            return self._idle.make_piece()
