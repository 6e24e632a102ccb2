"""The spans of features, by OpenTelemetry: what stands behind `host.spans` while a worker runs.

Rule 1: below a request that is not sampled nothing is made; the SDK is asked only where something may come of it.
Rule 2: where OpenTelemetry's own package for a library is on, it makes the spans of that one, and ours are left out.
"""

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from cello._version import __version__
from cello.spans import NO_SPAN, Attributes, Kind, Span, Value

KINDS: Mapping[str, SpanKind] = {kind.name.lower(): kind for kind in SpanKind}


class LiveSpan:
    """A span and its block: what runs in it is below it."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Value) -> None:
        """Give it an attribute."""
        self._span.set_attribute(name, value)

    def fail(self, error: BaseException | str) -> None:
        """Mark it as failed."""
        mark_failed(self._span, error)

    def __enter__(self) -> Self:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        if error is not None and not isinstance(error, GeneratorExit):
            mark_failed(self._span, error)
        self._span.end()


class Tracing:
    """What `Spans.exporter` is while spans are exported.

    Args:
        provider: Makes the spans; samples what begins outside of requests.
        covers: Whether a library has spans by OpenTelemetry's own package.
    """

    def __init__(self, provider: trace.TracerProvider, covers: Callable[[str], bool]) -> None:
        self._tracer = provider.get_tracer("cello", __version__)
        self._covers = covers

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        carrier: Mapping[str, str] | None,
        library: str | None,
        links: Sequence[Mapping[str, str]],
    ) -> AbstractContextManager[Span]:
        """Begin a span: below what runs, below what `carrier` names, or on its own."""
        if library is not None and self._covers(library):
            return NO_SPAN
        context = None
        if carrier is not None:
            context = propagate.extract(carrier, otel_context.Context())
        else:
            current = trace.get_current_span()
            if current is not trace.INVALID_SPAN and not current.is_recording():
                return NO_SPAN
        return LiveSpan(self._tracer.start_span(name, context, KINDS[kind], attributes, [*map(_link, links)]))

    def record(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        seconds: float,
        error: BaseException | None,
        library: str | None,
    ) -> None:
        """Make a span of what is over, below one that is recorded."""
        if not self.is_recording() or (library is not None and self._covers(library)):
            return
        ended_ns = time.time_ns()
        began_ns = ended_ns - int(seconds * 1e9)
        span = self._tracer.start_span(name, None, KINDS[kind], attributes, start_time=began_ns)
        if error is not None:
            mark_failed(span, error, tells=False)
        span.end(ended_ns)

    def is_recording(self) -> bool:
        """Return whether what runs is recorded."""
        return trace.get_current_span().is_recording()

    def note(self, name: str, value: Value) -> None:
        """Give the span that runs an attribute."""
        trace.get_current_span().set_attribute(name, value)

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Add the fields of the trace."""
        propagate.inject(carrier)


def _link(carrier: Mapping[str, str]) -> trace.Link:
    return trace.Link(trace.get_current_span(propagate.extract(carrier, otel_context.Context())).get_span_context())


def mark_failed(span: trace.Span, error: BaseException | str, *, tells: bool = True) -> None:
    """Say that a span failed, by the kind of its error.

    Args:
        span: Which.
        error: What was raised, or its kind.
        tells: Whether the exception's own words and traceback are an event of it.
    """
    if isinstance(error, str):
        span.set_attribute("error.type", error)
    else:
        span.set_attribute("error.type", type(error).__qualname__)
        if tells and isinstance(error, Exception):
            span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR))
