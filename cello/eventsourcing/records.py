"""Events on their way into a store: checked, made records, and told in the end where they are."""

from collections.abc import Iterable, Sequence
from typing import Any

from cello.eventsourcing.causes import cause_now
from cello.eventsourcing.errors import DuplicateEvent, EventStoreError
from cello.eventsourcing.event import LONGEST_ID, Event, Record, as_json, check_name
from cello.eventsourcing.journal import Placed
from cello.eventsourcing.upcasting import Upcasters
from cello.pipeline.models import is_model

MOST_AT_ONCE = 10_000


def make_records(
    aggregate_id: str, events: Iterable[Any] | Any, expected: int | None, upcasters: Upcasters
) -> tuple[list[Event], list[Record]]:
    """Return what an append was given as events, and as records.

    Raises:
        DuplicateEvent: Two have the same id.
        EventStoreError: They cannot be stored.
    """
    check_name(aggregate_id, "an aggregate's id")
    if expected is not None and (type(expected) is not int or expected < 0):
        raise EventStoreError(f"expected_version is a number from 0, or None, not {expected!r:.80}")
    taken = _as_events(events)
    cause = cause_now()
    records = [_record(aggregate_id, event, cause, upcasters) for event in taken]
    if len(records) > 1 and len({record.event_id for record in records}) < len(records):
        raise DuplicateEvent("two of the events have the same id")
    return taken, records


def tell(events: Sequence[Event], records: Sequence[Record], placed: Placed) -> None:
    """Tell events where they are now; a `placed` without position says that they were there before."""
    first_version, first_position = placed.version - len(events) + 1, placed.position - len(events) + 1
    for number, (event, record) in enumerate(zip(events, records, strict=True)):
        event.version = first_version + number
        event.aggregate_id = record.aggregate_id
        event.schema_version = record.schema_version
        if placed.position:
            event.position = first_position + number


def _record(aggregate_id: str, event: Event, cause: dict[str, Any], upcasters: Upcasters) -> Record:
    if event.aggregate_id not in (None, aggregate_id):
        raise EventStoreError(f"{event!r} belongs to another aggregate than {aggregate_id!r:.80}")
    check_name(event.event_type, "an event's type")
    check_name(event.id, "an event's id", LONGEST_ID)
    if cause:
        event.metadata = {**cause, **event.metadata}
    metadata = as_json(event.metadata, f"the metadata of {event!r}") if event.metadata else "{}"
    form = event.schema_version or upcasters.newest(event.event_type)
    data = as_json(event.data, f"the data of {event!r}")
    return Record(0, aggregate_id, 0, event.id, event.event_type, form, data, metadata, int(event.timestamp * 1000))


def _as_events(events: Iterable[Any] | Any) -> list[Event]:
    if type(events) is not list and (
        isinstance(events, Event) or is_model(type(events)) or not isinstance(events, Iterable)
    ):
        events = [events]
    taken = [event if isinstance(event, Event) else Event.of(event) for event in events]
    if not 1 <= len(taken) <= MOST_AT_ONCE:
        raise EventStoreError(f"an append takes 1-{MOST_AT_ONCE} events, not {len(taken)}")
    return taken
