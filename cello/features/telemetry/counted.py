"""What features count, as OpenTelemetry's metrics: the numbers of this worker, handed over when they are exported.

`cache_requests_total` becomes the sum `cello.cache_requests`; `database_query_duration_seconds` the histogram
`cello.database_query_duration` with the unit `s`. A collector that hands them on to Prometheus makes the names of
`/metrics` of them again. Every worker exports what it has counted itself, under its own `service.instance.id`.
"""

import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    DataT,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from cello.shared.meter import Family, Meter

UNITS = {"_seconds": "s", "_bytes": "By"}

Key = tuple[str, tuple[str, ...]]


class Counted:
    """The numbers of a meter.

    Args:
        meter: Whose.
        sums: The temporality of counters.
        histograms: That of histograms.
        wall_ns: The time of day, in nanoseconds.
    """

    def __init__(
        self,
        meter: Meter,
        sums: AggregationTemporality,
        histograms: AggregationTemporality,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._meter = meter
        self._temporality = {"counter": sums, "histogram": histograms}
        self._wall_ns = wall_ns
        self._began_ns = self._since_ns = wall_ns()
        self._told: dict[Key, list[float]] = {}
        self._lock = threading.Lock()

    def collect(self) -> list[Metric]:
        """Return every metric that has numbers; what is a delta begins anew with each call."""
        with self._lock:
            now_ns = self._wall_ns()
            rows = self._meter.own()
            found = []
            for name, metric in self._meter.metrics.items():
                if rows.get(name) and name.isidentifier():  # other names are those of somebody's own exporter
                    points = [
                        (values, self._since(metric.family, values, cells)) for values, cells in rows[name].items()
                    ]
                    found.append(self._metric(metric.family, points, now_ns))
            self._since_ns = now_ns
            return found

    def _since(self, family: Family, values: tuple[str, ...], cells: list[float]) -> list[float]:
        """Return what is to be told of a row: all of it, or what has come since it was told last."""
        if self._temporality.get(family.kind) is not AggregationTemporality.DELTA:
            return cells
        before = self._told.get((family.name, values))
        self._told[family.name, values] = cells
        return cells if before is None else [now - then for now, then in zip(cells, before, strict=True)]

    def _metric(self, family: Family, points: Sequence[tuple[tuple[str, ...], list[float]]], now_ns: int) -> Metric:
        temporality = self._temporality.get(family.kind, AggregationTemporality.CUMULATIVE)
        since_ns = self._since_ns if temporality is AggregationTemporality.DELTA else self._began_ns
        data: DataT
        if family.kind == "histogram":
            data = Histogram(
                [_histogram(family, values, cells, since_ns, now_ns) for values, cells in points], temporality
            )
        else:
            numbers = [
                NumberDataPoint(_attributes(family, values), since_ns, now_ns, cells[0]) for values, cells in points
            ]
            data = Gauge(numbers) if family.kind == "gauge" else Sum(numbers, temporality, is_monotonic=True)
        name, unit = named(family.name)
        return Metric(name, family.text, unit, data)


def named(name: str) -> tuple[str, str]:
    """Return what a metric is called here, and its unit."""
    name = name.removesuffix("_total")
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return f"cello.{name.removesuffix(suffix)}", unit
    return f"cello.{name}", "1"


def _attributes(family: Family, values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(family.labels, values, strict=True))


def _histogram(
    family: Family, values: tuple[str, ...], cells: list[float], since_ns: int, now_ns: int
) -> HistogramDataPoint:
    *buckets, total = cells
    counts = [int(count) for count in buckets]
    return HistogramDataPoint(
        _attributes(family, values),
        since_ns,
        now_ns,
        sum(counts),
        total,
        counts,
        family.bounds,
        None,  # type: ignore[arg-type]  # the least and the most are not kept; the protocol lets them be left out
        None,  # type: ignore[arg-type]
    )
