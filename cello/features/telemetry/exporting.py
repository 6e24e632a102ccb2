"""The SDK's side: providers, processors and exporters, made after the fork and shut down with the worker.

Spans wait in a bounded queue (OTEL_BSP_MAX_QUEUE_SIZE, 2048) for a thread that exports them. What comes while it is
full is dropped and counted: a collector that is slow or gone costs spans, never time of a request.
"""

import logging
import os
import threading
import uuid
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import Counter as CounterInstrument
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from cello.features.telemetry.counted import Counted
from cello.features.telemetry.durations import SCOPE, Durations
from cello.features.telemetry.settings import GRPC, OpenTelemetryConfig, Sampling, exporter_of, protocol_of
from cello.shared.meter import Meter

logger = logging.getLogger(__name__)

SHUTDOWN_MS = 5_000


class Handed:
    """Counts what goes to the exporter and how it fares.

    Attributes:
        waiting: Spans in the queue.
        exported: Spans that the collector has taken.
        failed: Spans that it has not.
        dropped: Spans that found the queue full.
    """

    def __init__(self) -> None:
        self.waiting = 0
        self.exported = 0
        self.failed = 0
        self.dropped = 0
        self.lock = threading.Lock()


class CountingExporter(SpanExporter):
    """An exporter whose results are counted."""

    def __init__(self, exporter: SpanExporter, handed: Handed) -> None:
        self._exporter = exporter
        self._handed = handed

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export."""
        with self._handed.lock:
            self._handed.waiting -= len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._handed.lock:
                if result is SpanExportResult.SUCCESS:
                    self._handed.exported += len(spans)
                else:
                    self._handed.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is held back."""
        return self._exporter.force_flush(timeout_millis)


class BoundedSpanProcessor(SpanProcessor):
    """The SDK's batches behind a bound that counts what it turns away."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.handed = Handed()
        self._most = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or 2048)
        self._batches = BatchSpanProcessor(CountingExporter(exporter, self.handed))

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Do nothing yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span, or drop it."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        with self.handed.lock:
            if self.handed.waiting >= self._most:
                self.handed.dropped += 1
                return
            self.handed.waiting += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export what waits, for so long, and say what was lost."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own
        handed = self.handed
        if lost := handed.dropped + handed.failed + handed.waiting:
            logger.warning("telemetry: %d of %d spans were not exported", lost, lost + handed.exported)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits."""
        return self._batches.force_flush(timeout_millis)


class OwnMetricsExporter(MetricExporter):
    """An exporter that adds the server's own histogram, and what features count, to what the SDK has collected."""

    def __init__(self, exporter: MetricExporter, durations: Durations, meter: Meter) -> None:
        preferred = exporter._preferred_temporality
        super().__init__(preferred, exporter._preferred_aggregation)
        self._exporter = exporter
        self._durations = durations
        self._temporality = _temporality_of(HistogramInstrument, preferred)
        self._counted = Counted(meter, _temporality_of(CounterInstrument, preferred), self._temporality)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **named: Any) -> MetricExportResult:
        """Export."""
        durations = self._durations.collect(self._temporality)
        counted = self._counted.collect()
        ours = ScopeMetrics(SCOPE, [*([] if durations is None else [durations]), *counted], "")
        if ours.metrics and metrics_data.resource_metrics:
            first, *others = metrics_data.resource_metrics
            joined = ResourceMetrics(first.resource, [*first.scope_metrics, ours], first.schema_url)
            metrics_data = MetricsData([joined, *others])
        return self._exporter.export(metrics_data, timeout_millis, **named)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send what is held back."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **named: Any) -> None:
        """End."""
        self._exporter.shutdown(timeout_millis, **named)


class Providers:
    """What one worker exports with, from its start to its stop.

    Args:
        settings: What the program says.
        sampling: For spans that begin outside of requests.
        service_name: Of the resource.
        durations: The server's own histogram.
        meter: What features count.

    Attributes:
        requests: Makes the spans of requests, which are sampled before; None where no spans are exported.
        traces: Makes everybody else's; None where no spans are exported.
        metrics: Everybody's meters; None where no metrics are exported.
        spans: The queue before the exporter; None where no spans are exported.
    """

    def __init__(
        self, settings: OpenTelemetryConfig, sampling: Sampling, service_name: str, durations: Durations, meter: Meter
    ) -> None:
        resource = make_resource(service_name, settings.service_version)
        self.requests: TracerProvider | None = None
        self.traces: TracerProvider | None = None
        self.metrics: MeterProvider | None = None
        self.spans: BoundedSpanProcessor | None = None
        if settings.export_traces and (exporter := make_span_exporter(settings.otlp_endpoint)) is not None:
            self.spans = BoundedSpanProcessor(exporter)
            self.requests = self._tracing(resource, ALWAYS_ON)
            self.traces = self._tracing(resource, _sampler(sampling))
        if settings.export_metrics and (measures := make_metric_exporter(settings.otlp_endpoint)) is not None:
            reader = PeriodicExportingMetricReader(OwnMetricsExporter(measures, durations, meter))
            self.metrics = MeterProvider([reader], resource, shutdown_on_exit=False)

    def _tracing(self, resource: Resource, sampler: Sampler) -> TracerProvider:
        provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        if self.spans is not None:
            provider.add_span_processor(self.spans)
        return provider

    def shutdown(self) -> None:
        """Export what is left, within some seconds; blocks, so call it on a thread."""
        if self.spans is not None:
            self.spans.shutdown()
        if self.metrics is not None:
            self.metrics.shutdown(SHUTDOWN_MS)


def make_resource(service_name: str, service_version: str) -> Resource:
    """Return what this worker is: workers export their own numbers, so each is an instance of the service."""
    described = Resource.create({"service.name": service_name, "service.version": service_version})
    if "service.instance.id=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        return described
    return described.merge(Resource({"service.instance.id": str(uuid.uuid4())}))


def _sampler(sampling: Sampling) -> Sampler:
    """Return what samples spans that begin outside of requests; what is below a span of ours always follows it."""
    by_rate = TraceIdRatioBased(sampling.rate)
    if sampling.follows_caller:
        return ParentBased(by_rate)
    return ParentBased(by_rate, remote_parent_sampled=by_rate, remote_parent_not_sampled=by_rate)


def make_span_exporter(endpoint: str | None) -> SpanExporter | None:
    """Return what exports spans, None where the environment says that nothing does."""
    kind = exporter_of("traces")
    if kind == "none":
        return None
    if kind == "console":
        return ConsoleSpanExporter()
    if protocol_of(endpoint, "traces") == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(_with_path(endpoint, "/v1/traces"))


def make_metric_exporter(endpoint: str | None) -> MetricExporter | None:
    """Return what exports metrics, None where the environment says that nothing does."""
    kind = exporter_of("metrics")
    if kind == "none":
        return None
    if kind == "console":
        return ConsoleMetricExporter()
    if protocol_of(endpoint, "metrics") == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        return GrpcExporter(endpoint)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

    return HttpExporter(_with_path(endpoint, "/v1/metrics"))


def _with_path(endpoint: str | None, path: str) -> str | None:
    """Return the URL of one signal; an endpoint that names a path of its own is a base (OTLP specification)."""
    return None if endpoint is None else endpoint.rstrip("/").removesuffix(path) + path


def _temporality_of(instrument: type, preferred: dict[type, AggregationTemporality] | None) -> AggregationTemporality:
    """Return what OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE asks of a kind of instrument."""
    return (preferred or {}).get(instrument, AggregationTemporality.CUMULATIVE)
