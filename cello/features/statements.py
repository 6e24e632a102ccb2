"""Metrics and spans of the statements that a database runs, for whichever feature exports them.

A metric is labelled by what a statement begins with, never by its text, which may hold anything. A span is made after
the fact, and only below a span that is recorded.
"""

from typing import TYPE_CHECKING

from cello.extension import Host

if TYPE_CHECKING:
    from cello.database.sql.statistics import QueryEvent

DURATIONS = "database_query_duration_seconds"
BUCKETS_S = (0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OPERATIONS = frozenset(
    ("ALTER", "CALL", "CREATE", "DELETE", "DROP", "INSERT", "MERGE", "REPLACE", "SELECT", "TRUNCATE", "UPDATE", "WITH")
)
OTHER = "OTHER"
LIBRARIES = {"postgresql": "asyncpg"}
"""What OpenTelemetry calls the libraries that statements go through, where its packages see our statements."""
MOST_CHARACTERS = 2_000
"""How much of a statement's text a span shows."""


class StatementEvents:
    """Listens to a database.

    Args:
        host: Its metrics count the times, its spans show them.
    """

    def __init__(self, host: Host) -> None:
        text = "How long statements took, in seconds."
        self._spans = host.spans
        self._durations = host.metric("histogram", DURATIONS, text, ("system", "operation", "outcome"), BUCKETS_S)

    def __call__(self, event: "QueryEvent") -> None:
        """Count a statement, and trace it where its request is traced."""
        operation = operation_of(event.statement)
        outcome = "ok" if event.error is None else "error"
        self._durations.labelled(event.system, operation, outcome).observe(event.seconds)
        spans = self._spans
        if spans.is_recording:
            attributes = {
                "db.system.name": event.system,
                "db.operation.name": operation,
                "db.query.text": event.statement[:MOST_CHARACTERS],
            }
            name = operation if operation != OTHER else event.system
            library = LIBRARIES.get(event.system)
            spans.record(name, "client", attributes, event.seconds, event.error, library=library)


def operation_of(statement: str) -> str:
    """Return what a statement begins with, of the words that are known."""
    word = statement.lstrip()[:10].partition(" ")[0].partition("\n")[0].upper()
    return word if word in OPERATIONS else OTHER
