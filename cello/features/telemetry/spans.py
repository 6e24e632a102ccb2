"""A server span for each request that is sampled, and next to nothing for the others.

Whether a request is sampled is decided before OpenTelemetry hears of it: its SDK takes 14 µs even for a span that it
throws away. An unsampled request still has a context, so that what is called from it is neither traced nor torn out of
its caller's trace; the ids in it are made when somebody asks.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP. The query is left out, as it likes to
hold secrets.
"""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from cello.errors import HTTPError
from cello.features.counted import count
from cello.features.log_context import current, parse_trace_id
from cello.features.telemetry.durations import Durations, known_method
from cello.features.telemetry.settings import Sampling
from cello.http.request import Request
from cello.http.response import Response, StreamPayload
from cello.pipeline.course import ABANDONED
from cello.pipeline.middleware import OBSERVE, Middleware
from cello.routing.route import Route

MEMO = "telemetry"
MADE = "telemetry.untraced"
_EMPTY = otel_context.Context()


class Fields(Getter[Request]):
    """How propagators read a request's fields."""

    def get(self, carrier: Request, key: str) -> list[str] | None:
        """Return the values of a field, None where there is none."""
        return carrier.headers.get_all(key) or None

    def keys(self, carrier: Request) -> list[str]:
        """Return the names of all fields."""
        return list(carrier.headers)


FIELDS = Fields()


class Unsampled(NonRecordingSpan):
    """The span of every request that is not traced: nothing that is below it is, either.

    One for all. Its ids are made when they are asked for: the trace is the caller's where there is one, else one that
    nobody records.
    """

    def __init__(self) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)

    def get_span_context(self) -> SpanContext:
        """Return the ids of the request that runs."""
        entry = current.get()
        if entry is None:
            return INVALID_SPAN_CONTEXT
        request = entry[0]
        memo = request._remember()
        if MADE not in memo:
            trace_id = parse_trace_id(request._head.get(b"traceparent")) or f"{random.getrandbits(128) or 1:032x}"
            span_id = random.getrandbits(64) or 1
            memo[MADE] = SpanContext(int(trace_id, 16), span_id, is_remote=False, trace_flags=TraceFlags(0))
        made: SpanContext = memo[MADE]
        return made


UNSAMPLED = Unsampled()
UNTRACED = trace.set_span_in_context(UNSAMPLED, _EMPTY)


class Entry:
    """What is known of a request under way."""

    __slots__ = ("began_s", "error", "span")

    def __init__(self, began_s: float, span: trace.Span | None) -> None:
        self.began_s = began_s
        self.span = span
        self.error: str | None = None


