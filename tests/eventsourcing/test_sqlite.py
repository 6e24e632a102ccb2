"""What only SQLite does: positions and versions read off the events, and plain functions that append themselves."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cello.database import Database, DatabaseConfig, TransactionConflict
from cello.eventsourcing import ConcurrencyError, DuplicateEvent, Event, EventSourcingConfig, EventStore

OLD = 1_000.0
"""A time long ago, in seconds since 1970."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a new file."""
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
def config(url: str) -> EventSourcingConfig:
    """Return the config of a store in it."""
    return EventSourcingConfig.sqlite(url, event_ttl_secs=60)


@pytest.fixture
def plain(config: EventSourcingConfig) -> Iterator[Any]:
    """Return a store for plain functions, and close it."""
    store = EventStore(config)
    asyncio.run(_make(store))
    yield store.blocking
    asyncio.run(store.close())


async def _make(store: EventStore) -> None:
    await store.open()
    await store.close()


def old(count: int = 1) -> list[Event]:
    return [Event("Old", {"n": number}, timestamp=OLD) for number in range(count)]


# Positions and versions


async def test_what_was_archived_is_counted_although_nothing_is_left(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:
        await store.append("a", old(3))
        await store.append("b", old())
        assert await store.archive() == 4
        assert (await store.head(), await store.version("a"), await store.version("b")) == (4, 3, 1)
        with pytest.raises(ConcurrencyError):
            await store.append("a", old(), 0)
        assert await store.append("a", old(), 3) == 4
        assert [position async for position, _ in store.feed()] == [1, 2, 3, 4, 5]
        assert [event.version for event in await store.get_events("a")] == [1, 2, 3, 4]


@pytest.mark.parametrize("table", ["events", "events_archive"])
async def test_no_position_or_version_is_given_twice_whatever_was_deleted(
    config: EventSourcingConfig, table: str
) -> None:
    async with await EventStore.connect(config) as store:
        await store.append("a", old(2))
        await store.append("b", old())
        if table == "events_archive":
            await store.archive()
        assert await store.database.execute(f"DELETE FROM cello_{table}") == 3
        assert (await store.head(), await store.version("a"), await store.version("b")) == (3, 2, 1)
        event = Event("Next")
        assert await store.append("a", event, 2) == 3
        assert event.position == 4


async def test_a_deleted_last_event_leaves_its_number_unused(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:
        await store.append("a", old(3))
        await store.database.execute("DELETE FROM cello_events WHERE position = 3")
        event = Event("Next")
        assert await store.append("a", event, 3) == 4
        assert event.position == 4


# What an earlier release wrote: every append raised `event_head` and `event_streams`, and nothing else knew of them.
EARLIER = """
CREATE TABLE cello_events (position INTEGER NOT NULL PRIMARY KEY, aggregate_id TEXT NOT NULL, version INTEGER NOT NULL,
    event_id TEXT NOT NULL, event_type TEXT NOT NULL, schema_version INTEGER NOT NULL, data TEXT NOT NULL,
    metadata TEXT NOT NULL, created_ms INTEGER NOT NULL, UNIQUE (aggregate_id, version), UNIQUE (event_id));
CREATE TABLE cello_events_archive (position INTEGER NOT NULL PRIMARY KEY, aggregate_id TEXT NOT NULL,
    version INTEGER NOT NULL, event_id TEXT NOT NULL, event_type TEXT NOT NULL, schema_version INTEGER NOT NULL,
    data TEXT NOT NULL, metadata TEXT NOT NULL, created_ms INTEGER NOT NULL, UNIQUE (aggregate_id, version),
    UNIQUE (event_id));
CREATE TABLE cello_event_streams (aggregate_id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL);
CREATE TABLE cello_event_head (id INTEGER NOT NULL PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE cello_event_snapshots (aggregate_id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL,
    schema_version INTEGER NOT NULL, state TEXT NOT NULL, taken_ms INTEGER NOT NULL);
CREATE TABLE cello_projections (name TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, generation INTEGER NOT NULL,
    is_fresh INTEGER NOT NULL, fault TEXT, epoch INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
INSERT INTO cello_events_archive VALUES (1, 'gone', 1, 'e1', 'Old', 1, '{}', '{}', 1000000);
INSERT INTO cello_events_archive VALUES (2, 'a', 1, 'e2', 'Old', 1, '{"n":1}', '{}', 1000000);
INSERT INTO cello_events VALUES (3, 'a', 2, 'e3', 'Old', 1, '{"n":2}', '{}', 1000000);
INSERT INTO cello_event_streams VALUES ('gone', 1), ('a', 2);
INSERT INTO cello_event_head VALUES (1, 3);
"""


def write_earlier(tmp_path: Path, *more: str) -> None:
    raw = sqlite3.connect(tmp_path / "events.db")
    raw.executescript(EARLIER)
    for statement in more:
        raw.execute(statement)
    raw.commit()
    raw.close()


async def test_the_file_of_an_earlier_release_is_gone_on_with(tmp_path: Path, config: EventSourcingConfig) -> None:
    write_earlier(tmp_path)
    async with await EventStore.connect(config) as store:
        assert (await store.head(), await store.version("a"), await store.version("gone")) == (3, 2, 1)
        assert await store.append("a", Event("Old", {}, id="e3")) == 2  # it is there: nothing happens
        with pytest.raises(DuplicateEvent):
            await store.append("b", Event("Old", {}, id="e3"))
        with pytest.raises(ConcurrencyError):
            await store.append("gone", old(), 0)
        assert await store.append("gone", old(), 1) == 2
        assert await store.append("a", old(), 2) == 3
        assert await store.append("new", old(), 0) == 1
        assert [position async for position, _ in store.feed()] == [1, 2, 3, 4, 5, 6]
        assert await store.archive() == 4
        assert (await store.head(), await store.version("a"), await store.version("gone")) == (6, 3, 2)
        assert await store.append("new", old()) == 2


async def test_the_file_of_an_earlier_release_whose_events_are_all_gone(
    tmp_path: Path, config: EventSourcingConfig
) -> None:
    write_earlier(tmp_path, "DELETE FROM cello_events", "DELETE FROM cello_events_archive")
    async with await EventStore.connect(config) as store:
        event = Event("Next")
        assert await store.append("a", event, 2) == 3
        assert event.position == 4


async def test_an_append_writes_few_pages(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:
        database = store.database
        await database.fetch_all("PRAGMA wal_checkpoint(TRUNCATE)")
        for version in range(200):
            await store.append("a", Event("Counted", {"n": version}), version)
        (pages,) = await database.fetch_all("PRAGMA wal_checkpoint(PASSIVE)")
        assert pages["log"] / 200 < 3.5  # the table and its two indices; it was more than five


async def test_an_append_in_a_transaction_that_began_for_reading(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:
        async with store.database.transaction(read_only=True):
            assert await store.append("a", old(), 0) == 1
            with pytest.raises(ConcurrencyError):
                await store.append("a", old(), 0)
            assert await store.append("a", old(2), 1) == 3
        assert await store.version("a") == 3


# Plain functions


def in_threads(count: int, work: Any) -> list[Any]:
    outcomes: list[Any] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        try:
            outcomes.append(work(number))
        except ConcurrencyError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_many_threads_exactly_one_wins(plain: Any) -> None:
    for version in range(20):
        outcomes = in_threads(8, lambda number, at=version: plain.append("a", Event("Tried", {"by": number}), at))
        assert sum(isinstance(outcome, ConcurrencyError) for outcome in outcomes) == 7
        assert [outcome for outcome in outcomes if outcome == version + 1] == [version + 1]
    assert plain.head() == 20


def test_many_threads_lose_and_double_nothing(plain: Any) -> None:
    in_threads(8, lambda number: [plain.append(f"own-{number}", Event("Counted")) for _ in range(50)])
    assert [position for position, _ in plain.feed()] == list(range(1, 401))
    assert [plain.version(f"own-{number}") for number in range(8)] == [50] * 8


def test_an_event_knows_where_it_is(plain: Any) -> None:
    events = old(2)
    assert plain.append("a", events, 0) == 2
    assert [(event.aggregate_id, event.version, event.position) for event in events] == [("a", 1, 1), ("a", 2, 2)]
    assert plain.append("a", events, 0) == 2  # once more the same
    assert plain.head() == 2


def test_an_append_of_a_plain_function_takes_part_in_its_transaction(plain: Any) -> None:
    database = plain._store.database.blocking
    with database.transaction() as transaction:
        assert plain.append("a", old(2), 0) == 2
        transaction.rollback()
    assert plain.head() == 0
    with database.transaction():
        assert plain.append("a", old(2), 0) == 2
        with pytest.raises(ConcurrencyError):
            plain.append("a", old(), 0)
    assert plain.append("a", old(), 2) == 3


def test_who_waits_too_long_for_the_lock_is_told_and_may_try_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cello.eventsourcing.sql.ATTEMPTS", 2)
    database = Database(DatabaseConfig(url, connection_timeout_secs=0.05))
    store = EventStore(EventSourcingConfig("sqlite"), database=database)
    asyncio.run(store.open())
    plain = store.blocking
    assert plain.append("a", old()) == 1
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TransactionConflict):
        plain.append("a", old())
    other.execute("ROLLBACK")
    other.close()
    assert plain.append("a", old()) == 2
    asyncio.run(store.close())
    asyncio.run(database.disconnect())


def test_a_store_that_was_closed_opens_again_with_the_next_append(plain: Any) -> None:
    plain.append("a", old())
    plain.close()
    assert plain.append("a", old()) == 2
    assert plain._writer._raw is not None


def test_a_connection_is_replaced_when_it_is_old(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.append("a", old())
    first = plain._writer._raw
    monkeypatch.setattr(plain._writer, "_lifetime_s", -1)
    assert plain.append("a", old()) == 2
    assert plain._writer._raw is not first


async def test_a_store_in_an_sqlite_that_is_in_memory() -> None:
    async with await EventStore.connect(EventSourcingConfig.sqlite("sqlite://:memory:")) as store:
        assert await store.append("a", old()) == 1
        assert await asyncio.to_thread(store.blocking.append, "a", old(), 1) == 2
        assert await store.append("a", old(), 2) == 3


FORK = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")
from cello.eventsourcing import Event, EventSourcingConfig, EventStore
store = EventStore(EventSourcingConfig.sqlite(sys.argv[1]))
async def make():
    await store.open()
    await store.close()
asyncio.run(make())
assert store.blocking.append("a", Event("X")) == 1
child = os.fork()
if child == 0:
    assert store.blocking.append("a", Event("X"), 1) == 2
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert store.blocking.append("a", Event("X"), 2) == 3
assert store.blocking.head() == 3
"""


def test_a_forked_child_appends_by_a_connection_of_its_own(url: str) -> None:
    subprocess.run([sys.executable, "-c", FORK, url], check=True, timeout=60)
