"""Which store an application's cache has, by what `enable_caching(store=…)` says and where the application runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.cache.arena import CLAIMS, ArenaStore, SharedGenerations
from cello.features.cache.store import GENERATIONS, LocalGenerations, MemoryStore, Store, StoreFailed
from cello.shared.arena import PrivateMemory
from cello.shared.layouts import StoreLayout, TableLayout, WordsLayout

if TYPE_CHECKING:
    from cello.database import Redis

_BYTES_PER_KEY = 4_096
_LEAST_KEYS = 1_024
NEAR_SHARE = 8
"""The part of what the cache may weigh that each worker may keep of it as objects."""

Evicted = Callable[[int], None]


class LocalStores:
    """Stores for the workers of one machine: in shared memory where there are several, else in this process.

    Args:
        host: The application.
        most_bytes: What all entries may weigh.
        on_evicted: Called with how many a process dropped for want of room.
    """

    def __init__(self, host: Host, most_bytes: int, on_evicted: Evicted) -> None:
        self._most_bytes = most_bytes
        self._on_evicted = on_evicted
        self._shared = host.shared
        self._generations = host.shared.region("cache generations", WordsLayout(GENERATIONS))
        capacity = max(_LEAST_KEYS, most_bytes // _BYTES_PER_KEY)
        self._values = host.shared.region("cache", StoreLayout(max(most_bytes, 4_096), capacity))
        self._claims = host.shared.region("cache claims", TableLayout(CLAIMS, width=2))

    def open(self) -> Store:
        """Return the store of this process."""
        if isinstance(self._shared.origin().memory, PrivateMemory):
            return MemoryStore(self._most_bytes, LocalGenerations(), self._on_evicted)
        generations = SharedGenerations(self._generations)
        near_bytes = self._most_bytes // NEAR_SHARE
        return ArenaStore(self._values.open(), self._claims.open(), generations, near_bytes, self._on_evicted)


class RedisStores:
    """The store for several machines.

    Args:
        where: "redis", a URL or a RedisConfig.
        host: The application.
        prefix: What keys begin with.
        is_needed: Whether the application will not start without it.

    Raises:
        ConfigError: `where` is no address of a Redis.
        MissingDependency: Its client is not installed.
    """

    def __init__(self, where: Any, host: Host, prefix: str, *, is_needed: bool) -> None:
        from cello.database import Redis

        self._host = host
        self._prefix = prefix
        self._is_needed = is_needed
        self._own = None if where == "redis" else Redis(where)
        if self._own is not None:
            host.on_stop(self._own.disconnect)

    def open(self) -> Store:
        """Return the store of this process.

        Raises:
            ConfigError: The application's own Redis is asked for, and there is none.
            StoreFailed: It cannot be reached, and is needed.
        """
        from cello.features.cache.redis import RedisStore

        store = RedisStore(self._redis(), self._prefix)
        try:
            store.reach()
        except StoreFailed:
            if self._is_needed:
                raise
        return store

    async def ping(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            RedisError: There is none.
        """
        await self._redis()._open()

    def _redis(self) -> "Redis":
        if self._own is not None:
            return self._own
        resource = self._host.resource("redis")
        if resource is None:
            raise ConfigError("enable_caching: store='redis' needs app.enable_redis(...), or give a URL")
        redis: Redis = resource.aio
        return redis


def choose(
    where: Any, host: Host, *, most_bytes: int, prefix: str, is_needed: bool, on_evicted: Evicted
) -> LocalStores | RedisStores:
    """Return what opens the store.

    Raises:
        ConfigError: `where` is none of the kinds that there are.
        MissingDependency: Redis is asked for and its client not installed.
    """
    if where == "memory":
        return LocalStores(host, most_bytes, on_evicted)
    if isinstance(where, str) and where != "redis" and "://" not in where:
        raise ConfigError(f"enable_caching: store is 'memory', 'redis', a URL or a RedisConfig, not {where!r:.80}")
    return RedisStores(where, host, prefix, is_needed=is_needed)
