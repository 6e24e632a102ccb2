"""Redis: what `async def` code uses.

    redis = await Redis.connect(RedisConfig("redis://localhost:6379", key_prefix="shop:"))
    await redis.set("greeting", "hello", ttl=60)

`blocking` is the same for plain functions (`blocking.py`), with connections of its own.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from cello.database.colours import awaited
from cello.database.config import RedisConfig
from cello.database.errors import LockError, RedisError, RedisUnavailable
from cello.database.redis.address import RedisAddress
from cello.database.redis.blocking import BlockingRedis
from cello.database.redis.commands import HARMLESS, Commands, Read
from cello.database.redis.driver import as_config, make_client, require_redis, translating
from cello.database.redis.pipeline import Pipeline
from cello.database.redis.subscription import Subscription
from cello.database.redis.watching import Watched, Watcher


class Redis(Commands):
    """A Redis server or cluster, and its pool of connections, on the loop that first uses it.

    Args:
        config: Which one; a URL will do; None for "redis://127.0.0.1:6379".

    Raises:
        MissingDependency: redis-py is not installed.

    Attributes:
        config: What it was made of.
        watcher: Is told of every command that is sent.
    """

    def __init__(self, config: RedisConfig | str | None = None) -> None:
        require_redis("Redis")
        self.config = as_config(config)
        self._prefix = self.config.key_prefix or ""
        self._default_ttl = self.config.default_ttl
        self._where = RedisAddress.of(self.config).safe_url
        self.watcher: Watcher | None = None
        self._made: Any = None
        self._listener: Any = None
        self._node = 0
        self._turns = asyncio.Semaphore(self.config.pool_size)
        self._home: tuple[int, Any] = (0, None)
        self._inherited: list[Any] = []

    @classmethod
    async def connect(cls, config: RedisConfig | str | None = None) -> Self:
        """Return a client whose server was reached.

        Raises:
            RedisUnavailable: It cannot be reached within `connection_timeout_secs`.
        """
        client = cls(config)
        try:
            await client._open()
        except BaseException:
            await client.disconnect()
            raise
        return client

    def __repr__(self) -> str:
        return f"<Redis {self._where}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    @property
    def aio(self) -> Self:
        """Itself, so that code for either colour works."""
        return self

    @cached_property
    def blocking(self) -> BlockingRedis:
        """The same Redis for `def` handlers and other plain code."""
        return BlockingRedis(self.config)

    async def disconnect(self) -> None:
        """Close all connections. May be a shutdown hook as it is."""
        made, self._made = self._made, None
        listener, self._listener = self._listener, None
        if self._home[0] == os.getpid():
            for each in (made, listener):
                if each is not None:
                    await each.aclose()
        facade = self.__dict__.get("blocking")
        if facade is not None:
            facade.disconnect()

    close = disconnect

    @awaited
    def pipeline(self, *, transaction: bool | None = None) -> "AsyncPipeline":
        """Return a pipeline: commands that are sent together by `await pipe.execute()`.

        Args:
            transaction: Whether others' commands stay out of between; None: not in a cluster, else yes.
        """
        return AsyncPipeline(self, transaction=not self.config.cluster_mode if transaction is None else transaction)

    @awaited
    def subscribe(self, *channels: str, patterns: tuple[str, ...] | list[str] = ()) -> Subscription:
        """Return what is published to channels, as an async iterator of `RedisMessage`.

        `async with redis.subscribe("news") as messages:` has subscribed when the block begins.

        Args:
            channels: Their names.
            patterns: Patterns of names, such as "news.*".
        """
        if not channels and not patterns:
            raise RedisError("subscribe() needs a channel or a pattern")
        return Subscription(self, channels, tuple(patterns))

    @awaited
    @asynccontextmanager
    async def lock(self, name: str, *, ttl: float = 30.0, wait: float | None = None) -> AsyncIterator[Any]:
        """Hold a lock that all processes share: `async with redis.lock("report"):`.

        Args:
            name: Its name; locks of one name exclude each other.
            ttl: Seconds after which it is free in any case, should its holder die.
            wait: Seconds to wait for it; None for ever, 0 not at all.

        Raises:
            LockError: It was not to be had in time, or was lost before the block ended.
        """
        lock = self._client().lock(self._key(name), timeout=ttl, blocking_timeout=wait, thread_local=False)
        with translating(self._where):
            if not await lock.acquire():
                raise LockError(f"the lock {name!r:.80} was not free within {wait} s")
        try:
            yield lock
        except BaseException:
            try:
                await asyncio.shield(lock.release())
            except Exception:  # noqa: BLE001, S110  # the error that ends the block counts; the lock ends by its ttl
                pass
            raise
        with translating(self._where):
            await lock.release()

    @awaited
    async def scan(self, pattern: str = "*") -> AsyncIterator[str]:
        """Return all keys that match, without stopping the server: `async for key in redis.scan("user:*")`."""
        with translating(self._where):
            async for key in self._client().scan_iter(match=self._prefix + pattern):
                yield self._bare(key)

    @property
    def raw(self) -> Any:
        """redis-py's own client, for what is not here; it knows no prefix."""
        return self._client()

    # Inside

    async def _open(self) -> None:
        """Reach the server by `min_idle` connections."""
        wanted = max(1, min(self.config.min_idle, self.config.pool_size))
        await asyncio.gather(*(self._answer(("PING",), None) for _ in range(wanted)))

    def _client(self) -> Any:
        self._check_home()
        if self._made is None:
            self._made = make_client(self.config, aio=True)
        return self._made

    def _listening_client(self) -> Any:
        self._check_home()
        if self._listener is None:
            self._listener = make_client(self.config, aio=True, listening=True, node=self._node)
        return self._listener

    async def _listen_elsewhere(self) -> None:
        """Listen to the next node of a cluster, as this one may be gone."""
        listener, self._listener = self._listener, None
        self._node += 1
        if listener is not None:
            await listener.aclose()

    def _check_home(self) -> None:
        """Forget the clients of another process or loop: their connections are of no use here."""
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home != home:
            same_process = self._home[0] == home[0]
            if same_process and self._made is not None and not self._home[1].is_closed():
                raise RedisError(
                    "this Redis was opened on another event loop: open one on this loop by Redis.connect(), "
                    "or use .blocking, which works from everywhere"
                )
            self._inherited.append((self._made, self._listener))
            self._made = self._listener = None
            self._turns = asyncio.Semaphore(self.config.pool_size)
            self._home = home

    @awaited
    async def _send(self, *words: Any, read: Read | None = None) -> Any:
        return await self._answer(words, read)

    async def _answer(self, words: tuple[Any, ...], read: Read | None) -> Any:
        if self.watcher is None:
            return await self._exchange(words, read)
        with Watched(self.watcher, str(words[0])):
            return await self._exchange(words, read)

    async def _exchange(self, words: tuple[Any, ...], read: Read | None) -> Any:
        with translating(self._where):
            try:
                found = await self._ask(words)
            except (ConnectionError, EOFError, _lost()):
                if words[0] not in HARMLESS:
                    raise
                found = await self._ask(words)
        return found if read is None else read(found)

    async def _ask(self, words: tuple[Any, ...]) -> Any:
        if not self.config.cluster_mode:
            return await self._client().execute_command(*words)
        client = self._client()
        try:
            async with asyncio.timeout(self.config.connection_timeout_secs):
                await self._turns.acquire()
        except TimeoutError:
            raise RedisUnavailable(f"all {self.config.pool_size} connections are in use") from None
        try:
            return await client.execute_command(*words)
        finally:
            self._turns.release()


def _lost() -> type[Exception]:
    from redis.exceptions import ConnectionError as Lost

    return Lost


class AsyncPipeline(Pipeline):
    """A pipeline for `async def`."""

    def __init__(self, redis: Redis, *, transaction: bool) -> None:
        super().__init__(redis, transaction=transaction)
        self._redis = redis

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()

    async def execute(self) -> list[Any]:
        """Send what was queued; return the answers in order.

        Raises:
            RedisError: The first command that was refused; the others were run nevertheless.
        """
        queued = self._take()
        if not queued:
            return []
        watcher = self._redis.watcher
        with nullcontext() if watcher is None else Watched(watcher, "PIPELINE"), translating(self._redis._where):
            pipe = self._redis._client().pipeline(transaction=self.transaction)
            for words, _ in queued:
                pipe.execute_command(*words)
            found = await pipe.execute()
        return self._read(queued, found)