class ServerSpans(Middleware):
    """Surrounds every request that is not excluded.

    Args:
        sampling: Which requests have a span.
        excluded: Paths that have nothing, nor what is below them.
        durations: Where times are counted; None: nowhere.
        chance: Gives numbers from 0 to 1.

    Attributes:
        tracer: What starts the spans; None before the application has started, and where no traces are exported.
        active: The requests under way, by identity.
    """

    band = OBSERVE

    def __init__(
        self,
        sampling: Sampling,
        excluded: Sequence[str],
        durations: Durations | None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._follows_caller = sampling.follows_caller
        self._rate = sampling.rate
        self._excluded = tuple(path.rstrip("/") for path in excluded)
        self._durations = durations
        self._chance = chance
        # Other propagators than the W3C's may bring a decision in fields that are not looked into here.
        self._is_w3c = set(os.environ.get("OTEL_PROPAGATORS", "tracecontext").split(",")) <= {"tracecontext", "baggage"}
        self.tracer: trace.Tracer | None = None
        self.active: set[int] = set()

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, at no cost to it."""
        if route is None or not self._excluded:
            return True
        template = route.template
        return not any(template == path or template.startswith(f"{path}/") for path in self._excluded)

    def before(self, request: Request) -> None:
        """Begin."""
        tracer, span = self.tracer, None
        if tracer is not None:
            get = request._head.get
            if get(b"traceparent") is not None or not self._is_w3c:
                span = self._begin_below(request, tracer)
            elif self._chance() < self._rate:
                # PERF: without fields there is nothing to extract; 1.3 of a sampled request's microseconds
                parent = _EMPTY if get(b"baggage") is None else propagate.extract(request, _EMPTY, FIELDS)
                span = _start(request, tracer, parent)
            elif get(b"baggage") is None:
                otel_context.attach(UNTRACED)  # PERF: what most requests of a busy service come to, 0.6 µs
            else:
                _leave_out(propagate.extract(request, _EMPTY, FIELDS))
        if span is not None or self._durations is not None:
            self.active.add(id(request))
            request._remember()[MEMO] = Entry(perf_counter(), span)

    def _begin_below(self, request: Request, tracer: trace.Tracer) -> trace.Span | None:
        """Follow a caller's decision where it made one; return the span of a request that is sampled."""
        parent = propagate.extract(request, _EMPTY, FIELDS)
        caller = trace.get_current_span(parent).get_span_context()
        if caller.is_valid and self._follows_caller:
            is_sampled = bool(caller.trace_flags.sampled)
        else:
            is_sampled = self._chance() < self._rate
        if is_sampled:
            return _start(request, tracer, parent)
        if caller.is_valid and not caller.trace_flags.sampled:
            otel_context.attach(parent)  # what is called from here is the caller's own child
        else:
            _leave_out(parent)
        return None

    def after(self, request: Request, response: Response) -> None:
        """End with what is answered; a streamed body ends it later."""
        entry = _entry(request)
        if entry is None or (request._context is not None and ABANDONED in request._context):
            return
        try:
            response.settle(request)  # only now is it decided whether a 200 is a 304 or a 206
        except Exception as error:
            self.on_error(request, error)
            self._end(request, 500)
            raise
        payload = response.payload
        if isinstance(payload, StreamPayload):
            status = response.status

            def end(size: int, is_cut_short: bool) -> None:
                if is_cut_short and entry.error is None:
                    entry.error = "cut_short"
                self._end(request, status)

            count(payload, end)
        else:
            self._end(request, response.status)

    def on_error(self, request: Request, error: BaseException) -> None:
        """Note what was raised; a request whose client left, or whose time ran out, is over with it."""
        entry = _entry(request)
        if entry is None:
            return
        if isinstance(error, asyncio.CancelledError):
            entry.error = "cancelled"
            self._end(request, 0)
        elif not isinstance(error, HTTPError):
            entry.error = type(error).__qualname__
            if entry.span is not None:
                entry.span.record_exception(error)

    def _end(self, request: Request, status: int) -> None:
        entry = _entry(request)
        if entry is None:
            return
        del request._remember()[MEMO]
        self.active.discard(id(request))
        error = entry.error
        if error is None and status >= 500:
            error = str(status)
        span = entry.span
        if span is not None:
            _finish(span, status, error)
        if self._durations is not None:
            self._durations.record(
                (request.method, request.scheme, request.route, status, error), perf_counter() - entry.began_s
            )


def _entry(request: Request) -> Entry | None:
    memo = request._memo
    return None if memo is None else memo.get(MEMO)


def _leave_out(parent: otel_context.Context) -> None:
    otel_context.attach(trace.set_span_in_context(UNSAMPLED, parent))


def _start(request: Request, tracer: trace.Tracer, parent: otel_context.Context) -> trace.Span:
    method, route = known_method(request.method), request.route
    name = method if route is None else f"{method} {route.template}"
    span = tracer.start_span(name, parent, SpanKind.SERVER, _attributes(request, method))
    otel_context.attach(trace.set_span_in_context(span, parent))
    request.context["trace_id"] = f"{span.get_span_context().trace_id:032x}"
    return span


def _finish(span: trace.Span, status: int, error: str | None) -> None:
    if status:
        span.set_attribute("http.response.status_code", status)
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _attributes(request: Request, method: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.path": request.raw_path,
        "url.scheme": request.scheme,
        "network.protocol.version": request.http_version,
    }
    if method == "_OTHER":
        attributes["http.request.method_original"] = request.method
    if request.route is not None:
        attributes["http.route"] = request.route.template
    if host := str(request.host):
        attributes["server.address"] = host
    if client := str(request.client_ip):
        attributes["client.address"] = client
    if agent := str(request.user_agent):
        attributes["user_agent.original"] = agent
    return attributes
