"""Numbers with names and labels, counted by every process for itself and summed by whoever reads.

A process writes into its own slab only, so counting takes no lock and no atomic instruction. Who claims a slab after
its process died goes on with the numbers in it: what was counted is never lost, and sums never fall.

A slab, in words of 64 bits: the end of what is written, the process's id, then rows. A row is the length of its name
in bytes, how many cells it has, the name (JSON of the metric's name and its label values), and the cells: floats.

Rule 1: a row counts from the moment the end moves past it, last; killed before, its process leaves nothing half-made.
Rule 2: a gauge is of a living process; the ones that died with their values in it are left out and begin anew at zero.
Rule 3: when a slab is full, further rows go into one that nobody reads, and that is logged once.
Rule 4: what is a state and not an event, such as how full a pool is, is looked up by a reader (`on_collect`) whenever
somebody is about to read the numbers; nobody asks where nobody exports.
Rule 5: what all processes of a machine see alike, such as shared memory, is `of_machine`: read once, never summed.

Histograms have a cell for each bucket (not cumulative), one beyond the last bound, and one for the sum.
"""

import json
import logging
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cello.errors import ConfigError

logger = logging.getLogger("cello")

KINDS = ("counter", "gauge", "histogram")
LOCAL_WORDS = 8_192
"""The slab of a process whose numbers nobody else reads."""
MOST_CELLS = 64
_END, _PID, _FIRST = 0, 1, 2
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


Rows = dict[tuple[str, ...], list[float]]
"""Label values → cells."""


