"""What goes wrong with events. What the database does wrong is raised by its own names (`cello.database`)."""

from cello.errors import CelloError, HTTPError


class EventStoreError(CelloError):
    """Base of all errors of an event store; raised itself for what can never work: a bad id, data without JSON form."""


class ConcurrencyError(EventStoreError, HTTPError):
    """Somebody else has appended to the stream meanwhile. Answered 409.

    Attributes:
        aggregate_id: Whose stream.
        expected: The version that it was to have.
        actual: The version that it has.
    """

    status = 409
    is_retryable = True

    def __init__(self, aggregate_id: str, expected: int | None, actual: int) -> None:
        Exception.__init__(
            self, f"{aggregate_id!r:.80} is at version {actual}, not {expected}: load it again and repeat the change"
        )
        self.aggregate_id = aggregate_id
        self.expected = expected
        self.actual = actual
        self.detail: str | None = "It was changed by somebody else meanwhile."
        self.headers: dict[str, str] = {}
        self.extensions: dict[str, object] = {}


class DuplicateEvent(EventStoreError):
    """An event of that id is in the store already, in another place or beside others than those of this append."""


class StreamFull(EventStoreError):
    """The stream would have more than `max_events_per_aggregate` events."""


class EventsMissing(EventStoreError):
    """Events that were in the store are not there any more: somebody has deleted them, or their archive."""


class SnapshotError(EventStoreError):
    """An aggregate's state does not come back from JSON as it was."""


class AggregateNotFound(EventStoreError, HTTPError):
    """There are no events of that aggregate. Answered 404."""

    status = 404

    def __init__(self, kind: str, aggregate_id: str) -> None:
        Exception.__init__(self, f"there is no {kind} {aggregate_id!r:.80}")
        self.detail: str | None = f"There is no {kind} {aggregate_id:.80}."
        self.headers: dict[str, str] = {}
        self.extensions: dict[str, object] = {}
