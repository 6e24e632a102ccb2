"""The switch: requests are counted in this process's slab of shared memory, and the endpoint sums all slabs.

Rule 1: a request is counted by its route's template, never by its path; what has no route is `<unmatched>`, and methods
nobody has registered are `_OTHER`. So clients cannot make series.
Rule 2: it is counted when its answer is ready, and where the answer is a stream, when that has ended.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.counted import count
from cello.features.prometheus import exposition, foreign
from cello.features.prometheus.recorder import MARK, Recorder
from cello.features.runtime import Runtime
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.guarding import Guard
from cello.pipeline.middleware import OBSERVE, Middleware
from cello.review import Deployment, Finding
from cello.routing.route import STANDARD_METHODS, Route
from cello.shared.arena import PrivateMemory
from cello.shared.layouts import SlabLayout
from cello.shared.meter import Family

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BUCKETS_BYTES = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
UNMATCHED = "<unmatched>"
OTHER = "_OTHER"
CLIENT_LEFT = 499
"""The status of a request whose client left before it was answered, as in the access log."""
REFRESH_S = 5.0
"""How old the states of other workers may be, such as how full their pools are; what they count is of this moment."""
WORKERS = 128
WORDS = 65_536
_LABELS = ("method", "route", "status")
_OWN_MARK = "http: "
"""What the names of the metrics of requests begin with among those that features count."""
_OWN = ("request_duration_seconds", "request_size_bytes", "response_size_bytes")


class Prometheus(Middleware):
    """Counts requests and shows the numbers. For what the arguments mean see `App.enable_prometheus`."""

    name = "prometheus"
    band = OBSERVE

    def __init__(
        self,
        endpoint: str = "/metrics",
        namespace: str = "cello",
        subsystem: str = "http",
        *,
        buckets: Sequence[float] | None = None,
        exclude_paths: Collection[str] = (),
        guards: Sequence[Guard] | None = None,
    ) -> None:
        parts: dict[str, object] = {"namespace": namespace, "subsystem": subsystem}
        for name, value in parts.items():
            if not isinstance(value, str) or (value and not exposition.NAME.fullmatch(value)):
                raise ConfigError(f"enable_prometheus: {name} is of letters, digits and underscores, not {value!r:.80}")
        if isinstance(exclude_paths, str) or not all(isinstance(path, str) for path in exclude_paths):
            raise ConfigError(f"enable_prometheus: exclude_paths is a list of strings, not {exclude_paths!r:.80}")
        self._endpoint = endpoint
        self._namespace = namespace
        self._prefix = "".join(f"{part}_" for part in (namespace, subsystem) if part)
        self._buckets = BUCKETS_S if buckets is None else _checked_buckets(buckets)
        self._excluded = tuple(path.rstrip("/") for path in exclude_paths)
        self._guards = guards
        self._own_methods: frozenset[str] = frozenset()
        bounds = (self._buckets, BUCKETS_BYTES)
        self._recorder = Recorder(bounds, self._find_gauge, self._find_cells, self._leave_later)
        # PERF: the hooks are the recorder's own: 0.2 µs less than by way of methods here; bench/micro/test_metrics.py
        self.before = self._recorder.begin  # type: ignore[method-assign]  # a hook is a function
        self.after = self._recorder.leave  # type: ignore[method-assign]  # a hook is a function
        self._host: Host

    def install(self, host: Host) -> None:
        """Stand around everything, and serve the endpoint."""
        self._host = host
        Runtime.install_once(host)
        meter = host.meter
        bounds = {"request_duration_seconds": self._buckets}
        texts = ("How long requests took, in seconds.", "Bytes of request bodies.", "Bytes of answers' bodies.")
        self._histograms = [
            meter.metric("histogram", f"{_OWN_MARK}{name}", text, _LABELS, bounds.get(name, BUCKETS_BYTES))
            for name, text in zip(_OWN, texts, strict=True)
        ]
        self._gauge = meter.metric(
            "gauge", f"{_OWN_MARK}requests_in_progress", "Requests being answered.", ("method", "route")
        )
        self._recorder.restart(meter.cells)  # for requests to an application that was not started
        self._region = host.shared.region("metrics", SlabLayout(slabs=WORKERS, words=WORDS))
        host.add_middleware(self)
        host.add_route(self._endpoint, self._show, guards=self._guards, name="prometheus")
        host.on_start(self._start, band=0)
        host.on_stop(self._stop, band=5)
        self._refreshing: asyncio.Task[None] | None = None

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find numbers that everybody can read."""
        if deployment.is_production and not self._guards:
            yield Finding(
                "note",
                "metrics-public",
                f"enable_prometheus shows its numbers to everybody who reaches {self._endpoint}; keep it to the "
                "inside by your proxy, or by guards=[…]",
            )

    def _start(self) -> None:
        slabs = self._region.open()
        meter = self._host.meter
        meter.open(slabs.claim(), slabs.all)
        self._recorder.restart(meter.cells)
        self._own_methods = frozenset(method for route in self._host.routes() for method in route.methods)
        has_others = not isinstance(self._host.shared.origin().memory, PrivateMemory)
        foreign.warn_where_apart(has_other_workers=has_others)
        if has_others:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Keep this worker's states true for the others, who cannot ask for them when they are scraped."""
        while True:
            await asyncio.sleep(REFRESH_S)
            self._host.meter.collect()

    async def _stop(self) -> None:
        refreshing, self._refreshing = self._refreshing, None
        if refreshing is not None:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, at no cost to it."""
        if route is None or not self._excluded:
            return True
        template = route.template
        return not any(template == path or template.startswith(f"{path}/") for path in self._excluded)

    # What happens to each request

    def _leave_later(self, request: Request, response: Response | None) -> None:
        """Count out a request whose answer is a file, or a stream when that has ended, or will be an error."""
        if response is None:
            self._end(request, 500)
            return
        mark = self._take_mark(request)
        if mark is None:
            return
        status, finish = response.status, self._recorder.finish
        received = len(request._body) if isinstance(request._body, bytes) else request.content_length or 0
        payload = response.payload
        if isinstance(payload, FilePayload):
            finish(mark, status, received, payload.length)
        elif isinstance(payload, StreamPayload):
            count(payload, lambda size, is_cut_short: finish(mark, status, received, size))

    def _end(self, request: Request, status: int) -> None:
        mark = self._take_mark(request)
        if mark is not None:
            self._recorder.finish(mark, status, 0, 0)

    def _take_mark(self, request: Request) -> object:
        return None if request._memo is None else request._memo.pop(MARK, None)

    def on_error(self, request: Request, error: BaseException) -> None:
        """Count a request whose client left; no answer will come by."""
        if isinstance(error, asyncio.CancelledError):
            self._end(request, CLIENT_LEFT)

    def _find_gauge(self, method: str, route: Route | None) -> int:
        return self._gauge.labelled(self._known(method), _template(route)).at

    def _find_cells(self, method: str, route: Route | None, status: int) -> tuple[int, int, int]:
        values = (self._known(method), _template(route), str(status))
        duration, received, sent = (metric.labelled(*values).at for metric in self._histograms)
        return duration, received, sent

    def _known(self, method: str) -> str:
        return method if method in STANDARD_METHODS or method in self._own_methods else OTHER

    # The endpoint

    def _show(self, request: Request) -> Response:
        openmetrics = exposition.wants_openmetrics(request.get_header("accept"))
        text = self.expose(openmetrics=openmetrics)
        response = Response(text, 200, None, exposition.OPENMETRICS if openmetrics else exposition.TEXT)
        response.headers["Cache-Control"] = "no-store"
        response.headers.add_vary("Accept")
        return response

    def expose(self, *, openmetrics: bool = False) -> str:
        """Return all metrics, summed over all workers."""
        totals = self._host.meter.totals()
        found: list[str] = []
        names = set()
        for name, metric in self._host.meter.metrics.items():
            full = self._full_name(name)
            names.add(full.removesuffix("_total"))
            rows = totals[name]
            if name == f"{_OWN_MARK}{_OWN[0]}":
                requests = Family("counter", f"{_OWN_MARK}requests_total", "Requests answered.", _LABELS)
                counts = {values: [sum(cells[:-1])] for values, cells in rows.items()}
                title = self._full_name(requests.name)
                names.add(title.removesuffix("_total"))
                found += exposition.lines(title, requests, counts, openmetrics=openmetrics)
            found += exposition.lines(full, metric.family, rows, openmetrics=openmetrics)
        found.append("")
        text = "\n".join(found) + foreign.text_of(names, openmetrics=openmetrics)
        return f"{text}# EOF\n" if openmetrics else text

    def _full_name(self, name: str) -> str:
        """Return a metric's name with its prefix: requests have the subsystem's too."""
        if name.startswith(_OWN_MARK):
            return self._prefix + name.removeprefix(_OWN_MARK)
        return f"{self._namespace}_{name}" if self._namespace else name


def _template(route: Route | None) -> str:
    return UNMATCHED if route is None else route.template


def _checked_buckets(buckets: Any) -> tuple[float, ...]:
    """Return upper bounds of durations.

    Raises:
        ConfigError: They do not rise, are no numbers, or are too many.
    """
    is_list = isinstance(buckets, list | tuple) and 0 < len(buckets) <= 60
    if not is_list or not all(isinstance(bound, int | float) and bound > 0 for bound in buckets):
        raise ConfigError(f"enable_prometheus: buckets is a list of at most 60 numbers of seconds, not {buckets!r:.80}")
    if any(later <= bound for bound, later in pairwise(buckets)):
        raise ConfigError(f"enable_prometheus: buckets must rise: {buckets!r:.80}")
    return tuple(float(bound) for bound in buckets)
