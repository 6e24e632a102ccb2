"""Metrics of the operations that an application executes, told to its host.

They are labelled by the kind of operation, never by its name, which clients choose.
"""

from time import perf_counter

from cello.extension import Host

TIMED = ("query", "mutation")


class Operations:
    """Counts what an engine does.

    Args:
        host: Its metrics.
    """

    def __init__(self, host: Host) -> None:
        text = "How long queries and mutations took, in seconds."
        durations = host.metric("histogram", "graphql_operation_duration_seconds", text, ("type", "outcome"))
        self._rows = {
            (kind, is_ok): durations.labelled(kind, "ok" if is_ok else "error")
            for kind in TIMED
            for is_ok in (True, False)
        }
        text = "Queries that were not executed: not valid, or beyond the limits."
        self.refused = host.metric("counter", "graphql_refused_total", text).labelled()
        events = host.metric("counter", "graphql_events_total", "Events that subscribers were told.", ("outcome",))
        self._events = {is_ok: events.labelled("ok" if is_ok else "error") for is_ok in (True, False)}
        self.subscriptions = host.metric("gauge", "graphql_subscriptions", "Subscriptions that run.").labelled()

    def took(self, kind: str, began_s: float, *, is_ok: bool) -> None:
        """Count an operation that began at `began_s` of `perf_counter`."""
        self._rows[kind, is_ok].observe(perf_counter() - began_s)

    def told(self, *, is_ok: bool) -> None:
        """Count an event of a subscription."""
        self._events[is_ok].add()
