"""Rate limits: who asks too much is answered 429, and everybody is told how much is left.

Two middlewares stand at the two places where a limit can stand: before anything is known of the client but its address
and headers (`PROTECT`), and behind those who find out who is asking (`QUOTA`). Each route is surrounded by one of them,
with its own limit or the application's.
"""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from cello.database import RedisConfig
from cello.errors import ConfigError, phrase
from cello.extension import Host
from cello.features.open_paths import OpenPaths
from cello.features.rate_limit.config import RateLimitConfig, as_config, check_key
from cello.features.rate_limit.keys import make_key
from cello.features.rate_limit.limits import Limit, Limits
from cello.features.rate_limit.redis_store import RedisStore
from cello.features.rate_limit.windows import Taken
from cello.http.problem import ProblemDetails
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import PROTECT, QUOTA, Middleware
from cello.review import Deployment, Finding
from cello.routing.router import Route

DEFAULT = "default"
FAILURES = ("open", "closed")
_SECOND_NS = 1_000_000_000


class RateState:
    """What is known of a request's limit, as `request.context["rate_limit"]`."""

    __slots__ = ("_limit", "_started", "_taken")

    def __init__(self, limit: Limit, taken: Taken, started: int) -> None:
        self._limit = limit
        self._taken = taken
        self._started = started

    @property
    def limit(self) -> int:
        """Requests per window."""
        return self._limit.capacity()

    @property
    def remaining(self) -> int:
        """How many more may follow at once."""
        return self._taken.remaining

    @property
    def reset_s(self) -> int:
        """Seconds until all of them may, rounded up."""
        return -(-self._taken.reset_ns // _SECOND_NS)

    @property
    def retry_s(self) -> int | None:
        """Seconds until a refused request may come again, rounded up; None where it was let pass."""
        return -(-self._taken.wait_ns // _SECOND_NS) if self._taken.wait_ns else None


class RateLimit:
    """The switch. For what the arguments mean see `Switches.enable_rate_limit`."""

    name = "rate_limit"

    def __init__(
        self,
        config: RateLimitConfig | str | None,
        *,
        key_func: Callable[[Request], Any] | None = None,
        redis: RedisConfig | str | bool | None = None,
        on_redis_failure: str = "open",
        redis_timeout_ms: float = 250,
        exclude_paths: Collection[str] = (),
        headers: bool = True,
        memory_mb: int = 64,
    ) -> None:
        self._config = None if config is None else as_config(config)
        if key_func is not None and not callable(key_func):
            raise ConfigError(f"enable_rate_limit: key_func is a function of the request, not {key_func!r:.80}")
        if on_redis_failure not in FAILURES:
            raise ConfigError(
                "enable_rate_limit: on_redis_failure is 'open' (let pass) or 'closed' (503), "
                f"not {on_redis_failure!r:.80}"
            )
        if not 1 <= memory_mb <= 65_536:
            raise ConfigError(f"enable_rate_limit: memory_mb is a whole number of 1 to 65,536, not {memory_mb!r:.80}")
        if self._config is not None:
            check_key(self._config.key_by)
        self._key_func = key_func
        self._open_paths = OpenPaths("enable_rate_limit: exclude_paths", exclude_paths)
        self._says = headers
        self._memory_bytes = memory_mb << 20
        self._timeout_s = redis_timeout_ms / 1_000
        self._is_remote = redis is not None and redis is not False
        self._takes_redis = redis is True
        self._redis: RedisStore | None = None
        if self._is_remote and not isinstance(redis, bool | None):
            self._redis = RedisStore(redis, self._timeout_s)
        self._fails_open = on_redis_failure == "open"
        self.is_adaptive = False
        self._limits_of: dict[Route | None, Limit] = {}
        self._by_spec: dict[tuple[str, object], Limit] = {}

    def install(self, host: Host) -> None:
        """Stand around every route at one of two places."""
        self._limits = Limits(host, self._memory_bytes)
        self._host = host
        self._refused = host.metric(
            "counter", "rate_limit_refused_total", "Requests answered 429, by limit.", ("limit",)
        )
        told = "Requests that Redis did not count."
        self._uncounted = host.metric("counter", "rate_limit_uncounted_total", told).labelled()
        told = "Requests that a limit allows per window at the moment; an adaptive one shrinks."
        self._capacity = host.metric("gauge", "rate_limit_capacity", told, ("limit",), of_machine=True)
        self._spans = host.spans
        host.on_collect(self._read)
        if self._is_remote:
            host.add_check("rate_limit", self._check, critical=not self._fails_open)
        kind = RemoteGatekeeper if self._is_remote else Gatekeeper
        host.add_middleware(kind(self, PROTECT, needs_user=False), band=PROTECT)
        host.add_middleware(kind(self, QUOTA, needs_user=True), band=QUOTA)
        host.on_start(self._open)
        if self._is_remote:
            host.on_stop(self._close)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find limits that every machine counts for itself."""
        if deployment.machines > 1 and not self._is_remote:
            yield Finding(
                "warning",
                "rate-limit-machines",
                f"enable_rate_limit counts on each of {deployment.machines} machines by itself, so a client may ask "
                f"{deployment.machines} times as much; redis=… counts for all",
            )

    def _read(self) -> None:
        for limit in tuple(self._by_spec.values()):
            self._capacity.labelled(limit.name).set(limit.capacity())

    async def _check(self) -> None:
        if self._redis is not None:
            await self._redis.ping()

    async def _close(self) -> None:
        if self._redis is not None:
            await self._redis.close()

    def _open(self) -> None:
        """Open the limits that were planned before this process was forked.

        Raises:
            ConfigError: Redis is to be that of the application, which has none.
        """
        if self._takes_redis:
            resource = self._host.resource("redis")
            if resource is None:
                raise ConfigError(
                    "enable_rate_limit(redis=True) counts in the application's Redis: call enable_redis()"
                )
            self._redis = RedisStore(resource.aio.config, self._timeout_s)
        for limit in self._by_spec.values():
            limit.open()

    def limit_for(self, route: Route | None) -> Limit | None:
        """Return the limit that stands around a route, or around all that has none.

        Raises:
            ConfigError: The route's `rate_limit=` is no limit.
        """
        if self._open_paths.covers(route):
            return None
        said = None if route is None else route.options.rate_limit
        if said is False:
            return None
        if route is None or said is None:
            return None if self._config is None else self._made(DEFAULT, self._config)
        try:
            config = as_config(said)
            check_key(config.key_by)
        except ConfigError as error:
            raise ConfigError(f"{route}: {error}") from None
        return self._made(f"{'|'.join(route.methods)} {route.template}", config)

    def _made(self, name: str, config: RateLimitConfig) -> Limit:
        limit = self._by_spec.get((name, config))
        if limit is None:
            key_by = self._key_func if self._key_func is not None and config.key_by == "ip" else config.key_by
            key, needs_user = make_key(key_by)
            opener = self._limits.opener(name, config)
            limit = Limit(name, config, key, needs_user=needs_user, opener=opener)
            self._by_spec[name, config] = limit
            self.is_adaptive = self.is_adaptive or limit.adaptation is not None
        return limit

    def assign(self, route: Route | None, *, needs_user: bool) -> bool:
        """Note the limit of a route; return whether it stands where `needs_user` says."""
        limit = self.limit_for(route)
        if limit is None or limit.needs_user is not needs_user:
            return False
        self._limits_of[route] = limit
        return True

    def limit_of(self, request: Request) -> Limit:
        """Return the limit of a request."""
        return self._limits_of[request.route]

    def decide(self, request: Request, limit: Limit, taken: Taken, started: int) -> Response | None:
        """Note what became of a request; return the refusal, if it is one."""
        request.context["rate_limit"] = state = RateState(limit, taken, started)
        if not taken.wait_ns:
            return None
        self._refused.labelled(limit.name).add()
        self._spans.note("cello.rate_limit", limit.name)
        unit = "second" if state.retry_s == 1 else "seconds"
        detail = f"More than {state.limit} requests; try again in {state.retry_s} {unit}."
        return (
            ProblemDetails("about:blank", phrase(429), 429, detail).with_extension("error", phrase(429)).to_response()
        )

    def tell(self, request: Request, response: Response) -> None:
        """Add the fields that say how much is left."""
        state: RateState | None = request.get_context("rate_limit")
        if state is None:
            return
        headers = response.headers
        taken = state._taken
        if taken.wait_ns and response.status == 429:
            headers.put("retry-after", (b"Retry-After", b"%d" % -(-taken.wait_ns // _SECOND_NS)))
        if not self._says:
            return
        limit = state._limit
        reset_s = -(-taken.reset_ns // _SECOND_NS)
        # By `put`, not `make_field`: numbers, and a name that was checked when it was made, need no further check.
        for field in limit.fixed_fields():
            headers.put(*field)
        headers.put("x-ratelimit-remaining", (b"X-RateLimit-Remaining", b"%d" % taken.remaining))
        headers.put("x-ratelimit-reset", (b"X-RateLimit-Reset", b"%d" % (int(time.time()) + reset_s)))
        headers.put("ratelimit", (b"RateLimit", b"%b;r=%d;t=%d" % (limit.quoted, taken.remaining, reset_s)))

    def note(self, request: Request, *, failed: bool) -> None:
        """Let an adaptive limit know how a request went."""
        state: RateState | None = request.get_context("rate_limit")
        if state is None or state._limit.adaptation is None or state._taken.wait_ns:
            return
        now = time.monotonic_ns()
        state._limit.adaptation.note(now, now - state._started, failed=failed)

    async def take_remote(self, limit: Limit, key: str) -> Taken | Response | None:
        """Count a request in Redis; where that fails, None (let pass) or the refusal."""
        assert self._redis is not None
        taken = await self._redis.take(limit.name, limit.config, limit.capacity(), key)
        if taken is not None:
            return taken
        self._uncounted.add()
        if self._fails_open:
            return None
        detail = "Whether this request is within its limit cannot be found out now."
        refusal = ProblemDetails("about:blank", phrase(503), 503, detail).with_extension("error", phrase(503))
        response = refusal.to_response()
        response.headers["Retry-After"] = "1"
        return response


class Gatekeeper(Middleware):
    """Counts requests in shared memory."""

    def __init__(self, feature: RateLimit, band: int, *, needs_user: bool) -> None:
        self.band = band
        self._feature = feature
        self._needs_user = needs_user

    def applies_to(self, route: Route | None) -> bool:
        """Stand around what has a limit that belongs here."""
        return self._feature.assign(route, needs_user=self._needs_user)

    def before(self, request: Request) -> object:
        """Let a request pass or refuse it."""
        limit = self._feature.limit_of(request)
        key = limit.key(request)
        if key is None:
            return None
        now = time.monotonic_ns()
        return self._feature.decide(request, limit, limit.take(str(key), now), now)

    def after(self, request: Request, response: Response) -> None:
        """Say how much is left."""
        self._feature.tell(request, response)
        if self._feature.is_adaptive:
            self._feature.note(request, failed=response.status >= 500)


class RemoteGatekeeper(Gatekeeper):
    """Counts requests in Redis."""

    async def before(self, request: Request) -> object:
        """Let a request pass or refuse it."""
        limit = self._feature.limit_of(request)
        key = limit.key(request)
        if key is None:
            return None
        now = time.monotonic_ns()
        taken = await self._feature.take_remote(limit, str(key))
        return self._feature.decide(request, limit, taken, now) if isinstance(taken, Taken) else taken
