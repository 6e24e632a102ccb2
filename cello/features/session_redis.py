"""Sessions in Redis: one for all workers of all machines.

Each is a string, `cello:session:<cookie name>:<digest>`, that Redis lets expire. `cello:sessions:<cookie name>` is a
sorted set of their digests by the time they expire, from which the oldest are dropped when there are too many.

Where there is a loop its client is asyncio's; elsewhere (WSGI, worker threads) the blocking one. When Redis cannot be
reached, who looks at a session is answered 503.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any

from cello.errors import ConfigError, MissingDependency, ServiceUnavailable
from cello.pipeline.threads import is_on_loop

logger = logging.getLogger("cello.session")

TIMEOUT_S = 5.0


class RedisStore:
    """Keeps sessions in Redis.

    Args:
        url: As redis-py takes it; what it says there wins over the timeout of five seconds.
        most: How many sessions.
        cookie_name: Keeps applications that share a database apart, if their cookies have different names.

    Raises:
        ConfigError: The URL cannot be read.
        MissingDependency: redis is not installed.
    """

    is_quick = False

    def __init__(self, url: str, most: int, cookie_name: str) -> None:
        try:
            import redis
            import redis.asyncio
            from redis.asyncio.retry import Retry as AsyncRetry
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ModuleNotFoundError as error:
            raise MissingDependency(
                "enable_session needs 'redis' for this store: pip install 'cello[redis]'"
            ) from error
        self._url = url
        self._most = most
        self._prefix = f"cello:session:{cookie_name}:"
        self._index = f"cello:sessions:{cookie_name}"
        self._module: Any = redis
        # Once and at once: a connection that Redis dropped is opened anew, and an outage is told without waiting.
        self._retries: dict[Any, Any] = {
            redis.Redis: lambda: Retry(NoBackoff(), 1),
            redis.asyncio.Redis: lambda: AsyncRetry(NoBackoff(), 1),
        }
        self._failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._blocking: Any = None
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._connect(redis.Redis)
        except (ValueError, TypeError) as error:
            # SECURITY: the URL may hold a password.
            raise ConfigError(f"SessionConfig.store: the Redis URL cannot be read: {error}") from None

    def _connect(self, kind: Any) -> Any:
        timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        return kind.from_url(self._url, retry=self._retries[kind](), **timeouts)

    def start(self) -> None:
        """Begin anew in a worker: connections do not survive a fork."""
        self._blocking = self._client = self._loop = None

    async def stop(self) -> None:
        """Close all connections."""
        client, blocking = self._client, self._blocking
        self.start()
        if client is not None:
            await client.aclose()
        if blocking is not None:
            blocking.close()

    async def check(self) -> None:
        """Ask Redis whether it is there, for health checks."""
        await self._on_loop().ping()

    def load(self, key: str) -> Any:
        """Return what was saved."""
        if is_on_loop():
            return self._awaited(self._on_loop().get(self._prefix + key))
        return self._called(lambda redis: redis.get(self._prefix + key))

    def save(self, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> Any:
        """Keep `value`; an old one only where it still is."""
        if is_on_loop():
            return self._awaited(self._save(key, value, max_age_s, is_new=is_new))
        return self._called(lambda redis: self._save_blocking(redis, key, value, max_age_s, is_new=is_new))

    def delete(self, key: str) -> Any:
        """Forget `key`."""
        if is_on_loop():
            return self._awaited(self._delete(key))
        return self._called(lambda redis: self._delete_blocking(redis, key))

    async def _save(self, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> bool:
        redis = self._on_loop()
        if not await redis.set(self._prefix + key, value, ex=max_age_s, nx=is_new, xx=not is_new):
            return False
        now_s = time.time()
        pipe = self._noted(redis.pipeline(transaction=False), key, now_s, max_age_s)
        surplus = (await pipe.execute())[-1] - self._most
        if is_new and surplus > 0:
            for dropped, _ in await redis.zpopmin(self._index, surplus):
                await redis.delete(self._prefix + dropped.decode())
        return True

    def _save_blocking(self, redis: Any, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> bool:
        if not redis.set(self._prefix + key, value, ex=max_age_s, nx=is_new, xx=not is_new):
            return False
        now_s = time.time()
        surplus = self._noted(redis.pipeline(transaction=False), key, now_s, max_age_s).execute()[-1] - self._most
        if is_new and surplus > 0:
            for dropped, _ in redis.zpopmin(self._index, surplus):
                redis.delete(self._prefix + dropped.decode())
        return True

    def _noted(self, pipe: Any, key: str, now_s: float, max_age_s: int) -> Any:
        """Return the commands that note a session in the index and count what is there."""
        pipe.zadd(self._index, {key: now_s + max_age_s})
        pipe.zremrangebyscore(self._index, "-inf", now_s)
        pipe.expire(self._index, max_age_s + 60)
        pipe.zcard(self._index)
        return pipe

    async def _delete(self, key: str) -> None:
        redis = self._on_loop()
        await redis.delete(self._prefix + key)
        await redis.zrem(self._index, key)

    def _delete_blocking(self, redis: Any, key: str) -> None:
        redis.delete(self._prefix + key)
        redis.zrem(self._index, key)

    def _on_loop(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client = self._connect(self._module.asyncio.Redis)
            self._loop = loop
        return self._client

    def _called(self, command: Any) -> Any:
        if self._blocking is None:
            self._blocking = self._connect(self._module.Redis)
        try:
            return command(self._blocking)
        except self._failures as error:
            raise _unavailable(error) from error

    async def _awaited(self, pending: Awaitable[Any]) -> Any:
        try:
            return await pending
        except self._failures as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> ServiceUnavailable:
    logger.error("sessions cannot be reached in Redis: %s", error)
    return ServiceUnavailable("Sessions are not available right now.", headers={"Retry-After": "5"})