class Family(NamedTuple):
    """A metric, whatever its labels.

    Attributes:
        kind: "counter", "gauge" or "histogram".
        name: As features know it, such as "cache_requests_total".
        text: What it says, for people.
        labels: The names of its labels.
        bounds: Of a histogram: the upper bounds of its buckets.
        of_machine: Whether all processes see the same number, which is not summed then.
    """

    kind: str
    name: str
    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    of_machine: bool = False

    @property
    def width(self) -> int:
        """How many cells a row of it has."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


class Row:
    """The cells of one metric with certain label values, in this process.

    Attributes:
        at: Where they begin in `Meter.cells`.
    """

    __slots__ = ("_bounds", "_followed", "_meter", "at", "values")

    def __init__(self, meter: "Meter", bounds: tuple[float, ...], values: tuple[str, ...], at: int) -> None:
        self._meter = meter
        self._bounds = bounds
        self._followed = 0.0
        self.values = values
        self.at = at

    def add(self, amount: float = 1.0) -> None:
        """Count; a counter only grows."""
        # No other thread comes between reading and writing a cell: there is no call and no jump in this line.
        self._meter.cells[self.at] += amount

    def set(self, value: float) -> None:
        """Say what a gauge shows now, in this process; what is read is the sum over all processes."""
        self._meter.cells[self.at] = value

    def follow(self, total: float) -> None:
        """Bring a counter up to what something in this process has counted so far; where that fell, it began anew."""
        before, self._followed = self._followed, total
        self._meter.cells[self.at] += total - before if total >= before else total

    def observe(self, value: float) -> None:
        """Count a value of a histogram."""
        cells, at = self._meter.cells, self.at
        cells[at + bisect_left(self._bounds, value)] += 1.0
        cells[at + len(self._bounds) + 1] += value


class Metric:
    """A metric; `labelled` gives the row of some label values."""

    def __init__(self, meter: "Meter", family: Family) -> None:
        self._meter = meter
        self.family = family
        self.rows: dict[tuple[str, ...], Row] = {}

    def labelled(self, *values: str) -> Row:
        """Return the row of these label values, in the order of the labels; keep it where it is needed often.

        SECURITY: a value that clients choose makes rows without end; there is room for some thousands.

        Raises:
            ConfigError: There are more or fewer labels.
        """
        row = self.rows.get(values)
        return self._meter.make_row(self, values) if row is None else row


class Meter:
    """All metrics of an application, as one process writes them.

    Attributes:
        cells: This process's slab, as floats. Replaced by `open`.
        is_full: Whether there was no room for a row.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self._lock = threading.Lock()
        self._collecting = threading.Lock()
        self._readers: list[Callable[[], object]] = []
        self._broken: set[Callable[[], object]] = set()
        self._inherited: dict[tuple[str, tuple[str, ...], int], list[float]] = {}
        self._slabs: Callable[[], Sequence[memoryview]] = lambda: [self._words]
        self._words = memoryview(bytearray(8 * LOCAL_WORDS)).cast("q")
        self._begin()

    def _begin(self) -> None:
        words = self._words
        self.cells = words.cast("B").cast("d")
        self.is_full = False
        if words[_END] == 0:
            words[_END] = _FIRST
        words[_PID] = os.getpid()
        self._places = {(name, values, width): at for name, values, at, width in _rows(words)}

    def metric(
        self,
        kind: str,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] | None = None,
        *,
        of_machine: bool = False,
    ) -> Metric:
        """Return the metric called `name`; the same one for the same words.

        Raises:
            ConfigError: There is another one of that name, or it cannot be.
        """
        if kind not in KINDS:
            raise ConfigError(f"the metric {name!r:.80} is of kind {kind!r:.40}: use {', '.join(KINDS)}")
        chosen = DEFAULT_BUCKETS if bounds is None else tuple(bounds)
        family = Family(kind, name, text, tuple(labels), chosen if kind == "histogram" else (), of_machine)
        if family.width > MOST_CELLS:
            raise ConfigError(f"the metric {name!r:.80} has more than {MOST_CELLS - 2} buckets")
        with self._lock:
            known = self.metrics.setdefault(name, Metric(self, family))
        if known.family != family:
            raise ConfigError(f"there is a metric {name!r:.80} already, and it is another one: {known.family}")
        return known

    def make_row(self, metric: Metric, values: tuple[str, ...]) -> Row:
        """Return a new row of `metric`."""
        family = metric.family
        if len(values) != len(family.labels):
            raise ConfigError(
                f"the metric {family.name!r} has the labels {family.labels}, not the values {values!r:.80}"
            )
        with self._lock:
            row = metric.rows.get(values)
            if row is None:
                row = Row(self, family.bounds, values, self._place(family, values))
                metric.rows[values] = row
        return row

    def open(self, own: memoryview, all_slabs: Callable[[], Sequence[memoryview]]) -> None:
        """Count in `own` from now on, which may hold what a dead process counted, and read `all_slabs`."""
        with self._lock:
            self._words, self._slabs = own, all_slabs
            self._begin()
            self._inherited = {
                (name, values, width): list(self.cells[at : at + width]) for name, values, at, width in _rows(own)
            }
            for metric in self.metrics.values():
                for values, row in metric.rows.items():
                    row.at = self._place(metric.family, values)
                    row._followed = 0.0
            gauges = {name for name, metric in self.metrics.items() if metric.family.kind == "gauge"}
            for name, _, at, width in _rows(own):
                if name in gauges:
                    for cell in range(at, at + width):
                        self.cells[cell] = 0.0

    def on_collect(self, reader: Callable[[], object]) -> None:
        """Call `reader` before the numbers of this process are read, to set what they do not say by themselves.

        It runs on any thread, takes no time, and waits for nothing; what it raises is logged once.
        """
        self._readers.append(reader)

    def collect(self) -> None:
        """Have every reader set its numbers."""
        with self._collecting:
            for reader in tuple(self._readers):
                try:
                    reader()
                except Exception:
                    if reader not in self._broken:
                        self._broken.add(reader)
                        logger.exception("a reader of metrics does not work: %r", reader)

    def own(self) -> dict[str, Rows]:
        """Return the cells of every row as this process has counted them, without what it inherited from a dead one."""
        self.collect()
        found: dict[str, Rows] = {name: {} for name in self.metrics}
        for name, values, at, width in _rows(self._words):
            metric = self._known(name, values, width)
            if metric is None:
                continue
            row = [float(cell) for cell in self.cells[at : at + width]]
            before = self._inherited.get((name, values, width))
            if before is not None and metric.family.kind != "gauge" and not metric.family.of_machine:
                row = [now - then for now, then in zip(row, before, strict=True)]
            found[name][values] = row
        return found

    def _known(self, name: str, values: tuple[str, ...], width: int) -> Metric | None:
        """Return the metric that a row is of, or None: other code wrote it, before a reload."""
        metric = self.metrics.get(name)
        if metric is None or metric.family.width != width or len(values) != len(metric.family.labels):
            return None
        return metric

    def totals(self) -> dict[str, Rows]:
        """Return the cells of every row, summed over all processes: by the metric's name, then by label values."""
        self.collect()
        found: dict[str, Rows] = {name: {} for name in self.metrics}
        for words in self._slabs():
            if words[_END] <= _FIRST:
                continue
            cells = words.cast("B").cast("d")
            lives = _is_alive(words[_PID])
            for name, values, at, width in _rows(words):
                metric = self._known(name, values, width)
                if metric is None or (metric.family.kind == "gauge" and not lives):
                    continue
                if metric.family.of_machine and words is not self._words:
                    continue
                row = [float(cell) for cell in cells[at : at + width]]
                known = found[name].get(values)
                found[name][values] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
        return found

    def _place(self, family: Family, values: tuple[str, ...]) -> int:
        """Return where the cells of a row begin in this process's slab, making them if they are not there."""
        words = self._words
        found = self._places.get((family.name, values, family.width))
        if found is not None:
            return found
        raw = json.dumps([family.name, *values], separators=(",", ":")).encode()
        begin = words[_END]
        at = begin + 2 + (len(raw) + 7) // 8
        if at + family.width > len(words) - MOST_CELLS:
            if not self.is_full:
                logger.warning("there is no room for more metrics in this process: %s is not counted", raw.decode())
            self.is_full = True
            return len(words) - MOST_CELLS
        words[begin] = len(raw)
        words[begin + 1] = family.width
        words.cast("B")[8 * (begin + 2) : 8 * (begin + 2) + len(raw)] = raw
        for cell in range(at, at + family.width):
            words[cell] = 0  # a predecessor may have died while it wrote here
        words[_END] = at + family.width
        self._places[family.name, values, family.width] = at
        return at


def _rows(words: memoryview) -> Iterator[tuple[str, tuple[str, ...], int, int]]:
    """Yield name, label values, place and width of every row of a slab."""
    raw = words.cast("B")
    position, end = _FIRST, words[_END]
    while position < end:
        length, width = words[position], words[position + 1]
        begin = 8 * (position + 2)
        name, *values = json.loads(bytes(raw[begin : begin + length]))
        at = position + 2 + (length + 7) // 8
        yield name, tuple(values), at, width
        position = at + width


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
