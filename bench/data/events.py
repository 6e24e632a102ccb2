"""Appends and loads of aggregates: cello's event store and the library `eventsourcing`, which has no MySQL.

Both keep the same aggregate, an account of deposits. An append saves one event at the version it is expected to have;
every one is committed and on the disk before the next (SQLite: synchronous=FULL, the library's default too). A load
makes an aggregate of its events, of which there are EVENTS; neither side uses snapshots. One caller, one connection, in
rounds that alternate; then a crowd of callers, each with an aggregate of its own. Shown are the median of the rounds,
the ratio to the library, and the spread (quartiles).

The library is for plain functions: its peer is `.blocking`. Async code must call it by `asyncio.to_thread`, not to hold
its loop: that row is the peer of the async store, whose SQLite is on a thread too.

    pip install eventsourcing 'psycopg[binary,pool]'
    python -m bench.data.events [--rounds 60] [--count 20] [--only sqlite]

Servers: CELLO_TEST_POSTGRES, CELLO_TEST_MYSQL, or the usual ones on this machine.

SQLite's files are in TMPDIR: on a disk its sync is most of an append, in /dev/shm the programs are.
"""

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as TheirAggregate
from eventsourcing.domain import event as their_event

from cello.database import Database
from cello.eventsourcing import Aggregate, Event, EventSourcingConfig, EventStore, Repository, event_handler

Run = Callable[[int], Awaitable[None]]
URLS = {
    "postgresql": os.environ.get("CELLO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"),
    "mysql": os.environ.get("CELLO_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test"),
}
KINDS = ("sqlite", *URLS)
THEIRS = "eventsourcing"
EVENTS = 10
CROWD = 16
PREFIX = "bench_"
TABLES = ("events", "events_archive", "event_streams", "event_head", "event_snapshots", "projections", "leases")


class Account(Aggregate):
    """Ours."""

    def __init__(self, aggregate_id: str | None = None) -> None:
        super().__init__(aggregate_id)
        self.balance = 0

    def deposit(self, amount: int) -> None:
        self.apply(Event("Deposited", {"amount": amount}))

    @event_handler("Deposited")
    def on_deposited(self, event: Event) -> None:
        self.balance += event.data["amount"]


class TheirAccount(TheirAggregate):
    """Theirs."""

    def __init__(self) -> None:
        self.balance = 0

    @their_event("Deposited")
    def deposit(self, amount: int) -> None:
        self.balance += amount


def ours(store: EventStore) -> dict[str, Run]:
    """Return what appends and loads by the async store."""
    accounts = Repository(store, Account)

    async def append(count: int) -> None:
        account = Account()
        for _ in range(count):
            account.deposit(1)
            await accounts.save(account)

    filled: list[str] = []

    async def load(count: int) -> None:
        if not filled:
            account = Account()
            for _ in range(EVENTS):
                account.deposit(1)
            await accounts.save(account)
            filled.append(account.id)
        for _ in range(count):
            assert (await accounts.get(filled[0])).balance == EVENTS

    return {"append": append, "load": load}


def ours_blocking(store: EventStore) -> dict[str, Run]:
    """Return the same by its facade, on one plain thread."""
    accounts = Repository(store, Account).blocking

    def append(count: int) -> None:
        account = Account()
        for _ in range(count):
            account.deposit(1)
            accounts.save(account)

    filled: list[str] = []

    def load(count: int) -> None:
        if not filled:
            account = Account()
            for _ in range(EVENTS):
                account.deposit(1)
            accounts.save(account)
            filled.append(account.id)
        for _ in range(count):
            assert accounts.get(filled[0]).balance == EVENTS

    return {"append": lambda count: asyncio.to_thread(append, count), "load": lambda n: asyncio.to_thread(load, n)}


