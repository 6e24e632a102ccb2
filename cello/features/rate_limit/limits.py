"""One limit and where its counts are: in the memory of this machine's workers, or in Redis.

`take` gives a `Taken` whichever the algorithm; only Redis makes it wait.
"""

from collections.abc import Callable
from typing import Any

from cello.extension import Host
from cello.features.bucket import Bucket
from cello.features.rate_limit.adaptation import WORDS, Adaptation
from cello.features.rate_limit.config import ADAPTIVE, MOST_EXACT, SLIDING_WINDOW, RateLimitConfig
from cello.features.rate_limit.windows import ExactWindow, SteppedWindow, Taken
from cello.shared.layouts import TableLayout, WordsLayout

Take = Callable[[str, int], Taken]

Field = tuple[str, tuple[bytes, bytes]]

BUCKETS = "rate_limit buckets"


class Limits:
    """The memory of all limits of an application.

    Args:
        host: The application.
        memory_bytes: For the windows of each length; and for all buckets.
    """

    def __init__(self, host: Host, memory_bytes: int) -> None:
        self._host = host
        self._memory_bytes = memory_bytes

    def opener(self, name: str, config: RateLimitConfig) -> Callable[[], tuple[Take, Adaptation | None]]:
        """Return what opens the counts of the limit called `name`, once per process."""
        if config.algorithm == SLIDING_WINDOW:
            return self._windows(name, config)
        return self._buckets(name, config)

    def _buckets(self, name: str, config: RateLimitConfig) -> Callable[[], tuple[Take, Adaptation | None]]:
        # All buckets are one table: a million keys of one limit, or a few of many.
        region = self._host.shared.region(BUCKETS, TableLayout(capacity=max(8, self._memory_bytes // 24)))
        adapting = config.algorithm == ADAPTIVE
        levels = self._host.shared.region(f"rate_limit level {name}", WordsLayout(count=WORDS)) if adapting else None

        def open_buckets() -> tuple[Take, Adaptation | None]:
            bucket = Bucket(region.open())
            if levels is None:
                return fixed_bucket(bucket, name, config), None
            adaptation = Adaptation(levels.open(), config)
            return shrinking_bucket(bucket, name, config, adaptation), adaptation

        return open_buckets

    def _windows(self, name: str, config: RateLimitConfig) -> Callable[[], tuple[Take, Adaptation | None]]:
        exact = config.capacity <= MOST_EXACT
        width = 1 + config.capacity if exact else SteppedWindow.WIDTH
        layout = TableLayout(capacity=max(8, self._memory_bytes // (8 * (2 + width))), width=width)
        region = self._host.shared.region(f"rate_limit windows of {width} words", layout)

        def open_windows() -> tuple[Take, Adaptation | None]:
            kind = ExactWindow if exact else SteppedWindow
            window = kind(region.open(), config.capacity, config.window_ns)
            return lambda key, now: window.take(f"{name}\0{key}", now), None

        return open_windows


def fixed_bucket(bucket: Bucket, name: str, config: RateLimitConfig) -> Take:
    """Return `take` of a token bucket."""
    interval = -(-config.window_ns // config.capacity)
    full = interval * config.capacity
    prefix = f"{name}\0"

    def take(key: str, now: int) -> Taken:
        return read_room(bucket.take(prefix + key, now, interval, full), interval, full)

    return take


def shrinking_bucket(bucket: Bucket, name: str, config: RateLimitConfig, adaptation: Adaptation) -> Take:
    """Return `take` of a token bucket whose capacity changes; what was taken before stays taken."""
    prefix = f"{name}\0"

    def take(key: str, now: int) -> Taken:
        capacity = adaptation.capacity()
        interval = -(-config.window_ns // capacity)
        return read_room(bucket.take(prefix + key, now, interval, interval * capacity), interval, interval * capacity)

    return take


def read_room(room: int, interval: int, full: int) -> Taken:
    """Return what the room that a bucket has left means."""
    if room < 0:
        return Taken(-room, 0, full - room - interval)
    return Taken(0, room // interval, full - room)


class Limit:
    """One limit as it stands around routes.

    Attributes:
        name: What its policy is called.
        config: As configured.
        key: Gives a request's key, or None.
        needs_user: Whether it stands behind those who find out who is asking.
        take: Counts a request.
        adaptation: What shrinks it, or None.
        quoted: Its name as a string of a structured field (RFC 9651 §3.3.3).
    """

    def __init__(
        self,
        name: str,
        config: RateLimitConfig,
        key: Callable[[Any], Any],
        *,
        needs_user: bool,
        opener: Callable[[], tuple[Take, Adaptation | None]],
    ) -> None:
        self.name = name
        self.config = config
        self.key = key
        self.needs_user = needs_user
        self._opener = opener
        shown = "".join(char for char in name if " " <= char <= "~" and char not in '"\\')
        self.quoted = f'"{shown}"'.encode("ascii")
        self._fixed: tuple[int, tuple[Field, ...]] = (0, ())
        self.open()

    def open(self) -> None:
        """Open its counts, in each process."""
        self.take, self.adaptation = self._opener()

    def capacity(self) -> int:
        """Return how many requests it allows at the moment."""
        return self.config.capacity if self.adaptation is None else self.adaptation.capacity()

    def fixed_fields(self) -> "tuple[Field, ...]":
        """Return the fields that are the same in every answer, until an adaptive limit changes."""
        capacity = self.capacity()
        if self._fixed[0] != capacity:
            window_s = -(-self.config.window_ns // 1_000_000_000)
            policy = b"%b;q=%d;w=%d" % (self.quoted, capacity, window_s)
            limit = ("x-ratelimit-limit", (b"X-RateLimit-Limit", b"%d" % capacity))
            self._fixed = (capacity, (limit, ("ratelimit-policy", (b"RateLimit-Policy", policy))))
        return self._fixed[1]
