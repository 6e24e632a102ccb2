"""Redis for `def` handlers and other plain code: redis-py's plain client, which blocks the calling thread."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from cello.database.config import RedisConfig
from cello.database.errors import LockError, RedisError, RedisUnavailable
from cello.database.redis.address import RedisAddress
from cello.database.redis.commands import HARMLESS, Commands, Read
from cello.database.redis.driver import make_client, translating
from cello.database.redis.pipeline import Pipeline
from cello.database.redis.subscription import BlockingSubscription
from cello.database.redis.watching import Watched, Watcher
from cello.pipeline.threads import is_on_loop


class BlockingRedis(Commands):
    """A Redis server or cluster for plain functions; `Redis.blocking` is one. Safe to use from many threads.

    Attributes:
        on_held_loop: Called when somebody waits for it on an event loop.
        watcher: Is told of every command that is sent.
    """

    def __init__(self, config: RedisConfig) -> None:
        self.config = config
        self.on_held_loop: Callable[[], None] | None = None
        self.watcher: Watcher | None = None
        self._prefix = config.key_prefix or ""
        self._default_ttl = config.default_ttl
        self._where = RedisAddress.of(config).safe_url
        self._lock = threading.Lock()
        self._made: Any = None
        self._listener: Any = None
        self._node = 0
        self._pid = 0
        self._turns = threading.BoundedSemaphore(config.pool_size)

    def __repr__(self) -> str:
        return f"<BlockingRedis {self._where}>"

    @property
    def blocking(self) -> Self:
        """Itself, so that code for either object works."""
        return self

    def disconnect(self) -> None:
        """Close all connections."""
        with self._lock:
            made, self._made = self._made, None
            listener, self._listener = self._listener, None
        if self._pid == os.getpid():
            for each in (made, listener):
                if each is not None:
                    each.close()

    close = disconnect

    def pipeline(self, *, transaction: bool | None = None) -> "BlockingPipeline":
        """Return a pipeline: commands that are sent together by `pipe.execute()`. See `Redis.pipeline`."""
        return BlockingPipeline(self, transaction=not self.config.cluster_mode if transaction is None else transaction)

    def subscribe(
        self, *channels: str, patterns: tuple[str, ...] | list[str] = (), timeout: float | None = None
    ) -> BlockingSubscription:
        """Return what is published to channels, as an iterator of `RedisMessage`.

        Args:
            channels: Their names.
            patterns: Patterns of names, such as "news.*".
            timeout: Seconds without a message after which it ends; None for never.
        """
        if not channels and not patterns:
            raise RedisError("subscribe() needs a channel or a pattern")
        return BlockingSubscription(self, channels, tuple(patterns), timeout)

    @contextmanager
    def lock(self, name: str, *, ttl: float = 30.0, wait: float | None = None) -> Iterator[Any]:
        """Hold a lock that all processes share: `with redis.lock("report"):`. See `Redis.lock`."""
        lock = self._client().lock(self._key(name), timeout=ttl, blocking_timeout=wait, thread_local=False)
        with translating(self._where):
            if not lock.acquire():
                raise LockError(f"the lock {name!r:.80} was not free within {wait} s")
        try:
            yield lock
        except BaseException:
            try:
                lock.release()
            except Exception:  # noqa: BLE001, S110  # the error that ends the block counts; the lock ends by its ttl
                pass
            raise
        with translating(self._where):
            lock.release()

    def scan(self, pattern: str = "*") -> Iterator[str]:
        """Return all keys that match, without stopping the server: `for key in redis.scan("user:*")`."""
        with translating(self._where):
            for key in self._client().scan_iter(match=self._prefix + pattern):
                yield self._bare(key)

    @property
    def raw(self) -> Any:
        """redis-py's own client, for what is not here; it knows no prefix."""
        return self._client()

    # Inside

    def _client(self) -> Any:
        with self._lock:
            self._check_process()
            if self._made is None:
                with translating(self._where):  # a cluster is looked at when its client is made
                    self._made = make_client(self.config, aio=False)
            return self._made

    def _listening_client(self) -> Any:
        with self._lock:
            self._check_process()
            if self._listener is None:
                with translating(self._where):
                    self._listener = make_client(self.config, aio=False, listening=True, node=self._node)
            return self._listener

    def _listen_elsewhere(self) -> None:
        """Listen to the next node of a cluster, as this one may be gone."""
        with self._lock:
            self._listener = None
            self._node += 1

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._made = self._listener = None
            self._pid = os.getpid()

    def _send(self, *words: Any, read: Read | None = None) -> Any:
        if self.on_held_loop is not None and is_on_loop():
            self.on_held_loop()
        if self.watcher is None:
            return self._exchange(words, read)
        with Watched(self.watcher, str(words[0])):
            return self._exchange(words, read)

    def _exchange(self, words: tuple[Any, ...], read: Read | None) -> Any:
        from redis.exceptions import ConnectionError as Lost

        with translating(self._where):
            try:
                found = self._ask(words)
            except Lost:
                if words[0] not in HARMLESS:
                    raise
                found = self._ask(words)
        return found if read is None else read(found)

    def _ask(self, words: tuple[Any, ...]) -> Any:
        client = self._client()
        if not self.config.cluster_mode:
            return client.execute_command(*words)
        if not self._turns.acquire(timeout=self.config.connection_timeout_secs):
            raise RedisUnavailable(f"all {self.config.pool_size} connections are in use")
        try:
            return client.execute_command(*words)
        finally:
            self._turns.release()


class BlockingPipeline(Pipeline):
    """A pipeline for plain functions."""

    def __init__(self, redis: BlockingRedis, *, transaction: bool) -> None:
        super().__init__(redis, transaction=transaction)
        self._redis = redis

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()

    def execute(self) -> list[Any]:
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
            found = pipe.execute()
        return self._read(queued, found)
