"""One-row SELECT, 100-row SELECT and INSERT: bare driver, cello, its `raw()`, its facade, SQLAlchemy.

Every contender runs one statement at a time on one connection, in rounds that alternate with the others', so that a
busy moment of the machine hits all. Shown are the median round in µs per statement, the ratio to the bare driver, and
the spread (quartiles). Servers: CELLO_TEST_POSTGRES, CELLO_TEST_MYSQL, or the usual ones on this machine.

    python -m bench.data [--rounds 15] [--statements 200] [--only postgresql]
"""

import argparse
import asyncio
import contextlib
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

from cello import DatabaseConfig
from cello.database import Database

Run = Callable[[int], Awaitable[None]]
TABLE = "cello_bench"
URLS = {
    "postgresql": os.environ.get("CELLO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"),
    "mysql": os.environ.get("CELLO_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test"),
    "sqlite": "",
}
LIBRARIES = {"postgresql": ("asyncpg",), "mysql": ("aiomysql", "PyMySQL"), "sqlite": ()}
STATEMENTS = {
    "1 row": f"SELECT id, name, price FROM {TABLE} WHERE id = $1",
    "100 rows": f"SELECT id, name, price FROM {TABLE} WHERE id <= $1",
    "INSERT": f"INSERT INTO {TABLE} (id, name, price) VALUES ($1, 'new', 1.5)",
}
ARGUMENT = {"1 row": lambda number: 7, "100 rows": lambda number: 100, "INSERT": lambda number: 1_000 + number}


class Numbers:
    """Numbers that were not used yet, for INSERTs."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


@contextlib.asynccontextmanager
async def bare(kind: str, url: str) -> AsyncIterator[Callable[[str, Any], Awaitable[Any]]]:
    """The driver, by the pool it comes with."""
    if kind == "postgresql":
        import asyncpg

        async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:

            async def ask(sql: str, value: Any) -> Any:
                return await (pool.execute if sql.startswith("INSERT") else pool.fetch)(sql, value)

            yield ask
    elif kind == "mysql":
        import aiomysql

        from cello.database.sql.address import Address
        from cello.database.sql.mysql import options_of

        options = options_of(Address.of(DatabaseConfig(url)))
        async with aiomysql.create_pool(minsize=1, maxsize=4, cursorclass=aiomysql.DictCursor, **options) as pool:

            async def ask(sql: str, value: Any) -> Any:
                async with pool.acquire() as connection, connection.cursor() as cursor:
                    await cursor.execute(sql.replace("$1", "%s"), (value,))
                    return await cursor.fetchall()

            yield ask
    else:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")

        async def ask(sql: str, value: Any) -> Any:
            return connection.execute(sql.replace("$1", "?"), (value,)).fetchall()

        yield ask
        connection.close()


@contextlib.asynccontextmanager
async def alchemy(kind: str, db: Database) -> AsyncIterator[Callable[[str, Any], Awaitable[Any]]]:
    """SQLAlchemy's engine and pool, in AUTOCOMMIT."""
    from sqlalchemy import text
    from sqlalchemy.pool import AsyncAdaptedQueuePool

    engine = db.make_engine(poolclass=AsyncAdaptedQueuePool, pool_size=4, isolation_level="AUTOCOMMIT")
    texts = {sql: text(sql.replace("$1", ":v")) for sql in STATEMENTS.values()}

    async def ask(sql: str, value: Any) -> Any:
        async with engine.connect() as connection:
            result = await connection.execute(texts[sql], {"v": value})
            return result.mappings().all() if result.returns_rows else None

    yield ask
    await engine.dispose()


def runner(ask: Callable[[str, Any], Awaitable[Any]], what: str, numbers: Numbers) -> Run:
    """Return what runs one statement `count` times."""
    sql, argument = STATEMENTS[what], ARGUMENT[what]

    async def run(count: int) -> None:
        for _ in range(count):
            await ask(sql, argument(numbers.next()))

    return run


def facade(db: Database, what: str, numbers: Numbers) -> Run:
    """Return what does the same on one plain thread."""
    sql, argument = STATEMENTS[what], ARGUMENT[what]
    ask: Any = db.blocking.execute if what == "INSERT" else db.blocking.fetch_all

    def run(count: int) -> None:
        for _ in range(count):
            ask(sql, argument(numbers.next()))

    return lambda count: asyncio.to_thread(run, count)


def held(db: Database, kind: str, what: str, numbers: Numbers) -> Run:
    """Return what does the same with the driver's connection, lent each time."""
    driver: Any = db._core.driver
    statement = db._core.statements.get(STATEMENTS[what])
    argument = ARGUMENT[what]

    async def run(count: int) -> None:
        for _ in range(count):
            async with db.raw() as connection:
                await driver.fetch(connection, statement.sql, (argument(numbers.next()),))

    return run


async def measure(kind: str, url: str, rounds: int, count: int) -> None:
    """Print the table of one kind of database."""
    numbers = Numbers()
    libraries = ", ".join(f"{name} {version(name)}" for name in (*LIBRARIES[kind], "SQLAlchemy"))
    print(f"\n{kind} ({libraries})")
    async with await Database.connect(DatabaseConfig(url, pool_size=4)) as db:
        await db.execute(f"DROP TABLE IF EXISTS {TABLE}")
        await db.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, name VARCHAR(40), price FLOAT)")
        await db.execute_many(f"INSERT INTO {TABLE} VALUES ($1, $2, 2.5)", [(n, f"name {n}") for n in range(1, 101)])

        async def ask(sql: str, value: Any) -> Any:
            return await (db.execute if sql.startswith("INSERT") else db.fetch_all)(sql, value)

        async with bare(kind, url) as driver, alchemy(kind, db) as engine:
            for what in STATEMENTS:
                runs: dict[str, Run] = {
                    "bare driver's pool": runner(driver, what, numbers),
                    "cello": runner(ask, what, numbers),
                    "cello raw()": held(db, kind, what, numbers),
                    "cello .blocking": facade(db, what, numbers),
                    "SQLAlchemy": runner(engine, what, numbers),
                }
                taken: dict[str, list[float]] = {name: [] for name in runs}
                for run in runs.values():
                    await run(20)
                for _ in range(rounds):
                    for name, run in runs.items():
                        started_s = time.perf_counter()
                        await run(count)
                        taken[name].append((time.perf_counter() - started_s) / count * 1e6)
                least = statistics.median(taken["bare driver's pool"])
                for name, found in taken.items():
                    low, middle, high = statistics.quantiles(found, n=4)
                    print(f"  {what:9} {name:20} {middle:8.1f} µs  ×{middle / least:4.2f}  ({low:.1f}-{high:.1f})")
        await db.execute(f"DROP TABLE {TABLE}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.data")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--statements", type=int, default=200)
    parser.add_argument("--only", choices=URLS)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {options.rounds} rounds of {options.statements}")
    with tempfile.TemporaryDirectory() as folder:
        for kind, url in URLS.items():
            if options.only in (None, kind):
                place = url or f"sqlite:///{folder}/bench.db"
                asyncio.run(measure(kind, place, options.rounds, options.statements))


if __name__ == "__main__":
    main()
