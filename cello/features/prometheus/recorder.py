"""Counting requests: what happens to each one, so it is short.

A request has cells for its method, route and status: the buckets of its duration, of its size and of its answer's size,
each with a sum behind them. Where those are is looked up once a request; all else is adding to floats in this
process's own memory.

This source is also compiled (`cello._speedups.recorder`): it defines this one class and nothing else.
"""

from array import array
from collections.abc import Callable
from time import perf_counter
from typing import Any

from cello import _speedups

MARK = "metered"
"""Where a request remembers when it began and which gauge counts it."""


class Recorder:
    """Counts into cells.

    Args:
        bounds: The upper bounds of durations in seconds, then those of sizes in bytes.
        find_gauge: Takes method and route; gives the cell of the requests in progress.
        find_cells: Takes method, route and status; gives where the cells of duration, request size and response size
            begin.
        leave_later: Takes request and response, where the body is not at hand; None for one that cannot be sent.

    Attributes:
        cells: This process's numbers.
    """

    __slots__ = ("_durations", "_find_cells", "_find_gauge", "_leave_later", "_sizes", "_tracks", "cells")

    def __init__(
        self,
        bounds: tuple[tuple[float, ...], tuple[float, ...]],
        find_gauge: Callable[[str, Any], int],
        find_cells: Callable[[str, Any, int], tuple[int, int, int]],
        leave_later: Callable[[Any, Any], None],
    ) -> None:
        self._durations = array("d", bounds[0])
        self._sizes = array("d", bounds[1])
        self._find_gauge = find_gauge
        self._find_cells = find_cells
        self._leave_later = leave_later
        self.restart(memoryview(array("d", [0.0])))

    def restart(self, cells: Any) -> None:
        """Count into `cells` from now on."""
        self.cells = cells
        self._tracks: dict[Any, Any] = {}

    def begin(self, request: Any) -> None:
        """Count a request in."""
        key = (request.method, request.route)
        track = self._tracks.get(key)
        if track is None:  # its gauge, the cells by status, and the key itself
            track = self._tracks[key] = (self._find_gauge(key[0], key[1]), {}, key)
        at = track[0]
        self.cells[at] += 1.0
        memo = request._memo
        if memo is None:
            memo = request._memo = {}
        memo[MARK] = (perf_counter(), track)

    def leave(self, request: Any, response: Any) -> None:
        """Count a request out whose answer is ready."""
        try:
            response.settle(request)  # only now is it decided whether a 200 is a 304 or a 206
        except Exception:
            self._leave_later(request, None)
            raise
        payload = response.payload
        memo = request._memo
        if payload.__class__ is not bytes:
            self._leave_later(request, response)
        elif memo is not None:
            mark = memo.pop(MARK, None)
            if mark is not None:
                body = request._body
                received = len(body) if body.__class__ is bytes else request.content_length or 0
                self.finish(mark, response.status, received, len(payload))

    def finish(self, mark: Any, status: int, received: int, sent: int) -> None:
        """Count out a request that began at `mark`.

        Args:
            mark: What it remembers.
            status: Of the answer.
            received: Bytes of the request's body.
            sent: Bytes of the answer's body.
        """
        took_s = perf_counter() - mark[0]
        track = mark[1]
        at = track[0]
        self.cells[at] -= 1.0
        places = track[1]
        found = places.get(status)
        if found is None:
            key = track[2]
            found = places[status] = self._find_cells(key[0], key[1], status)
        self.add(found[0], self._durations, took_s)
        self.add(found[1], self._sizes, received)
        self.add(found[2], self._sizes, sent)

    def add(self, at: int, bounds: Any, value: float) -> None:
        """Count `value` in the histogram at `at`."""
        count = len(bounds)
        bucket = 0
        while bucket < count and bounds[bucket] < value:
            bucket += 1
        self.cells[at + bucket] += 1.0
        self.cells[at + count + 1] += value


PureRecorder = Recorder
if _speedups.enabled:
    from cello._speedups.recorder import Recorder  # type: ignore[import-not-found, no-redef, unused-ignore]
