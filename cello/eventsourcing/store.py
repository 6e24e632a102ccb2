"""EventStore: what `async def` code uses.

    store = await EventStore.connect(EventSourcingConfig.sqlite("sqlite://shop.db"))
    version = await store.append("cart-7", [Event("ItemAdded", {"sku": "A1"})], expected_version=0)
    events = await store.get_events("cart-7")

`blocking` is the same for plain functions (`blocking.py`).
"""

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cello.database.colours import awaited
from cello.errors import ConfigError
from cello.eventsourcing.bell import Bell
from cello.eventsourcing.config import EventSourcingConfig
from cello.eventsourcing.errors import (
    ConcurrencyError,
    DuplicateEvent,
    StreamFull,
)
from cello.eventsourcing.event import Event, Record, Snapshot, as_json
from cello.eventsourcing.journal import PAGE, Conflict, Kept, Placed
from cello.eventsourcing.opening import make_journal
from cello.eventsourcing.records import make_records, tell
from cello.eventsourcing.upcasting import Upcaster, Upcasters
from cello.http import json_codec
from cello.spans import Span, Spans

if TYPE_CHECKING:
    from cello.database.sql.database import Database
    from cello.eventsourcing.blocking import BlockingEventStore

logger = logging.getLogger("cello.eventsourcing")

ARCHIVED_AT_ONCE = 1_000


