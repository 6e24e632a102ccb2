"""@transactional outside of handlers: where it finds its database, and what it does about conflicts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cello import ConfigError
from cello.database import Database, ProgrammingError, TransactionConflict, transactional


@pytest.fixture
async def db() -> AsyncIterator[Database]:
    async with await Database.connect("sqlite://:memory:") as database:
        await database.execute("CREATE TABLE t (a INTEGER)")
        yield database


async def test_it_finds_a_database_among_the_arguments(db: Database) -> None:
    @transactional
    async def add(database: Any, value: int, tx: Any = None) -> int:
        await tx.execute("INSERT INTO t VALUES ($1)", value)
        if value < 0:
            raise ValueError(value)
        return value

    assert await add(db, 1) == 1
    with pytest.raises(ValueError, match="-1"):
        await add(database=db, value=-1)
    assert await db.fetch_all("SELECT a FROM t", into=int) == [1]


async def test_a_plain_function_is_in_a_transaction_too(db: Database) -> None:
    @transactional
    def add(database: Any, value: int) -> None:
        database.blocking.execute("INSERT INTO t VALUES ($1)", value)
        if value < 0:
            raise ValueError(value)

    await asyncio.to_thread(add, db, 1)
    with pytest.raises(ValueError, match="-1"):
        await asyncio.to_thread(add, db, -1)
    assert await db.fetch_all("SELECT a FROM t", into=int) == [1]


async def test_without_a_database_it_says_so() -> None:
    @transactional
    async def lost(value: int) -> None: ...

    with pytest.raises(ProgrammingError, match=r"lost was called without a request or a database"):
        await lost(1)


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_a_conflict_is_tried_again_as_often_as_said(db: Database, colour: str) -> None:
    runs: list[int] = []

    def work(database: Any, failures: int) -> int:
        runs.append(1)
        if len(runs) <= failures:
            raise TransactionConflict("two at once")
        return len(runs)

    if colour == "def":
        plain = transactional(attempts=3)(work)

        def call(failures: int) -> Any:
            return asyncio.to_thread(plain, db, failures)
    else:

        @transactional(attempts=3)
        async def call_async(database: Any, failures: int) -> int:
            return work(database, failures)

        def call(failures: int) -> Any:
            return call_async(db, failures)

    assert await call(2) == 3
    runs.clear()
    with pytest.raises(TransactionConflict):
        await call(3)
    assert len(runs) == 3


def test_attempts_are_at_least_one() -> None:
    with pytest.raises(ConfigError, match="attempts"):
        transactional(attempts=0)
