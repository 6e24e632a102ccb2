"""Repositories: aggregates by their id, loaded from a store and saved to it.

    accounts = Repository(store, Account)
    account = await accounts.get("ada")
    account.deposit(10)
    await accounts.save(account)

    await accounts.update("ada", lambda account: account.deposit(10))  # again, if somebody else was faster

Loading is the newest snapshot and the events after it. A snapshot is taken when `snapshot_interval` events have come
since the last one, by whoever saves, or loads and finds too many. One that fails is logged, and costs only time.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cello.database.colours import awaited
from cello.database.errors import DatabaseError
from cello.errors import ConfigError
from cello.eventsourcing.aggregate import Aggregate, snapshot_state
from cello.eventsourcing.blocking import BlockingEventStore
from cello.eventsourcing.errors import AggregateNotFound, ConcurrencyError
from cello.eventsourcing.event import Event, Snapshot
from cello.eventsourcing.store import EventStore
from cello.http import json_codec

A = TypeVar("A", bound=Aggregate)

logger = logging.getLogger("cello.eventsourcing")

ATTEMPTS = 5
FIRST_PAUSE_S = 0.01


class _Kind(Generic[A]):
    """What repositories of both colours know of their aggregates."""

    def __init__(self, store: EventStore | BlockingEventStore, kind: type[A]) -> None:
        given: Any = kind
        if not (isinstance(given, type) and issubclass(given, Aggregate)):
            raise ConfigError(f"a repository keeps a subclass of Aggregate, not {kind!r:.80}")
        self.kind = kind
        self._interval = store.config.snapshot_interval
        self._takes_snapshots = store.config.enable_snapshots

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.kind.__name__}>"

    def _build(self, aggregate_id: str, snapshot: Snapshot | None, events: list[Event]) -> A | None:
        if snapshot is None and not events:
            return None
        aggregate = self.kind(aggregate_id)
        if snapshot is not None:
            aggregate.from_snapshot(snapshot.state)
            aggregate.version = snapshot.version
        aggregate.replay(events)
        aggregate._snapshot_at = 0 if snapshot is None else snapshot.version
        return aggregate

    def _snapshot(self, aggregate: A) -> Snapshot | None:
        """Return the snapshot to take of an aggregate without unsaved events, if it is time for one."""
        if not self._takes_snapshots or aggregate.version - aggregate._snapshot_at < self._interval:
            return None
        aggregate._snapshot_at = aggregate.version
        try:
            state = snapshot_state(aggregate)
        except Exception as error:  # noqa: BLE001  # the aggregate's own code may raise anything, and what was saved is
            self._without_snapshot(aggregate, error)
            return None
        return Snapshot(
            aggregate.id,
            aggregate.version,
            json_codec.decode(state.encode()),
            schema_version=self.kind.snapshot_version,
        )

    def _without_snapshot(self, aggregate: A, error: Exception) -> None:
        """Tell that there is none: what was to be done is done all the same, and the next load takes longer."""
        logger.error("no snapshot of %r: %s", aggregate, error)

    def _saved(self, aggregate: A, version: int) -> None:
        aggregate.version = version
        aggregate.clear_uncommitted()


class Repository(_Kind[A]):
    """Loads and saves the aggregates of one class, for `async def`.

    Args:
        store: Where their events are.
        kind: The class, which takes an id.
    """

    def __init__(self, store: EventStore, kind: type[A]) -> None:
        super().__init__(store, kind)
        self._store = store

    @property
    def blocking(self) -> "BlockingRepository[A]":
        """The same for plain functions."""
        return BlockingRepository(self._store.blocking, self.kind)

    @awaited
    async def find(self, aggregate_id: str) -> A | None:
        """Return an aggregate, or None where it has no events."""
        snapshot, events = await self._store.load(aggregate_id, self.kind.snapshot_version)
        aggregate = self._build(aggregate_id, snapshot, events)
        if aggregate is not None:
            await self._keep(aggregate)
        return aggregate

    @awaited
    async def get(self, aggregate_id: str) -> A:
        """Return an aggregate.

        Raises:
            AggregateNotFound: It has no events. Answered 404.
        """
        aggregate = await self.find(aggregate_id)
        if aggregate is None:
            raise AggregateNotFound(self.kind.__name__, aggregate_id)
        return aggregate

    @awaited
    async def save(self, aggregate: A) -> int:
        """Append the events that were applied since it was loaded or made; return its version.

        Raises:
            ConcurrencyError: Somebody else has saved it meanwhile. Answered 409.
        """
        events = aggregate.uncommitted_events
        if events:
            version = await self._store.append(aggregate.id, events, aggregate.version - len(events))
            self._saved(aggregate, version)
            await self._keep(aggregate)
        return aggregate.version

    async def _keep(self, aggregate: A) -> None:
        """Keep a snapshot, if it is time for one."""
        if (taken := self._snapshot(aggregate)) is not None:
            try:
                await self._store.save_snapshot(taken)
            except DatabaseError as error:
                self._without_snapshot(aggregate, error)

    @awaited
    async def update(
        self, aggregate_id: str, change: Callable[[A], Any], *, attempts: int = ATTEMPTS, create: bool = False
    ) -> A:
        """Load an aggregate, call `change` with it, and save it; all again when somebody else was faster.

        Args:
            aggregate_id: Which one.
            change: `def` or `async def`; it may run several times, each time with an aggregate loaded anew.
            attempts: How often to try in all.
            create: Begin a new one where there is none, instead of raising.

        Raises:
            AggregateNotFound: There is none.
            ConcurrencyError: Somebody else was faster every time.
        """
        for attempt in range(1, attempts + 1):
            found = await self.find(aggregate_id) if create else await self.get(aggregate_id)
            aggregate = self.kind(aggregate_id) if found is None else found
            result = change(aggregate)
            if asyncio.iscoroutine(result):
                await result
            try:
                await self.save(aggregate)
            except ConcurrencyError:
                if attempt == attempts:
                    raise
                await asyncio.sleep(pause_s(attempt))
            else:
                return aggregate
        raise ConfigError(f"update: attempts must be at least 1, not {attempts!r:.80}")


class BlockingRepository(_Kind[A]):
    """Loads and saves the aggregates of one class, for plain functions. See `Repository` for each method."""

    def __init__(self, store: BlockingEventStore, kind: type[A]) -> None:
        super().__init__(store, kind)
        self._store = store

    def find(self, aggregate_id: str) -> A | None:
        """Return an aggregate, or None where it has no events."""
        snapshot, events = self._store.load(aggregate_id, self.kind.snapshot_version)
        aggregate = self._build(aggregate_id, snapshot, events)
        if aggregate is not None:
            self._keep(aggregate)
        return aggregate

    def get(self, aggregate_id: str) -> A:
        """Return an aggregate, or raise AggregateNotFound."""
        aggregate = self.find(aggregate_id)
        if aggregate is None:
            raise AggregateNotFound(self.kind.__name__, aggregate_id)
        return aggregate

    def save(self, aggregate: A) -> int:
        """Append the events that were applied since it was loaded or made; return its version."""
        events = aggregate.uncommitted_events
        if events:
            self._saved(aggregate, self._store.append(aggregate.id, events, aggregate.version - len(events)))
            self._keep(aggregate)
        return aggregate.version

    def _keep(self, aggregate: A) -> None:
        """Keep a snapshot, if it is time for one."""
        if (taken := self._snapshot(aggregate)) is not None:
            try:
                self._store.save_snapshot(taken)
            except DatabaseError as error:
                self._without_snapshot(aggregate, error)

    def update(
        self, aggregate_id: str, change: Callable[[A], Any], *, attempts: int = ATTEMPTS, create: bool = False
    ) -> A:
        """Load an aggregate, call `change` with it, and save it; all again when somebody else was faster."""
        for attempt in range(1, attempts + 1):
            found = self.find(aggregate_id) if create else self.get(aggregate_id)
            aggregate = self.kind(aggregate_id) if found is None else found
            change(aggregate)
            try:
                self.save(aggregate)
            except ConcurrencyError:
                if attempt == attempts:
                    raise
                time.sleep(pause_s(attempt))
            else:
                return aggregate
        raise ConfigError(f"update: attempts must be at least 1, not {attempts!r:.80}")


def pause_s(attempt: int) -> float:
    """Return how long to wait before the next attempt, in seconds: growing, and different for each who waits."""
    return FIRST_PAUSE_S * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
