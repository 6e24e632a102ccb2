"""Aggregates, their repositories and snapshots, on every kind of store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cello.database import OperationalError
from cello.errors import ConfigError
from cello.eventsourcing import (
    Aggregate,
    AggregateNotFound,
    ConcurrencyError,
    Event,
    EventSourcingConfig,
    EventStore,
    EventStoreError,
    Repository,
    event_handler,
    retry_on_conflict,
)
from cello.eventsourcing.sql import SqlJournal
from tests.gateways.test_limits import obeys


class Account(Aggregate):
    """Its handlers count how often they ran."""

    handled = 0

    def __init__(self, aggregate_id: str | None = None) -> None:
        super().__init__(aggregate_id)
        self.balance = 0

    def deposit(self, amount: int) -> None:
        if amount <= 0:
            raise ValueError("a deposit is above zero")
        self.apply(Event("Deposited", {"amount": amount}))

    @event_handler("Deposited", "Inherited")
    def on_deposited(self, event: Event) -> None:
        Account.handled += 1
        self.balance += event.data["amount"]


def test_events_change_the_state_by_their_handlers() -> None:
    account = Account("ada")
    account.deposit(5)
    account.apply(Event("Inherited", {"amount": 2}))
    account.apply(Event("Unknown"))
    assert (account.balance, account.version, account.get_version()) == (7, 3, 3)
    assert [(event.version, event.aggregate_id) for event in account.uncommitted_events] == [
        (1, "ada"),
        (2, "ada"),
        (3, "ada"),
    ]
    with pytest.raises(ValueError, match="above zero"):
        account.deposit(0)
    assert account.version == 3


def test_handlers_may_go_by_name_and_be_overridden() -> None:
    class Strict(Account):
        @event_handler("Deposited")
        def on_deposited_half(self, event: Event) -> None:
            self.balance += event.data["amount"] // 2

        def _handle_Closed(self, event: Event) -> None:
            self.state["closed"] = event.data

    account = Strict()
    account.deposit(10)
    account.apply(Event("Closed", "now"))
    assert (account.balance, account.state) == (5, {"closed": "now"})
    assert len(account.id) == 36


@dataclass
class Renamed:
    name: str


def test_a_handler_of_a_class_gets_its_model() -> None:
    class Person(Aggregate):
        @event_handler(Renamed)
        def on_renamed(self, event: Event) -> None:
            self.state["name"] = event.data.name

    person = Person("p")
    person.apply(Renamed("Ada"))
    again = Person("p").load_from_events(_saved([Event("Renamed", {"name": "Bob"}), Event("Renamed", {"name": "Eve"})]))
    assert (person.state, again.state, again.version) == ({"name": "Ada"}, {"name": "Eve"}, 2)
    with pytest.raises(EventStoreError, match="its data is no Renamed"):
        person.load_from_events(_saved([Event("Renamed", {})]))


def _saved(events: list[Event]) -> list[Event]:
    for version, event in enumerate(events, start=1):
        event.version = version
    return events


def test_events_out_of_order_are_refused() -> None:
    first, second = _saved([Event("X"), Event("Y")])
    with pytest.raises(ValueError, match="version 1 is to come next, not Event\\('Y'"):
        Account("a").load_from_events([second, first])


# Repositories


async def test_an_aggregate_is_saved_and_loaded(store: EventStore) -> None:
    accounts = Repository(store, Account)
    assert await accounts.find("ada") is None
    with pytest.raises(AggregateNotFound, match="there is no Account 'ada'") as caught:
        await accounts.get("ada")
    assert caught.value.status == 404
    account = Account("ada")
    account.deposit(5)
    account.deposit(6)
    assert await accounts.save(account) == 2
    assert (account.uncommitted_events, account.version) == ([], 2)
    assert await accounts.save(account) == 2  # nothing to save
    found = await accounts.get("ada")
    assert (found.balance, found.version, found.uncommitted_events) == (11, 2, [])


async def test_who_saves_what_changed_meanwhile_is_told(store: EventStore) -> None:
    accounts = Repository(store, Account)
    one, other = Account("ada"), Account("ada")
    one.deposit(1)
    other.deposit(2)
    await accounts.save(one)
    with pytest.raises(ConcurrencyError):
        await accounts.save(other)
    assert len(other.uncommitted_events) == 1
    assert (await accounts.get("ada")).balance == 1


async def test_update_tries_again_until_it_wins(store: EventStore) -> None:
    accounts = Repository(store, Account)
    with pytest.raises(AggregateNotFound):
        await accounts.update("ada", lambda account: account.deposit(1))
    await accounts.update("ada", lambda account: account.deposit(1), create=True)

    async def change(account: Account) -> None:
        await asyncio.sleep(0)
        account.deposit(1)

    await asyncio.gather(*(accounts.update("ada", change, attempts=100) for _ in range(10)))
    assert (await accounts.get("ada")).balance == 11

    async def be_slow(account: Account) -> None:
        await store.append("ada", Event("Deposited", {"amount": 1}))
        account.deposit(100)

    with pytest.raises(ConcurrencyError):
        await accounts.update("ada", be_slow, attempts=3)
    assert (await accounts.get("ada")).balance == 14


@pytest.mark.parametrize("colour", ["def", "async"])
def test_a_function_is_run_again_after_a_conflict(colour: str) -> None:
    runs = []

    def attempt(fails: int) -> int:
        runs.append(fails)
        if len(runs) <= fails:
            raise ConcurrencyError("a", 1, 2)
        return len(runs)

    if colour == "async":

        @retry_on_conflict(attempts=4)
        async def run(fails: int) -> int:
            return attempt(fails)

        def call(fails: int) -> int:
            return asyncio.run(run(fails))

    else:
        call = retry_on_conflict(attempts=4)(attempt)

    assert call(3) == 4
    runs.clear()
    with pytest.raises(ConcurrencyError):
        call(4)
    with pytest.raises(ConfigError, match="attempts must be at least 1"):
        retry_on_conflict(attempts=0)


def test_the_blocking_repository_does_the_same(make_config: Callable[..., EventSourcingConfig]) -> None:
    store = EventStore(make_config(snapshot_interval=3))
    asyncio.run(_made(store))
    accounts = Repository(store, Account).blocking
    assert accounts.find("ada") is None
    with pytest.raises(AggregateNotFound):
        accounts.update("ada", lambda account: account.deposit(1))
    for _ in range(5):
        accounts.update("ada", lambda account: account.deposit(1), create=True)
    account = accounts.get("ada")
    assert (account.balance, account.version) == (5, 5)
    snapshot = store.blocking.get_snapshot("ada")
    assert snapshot is not None
    assert snapshot.version == 3
    account.deposit(1)
    assert accounts.save(account) == 6
    store.blocking.close()
    asyncio.run(store.close())


async def _made(store: EventStore) -> None:
    await store.open()
    if store.config.store_type != "memory":
        await store.close()


# Snapshots


@obeys("EventSourcingConfig.snapshot_interval")
async def test_a_load_is_a_snapshot_and_the_events_after_it(open_store: Callable[..., Any]) -> None:
    store = await open_store(snapshot_interval=10)
    accounts = Repository(store, Account)
    for number in range(1, 26):
        await accounts.update("ada", lambda account: account.deposit(1), create=True)
        snapshot = await store.get_snapshot("ada")
        assert (0 if snapshot is None else snapshot.version) == number // 10 * 10
    Account.handled = 0
    account = await accounts.get("ada")
    assert (account.balance, account.version, Account.handled) == (25, 25, 5)


@obeys("EventSourcingConfig.enable_snapshots")
async def test_without_snapshots_every_load_reads_all(open_store: Callable[..., Any]) -> None:
    writer = await open_store(snapshot_interval=2)
    await Repository(writer, Account).update("ada", lambda account: [account.deposit(1) for _ in range(4)], create=True)
    if writer.config.store_type == "memory":
        store = writer
        object.__setattr__(store.config, "enable_snapshots", False)
    else:
        store = await open_store(snapshot_interval=2, enable_snapshots=False)
    Account.handled = 0
    accounts = Repository(store, Account)
    await accounts.update("ada", lambda account: account.deposit(1))
    assert (Account.handled, (await accounts.get("ada")).balance) == (5, 5)
    snapshot = await store.get_snapshot("ada")
    assert snapshot is not None
    assert snapshot.version == 4


@pytest.mark.timeout(300)
async def test_an_aggregate_of_100_000_events_loads_by_its_snapshot(open_store: Callable[..., Any]) -> None:
    store = await open_store(max_events_per_aggregate=0)
    for _ in range(10):
        await store.append("ada", [Event("Deposited", {"amount": 1}) for _ in range(10_000)])
    accounts = Repository(store, Account)
    assert (await accounts.get("ada")).balance == 100_000  # which takes the snapshot that nobody took before
    await store.append("ada", [Event("Deposited", {"amount": 1}) for _ in range(99)])
    Account.handled = 0
    account = await accounts.get("ada")
    assert (account.balance, account.version, Account.handled) == (100_099, 100_099, 99)


async def test_an_aggregate_whose_events_are_all_archived_loads(open_store: Callable[..., Any]) -> None:
    store = await open_store(event_ttl_secs=60, snapshot_interval=3)
    accounts = Repository(store, Account)
    for number in range(1, 5):
        await store.append("ada", Event("Deposited", {"amount": 1}, timestamp=1_000.0))
        await store.archive()
        assert (await accounts.get("ada")).balance == number
    assert await store.archived() == 4
    await accounts.update("ada", lambda account: account.deposit(1))
    assert (await accounts.get("ada")).balance == 5


class Typed(Aggregate):
    """Attributes that JSON does not give back by itself, annotated."""

    opened: datetime | None
    balance: Decimal
    owner: Renamed | None

    def __init__(self, aggregate_id: str | None = None) -> None:
        super().__init__(aggregate_id)
        self.opened = None
        self.balance = Decimal(0)
        self.owner = None

    @event_handler("Opened")
    def on_opened(self, event: Event) -> None:
        self.opened = datetime.fromisoformat(event.data["at"])
        self.balance = Decimal(event.data["balance"])
        self.owner = Renamed(event.data["owner"])


async def test_annotated_attributes_come_back_from_a_snapshot_as_they_were(open_store: Callable[..., Any]) -> None:
    store = await open_store(snapshot_interval=1)
    things = Repository(store, Typed)
    data = {"at": "2026-11-23T10:00:00+00:00", "balance": "12.30", "owner": "Ada"}
    saved = await things.update("a", lambda thing: thing.apply(Event("Opened", data)), create=True)
    assert (await store.get_snapshot("a")) is not None
    found = await things.get("a")
    assert (found.opened, found.balance, found.owner) == (saved.opened, Decimal("12.30"), Renamed("Ada"))


async def test_a_state_that_would_not_come_back_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    class Untyped(Aggregate):
        @event_handler("Opened")
        def on_opened(self, event: Event) -> None:
            self.balance = Decimal(1)

    async with await EventStore.connect(EventSourcingConfig.memory(snapshot_interval=1)) as store:
        things = Repository(store, Untyped)
        await things.update("a", lambda thing: thing.apply(Event("Opened")), create=True)
        assert await store.get_snapshot("a") is None
        assert (await things.get("a")).balance == Decimal(1)
    assert "Untyped.balance is '1' after a snapshot, and was Decimal('1'): annotate it" in caplog.text


@pytest.mark.parametrize("colour", ["def", "async"])
def test_what_was_saved_is_saved_whatever_becomes_of_the_snapshot(
    colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Account):
        def deposit(self, amount: int) -> None:
            super().deposit(amount)
            if amount == 2:
                self.thing = object()

        def to_snapshot(self) -> Any:
            if self.balance == 3:
                raise RuntimeError("a mistake in it")
            return super().to_snapshot()

    async def fail(*args: Any) -> None:
        raise OperationalError("not now")

    config = EventSourcingConfig.sqlite(f"sqlite:///{tmp_path}/a.db", snapshot_interval=1)
    store = EventStore(config)
    asyncio.run(_made(store))
    monkeypatch.setattr(SqlJournal, "save_snapshot", fail)
    things: Any = Repository(store, Odd)
    for amount in (1, 2, 3):
        thing = Odd(f"a{amount}")
        thing.deposit(amount)
        version = things.blocking.save(thing) if colour == "def" else asyncio.run(things.save(thing))
        assert (version, thing.uncommitted_events) == (1, [])
    assert caplog.text.count("no snapshot of <Odd") == 3
    store.blocking.close()
    asyncio.run(store.close())


def test_a_repository_keeps_aggregates_only() -> None:
    for kind in (42, dict):
        with pytest.raises(ConfigError, match="keeps a subclass of Aggregate"):
            Repository(EventStore(), kind)  # type: ignore[type-var]


async def test_a_snapshot_of_another_form_is_left_aside(open_store: Callable[..., Any]) -> None:
    store = await open_store(snapshot_interval=3)
    await Repository(store, Account).update("ada", lambda a: [a.deposit(1) for _ in range(4)], create=True)

    class Newer(Account):
        snapshot_version = 2

    Account.handled = 0
    assert (await Repository(store, Newer).get("ada")).balance == 4
    assert Account.handled == 4
    assert (await Repository(store, Newer).get("ada")).balance == 4
    assert Account.handled == 4  # by the snapshot that the first load took
    assert (await store.get_snapshot("ada")).schema_version == 2