def theirs(app: Any) -> dict[str, Run]:
    """Return the same by the library, on one plain thread."""

    def append(count: int) -> None:
        account = TheirAccount()
        app.save(account)
        for _ in range(count):
            account.deposit(1)
            app.save(account)

    filled: list[Any] = []

    def load(count: int) -> None:
        if not filled:
            account = TheirAccount()
            for _ in range(EVENTS - 1):  # the first event is its creation
                account.deposit(1)
            app.save(account)
            filled.append(account.id)
        for _ in range(count):
            assert app.repository.get(filled[0]).balance == EVENTS - 1

    return {"append": lambda count: asyncio.to_thread(append, count), "load": lambda n: asyncio.to_thread(load, n)}


def theirs_from_async_code(app: Any) -> dict[str, Run]:
    """Return the same by the library, each of its calls on a thread."""

    async def append(count: int) -> None:
        account = TheirAccount()
        await asyncio.to_thread(app.save, account)
        for _ in range(count):
            account.deposit(1)
            await asyncio.to_thread(app.save, account)

    filled: list[Any] = []

    async def load(count: int) -> None:
        if not filled:
            account = TheirAccount()
            for _ in range(EVENTS - 1):
                account.deposit(1)
            await asyncio.to_thread(app.save, account)
            filled.append(account.id)
        for _ in range(count):
            assert (await asyncio.to_thread(app.repository.get, filled[0])).balance == EVENTS - 1

    return {"append": append, "load": load}


def their_application(kind: str, folder: str) -> Any:
    """Return an application of the library."""
    if kind == "sqlite":
        env = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/theirs.db"}
        return Application(env=env)
    parts = urlsplit(URLS[kind])
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": parts.hostname or "",
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": parts.username or "",
        "POSTGRES_PASSWORD": parts.password or "none",
    }
    return Application(env=env)


async def drop_all(url: str) -> None:
    """Drop what both sides have made."""
    async with await Database.connect(url) as database:
        for table in (*(f"{PREFIX}{name}" for name in TABLES), "application_events", "application_snapshots"):
            await database.execute(f"DROP TABLE IF EXISTS {table}")


async def measure(kind: str, folder: str, rounds: int, count: int) -> None:
    """Print the table of one kind of database."""
    print(f"\n{kind}")
    if kind == "sqlite":
        url = f"sqlite:///{folder}/ours.db?synchronous=FULL"
    else:
        url = URLS[kind]
        await drop_all(url)
    config = EventSourcingConfig(kind, enable_snapshots=False, connection_url=url, table_prefix=PREFIX)
    app = None if kind == "mysql" else await asyncio.to_thread(their_application, kind, folder)
    try:
        async with await EventStore.connect(config) as store:
            runs = {"cello .blocking": ours_blocking(store), "cello": ours(store)}
            if app is not None:
                runs = {THEIRS: theirs(app), f"{THEIRS}, to_thread": theirs_from_async_code(app), **runs}
            for what, callers in (("append", 1), ("load", 1), ("append", CROWD)):
                taken: dict[str, list[float]] = {name: [] for name in runs}
                for each in runs.values():
                    await each[what](20)
                for _ in range(rounds if callers == 1 else max(2, rounds // 5)):
                    for name, each in runs.items():
                        started_s = time.perf_counter()
                        await asyncio.gather(*[each[what](count) for _ in range(callers)])
                        taken[name].append(callers * count / (time.perf_counter() - started_s))
                title = what if callers == 1 else f"{what}, {callers} at once"
                for name, found in taken.items():
                    low, middle, high = statistics.quantiles(found, n=4)
                    ratio = f"×{middle / statistics.median(taken[THEIRS]):4.2f}" if THEIRS in taken else "     "
                    print(f"  {title:18} {name:24} {middle:8.0f}/s  {ratio}  ({low:.0f}-{high:.0f})")
    finally:
        if app is not None:
            await asyncio.to_thread(app.close)
        if kind != "sqlite":
            await drop_all(url)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.data.events")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {options.rounds} rounds of {options.count}, "
        f"eventsourcing {version('eventsourcing')}, psycopg {version('psycopg')}, asyncpg {version('asyncpg')}, "
        f"aiomysql {version('aiomysql')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if options.only in (None, kind):
                asyncio.run(measure(kind, folder, options.rounds, options.count))


if __name__ == "__main__":
    main()
