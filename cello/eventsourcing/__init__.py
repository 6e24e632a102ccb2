"""Event sourcing: what happened is what is kept; state follows from it.

`Event`, `Aggregate` and `EventStore` work on their own; `app.enable_event_sourcing()` opens a store with an application
and runs its projections.
"""

from cello.eventsourcing.aggregate import Aggregate, event_handler
from cello.eventsourcing.blocking import BlockingEventStore
from cello.eventsourcing.config import EventSourcingConfig
from cello.eventsourcing.errors import (
    AggregateNotFound,
    ConcurrencyError,
    DuplicateEvent,
    EventsMissing,
    EventStoreError,
    SnapshotError,
    StreamFull,
)
from cello.eventsourcing.event import Event, Snapshot
from cello.eventsourcing.projection import Projection
from cello.eventsourcing.projections import ProjectionStatus, ProjectionStopped
from cello.eventsourcing.repository import BlockingRepository, Repository
from cello.eventsourcing.retry import retry_on_conflict
from cello.eventsourcing.store import EventStore

__all__ = [
    "Aggregate",
    "AggregateNotFound",
    "BlockingEventStore",
    "BlockingRepository",
    "ConcurrencyError",
    "DuplicateEvent",
    "Event",
    "EventSourcingConfig",
    "EventStore",
    "EventStoreError",
    "EventsMissing",
    "Projection",
    "ProjectionStatus",
    "ProjectionStopped",
    "Repository",
    "Snapshot",
    "SnapshotError",
    "StreamFull",
    "event_handler",
    "retry_on_conflict",
]
