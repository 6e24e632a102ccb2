"""What was asked of a database, statement by statement: how often, how long, how many failed.

Times are kept in a histogram of eight buckets per doubling, so a percentile is right within 5 % and costs a dict entry
at most. Beyond `MOST_STATEMENTS` different texts the others are counted together: text with values in it must not fill
the memory.
"""

import threading
from collections.abc import Callable
from math import log2
from typing import Any, NamedTuple

MOST_STATEMENTS = 500
OTHERS = "(other statements)"
_PER_DOUBLING = 8


class QueryEvent(NamedTuple):
    """One statement that was run, as listeners see it.

    Attributes:
        system: "postgresql", "mysql" or "sqlite".
        statement: The SQL, without values.
        seconds: How long it took.
        error: What it raised, or None.
    """

    system: str
    statement: str
    seconds: float
    error: BaseException | None


class StatementTimes:
    """The times of one statement."""

    __slots__ = ("buckets", "count", "errors", "longest_s", "total_s")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.total_s = 0.0
        self.longest_s = 0.0
        self.buckets: dict[int, int] = {}

    def add(self, seconds: float, *, failed: bool) -> None:
        """Count one run."""
        self.count += 1
        self.errors += failed
        self.total_s += seconds
        self.longest_s = max(self.longest_s, seconds)
        bucket = int(log2(seconds * 1e9) * _PER_DOUBLING) if seconds > 1e-9 else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def percentile(self, share: float) -> float:
        """Return the seconds that `share` of the runs did not exceed."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(2 ** ((bucket + 0.5) / _PER_DOUBLING) / 1e9, self.longest_s)
        return 0.0

    def summary(self) -> dict[str, Any]:
        """Return the numbers, times in milliseconds."""
        shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
        return {
            "count": self.count,
            "errors": self.errors,
            "total_ms": round(self.total_s * 1e3, 3),
            **{name: round(self.percentile(share) * 1e3, 3) for name, share in shares.items()},
            "max_ms": round(self.longest_s * 1e3, 3),
        }


class Statistics:
    """Times of all statements of one database, from whichever thread they come.

    Args:
        system: What kind of database.
        slow_s: Beyond it a statement is told to `on_slow`; None for never.
        on_slow: Takes the SQL and the seconds.

    Attributes:
        listeners: Called with every `QueryEvent`, on the thread and in the context that ran it: metrics and traces.
    """

    def __init__(self, system: str, slow_s: float | None, on_slow: Callable[[str, float], None]) -> None:
        self.listeners: list[Callable[[QueryEvent], None]] = []
        self._system = system
        self._slow_s = slow_s
        self._on_slow = on_slow
        self._lock = threading.Lock()
        self._times: dict[str, StatementTimes] = {}

    def add(self, statement: str, seconds: float, error: BaseException | None = None) -> None:
        """Count one run."""
        with self._lock:
            times = self._times.get(statement)
            if times is None:
                key = statement if len(self._times) < MOST_STATEMENTS else OTHERS
                times = self._times.setdefault(key, StatementTimes())
            times.add(seconds, failed=error is not None)
        if self._slow_s is not None and seconds > self._slow_s:
            self._on_slow(statement, seconds)
        if self.listeners:
            event = QueryEvent(self._system, statement, seconds, error)
            for listen in tuple(self.listeners):
                listen(event)

    def snapshot(self) -> dict[str, Any]:
        """Return totals, and the statements that took most time first."""
        with self._lock:
            summaries = {text: times.summary() for text, times in self._times.items()}
        ordered = sorted(summaries.items(), key=lambda entry: -entry[1]["total_ms"])
        return {
            "queries": sum(each["count"] for each in summaries.values()),
            "errors": sum(each["errors"] for each in summaries.values()),
            "statements": dict(ordered),
        }
