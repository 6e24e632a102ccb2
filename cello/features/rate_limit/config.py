"""How much a client may ask: `RateLimitConfig`, and the short form "100/minute"."""

import re
from collections.abc import Callable
from math import ceil
from typing import Any

from cello.config import config, field
from cello.errors import ConfigError

TOKEN_BUCKET, SLIDING_WINDOW, ADAPTIVE = "token_bucket", "sliding_window", "adaptive"

MOST_EXACT = 1_000
"""Requests per sliding window that are remembered one by one; beyond, a window moves in steps."""

_SHORT = re.compile(r"\s*(\d+)\s*(?:/|per\s)\s*(\d*)\s*(s|sec|second|m|min|minute|h|hour|d|day)s?\s*")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_HEADER = "header:"


@config
class RateLimitConfig:
    """A limit; made by one of the factories.

    Attributes:
        algorithm: "token_bucket" (a burst of `capacity`, refilled evenly), "sliding_window" (never more than `capacity`
            in any window), or "adaptive" (a token bucket that shrinks while the application is in trouble).
        capacity: Most requests at once.
        refill_rate: Requests per second in the long run.
        window_secs: Seconds in which `capacity` requests are allowed.
        key_by: Whose requests are counted together: "ip" (an IPv6 client by its /64 network), "header:NAME", "user"
            (the id of `request.context["user"]`; those without one by ip), or a function of the request that returns a
            text, or None for requests that are not limited.
        min_capacity: What an adaptive limit shrinks to.
        error_threshold: The share of answers with a status of 500 or more, 0-1, from which an adaptive limit shrinks.
        latency_threshold_ms: The mean time of answers from which it shrinks; None: not watched.
        cpu_threshold: The share of all CPUs that are busy, 0-1, from which it shrinks; None: not watched.
        memory_threshold: The share of the machine's memory in use, 0-1, from which it shrinks; None: not watched.
    """

    algorithm: str = field(one_of=(TOKEN_BUCKET, SLIDING_WINDOW, ADAPTIVE))
    capacity: int = field(at_least=1, at_most=1_000_000_000)
    refill_rate: float = field(above=0)
    window_secs: float = field(above=0, at_most=31_622_400)
    key_by: str | Callable[[Any], Any] = "ip"
    min_capacity: int = field(default=1, at_least=1)
    error_threshold: float = field(default=0.1, above=0, at_most=1)
    latency_threshold_ms: float | None = field(default=None, above=0)
    cpu_threshold: float | None = field(default=None, above=0, at_most=1)
    memory_threshold: float | None = field(default=None, above=0, at_most=1)

    def __post_init__(self) -> None:
        if self.algorithm == SLIDING_WINDOW and self.capacity > MOST_EXACT and self.window_secs < 1:
            raise ConfigError(f"RateLimitConfig: a window of {self.capacity} requests is at least one second long")

    @classmethod
    def token_bucket(
        cls,
        max_requests: int | None = None,
        window_secs: float | None = None,
        *,
        capacity: int | None = None,
        refill_rate: float | None = None,
        requests: int | None = None,
        window: float | None = None,
        key_by: str | Callable[[Any], Any] = "ip",
    ) -> "RateLimitConfig":
        """Allow `max_requests` at once and as many per `window_secs` in the long run.

        Args:
            max_requests: Most requests at once; also `requests` or `capacity`. Default: 100.
            window_secs: Seconds in which all of them come back; also `window`. Default: 60.
            capacity: The same as `max_requests`.
            refill_rate: Requests that come back per second, instead of `window_secs`.
            requests: The same as `max_requests`.
            window: The same as `window_secs`.
            key_by: Whose requests are counted together.

        Raises:
            ConfigError: A value is out of range or said twice.
        """
        most = _one("token_bucket", 100, max_requests=max_requests, capacity=capacity, requests=requests)
        span = _span("token_bucket", most, refill_rate, window_secs=window_secs, window=window)
        return cls(algorithm=TOKEN_BUCKET, capacity=most, refill_rate=most / span, window_secs=span, key_by=key_by)

    @classmethod
    def sliding_window(
        cls,
        max_requests: int | None = None,
        window_secs: float | None = None,
        *,
        requests: int | None = None,
        window: float | None = None,
        key_by: str | Callable[[Any], Any] = "ip",
    ) -> "RateLimitConfig":
        """Allow never more than `max_requests` in any `window_secs` seconds.

        Args:
            max_requests: Also `requests`. Default: 100. Beyond 1,000 the window moves in 60 steps: up to 1/60 of it
                longer, never shorter.
            window_secs: Also `window`. Default: 60.
            requests: The same as `max_requests`.
            window: The same as `window_secs`.
            key_by: Whose requests are counted together.

        Raises:
            ConfigError: A value is out of range or said twice.
        """
        most = _one("sliding_window", 100, max_requests=max_requests, requests=requests)
        span = _span("sliding_window", most, None, window_secs=window_secs, window=window)
        return cls(algorithm=SLIDING_WINDOW, capacity=most, refill_rate=most / span, window_secs=span, key_by=key_by)

    @classmethod
    def adaptive(
        cls,
        max_requests: int | None = None,
        window_secs: float | None = None,
        min_requests: int | None = None,
        error_threshold: float = 0.1,
        latency_threshold_ms: float | None = None,
        cpu_threshold: float | None = None,
        memory_threshold: float | None = None,
        *,
        capacity: int | None = None,
        base_requests: int | None = None,
        refill_rate: float | None = None,
        min_capacity: int | None = None,
        key_by: str | Callable[[Any], Any] = "ip",
    ) -> "RateLimitConfig":
        """Allow `max_requests` per `window_secs` in good times, and down to `min_requests` in bad ones.

        Each second in which a threshold is passed takes a third of the limit away; each good one gives back a tenth of
        what was configured.

        Args:
            max_requests: Also `capacity` or `base_requests`. Default: 100.
            window_secs: Default: 60.
            min_requests: Also `min_capacity`. Default: a tenth of `max_requests`.
            error_threshold: The share of answers with a status of 500 or more, 0-1.
            latency_threshold_ms: The mean time of answers.
            cpu_threshold: The share of all CPUs that are busy, 0-1.
            memory_threshold: The share of the machine's memory in use, 0-1.
            capacity: The same as `max_requests`.
            base_requests: The same as `max_requests`.
            refill_rate: Requests per second, instead of `window_secs`.
            min_capacity: The same as `min_requests`.
            key_by: Whose requests are counted together.

        Raises:
            ConfigError: A value is out of range or said twice.
        """
        most = _one("adaptive", 100, max_requests=max_requests, capacity=capacity, base_requests=base_requests)
        span = _span("adaptive", most, refill_rate, window_secs=window_secs)
        least = _one("adaptive", max(1, most // 10), min_requests=min_requests, min_capacity=min_capacity)
        if least > most:
            raise ConfigError(f"RateLimitConfig.adaptive: min_requests must be at most {most}, not {least!r:.40}")
        return cls(
            algorithm=ADAPTIVE,
            capacity=most,
            refill_rate=most / span,
            window_secs=span,
            key_by=key_by,
            min_capacity=least,
            error_threshold=error_threshold,
            latency_threshold_ms=latency_threshold_ms,
            cpu_threshold=cpu_threshold,
            memory_threshold=memory_threshold,
        )

    @property
    def window_ns(self) -> int:
        """The window in nanoseconds."""
        return ceil(self.window_secs * 1_000_000_000)


def as_config(value: object, key_by: str | Callable[[Any], Any] = "ip") -> RateLimitConfig:
    """Return a limit from what a route or switch was told: a config, or text such as "100/minute" or "5 per 10s".

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(value, RateLimitConfig):
        return value
    found = _SHORT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ConfigError(f"a rate limit is a RateLimitConfig or text such as '100/minute', not {value!r:.80}")
    count, times, unit = found.groups()
    return RateLimitConfig.token_bucket(int(count), int(times or 1) * _UNITS[unit[0]], key_by=key_by)


def check_key(key_by: object) -> None:
    """Check how clients are told apart.

    Raises:
        ConfigError: There is no such way.
    """
    if callable(key_by) or key_by in ("ip", "user"):
        return
    if isinstance(key_by, str) and key_by.startswith(_HEADER) and key_by != _HEADER:
        return
    raise ConfigError(
        f"RateLimitConfig.key_by is 'ip', 'user', 'header:NAME' or a function of the request, not {key_by!r:.80}"
    )


def _one(factory: str, default: int, **given: Any) -> int:
    """Return the one value that was given, under whichever name."""
    said = {name: value for name, value in given.items() if value is not None}
    if len(said) > 1:
        raise ConfigError(f"RateLimitConfig.{factory}: {' and '.join(said)} mean the same; give one of them")
    for name, value in said.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"RateLimitConfig.{factory}: {name} must be a whole number of at least 1, not {value!r:.40}"
            )
        return int(value)
    return default


def _span(factory: str, most: int, refill_rate: Any, **given: Any) -> float:
    """Return the window in seconds, from itself or from the rate at which requests come back."""
    said = {name: value for name, value in {**given, "refill_rate": refill_rate}.items() if value is not None}
    if len(said) > 1:
        raise ConfigError(f"RateLimitConfig.{factory}: {' and '.join(said)} say the same; give one of them")
    for name, value in said.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise ConfigError(f"RateLimitConfig.{factory}: {name} must be a number above 0, not {value!r:.40}")
        return float(most / value if name == "refill_rate" else value)
    return 60