class EventStore:
    """A store of events.

    Args:
        config: Which one; None for one in memory.
        database: A `Database` to keep it in, instead of one that the config names; it stays open when the store closes.

    Raises:
        ConfigError: The config names no database and none is given, or one of another kind.
        MissingDependency: Its driver is not installed.

    Attributes:
        config: What it was made of.
        upcasters: What reads events in older forms.
        bell: Rings when this process has appended something.
        spans: Where a span of each append goes.
    """

    def __init__(self, config: EventSourcingConfig | None = None, *, database: "Database | None" = None) -> None:
        config = EventSourcingConfig() if config is None else config
        if not isinstance(config, EventSourcingConfig):
            raise ConfigError(f"an event store takes an EventSourcingConfig, not {config!r:.80}")
        self.config = config
        self.upcasters = Upcasters()
        self.bell = Bell()
        self.spans = Spans()
        self._journal = make_journal(config, database)

    def _on(self, database: "Database") -> "EventStore":
        """Return this store on another loop's pool of the same database, all else in common."""
        twin = EventStore.__new__(EventStore)
        twin.config, twin.upcasters, twin.bell, twin.spans = self.config, self.upcasters, self.bell, self.spans
        journal: Any = self._journal  # memory's has no twin
        twin._journal = journal.twin(database)
        return twin

    @classmethod
    async def connect(
        cls, config: EventSourcingConfig | None = None, *, database: "Database | None" = None
    ) -> "EventStore":
        """Return a store that was reached, its tables made where they were missing.

        Raises:
            OperationalError: The database cannot be reached.
        """
        store = cls(config, database=database)
        try:
            await store.open()
        except BaseException:
            await store.close()
            raise
        return store

    def __repr__(self) -> str:
        return f"<EventStore {self.config.store_type}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def aio(self) -> Self:
        """Itself, so that code for either colour works."""
        return self

    @cached_property
    def blocking(self) -> "BlockingEventStore":
        """The same store for `def` handlers and other plain code."""
        from cello.eventsourcing.blocking import BlockingEventStore

        return BlockingEventStore(self)

    @property
    def database(self) -> Any:
        """The `Database` that the events are in; None for a store in memory."""
        return self._journal.database

    async def open(self) -> None:
        """Reach the database and make what is missing there; needed once, which `connect` does."""
        await self._journal.open()

    async def close(self) -> None:
        """Close the database, if it is the store's own. May be a shutdown hook as it is."""
        await self._journal.close()
        facade = self.__dict__.get("blocking")
        if facade is not None:
            facade.close()

    # Writing

    @awaited
    async def append(self, aggregate_id: str, events: Iterable[Any] | Any, expected_version: int | None = None) -> int:
        """Append events to the stream of an aggregate, all or none; return its version then.

        An event whose id is in the store already is not appended again: an append that is repeated as it was returns
        the version that it led to.

        Args:
            aggregate_id: Whose: 1-255 printable characters.
            events: One `Event`, or several in order; a model stands for an event of its class's name.
            expected_version: What the version must be: 0 for a new stream; None for whatever it is.

        Raises:
            ConcurrencyError: It is another version.
            StreamFull: There would be more than `max_events_per_aggregate`.
            DuplicateEvent: The id of an event is in the store already, but this is no repetition.
            EventStoreError: An event cannot be stored.
        """
        taken, records = make_records(aggregate_id, events, expected_version, self.upcasters)
        with self._span(records):
            placed = await self._append(records, expected_version)
        tell(taken, records, placed)
        self.bell.ring()
        return placed.version

    def _span(self, records: Sequence[Record]) -> AbstractContextManager[Span]:
        return self.spans.span("append events", "internal", {"cello.events": len(records)})

    async def _append(self, records: Sequence[Record], expected: int | None) -> Placed:
        try:
            return await self._journal.append(records, expected, self.config.max_events_per_aggregate)
        except Conflict:
            return Placed(await self._repeated(records, expected), 0)

    async def _repeated(self, records: Sequence[Record], expected: int | None) -> int:
        """Return the version that the same append led to before, or raise why it could not be made."""
        aggregate_id = records[0].aggregate_id
        places = await self._journal.places([record.event_id for record in records])
        first = places.get(records[0].event_id)
        if first is not None:
            same = [places.get(record.event_id) for record in records]
            if same == [(aggregate_id, first[1] + number) for number in range(len(records))]:
                return first[1] + len(records) - 1
        for known, (where, at) in places.items():
            raise DuplicateEvent(f"an event of id {known!r} is in the store already: {where!r:.80}, version {at}")
        actual = await self._journal.version(aggregate_id)
        most = self.config.max_events_per_aggregate
        if 0 < most < actual + len(records) and expected in (None, actual):
            raise StreamFull(
                f"{aggregate_id!r:.80} has {actual} events and may have {most} (max_events_per_aggregate): "
                f"{len(records)} more do not fit"
            )
        raise ConcurrencyError(aggregate_id, expected, actual)

    # Reading

    @awaited
    async def get_events(self, aggregate_id: str, since_version: int = 0) -> list[Event]:
        """Return the events of an aggregate after a version, in order; archived ones too.

        Raises:
            EventsMissing: Some were deleted.
        """
        return await self._read_on(aggregate_id, since_version)

    async def _read_on(self, aggregate_id: str, since: int, records: list[Record] | None = None) -> list[Event]:
        """Return the events after `since`; `records` are the first page of them, if it was read already."""
        events: list[Event] = []
        page = await self._journal.stream(aggregate_id, since) if records is None else records
        while page:
            events += [self._event(record) for record in page]
            if len(page) < PAGE:
                break
            since += len(page)
            page = await self._journal.stream(aggregate_id, since)
        return events

    @awaited
    async def version(self, aggregate_id: str) -> int:
        """Return the version of an aggregate; 0 where there is none."""
        return await self._journal.version(aggregate_id)

    @awaited
    async def head(self) -> int:
        """Return the position of the last event of all; 0 where there is none."""
        return await self._journal.head()

    @awaited
    def feed(self, after: int = 0, limit: int | None = None) -> AsyncGenerator[tuple[int, Event], None]:
        """Return all events after a position, of all aggregates, in the order of their commits: (position, event).

        Positions have no gaps, and none that was passed by ever comes later. It ends at the last event there is now.

        Raises:
            EventsMissing: Some were deleted.
        """
        return self._feed(after, limit)

    async def _feed(self, after: int, limit: int | None) -> AsyncGenerator[tuple[int, Event], None]:
        left = limit
        while left is None or left > 0:
            events = await self.read_feed(after, PAGE if left is None else min(left, PAGE))
            if not events:
                return
            for event in events:
                yield event.position, event
            after = events[-1].position
            if left is not None:
                left -= len(events)

    async def read_feed(self, after: int, most: int) -> list[Event]:
        """Return at most so many events after a position; none at the end."""
        return [self._event(record) for record in await self._journal.feed(after, most)]

    @awaited
    def subscribe(self, after: int | None = None) -> AsyncGenerator[tuple[int, Event], None]:
        """Return all events after a position, and then those to come, for as long as one listens.

        Events of this process come at once, those of others within `poll_ms`.

        Args:
            after: 0 for all there are; None for those to come.
        """
        return self._subscribe(after)

    async def _subscribe(self, after: int | None) -> AsyncGenerator[tuple[int, Event], None]:
        position = await self._journal.head() if after is None else after
        while True:
            known = self.bell.count
            events = await self.read_feed(position, PAGE)
            for event in events:
                yield event.position, event
                position = event.position
            if not events:
                await self.bell.wait(known, self.config.poll_ms / 1000)

    def _event(self, record: Record) -> Event:
        return self.upcasters.bring(Event._of_record(record))

    def upcaster(self, event_type: str | type, from_version: int = 1) -> Any:
        """Have a function make the data of the next version of that of `from_version`: a decorator.

        ```python
        @store.upcaster("Deposited", 1)
        def to_cents(data):
            return {"cents": data["amount"] * 100}
        ```
        """

        def add(step: Upcaster) -> Upcaster:
            self.upcasters.add(event_type, from_version, step)
            return step

        return add

    # Snapshots

    @awaited
    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless there is a newer one.

        Raises:
            EventStoreError: Its state has no JSON form.
        """
        state = as_json(snapshot.state, f"the state of {snapshot!r}")
        await self._keep(snapshot.aggregate_id, snapshot.version, snapshot.schema_version, state, snapshot.timestamp)

    async def _keep(self, aggregate_id: str, version: int, form: int, state: str, timestamp: float) -> None:
        await self._journal.save_snapshot(aggregate_id, Kept(version, form, state, int(timestamp * 1000)))

    @awaited
    async def get_snapshot(self, aggregate_id: str) -> Snapshot | None:
        """Return the newest snapshot of an aggregate, or None."""
        kept = await self._journal.get_snapshot(aggregate_id)
        return None if kept is None else _as_snapshot(aggregate_id, kept)

    async def load(self, aggregate_id: str, form: int | None = None) -> tuple[Snapshot | None, list[Event]]:
        """Return the newest snapshot and the events after it.

        Args:
            aggregate_id: Whose.
            form: The `schema_version` that the snapshot must have, or it is left aside; None for no snapshot.
        """
        if form is None or not self.config.enable_snapshots:
            return None, await self._read_on(aggregate_id, 0)
        kept, records = await self._journal.load(aggregate_id)
        if kept is None:
            return None, await self._read_on(aggregate_id, 0, records)
        if kept.schema_version != form:
            return None, await self._read_on(aggregate_id, 0)
        return _as_snapshot(aggregate_id, kept), await self._read_on(aggregate_id, kept.version, records)

    # The archive

    @awaited
    async def archive(self) -> int:
        """Move events older than `event_ttl_secs` to the archive now; return how many.

        Raises:
            ConfigError: Events are kept for ever.
        """
        if self.config.event_ttl_secs <= 0:
            raise ConfigError("EventSourcingConfig.event_ttl_secs is 0: nothing is ever archived")
        before_ms = time_ns() // 1_000_000 - int(self.config.event_ttl_secs * 1000)
        moved = 0
        while count := await self._journal.archive(before_ms, ARCHIVED_AT_ONCE):
            moved += count
        return moved

    @awaited
    async def archived(self) -> int:
        """Return the position of the last archived event; 0 where there is none."""
        return await self._journal.archived()


def _as_snapshot(aggregate_id: str, kept: Kept) -> Snapshot:
    state = json_codec.decode(kept.state.encode())
    return Snapshot(
        aggregate_id, kept.version, state, schema_version=kept.schema_version, timestamp=kept.taken_ms / 1000
    )
