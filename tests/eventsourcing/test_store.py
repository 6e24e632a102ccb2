"""The event store, on memory, SQLite, PostgreSQL and MariaDB by the same tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cello.database import ConnectionLost
from cello.errors import ConfigError
from cello.eventsourcing import (
    ConcurrencyError,
    DuplicateEvent,
    Event,
    EventsMissing,
    EventSourcingConfig,
    EventStore,
    EventStoreError,
    Snapshot,
    StreamFull,
)
from tests.eventsourcing.conftest import IN_DATABASES
from tests.gateways.test_limits import obeys


def some(count: int, event_type: str = "Counted") -> list[Event]:
    return [Event(event_type, {"n": number}) for number in range(1, count + 1)]


# Appending


async def test_versions_count_from_one_and_positions_over_all_streams(store: EventStore) -> None:
    assert await store.append("a", some(2)) == 2
    assert await store.append("b", some(1)) == 1
    assert await store.append("a", some(1)) == 3
    assert [event.version for event in await store.get_events("a")] == [1, 2, 3]
    assert [(position, event.aggregate_id) async for position, event in store.feed()] == [
        (1, "a"),
        (2, "a"),
        (3, "b"),
        (4, "a"),
    ]
    assert (await store.version("a"), await store.version("nobody"), await store.head()) == (3, 0, 4)


async def test_an_event_comes_back_as_it_was(store: EventStore) -> None:
    data = {"text": "Grüße \U0001f600 'quoted' \\ %s $1 :name", "list": [1, 2.5, None, True], "nested": {"": "\x00"}}
    event = Event("Said", data, metadata={"user": "ada"}, timestamp=1_700_000_000.125)
    await store.append("ä/ö ü", [event])
    (found,) = await store.get_events("ä/ö ü")
    assert found.json() == event.json()
    assert (found.data, found.metadata, found.position) == (data, {"user": "ada"}, 1)


@dataclass
class Opened:
    owner: str
    limit: int = 0


class Deposited(msgspec.Struct):
    cents: int


async def test_models_are_events_of_their_class(store: EventStore) -> None:
    await store.append("a", [Opened("ada", 5), Deposited(100)])
    await store.append("a", Deposited(7))
    opened, deposited, last = await store.get_events("a")
    assert (opened.event_type, opened.data) == ("Opened", {"owner": "ada", "limit": 5})
    assert opened.data_as(Opened) == Opened("ada", 5)
    assert (deposited.data_as(Deposited), last.data_as(Deposited)) == (Deposited(100), Deposited(7))
    with pytest.raises(EventStoreError, match=r"its data is no Deposited: .*cents"):
        opened.data_as(Deposited)


EXPECTED = {
    "a new stream, where there is none": (0, 0, True),
    "a new stream, where there is one": (2, 0, False),
    "the version that it has": (2, 2, True),
    "an older version": (2, 1, False),
    "a version that it has not reached": (2, 3, False),
    "any version, where there is none": (0, None, True),
    "any version": (2, None, True),
    "some version, where there is none": (0, 4, False),
}


@pytest.mark.parametrize(("there", "expected", "succeeds"), EXPECTED.values(), ids=EXPECTED.keys())
async def test_the_expected_version_decides(
    store: EventStore, there: int, expected: int | None, succeeds: bool
) -> None:
    if there:
        await store.append("a", some(there))
    if succeeds:
        assert await store.append("a", some(2), expected) == there + 2
        return
    with pytest.raises(ConcurrencyError) as caught:
        await store.append("a", some(2), expected)
    assert (caught.value.status, caught.value.actual, caught.value.expected) == (409, there, expected)
    assert await store.version("a") == await store.head() == there
    assert await store.append("b", some(1)) == 1  # what failed has left no gap
    assert [position async for position, _ in store.feed()] == list(range(1, there + 2))


async def test_of_many_concurrent_writers_exactly_one_wins(store: EventStore) -> None:
    await store.append("a", some(1))
    outcomes = await asyncio.gather(
        *(store.append("a", [Event("Won", {"by": number})], 1) for number in range(20)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["ConcurrencyError"] * 19 + ["int"]
    assert await store.version("a") == await store.head() == 2


async def test_concurrent_writers_that_expect_nothing_all_get_their_turn(store: EventStore) -> None:
    versions = await asyncio.gather(*(store.append("a", some(3)) for _ in range(20)))
    assert sorted(versions) == list(range(3, 61, 3))
    assert [event.version for event in await store.get_events("a")] == list(range(1, 61))


def test_a_store_serves_one_loop_after_another(config: EventSourcingConfig) -> None:
    store = EventStore(config)

    async def serve(loops: int) -> None:
        await store.open()
        try:
            await asyncio.gather(*(store.append("a", some(1)) for _ in range(8)))
            assert await store.version("a") == loops * 8
        finally:
            await store.close()

    asyncio.run(serve(1))
    if config.store_type != "memory":  # which has forgotten everything
        asyncio.run(serve(2))


async def test_a_repeated_append_changes_nothing(store: EventStore) -> None:
    events = some(3)
    assert await store.append("a", events, 0) == 3
    await store.append("a", some(1))
    for expected in (0, None, 3, 4):
        assert await store.append("a", events, expected) == 3
    assert await store.version("a") == 4


async def test_an_id_is_in_the_store_once(store: EventStore) -> None:
    first = Event("X", id="order-1:paid")
    await store.append("a", first)
    for events, aggregate_id in (
        ([Event("X", id="order-1:paid")], "b"),
        ([Event("X"), Event("X", id="order-1:paid")], "a"),
        ([Event("X", id="order-1:paid"), Event("X")], "a"),
        ([Event("X", id="same"), Event("X", id="same")], "c"),
    ):
        with pytest.raises(DuplicateEvent):
            await store.append(aggregate_id, events)
    assert await store.head() == 1


@pytest.mark.parametrize("expected", [0, None])
@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_an_append_whose_connection_broke_happens_once(
    store: EventStore, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal: Any = store._journal
    ways = {"sqlite": (journal._line, "append"), "mysql": (journal, "_by_transaction")}
    owner, way = ways.get(journal.kind, (journal, "_by_statement"))
    append, breaks = getattr(owner, way), [True, True]

    async def append_and_break(*args: Any) -> Any:
        placed = await append(*args)
        if breaks:
            breaks.pop()
            raise ConnectionLost("after the commit")
        return placed

    monkeypatch.setattr(owner, way, append_and_break)
    assert await store.append("a", some(2), expected) == 2
    assert await store.append("a", some(1), 2) == 3
    assert [position async for position, _ in store.feed()] == [1, 2, 3]


REFUSED = {
    "an empty name": ("", [Event("X")], "an aggregate's id is 1-255 characters, not ''"),
    "a name that is too long": ("a" * 256, [Event("X")], "an aggregate's id is 1-255 characters"),
    "a space at its end": ("a ", [Event("X")], "no space at its ends"),
    "a control character": ("a\x00", [Event("X")], "no control characters"),
    "no events": ("a", [], "an append takes 1-10000 events, not 0"),
    "no type": ("a", [Event("")], "an event's type is 1-255 characters"),
    "an id that is too long": ("a", [Event("X", id="i" * 129)], "an event's id is 1-128 characters"),
    "data without JSON form": ("a", [Event("X", {"x": object()})], "the data of Event\\('X'.* has no JSON form"),
    "metadata without JSON form": ("a", [Event("X", metadata={"x": object()})], "the metadata of .* has no JSON form"),
    "another aggregate's event": ("a", [Event("X", aggregate_id="b")], "belongs to another aggregate than 'a'"),
    "no event at all": ("a", [42], "an event is an Event or a Struct, dataclass or pydantic model, not 42"),
}


@pytest.mark.parametrize(("aggregate_id", "events", "message"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_stored_is_refused(aggregate_id: str, events: list[Any], message: str) -> None:
    async with await EventStore.connect() as store:
        with pytest.raises(EventStoreError, match=message):
            await store.append(aggregate_id, events)
        assert await store.head() == 0


@pytest.mark.parametrize("expected", [-1, "3", True])
async def test_an_impossible_expected_version_is_refused(expected: Any) -> None:
    async with await EventStore.connect() as store:
        with pytest.raises(EventStoreError, match="expected_version is a number from 0, or None"):
            await store.append("a", some(1), expected)


async def test_names_that_differ_by_case_are_different(store: EventStore) -> None:
    await store.append("Cart", some(1), 0)
    await store.append("cart", some(2), 0)
    assert (await store.version("Cart"), await store.version("cart")) == (1, 2)


@obeys("EventSourcingConfig.max_events_per_aggregate")
async def test_a_stream_has_its_largest_length(open_store: Callable[..., Any]) -> None:
    store = await open_store(max_events_per_aggregate=5)
    await store.append("a", some(4))
    for expected in (None, 4):
        with pytest.raises(StreamFull, match="'a' has 4 events and may have 5"):
            await store.append("a", some(2), expected)
    with pytest.raises(StreamFull, match="'new' has 0 events"):
        await store.append("new", some(6))
    assert await store.append("a", some(1), 4) == 5
    with pytest.raises(ConcurrencyError):
        await store.append("a", some(1), 4)
    assert [position async for position, _ in store.feed()] == [1, 2, 3, 4, 5]


@obeys("EventSourcingConfig.max_events_per_aggregate")
async def test_no_limit_is_no_limit(open_store: Callable[..., Any]) -> None:
    store = await open_store(max_events_per_aggregate=0)
    assert await store.append("a", some(10_000)) == 10_000
    assert await store.append("a", some(2)) == 10_002


# Reading


async def test_events_are_read_page_by_page_in_order(store: EventStore) -> None:
    await store.append("a", some(2_500))
    await store.append("b", some(1))
    assert [event.version for event in await store.get_events("a")] == list(range(1, 2_501))
    assert [event.version for event in await store.get_events("a", since_version=2_498)] == [2_499, 2_500]
    assert await store.get_events("a", since_version=2_500) == []
    assert [position async for position, _ in store.feed(after=1_200, limit=3)] == [1_201, 1_202, 1_203]
    assert [position async for position, _ in store.feed(after=500)] == list(range(501, 2_502))
    assert [position async for position, _ in store.feed(limit=0)] == []


async def test_a_subscription_catches_up_and_then_hears_what_is_new(store: EventStore) -> None:
    await store.append("a", some(3))
    heard: list[int] = []

    async def listen() -> None:
        async for position, _ in store.subscribe(after=1):
            heard.append(position)
            if position == 6:
                return

    task = asyncio.create_task(listen())
    while heard != [2, 3]:
        await asyncio.sleep(0.01)
    await store.append("b", some(3))
    await task
    assert heard == [2, 3, 4, 5, 6]


@obeys("EventSourcingConfig.poll_ms")
@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_a_subscription_hears_what_another_process_appends(open_store: Callable[..., Any]) -> None:
    one, other = await open_store(poll_ms=20), await open_store(poll_ms=3_600_000)
    await one.append("a", some(1))
    listener, deaf = one.subscribe(), other.subscribe()
    waiting, waits_for_ever = asyncio.ensure_future(anext(listener)), asyncio.ensure_future(anext(deaf))
    await asyncio.sleep(0.2)  # both have begun at the end
    await other._journal.append([*_records("b")], None, 0)  # which rings no bell
    assert (await waiting)[0] == 2
    assert not waits_for_ever.done()
    waits_for_ever.cancel()


def _records(aggregate_id: str) -> Any:
    from cello.eventsourcing.event import Record, new_id

    yield Record(0, aggregate_id, 0, new_id(), "X", 1, "{}", "{}", 0)


async def test_upcasters_bring_old_events_to_the_newest_form(open_store: Callable[..., Any]) -> None:
    store = await open_store()
    await store.append("a", [Event("Deposited", {"amount": 2})])

    @store.upcaster("Deposited", 1)
    def to_cents(data: Any) -> Any:
        return {"cents": data["amount"] * 100}

    @store.upcaster("Deposited", 2)
    def to_currency(data: Any) -> Any:
        return {**data, "currency": "EUR"}

    await store.append("a", [Event("Deposited", {"cents": 5, "currency": "USD"}), Event("Other", {"amount": 1})])
    await store.append("a", [Event("Deposited", {"cents": 7}, schema_version=2)])
    assert [(event.schema_version, event.data) for event in await store.get_events("a")] == [
        (3, {"cents": 200, "currency": "EUR"}),
        (3, {"cents": 5, "currency": "USD"}),
        (1, {"amount": 1}),
        (3, {"cents": 7, "currency": "EUR"}),
    ]
    assert [event.data["cents"] async for _, event in store.feed() if event.event_type == "Deposited"] == [200, 5, 7]
    with pytest.raises(ConfigError, match="an upcaster of 'Deposited' from version 2 already"):
        store.upcaster("Deposited", 2)(to_cents)


# Snapshots


async def test_the_newest_snapshot_is_kept(store: EventStore) -> None:
    assert await store.get_snapshot("a") is None
    await store.save_snapshot(Snapshot("a", 10, {"n": 10}))
    await store.save_snapshot(Snapshot("a", 5, {"n": 5}))
    found = await store.get_snapshot("a")
    assert found is not None
    assert (found.version, found.state, found.schema_version) == (10, {"n": 10}, 1)
    await store.save_snapshot(Snapshot("a", 7, {"m": 7}, schema_version=2))  # a new form replaces an old one
    found = await store.get_snapshot("a")
    assert found is not None
    assert (found.version, found.state, found.schema_version) == (7, {"m": 7}, 2)


# The archive


@obeys("EventSourcingConfig.event_ttl_secs")
async def test_old_events_are_archived_and_still_read(open_store: Callable[..., Any]) -> None:
    store = await open_store(event_ttl_secs=60)
    old = [Event("Old", {"n": number}, timestamp=1_000.0) for number in range(1_500)]
    await store.append("a", old)
    await store.append("b", [Event("Old", timestamp=1_000.0)])
    await store.append("a", some(1_200))
    await store.append("b", [Event("Old", timestamp=1_000.0)])  # old, but not at the beginning
    assert (await store.archive(), await store.archived()) == (1_501, 1_501)
    assert (await store.archive(), await store.archived()) == (0, 1_501)
    assert [event.version for event in await store.get_events("a")] == list(range(1, 2_701))
    assert [event.version for event in await store.get_events("a", 1_400)] == list(range(1_401, 2_701))
    assert [event.version for event in await store.get_events("b")] == [1, 2]
    assert [position async for position, _ in store.feed()] == list(range(1, 2_703))
    assert await store.append("a", some(1), 2_700) == 2_701
    with pytest.raises(ConcurrencyError):
        await store.append("a", some(1), 1_500)


async def test_a_store_that_keeps_all_archives_nothing(store: EventStore) -> None:
    with pytest.raises(ConfigError, match="event_ttl_secs is 0"):
        await store.archive()


@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_events_that_somebody_deleted_are_missed(open_store: Callable[..., Any]) -> None:
    store = await open_store(event_ttl_secs=1)
    await store.append("a", [Event("Old", timestamp=1_000.0)])
    await store.append("a", some(1))
    await store.archive()
    journal = store._journal
    await journal.database.execute(f"DELETE FROM {store.config.table_prefix}events_archive")
    with pytest.raises(EventsMissing, match="version 1 of 'a' is gone"):
        await store.get_events("a")
    with pytest.raises(EventsMissing, match="the event at position 1 is gone"):
        [each async for each in store.feed()]
    assert len(await store.get_events("a", since_version=1)) == 1


# Both colours, transactions, processes


def test_the_blocking_facade_does_the_same(make_config: Callable[..., EventSourcingConfig]) -> None:
    opened = EventStore(make_config(event_ttl_secs=60))
    asyncio.run(_prepare(opened))
    store = opened.blocking
    assert store.append("a", some(3), 0) == 3
    with pytest.raises(ConcurrencyError):
        store.append("a", some(1), 0)
    assert [event.version for event in store.get_events("a", 1)] == [2, 3]
    assert (store.version("a"), store.head(), store.archive(), store.archived()) == (3, 3, 0, 0)
    assert [position for position, _ in store.feed(1, 1)] == [2]
    store.save_snapshot(Snapshot("a", 3, {"n": 3}))
    snapshot = store.get_snapshot("a")
    assert snapshot is not None
    assert snapshot.state == {"n": 3}
    listener = store.subscribe(after=2)
    assert next(listener)[0] == 3
    store.append("b", some(1))
    assert next(listener)[0] == 4
    listener.close()
    store.close()
    asyncio.run(opened.close())


async def _prepare(store: EventStore) -> None:
    await store.open()
    if store.config.store_type != "memory":
        await store.close()


@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_an_append_takes_part_in_a_transaction(store: EventStore) -> None:
    database = store.database  # type: ignore[attr-defined]
    async with database.transaction() as transaction:
        await store.append("a", some(2), 0)
        await transaction.rollback()
    assert await store.head() == 0
    async with database.transaction():
        await store.append("a", some(2), 0)
        event = Event("X", id="once")
        await store.append("b", event)
        with pytest.raises(ConcurrencyError):
            await store.append("a", some(1), 0)
        with pytest.raises(DuplicateEvent):
            await store.append("c", Event("X", id="once"))
        await store.append("a", some(1), 2)
    assert [position async for position, _ in store.feed()] == [1, 2, 3, 4]


@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_a_store_that_is_opened_again_has_what_it_had(open_store: Callable[..., Any]) -> None:
    first = await open_store()
    await first.append("a", some(2))
    await first.close()
    assert await (await open_store()).version("a") == 2


@obeys("EventSourcingConfig.table_prefix")
@pytest.mark.parametrize("store_type", ["sqlite"])
async def test_stores_of_other_prefixes_are_other_stores(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as one:
        await one.append("a", some(1))
        other = EventSourcingConfig.sqlite(config.connection_url, table_prefix="other_")
        async with await EventStore.connect(other) as two:
            assert await two.version("a") == 0


SYNCHRONOUS = {
    "a store of its own": ("", 2),
    "one that says so itself": ("?synchronous=NORMAL", 1),
    "one with other settings": ("?cache_size=100", 2),
}


@pytest.mark.parametrize(("options", "level"), SYNCHRONOUS.values(), ids=SYNCHRONOUS.keys())
async def test_appends_to_sqlite_are_on_the_disk_when_they_return(tmp_path: Path, options: str, level: int) -> None:
    config = EventSourcingConfig.sqlite(f"sqlite:///{tmp_path}/a.db{options}")
    async with await EventStore.connect(config) as store:
        assert await store.database.fetch_val("PRAGMA synchronous") == level


# Configs that cannot be

CANNOT_BE = {
    "an unknown store": ({"store_type": "mongodb"}, "store_type must be one of"),
    "a URL of another kind": (
        {"store_type": "postgresql", "connection_url": "sqlite://a.db"},
        "connection_url is one of sqlite, but store_type is 'postgresql'",
    ),
    "no URL at all": ({"store_type": "sqlite", "connection_url": "nonsense"}, "must begin with"),
    "a prefix that is no name": ({"table_prefix": "a; DROP"}, "table_prefix must be up to 30 ASCII letters"),
    "an interval of nothing": ({"snapshot_interval": 0}, "snapshot_interval must be at least 1"),
}


@pytest.mark.parametrize(("fields", "message"), CANNOT_BE.values(), ids=CANNOT_BE.keys())
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EventStore(EventSourcingConfig(**fields))


@obeys("EventSourcingConfig.store_type")
def test_a_server_is_never_replaced_by_memory() -> None:
    with pytest.raises(ConfigError, match="needs connection_url="):
        EventStore(EventSourcingConfig("mysql"))
    assert "127.0.0.1:5432" in repr(EventStore(EventSourcingConfig("postgresql"))._journal.database)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="but store_type is 'memory'"):
        EventStore(EventSourcingConfig("memory", connection_url="sqlite://a.db"))
