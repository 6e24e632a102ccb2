"""Why an event is appended: the request or the event that led to it, told to its metadata.

`correlation_id` is common to all that follows from one request (its request id); `causation_id` is the id of the event
whose handling led to this one; `trace_id` is that of the W3C trace. What the program says itself goes before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from cello.eventsourcing.event import Event
from cello.http.request import Request
from cello.pipeline.middleware import USER, Middleware

_cause: ContextVar[Request | dict[str, Any] | None] = ContextVar("cello_event_cause", default=None)


class NoteRequest(Middleware):
    """Notes the request that runs in a context."""

    band = USER

    def before(self, request: Request) -> None:
        """Note it."""
        _cause.set(request)


@contextmanager
def caused_by(event: Event) -> Iterator[None]:
    """Within the block, events that are appended follow from `event`."""
    known: dict[str, Any] = {
        name: event.metadata[name] for name in ("correlation_id", "trace_id") if name in event.metadata
    }
    token = _cause.set({"correlation_id": event.id, **known, "causation_id": event.id})
    try:
        yield
    finally:
        _cause.reset(token)


def cause_now() -> dict[str, Any]:
    """Return what is known of the cause, for metadata."""
    cause = _cause.get()
    if cause is None:
        return {}
    if isinstance(cause, dict):
        return cause
    found: dict[str, Any] = {}
    if request_id := str(cause.request_id):
        found["correlation_id"] = request_id
    if trace_id := _trace_id(cause):
        found["trace_id"] = trace_id
    return found


def _trace_id(request: Request) -> str:
    traced = request.context.get("trace_id")
    if traced:
        return str(traced)
    parts = (request.get_header("traceparent") or "").split("-")
    is_one = len(parts) >= 4 and len(parts[1]) == 32 and parts[1].strip("0") and not parts[1].strip("0123456789abcdef")
    return parts[1] if is_one else ""
