"""What all workers have in common: rate limits, caches, circuit breakers, channels."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from cello.enable.base import Base
from cello.http.request import Request

if TYPE_CHECKING:
    from cello.database import RedisConfig
    from cello.features.channels import Channel
    from cello.features.rate_limit import RateLimitConfig


class SharedState(Base):
    """What all workers have in common: rate limits, caches, circuit breakers, channels."""

    def enable_rate_limit(
        self,
        config: "RateLimitConfig | str | None",
        *,
        key_func: Callable[[Request], Any] | None = None,
        redis: "RedisConfig | str | bool | None" = None,
        on_redis_failure: str = "open",
        redis_timeout_ms: float = 250,
        exclude_paths: Collection[str] = (),
        headers: bool = True,
        memory_mb: int = 64,
    ) -> None:
        """Answer 429 to clients that ask too much, counted over all workers of this machine.

        Args:
            config: How much; or short, "100/minute". A route may have its own, as `rate_limit=`, or False for none.
                None: only routes that have their own are limited.
            key_func: Returns whose requests are counted together, in place of the client's address; None from it lets a
                request pass uncounted.
            redis: A Redis that counts for all machines: its URL, a `RedisConfig`, or True for that of `enable_redis`.
            on_redis_failure: While Redis does not answer: "open" lets requests pass, "closed" answers 503.
            redis_timeout_ms: How long a request may wait for Redis.
            exclude_paths: Paths that are not limited, nor what is below them.
            headers: Say in every answer how much is left.
            memory_mb: Mebibytes for the keys of all token buckets, and for those of each length of sliding windows;
                beyond, keys that were not used for longest are forgotten.

        Raises:
            ConfigError: An argument is out of range.
            MissingDependency: With `redis`, its client is not installed.
        """
        from cello.features.rate_limit import RateLimit

        self._host.install(
            RateLimit(
                config,
                key_func=key_func,
                redis=redis,
                on_redis_failure=on_redis_failure,
                redis_timeout_ms=redis_timeout_ms,
                exclude_paths=exclude_paths,
                headers=headers,
                memory_mb=memory_mb,
            )
        )

    def enable_caching(
        self,
        ttl: float = 300,
        methods: Collection[str] | None = None,
        exclude_paths: Collection[str] | None = None,
        *,
        stale_while_revalidate: float = 0,
        stale_if_error: float = 0,
        max_bytes: int = 67_108_864,
        max_entry_bytes: int = 1_048_576,
        store: Any = "memory",
        fail: str = "open",
        key_prefix: str = "cello:cache:",
    ) -> None:
        """Keep answers and give them out again, by the rules of a shared cache (RFC 9111).

        Kept are answers to GET and HEAD of routes that have no guards and whose handler looked at no session, cookie
        or credentials; `@cache(...)` and the route option `cache=` say more about single routes.

        Args:
            ttl: Seconds that an answer lives which has no `Cache-Control` or `Expires` of its own; 0: such are not
                kept.
            methods: Of "GET" and "HEAD"; None: both.
            exclude_paths: Paths whose answers are not kept, and what is below them.
            stale_while_revalidate: Seconds after its time in which an answer is given out while it is made anew.
            stale_if_error: Seconds after its time in which an answer is given out when making it anew fails.
            max_bytes: What all kept answers may weigh; the least recently used go first.
            max_entry_bytes: What weighs more is not kept.
            store: "memory", for the workers of one machine; "redis", which `enable_redis` connects, or a `RedisConfig`
                or URL, for several machines.
            fail: What happens while Redis does not answer: "open" runs handlers as if nothing were kept, "closed"
                answers 503.
            key_prefix: What keys in Redis begin with.

        Raises:
            ConfigError: An argument is out of range.
            MissingDependency: Redis is asked for and its client not installed.
        """
        from cello.features.cache.feature import Caching

        self._host.install(
            Caching(
                ttl,
                methods,
                exclude_paths,
                stale_while_revalidate=stale_while_revalidate,
                stale_if_error=stale_if_error,
                max_bytes=max_bytes,
                max_entry_bytes=max_entry_bytes,
                store=store,
                fail=fail,
                key_prefix=key_prefix,
            )
        )

    def invalidate_cache(self, tags: Collection[str]) -> Any:
        """Drop all kept answers that have one of `tags`, in every worker, and with Redis on every machine.

        A plain call in `def` and `async def` handlers alike: it has happened before the answer leaves. Without
        `enable_caching` nothing is kept, so there is nothing to drop.

        Raises:
            ConfigError: `tags` is no list of strings.
        """
        feature = self._host.installed("caching")
        return None if feature is None else feature.invalidate(tags)  # type: ignore[attr-defined]  # it is Caching

    def enable_circuit_breaker(
        self,
        failure_threshold: int = 5,
        reset_timeout: float = 30,
        half_open_target: int = 3,
        failure_codes: Collection[int] | None = None,
        *,
        exclude_paths: Collection[str] = (),
        on_change: Callable[[str, str, str], object] | None = None,
    ) -> None:
        """Give a route that keeps failing a rest: it answers 503 at once, in all workers, until trials succeed.

        Args:
            failure_threshold: Failures in a row that open a route's breaker, 1-1,023.
            reset_timeout: Seconds until the first trial.
            half_open_target: Most trials at a time, and how many must succeed to close it, 1-1,023.
            failure_codes: Statuses that are failures; None: 500, 502, 503, 504. Exceptions that nobody turns into an
                answer below 500 are failures too, and so is an answer that took too long.
            exclude_paths: Paths whose routes have no breaker, and what is below them.
            on_change: Called as `on_change("GET /users/{id}", "closed", "open")` in the worker that made the change.

        Raises:
            ConfigError: An argument is out of range.
        """
        from cello.features.circuit_breaker import CircuitBreaker

        self._host.install(
            CircuitBreaker(
                failure_threshold,
                reset_timeout,
                half_open_target,
                failure_codes,
                exclude_paths=exclude_paths,
                on_change=on_change,
            )
        )

    def channel(self, name: str) -> "Channel":
        """Return the channel of that name: what is published on it is heard by its subscribers in every worker.

        ```python
        await app.channel("room").publish({"text": "hello"})

        async for item in app.channel("room").subscribe():
            ...
        ```

        In `def` handlers the same without `await` and `async`. It needs no switch; `enable_channels` is for Redis.

        Raises:
            ConfigError: The name is empty or longer than 255 bytes.
        """
        return self._host.channels().channel(name)

    def enable_channels(self, redis: str | None = None, *, prefix: str = "cello:channel:") -> None:
        """Have channels (`app.channel(name)`) reach further than the workers of one machine.

        Args:
            redis: The URL of a Redis server, which carries the messages to all machines that use it. None: the workers
                of this machine.
            prefix: What the names of channels begin with in Redis.

        Raises:
            ConfigError: It is no URL, or channels are in use already.
            MissingDependency: The client of Redis is not installed.
        """
        from cello.features.channels import Channels

        self._host.install(Channels(redis, prefix=prefix))
