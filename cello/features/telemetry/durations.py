"""The metrics of an HTTP server, counted in plain lists and handed over when they are exported.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP.
PERF: the SDK's histogram takes 3 µs for each value, these lists a few tenths; bench/micro/test_telemetry.py
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from cello._version import __version__
from cello.routing.route import Route

NAME = "http.server.request.duration"
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SCOPE = InstrumentationScope("cello", __version__)

STANDARD_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})

Key = tuple[str, str, Route | None, int, str | None]
"""Method, scheme, route, status and kind of error."""


class Series:
    """The durations of requests that are alike."""

    __slots__ = ("buckets", "count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = float("inf")
        self.most = 0.0
        self.buckets = [0] * (len(BOUNDS_S) + 1)


class Durations:
    """How long requests took, by method, route and status.

    Args:
        wall_ns: The time of day, in nanoseconds.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._series: dict[Key, Series] = {}
        self._since_ns = wall_ns()

    def record(self, key: Key, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series.setdefault((known_method(key[0]), *key[1:]), Series())
            series.count += 1
            series.total += seconds
            if seconds < series.least:
                series.least = seconds
            if seconds > series.most:
                series.most = seconds
            series.buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def collect(self, temporality: AggregationTemporality) -> Metric | None:
        """Return what there is, None where there is nothing; a delta begins anew with each call."""
        now_ns = self._wall_ns()
        with self._lock:
            if not self._series:
                return None
            points = [self._point(key, series, now_ns) for key, series in self._series.items()]
            if temporality is AggregationTemporality.DELTA:
                self._series = {}
                self._since_ns = now_ns
        data = Histogram(points, temporality)
        return Metric(NAME, "Duration of HTTP server requests.", "s", data)

    def _point(self, key: Key, series: Series, now_ns: int) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes_of(key),
            self._since_ns,
            now_ns,
            series.count,
            series.total,
            tuple(series.buckets),
            BOUNDS_S,
            series.least,
            series.most,
        )


def known_method(method: str) -> str:
    """Return the method; unknown ones share a name, so that nobody can make series without end."""
    return method if method in STANDARD_METHODS else "_OTHER"


def attributes_of(key: Key) -> dict[str, Any]:
    """Return the attributes of a series."""
    method, scheme, route, status, error = key
    attributes: dict[str, Any] = {"http.request.method": method, "url.scheme": scheme}
    if route is not None:
        attributes["http.route"] = route.template
    if status:
        attributes["http.response.status_code"] = status
    if error is not None:
        attributes["error.type"] = error
    return attributes
