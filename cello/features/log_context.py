"""Which request a log record belongs to: its id, its trace id and its route, on every record made while it runs.

While an application runs, every `LogRecord` of the process has three more attributes, "-" where there is none:

    request_id   what `enable_request_id` gave the request
    trace_id     the W3C trace: what tracing put into `request.context["trace_id"]`, else that of `traceparent`
    route        the template of its route, such as "/users/{id}"

Records are stamped where they are made, on whatever thread or task that is, so handlers in other threads and formatters
of any kind find the attributes. `RequestFields` is for records made before the application runs, or after.
"""

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from cello.extension import Host
from cello.http.request import Request
from cello.pipeline.middleware import OBSERVE, Middleware
from cello.routing.route import Route

NOTHING = "-"
CONTEXT = "cello.log_context"
"""What `LogContext` is provided as."""
ACCESS_LOG = "cello.access_log"
"""What the access log is provided as; it notes the request itself."""

# W3C Trace Context §3.2: version, trace id, parent id, flags; later versions may append. All zeros is no id.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

current: ContextVar[tuple[Request, int] | None] = ContextVar("cello_current_request", default=None)
"""The request that runs in this context, and, for the access log, when it began (`perf_counter_ns`)."""


def trace_id_of(request: Request) -> str:
    """Return the trace id of a request, "" when it has none."""
    context = request._context
    if context is not None and "trace_id" in context:
        return str(context["trace_id"])
    return parse_trace_id(request._head.get(b"traceparent"))


def parse_trace_id(traceparent: bytes | None) -> str:
    """Return the trace id in a `traceparent` field, "" when there is none."""
    if traceparent is None:
        return ""
    found = _TRACEPARENT.fullmatch(traceparent)
    return "" if found is None else found.group(1).decode("ascii")


def stamp(record: Any) -> None:
    """Give a record the three attributes, where it lacks them."""
    fields = record.__dict__
    if "request_id" in fields and "trace_id" in fields and "route" in fields:
        return
    entry = current.get()
    request_id = trace_id = template = NOTHING
    if entry is not None:
        request = entry[0]
        memo = request._memo
        request_id = NOTHING if memo is None else memo.get("request_id", NOTHING)
        trace_id = trace_id_of(request) or NOTHING
        route: Route | None = request.route
        template = NOTHING if route is None else route.template
    fields.setdefault("request_id", request_id)
    fields.setdefault("trace_id", trace_id)
    fields.setdefault("route", template)


class RequestFields(logging.Filter):
    """A filter that lets everything pass, and gives records `request_id`, `trace_id` and `route`.

    For handlers whose format names these attributes: records made while no application runs have them too then.

        "filters": {"request": {"()": "cello.RequestFields"}}
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp the record; return True."""
        stamp(record)
        return True


class RecordStamp:
    """Stamps every record of the process between `start` and `stop`, by way of logging's record factory."""

    def __init__(self) -> None:
        self._make: Callable[..., logging.LogRecord] | None = None
        self._is_on = False

    def start(self) -> None:
        """Stand in front of the present factory."""
        self._is_on = True
        if self._make is None:  # else somebody stands in front of us since, and we are still there
            self._make = logging.getLogRecordFactory()
            logging.setLogRecordFactory(self)

    def stop(self) -> None:
        """Step aside; or do nothing further, where another factory has come in front meanwhile."""
        self._is_on = False
        if self._make is not None and logging.getLogRecordFactory() is self:
            logging.setLogRecordFactory(self._make)
            self._make = None

    def __call__(self, *args: Any, **named: Any) -> logging.LogRecord:
        """Make a record."""
        make = self._make or logging.LogRecord
        record = make(*args, **named)
        if self._is_on:
            stamp(record)
        return record


class LogContext(Middleware):
    """Notes which request runs, where the access log does not do it anyway."""

    band = OBSERVE

    def __init__(self, host: Host) -> None:
        self._host = host

    @classmethod
    def install_once(cls, host: Host) -> None:
        """Have records stamped; for every feature that wants them to be."""
        if host.resource(CONTEXT) is not None:
            return
        host.provide(CONTEXT, context := cls(host))
        host.add_middleware(context)
        records = RecordStamp()
        host.on_start(records.start, band=0)
        host.on_stop(records.stop, band=0)

    def applies_to(self, route: Route | None) -> bool:
        """Leave it to the access log, where that sees the route."""
        log: Middleware | None = self._host.resource(ACCESS_LOG)
        return log is None or not log.applies_to(route)

    def before(self, request: Request) -> None:
        """Note the request."""
        current.set((request, 0))
