"""The switch: what telemetry adds to an application, and what it starts and stops with each worker."""

import asyncio
import os
from typing import Any

from cello.errors import MissingDependency
from cello.extension import Host
from cello.features.log_context import LogContext
from cello.features.runtime import Runtime
from cello.features.telemetry.settings import DEFAULT_SERVICE, OpenTelemetryConfig, is_disabled, sampling_of

try:
    from opentelemetry import metrics

    from cello.features.telemetry.durations import Durations
    from cello.features.telemetry.exporting import Providers
    from cello.features.telemetry.latest import register, withdraw
    from cello.features.telemetry.libraries import Libraries
    from cello.features.telemetry.spans import ServerSpans
    from cello.features.telemetry.tracing import Tracing
except ImportError as error:
    raise MissingDependency("enable_telemetry needs OpenTelemetry's SDK: pip install 'cello[otel]'") from error


class Telemetry:
    """Traces and metrics of an application. For what it does see `App.enable_telemetry`."""

    name = "telemetry"

    def __init__(self, settings: OpenTelemetryConfig | None = None) -> None:
        self._settings = settings or OpenTelemetryConfig(DEFAULT_SERVICE)
        self._is_named = settings is not None
        self._sampling = sampling_of(self._settings)
        self._durations = Durations()
        self._libraries = Libraries()
        self._providers: Providers | None = None

    def install(self, host: Host) -> None:
        """Stand around every request that is not excluded; OTEL_SDK_DISABLED=true leaves everything as it is."""
        if is_disabled():
            return
        self._host = host
        durations = self._durations if self._settings.export_metrics else None
        self._spans = ServerSpans(self._sampling, self._settings.excluded_paths, durations)
        LogContext.install_once(host)
        if self._settings.export_metrics:
            Runtime.install_once(host)
        spans = host.metric("counter", "telemetry_spans_total", "Spans, by what became of them.", ("outcome",))
        self._told = {outcome: spans.labelled(outcome) for outcome in ("exported", "failed", "dropped")}
        host.on_collect(self._tell)
        host.add_middleware(self._spans)
        host.on_start(self._start, band=5)
        host.on_stop(self._stop, band=5)

    def stats(self) -> dict[str, int]:
        """Return how many spans of this worker wait, and were exported, refused by the collector, or dropped."""
        spans = None if self._providers is None else self._providers.spans
        if spans is None:
            return {"waiting": 0, "exported": 0, "failed": 0, "dropped": 0}
        handed = spans.handed
        with handed.lock:
            return {
                "waiting": handed.waiting,
                "exported": handed.exported,
                "failed": handed.failed,
                "dropped": handed.dropped,
            }

    def flush(self, timeout_s: float = 5) -> None:
        """Export now what waits; blocks."""
        if self._providers is not None and self._providers.spans is not None:
            self._providers.spans.force_flush(int(timeout_s * 1000))
        if self._providers is not None and self._providers.metrics is not None:
            self._providers.metrics.force_flush(timeout_s * 1000)

    def _tell(self) -> None:
        stats = self.stats()
        for outcome, row in self._told.items():
            row.follow(stats[outcome])

    def _start(self) -> None:
        """Make what exports: threads, channels and locks, so after the fork."""
        providers = self._providers = Providers(
            self._settings, self._sampling, self._service(), self._durations, self._host.meter
        )
        named: dict[str, Any] = {}
        if providers.requests is not None and providers.traces is not None:
            self._spans.tracer = providers.requests.get_tracer("cello")
            register(providers.traces)
            named["tracer_provider"] = providers.traces
            self._host.spans.exporter = Tracing(providers.traces, self._libraries.covers)
        if providers.metrics is not None:
            named["meter_provider"] = providers.metrics
            self._observe(providers.metrics)
            metrics.set_meter_provider(providers.metrics)
        self._libraries.start(**named)

    async def _stop(self) -> None:
        providers, self._providers = self._providers, None
        self._spans.tracer = None
        self._host.spans.exporter = None
        self._libraries.stop()
        if providers is None:
            return
        if providers.traces is not None:
            withdraw(providers.traces)
        await asyncio.to_thread(providers.shutdown)

    def _service(self) -> str:
        """Return the service's name: the program's, else the environment's, else the application's."""
        if self._is_named:
            return self._settings.service_name
        return os.environ.get("OTEL_SERVICE_NAME") or self._settings.service_name

    def _observe(self, provider: metrics.MeterProvider) -> None:
        active = self._spans.active

        def observed(_: metrics.CallbackOptions) -> list[metrics.Observation]:
            return [metrics.Observation(len(active))]

        meter = provider.get_meter("cello")
        meter.create_observable_up_down_counter(
            "http.server.active_requests", [observed], "{request}", "Requests under way."
        )
