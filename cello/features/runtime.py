"""What every application has, whatever is switched on: worker processes, their threads, and shared memory.

Installed by whichever feature shows numbers or health; nothing of it happens before somebody asks.
"""

import os
import time

from cello.errors import CelloError
from cello.extension import Host
from cello.pipeline.lifecycle import State
from cello.pipeline.threads import WorkerThreads
from cello.routing.route import Route
from cello.shared.layouts import StoreLayout, TableLayout
from cello.shared.meter import Row
from cello.shared.regions import Region

RUNTIME = "cello.runtime"
"""What `Runtime` is provided as."""


class AllThreadsBusy(CelloError):
    """Every worker thread is busy, and more calls wait than there are threads."""


class NumbersFull(CelloError):
    """A worker has no room for further metrics: some are not counted."""


class Runtime:
    """Metrics and health checks of processes, threads and shared memory."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._metric_of_processes()
        self._metric_of_threads()
        self._metric_of_memory()
        host.on_collect(self._read_process)
        host.on_collect(self._read_threads)
        host.on_collect(self._read_memory)
        host.add_check("threads", self._check_threads, critical=False)
        host.add_check("shared_memory", self._check_memory, critical=False)

    @classmethod
    def install_once(cls, host: Host) -> None:
        """Have all this shown; for every feature that shows numbers or health."""
        if host.resource(RUNTIME) is None:
            host.provide(RUNTIME, cls(host))

    def _metric_of_processes(self) -> None:
        metric = self._host.metric
        self._workers = metric("gauge", "workers", "Processes that answer requests.").labelled()
        self._resident = metric("gauge", "worker_resident_bytes", "Memory of all workers.").labelled()
        self._processor = metric(
            "counter", "worker_processor_seconds_total", "Processor time of all workers, user and system, in seconds."
        ).labelled()

    def _metric_of_threads(self) -> None:
        metric = self._host.metric
        threads = metric("gauge", "worker_threads", "Threads that run def handlers, by what they do.", ("state",))
        self._busy, self._idle = threads.labelled("busy"), threads.labelled("idle")
        self._most = metric("gauge", "worker_threads_max", "Most threads that there may be.").labelled()
        self._waiting = metric("gauge", "worker_calls_waiting", "Calls that wait for a thread.").labelled()
        self._dropped = metric(
            "counter", "worker_results_dropped_total", "Results of threads that nobody waited for any more."
        ).labelled()
        self._moves = metric(
            "counter", "route_moved_to_threads_total", "How often a route's handler was found to block.", ("route",)
        )
        self._rows: dict[Route, Row] = {}

    def _metric_of_memory(self) -> None:
        metric = self._host.metric
        self._reserved = metric(
            "gauge", "shared_memory_bytes", "Bytes of a region of shared memory.", ("region",), of_machine=True
        )
        self._used = metric(
            "gauge", "shared_memory_used_ratio", "Share of a region that is in use, 0-1.", ("region",), of_machine=True
        )
        self._evicted = metric(
            "counter", "shared_memory_evicted_total", "Keys dropped for want of room.", ("region",), of_machine=True
        )

    def _read_process(self) -> None:
        self._workers.set(1)
        self._processor.follow(time.process_time())
        resident = resident_bytes()
        if resident is not None:
            self._resident.set(resident)

    def _read_threads(self) -> None:
        if self._host.state is not State.READY:
            return  # the dispatcher is not there yet, and asking for it would freeze the application
        threads = self._host.dispatcher.threads
        busy, waiting = _busy_and_waiting(threads)
        self._busy.set(busy)
        self._idle.set(threads.started - busy)
        self._waiting.set(waiting)
        self._most.set(threads.size)
        self._dropped.follow(threads.dropped)
        for route, moves in self._host.dispatcher.moves().items():
            row = self._rows.get(route)
            if row is None:
                row = self._rows[route] = self._moves.labelled(f"{'|'.join(route.methods)} {route.template}")
            row.follow(moves)

    def _read_memory(self) -> None:
        for region in self._host.shared.regions():
            if region.opened is None:
                continue
            self._reserved.labelled(region.name).set(region.layout.size)
            share = used_share(region)
            if share is not None:
                self._used.labelled(region.name).set(share)
            if isinstance(region.layout, TableLayout):
                self._evicted.labelled(region.name).set(region.opened.evicted)

    async def _check_threads(self) -> dict[str, int]:
        threads = self._host.dispatcher.threads
        busy, waiting = _busy_and_waiting(threads)
        if waiting > threads.size:
            raise AllThreadsBusy(f"{waiting} calls wait for {threads.size} threads, all of which are busy")
        return {"busy": busy, "started": threads.started, "most": threads.size, "waiting": waiting}

    async def _check_memory(self) -> dict[str, str]:
        if self._host.meter.is_full:
            raise NumbersFull("labels with too many values? further rows are not counted")
        shares = {
            region.name: used_share(region) for region in self._host.shared.regions() if region.opened is not None
        }
        return {name: f"{share:.0%} used" for name, share in shares.items() if share is not None}


def _busy_and_waiting(threads: WorkerThreads) -> tuple[int, int]:
    """Return how many threads are at work, and how many calls wait for one."""
    busy = min(threads.pending, threads.started)
    return busy, max(0, threads.pending - busy)


def used_share(region: "Region[object]") -> float | None:
    """Return which share of an open region is in use, 0-1; None where that means nothing."""
    opened, layout = region.opened, region.layout
    if isinstance(layout, TableLayout):
        return float(opened.used / opened.capacity)  # type: ignore[attr-defined]  # what its layout opens
    if isinstance(layout, StoreLayout):
        return float(opened.used_bytes / opened.size)  # type: ignore[attr-defined]
    return None


def resident_bytes() -> int | None:
    """Return the resident memory of this process, None where /proc does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
