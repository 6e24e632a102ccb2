"""The blocking facade: an event store for `def` handlers and other plain code.

It runs on the loop of the database's own facade, so that it takes part in its transactions and cannot deadlock; a store
in memory has a loop of its own. Appends to SQLite outside of any transaction need no loop (`sqlite_append.py`).
"""

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cello.eventsourcing.event import Event, Snapshot
from cello.eventsourcing.journal import PAGE, Placed
from cello.eventsourcing.records import make_records, tell
from cello.gateways.turns import TurnPortal

if TYPE_CHECKING:
    from cello.database.sql.database import Database

T = TypeVar("T")


class BlockingEventStore:
    """An event store for plain functions; `EventStore.blocking` is one. See `EventStore` for each method.

    Args:
        store: Its async twin, an `EventStore`.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self._twin: Any = None
        self.config = store.config
        self.upcaster = store.upcaster
        database: Database | None = store._journal.database
        self._database = None if database is None else database.blocking
        self._writer = None if database is None else store._journal.writer
        self._portal = TurnPortal() if self._database is None else self._database._loop.portal

    def __repr__(self) -> str:
        return f"<BlockingEventStore {self.config.store_type}>"

    @property
    def blocking(self) -> Self:
        """Itself, so that code for either object works."""
        return self

    def append(self, aggregate_id: str, events: Iterable[Any] | Any, expected_version: int | None = None) -> int:
        """Append events to the stream of an aggregate, all or none; return its version then."""
        if self._writer is None or self._database is None or self._database.is_in_transaction:
            found: int = self._run(lambda store: store.append(aggregate_id, events, expected_version))
            return found
        store, most = self._store, self.config.max_events_per_aggregate
        taken, records = make_records(aggregate_id, events, expected_version, store.upcasters)
        with store._span(records):
            self._database._loop.note_held()
            placed: Placed | None = self._writer.append(records, expected_version, most)
            if placed is None:  # it is tried again where all is known about why
                placed = self._run(lambda twin: twin._append(records, expected_version))
        tell(taken, records, placed)
        store.bell.ring()
        return placed.version

    def get_events(self, aggregate_id: str, since_version: int = 0) -> list[Event]:
        """Return the events of an aggregate after a version, in order."""
        found: list[Event] = self._run(lambda store: store.get_events(aggregate_id, since_version))
        return found

    def version(self, aggregate_id: str) -> int:
        """Return the version of an aggregate; 0 where there is none."""
        found: int = self._run(lambda store: store.version(aggregate_id))
        return found

    def head(self) -> int:
        """Return the position of the last event of all."""
        found: int = self._run(lambda store: store.head())
        return found

    def feed(self, after: int = 0, limit: int | None = None) -> Generator[tuple[int, Event], None, None]:
        """Return all events after a position in the order of their commits; it ends at the last event there is now."""
        while limit is None or limit > 0:
            most = PAGE if limit is None else min(limit, PAGE)
            events = self._page(after, most)
            if not events:
                return
            for event in events:
                yield event.position, event
            after = events[-1].position
            limit = None if limit is None else limit - len(events)

    def subscribe(self, after: int | None = None) -> Generator[tuple[int, Event], None, None]:
        """Return all events after a position, and then those to come; close it when you leave."""
        position = self.head() if after is None else after
        while True:
            known = self._store.bell.count
            events = self._page(position, PAGE)
            for event in events:
                yield event.position, event
                position = event.position
            if not events:
                self._run(lambda store, known=known: store.bell.wait(known, store.config.poll_ms / 1000))  # type: ignore[misc]

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless there is a newer one."""
        self._run(lambda store: store.save_snapshot(snapshot))

    def get_snapshot(self, aggregate_id: str) -> Snapshot | None:
        """Return the newest snapshot of an aggregate, or None."""
        found: Snapshot | None = self._run(lambda store: store.get_snapshot(aggregate_id))
        return found

    def load(self, aggregate_id: str, form: int | None = None) -> tuple[Snapshot | None, list[Event]]:
        """Return the newest snapshot and the events after it."""
        found: tuple[Snapshot | None, list[Event]] = self._run(lambda store: store.load(aggregate_id, form))
        return found

    def archive(self) -> int:
        """Move events older than `event_ttl_secs` to the archive now; return how many."""
        found: int = self._run(lambda store: store.archive())
        return found

    def archived(self) -> int:
        """Return the position of the last archived event."""
        found: int = self._run(lambda store: store.archived())
        return found

    def close(self) -> None:
        """Close the facade: its loop, and its connections where the database is the store's own."""
        if self._database is None:
            self._portal.close()
        elif getattr(self._store._journal, "owns_database", False):
            self._database.disconnect()

    def _page(self, after: int, most: int) -> list[Event]:
        found: list[Event] = self._run(lambda store: store.read_feed(after, most))
        return found

    def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if self._database is None:
            return self._portal.run(self._do(work))
        result: T = self._database._run(lambda database: work(self._on(database)))
        return result

    def _on(self, database: Any) -> Any:
        """Return the store on the facade's loop; called there, so never by two threads."""
        # PERF: 15 µs a call, to make its statements anew each time; bench/data/events.py.
        if self._twin is None or self._twin.database is not database:  # a forked child has another
            self._twin = self._store._on(database)
        return self._twin

    async def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await work(self._store)
