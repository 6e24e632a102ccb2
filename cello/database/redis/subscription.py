"""What is published, as an iterator: for `async def`, and for plain functions.

A subscription has a connection of its own beside the pool. When that breaks it is opened again, for as long as it
takes; what was published meanwhile is lost, as Redis keeps no messages.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from cello.database.errors import RedisUnavailable
from cello.database.redis.driver import translating

logger = logging.getLogger("cello.redis")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
LOOK_EVERY_S = 0.5
"""How long a plain iterator waits at most before it looks whether it was closed."""


@dataclass(frozen=True, slots=True)
class RedisMessage:
    """One message.

    Attributes:
        channel: Where it was published, without the prefix.
        data: What, as text.
        raw: The same as bytes.
        pattern: The pattern that matched, or None.
    """

    channel: str
    data: str
    raw: bytes
    pattern: str | None


class _Wanted:
    """Which channels, and how messages are read."""

    def __init__(self, redis: Any, channels: Sequence[str], patterns: Sequence[str]) -> None:
        self._redis = redis
        self._where: str = redis._where
        self._channels = [redis._key(each) for each in channels]
        self._patterns = [redis._key(each) for each in patterns]
        self._pubsub: Any = None
        self._is_closed = False

    def _message(self, found: dict[str, Any]) -> RedisMessage:
        raw: bytes = found["data"]
        pattern = found["pattern"]
        return RedisMessage(
            self._redis._bare(found["channel"]),
            raw.decode("utf-8", "surrogateescape"),
            raw,
            None if pattern is None else self._redis._bare(pattern),
        )

    @property
    def _confirmations(self) -> int:
        return len(self._channels) + len(self._patterns)


class Subscription(_Wanted):
    """An async iterator of messages; close it by leaving its `async with`, or by `close()`."""

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[RedisMessage]:
        try:
            while not self._is_closed:
                message = await self._next()
                if message is not None:
                    yield message
        finally:
            await self.close()

    async def close(self) -> None:
        """End the subscription."""
        self._is_closed = True
        await self._drop()

    async def _open(self) -> None:
        if self._pubsub is not None:
            return
        pubsub = self._redis._listening_client().pubsub()
        try:
            with translating(self._where):
                if self._channels:
                    await pubsub.subscribe(*self._channels)
                if self._patterns:
                    await pubsub.psubscribe(*self._patterns)
                for _ in range(self._confirmations):
                    async with asyncio.timeout(self._redis.config.connection_timeout_secs):
                        await pubsub.get_message(timeout=None)
        except BaseException:
            await pubsub.aclose()
            raise
        self._pubsub = pubsub

    async def _next(self) -> RedisMessage | None:
        pause_s = FIRST_PAUSE_S
        while not self._is_closed:
            try:
                await self._open()
                with translating(self._where):
                    found = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            except RedisUnavailable as error:
                if self._is_closed:
                    return None
                logger.warning("a subscription is interrupted: %s", error)
                await self._drop()
                if self._redis.config.cluster_mode:
                    await self._redis._listen_elsewhere()
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            return None if found is None else self._message(found)
        return None

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            await pubsub.aclose()


class BlockingSubscription(_Wanted):
    """An iterator of messages for plain functions; close it by leaving its `with`, or by `close()`.

    Args:
        timeout: Seconds without a message after which it ends; None for never.
    """

    def __init__(self, redis: Any, channels: Sequence[str], patterns: Sequence[str], timeout: float | None) -> None:
        super().__init__(redis, channels, patterns)
        self._timeout = timeout

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[RedisMessage]:
        try:
            due = self._due()
            while not self._is_closed and time.monotonic() < due:
                found = self._next(min(LOOK_EVERY_S, max(0.001, due - time.monotonic())))
                if found is not None:
                    yield self._message(found)
                    due = self._due()
        finally:
            self.close()

    def close(self) -> None:
        """End the subscription; from any thread."""
        self._is_closed = True
        self._drop()

    def _due(self) -> float:
        return time.monotonic() + (float("inf") if self._timeout is None else self._timeout)

    def _open(self) -> None:
        if self._pubsub is not None:
            return
        pubsub = self._redis._listening_client().pubsub()
        try:
            with translating(self._where):
                if self._channels:
                    pubsub.subscribe(*self._channels)
                if self._patterns:
                    pubsub.psubscribe(*self._patterns)
                for _ in range(self._confirmations):
                    pubsub.get_message(timeout=self._redis.config.connection_timeout_secs)
        except BaseException:
            pubsub.close()
            raise
        self._pubsub = pubsub

    def _next(self, timeout_s: float) -> Any:
        pause_s = FIRST_PAUSE_S
        while not self._is_closed:
            try:
                self._open()
                with translating(self._where):
                    return self._pubsub.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
            except RedisUnavailable as error:
                if self._is_closed:
                    return None
                logger.warning("a subscription is interrupted: %s", error)
                self._drop()
                if self._redis.config.cluster_mode:
                    self._redis._listen_elsewhere()
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            pubsub.close()
