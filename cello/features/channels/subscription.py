"""What a handler reads a channel with: an iterator in both colours, over a bounded queue that any thread fills."""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

from cello.errors import CelloError, ConfigError
from cello.features.channels.bus import Done
from cello.features.channels.message import unpack

Slow = Literal["skip", "drop"]

DEFAULT_LIMIT = 256
"""Messages that may wait for a subscriber."""


class SubscriptionEnded(CelloError):
    """There are no more messages: the subscription was closed, or the worker stops."""


class SlowSubscriber(SubscriptionEnded):
    """The subscription was dropped because its reader did not keep up."""


class Subscription:
    """The messages of a channel from now on; one reader at a time.

    In `async def` handlers `async for item in subscription`, or `await subscription.aget(timeout)`; in `def` handlers
    `for item in subscription`, or `subscription.get(timeout)`. It ends by `close`, at the end of a `with` block, when
    nobody refers to it any more, and when the worker stops.

    Attributes:
        name: Of the channel.
        ready: What stands for the bus having been told; None where there is nothing to wait for.
    """

    def __init__(self, name: str, limit: int, slow: Slow, close: Callable[["Inbox"], None]) -> None:
        self.name = name
        self._inbox = Inbox(limit, slow)
        self._close = weakref.finalize(self, close, self._inbox)
        self._close.atexit = False
        self.ready: Done | None = None

    @property
    def inbox(self) -> "Inbox":
        """What the hub fills. It does not know the subscription, so that one may be forgotten without being closed."""
        return self._inbox

    @property
    def skipped(self) -> int:
        """Messages that were lost because the reader did not keep up."""
        return self._inbox.skipped

    @property
    def waiting(self) -> int:
        """Messages that were not read yet."""
        return len(self._inbox.held)

    def close(self) -> None:
        """End it; messages that wait are still read."""
        self._close()
        self._inbox.end()

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message; in `def` handlers.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: There was none in time.
            SubscriptionEnded: There are no more; a `SlowSubscriber` where it was dropped.
            ConfigError: It is called on an event loop, which would stand still.
        """
        if asyncio._get_running_loop() is not None:
            raise ConfigError(
                "waiting for a message here would hold the event loop: in async def use `await subscription.aget()` or "
                "`async for`; a def route that waits is declared with blocking=True"
            )
        return unpack(self._inbox.wait(timeout))

    async def aget(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  # the same argument as get()
        """Return the next message; in `async def` handlers.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: There was none in time.
            SubscriptionEnded: There are no more; a `SlowSubscriber` where it was dropped.
        """
        async with asyncio.timeout(timeout):
            while True:
                found = self._inbox.take_or_wait()
                if isinstance(found, bytes):
                    return unpack(found)
                await found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self.get()
        except SlowSubscriber:
            raise
        except SubscriptionEnded:
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.aget()
        except SlowSubscriber:
            raise
        except SubscriptionEnded:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        if self.ready is not None:
            self.ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        if self.ready is not None:
            await self.ready
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Subscription {self.name!r} {'over' if self._inbox.is_over else 'open'}, {self.waiting} waiting>"


class Inbox:
    """What waits for one subscriber; filled by any thread.

    Attributes:
        held: The messages.
        skipped: How many were lost.
        is_over: Whether no more come.
        loop: Where it must be filled: anywhere.
    """

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, limit: int, slow: Slow) -> None:
        self.held: deque[bytes] = deque()
        self.skipped = 0
        self.is_over = False
        self._was_dropped = False
        self._limit = limit
        self._drops = slow == "drop"
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._waiter: asyncio.Future[None] | None = None

    def take(self, content: bytes) -> None:
        """Add a message."""
        with self._lock:
            if self.is_over:
                return
            if len(self.held) >= self._limit:
                if self._drops:
                    self._drop()
                    return
                self.held.popleft()
                self.skipped += 1
            self.held.append(content)
            self._wake()

    def missed(self, count: int) -> None:
        """Note that messages were lost on the way: the worker has not kept up."""
        with self._lock:
            self.skipped += count
            if self._drops and not self.is_over:
                self._drop()

    def end(self) -> None:
        """Have no more come."""
        with self._lock:
            self.is_over = True
            self._wake()

    def wait(self, timeout_s: float | None) -> bytes:
        """Return the next message; blocks."""
        with self._lock:
            if not self._filled.wait_for(lambda: self.held or self.is_over, timeout_s):
                raise TimeoutError
            return self._next()

    def take_or_wait(self) -> "bytes | asyncio.Future[None]":
        """Return the next message, or what to await before there may be one."""
        with self._lock:
            if self.held or self.is_over:
                return self._next()
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            return waiter

    def _next(self) -> bytes:
        if self.held:
            return self.held.popleft()
        if self._was_dropped:
            raise SlowSubscriber(
                "the subscriber did not keep up and was dropped; slow='skip' would lose messages instead"
            )
        raise SubscriptionEnded("the subscription has ended")

    def _drop(self) -> None:
        self.is_over = self._was_dropped = True
        self._wake()

    def _wake(self) -> None:
        """Have a reader look again; called with the lock held."""
        self._filled.notify_all()
        waiter = self._waiter
        if waiter is None:
            return
        self._waiter = None
        loop = waiter.get_loop()
        if loop is asyncio._get_running_loop():
            release(waiter)
            return
        try:
            loop.call_soon_threadsafe(release, waiter)
        except RuntimeError:  # the loop was closed, and the reader has gone with it
            self.is_over = True


def release(waiter: "asyncio.Future[None]") -> None:
    """Settle a future that may have been cancelled."""
    if not waiter.done():
        waiter.set_result(None)
