"""The methods of Database and Transaction, on every kind of database."""

import asyncio
import contextlib
import dataclasses
import enum
import resource
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cello.database import (
    CheckViolation,
    Database,
    DatabaseConfig,
    DataError,
    ForeignKeyViolation,
    IntegrityError,
    NotNullViolation,
    OperationalError,
    PoolTimeout,
    ProgrammingError,
    UniqueViolation,
)

POOL = 4


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    async with await Database.connect(DatabaseConfig(url, pool_size=POOL)) as database:
        yield database


@pytest.fixture
async def people(db: Database, table: str) -> AsyncIterator[str]:
    await db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE, age INTEGER)")
    await db.execute_many(f"INSERT INTO {table} VALUES ($1, $2, $3)", [(1, "Ada", 36), (2, "Bob", None), (3, "Cy", 7)])
    yield table
    await db.execute(f"DROP TABLE {table}")


@dataclasses.dataclass
class Person:
    id: int
    name: str
    age: int | None = None


async def test_rows_are_dicts_and_execute_counts(db: Database, people: str) -> None:
    assert await db.fetch_all(f"SELECT id, name FROM {people} WHERE id < :most ORDER BY id", most=3) == [
        {"id": 1, "name": "Ada"},
        {"id": 2, "name": "Bob"},
    ]
    assert await db.fetch_one(f"SELECT age FROM {people} WHERE id = $1", 2) == {"age": None}
    assert await db.fetch_one(f"SELECT age FROM {people} WHERE id = $1", 9) is None
    assert await db.fetch_val(f"SELECT count(*) FROM {people}") == 3
    assert await db.fetch_val(f"SELECT id FROM {people} WHERE id = 9") is None
    assert await db.execute(f"UPDATE {people} SET age = :age WHERE id > :id", age=5, id=1) == 2
    assert await db.execute(f"DELETE FROM {people}") == 3
    assert await db.execute_many(f"INSERT INTO {people} (id, name) VALUES (:id, :name)", []) == 0


async def test_the_other_names_of_the_methods_do_the_same(db: Database, people: str) -> None:
    assert len(await db.fetch(f"SELECT * FROM {people}")) == 3
    assert await db.fetchrow(f"SELECT id FROM {people} WHERE name = $1", "Ada") == {"id": 1}
    assert await db.fetchval(f"SELECT id FROM {people} WHERE name = $1", "Ada") == 1
    async with db.begin() as tx:
        assert await tx.fetchval("SELECT 1") == 1


async def test_rows_become_objects(db: Database, people: str) -> None:
    found = await db.fetch_all(f"SELECT * FROM {people} ORDER BY id", into=Person)
    assert found[:2] == [Person(1, "Ada", 36), Person(2, "Bob", None)]
    assert await db.fetch_one(f"SELECT id, name FROM {people} WHERE id = 3", into=Person) == Person(3, "Cy")
    assert await db.fetch_all(f"SELECT name FROM {people} ORDER BY id", into=str) == ["Ada", "Bob", "Cy"]
    assert [person async for person in db.iterate(f"SELECT * FROM {people} ORDER BY id", into=Person)] == found
    with pytest.raises(DataError, match=r"Person\.name has no column"):
        await db.fetch_one(f"SELECT id FROM {people}", into=Person)


async def test_execute_many_is_all_or_nothing(db: Database, people: str) -> None:
    with pytest.raises(UniqueViolation):
        await db.execute_many(
            f"INSERT INTO {people} VALUES (:id, :name, NULL)", [{"id": 7, "name": "x"}, {"id": 8, "name": "Ada"}]
        )
    assert await db.fetch_val(f"SELECT count(*) FROM {people}") == 3


async def test_errors_have_one_name_whatever_the_driver(db: Database, people: str, kind: str) -> None:
    child = f"{people}_c"
    await db.execute(
        f"CREATE TABLE {child} (id INTEGER PRIMARY KEY CHECK (id > 0), parent INTEGER NOT NULL, "
        f"FOREIGN KEY (parent) REFERENCES {people} (id))"
    )
    try:
        cases: list[tuple[type[Exception], str]] = [
            (UniqueViolation, f"INSERT INTO {people} VALUES (1, 'x', NULL)"),
            (UniqueViolation, f"INSERT INTO {people} VALUES (9, 'Ada', NULL)"),
            (NotNullViolation, f"INSERT INTO {people} VALUES (9, NULL, NULL)"),
            (ForeignKeyViolation, f"INSERT INTO {child} VALUES (1, 99)"),
            (CheckViolation, f"INSERT INTO {child} VALUES (-1, 1)"),
            (ProgrammingError, "SELECT * FROM there_is_no_such_table"),
            (ProgrammingError, "SELEKT 1"),
        ]
        for error, sql in cases:
            with pytest.raises(error) as caught:
                await db.execute(sql)
            assert caught.value.statement == sql  # type: ignore[attr-defined]
            assert caught.value.code is not None  # type: ignore[attr-defined]
            assert caught.value.__cause__ is not None
        assert issubclass(UniqueViolation, IntegrityError)
    finally:
        await db.execute(f"DROP TABLE {child}")
    assert db.stats()["pool"]["in_use"] == 0


# Transactions


async def count(db: Any, people: str) -> Any:
    return await db.fetch_val(f"SELECT count(*) FROM {people}")


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_errors(db: Database, people: str) -> None:
    async with db.transaction() as tx:
        await tx.execute(f"DELETE FROM {people} WHERE id = 1")
        await db.execute(f"DELETE FROM {people} WHERE id = 2")  # the database's own methods take part
    assert await count(db, people) == 1
    with pytest.raises(RuntimeError, match="no"):  # noqa: PT012
        async with db.transaction():
            await db.execute(f"DELETE FROM {people}")
            raise RuntimeError("no")
    assert await count(db, people) == 1
    assert db.stats()["pool"]["in_use"] == 0


async def test_others_do_not_see_a_transaction_before_it_commits(db: Database, people: str) -> None:
    async with await Database.connect(db.config) as other, db.transaction():
        await db.execute(f"UPDATE {people} SET age = 99 WHERE id = 1")
        assert await other.fetch_val(f"SELECT age FROM {people} WHERE id = 1") == 36
    assert await db.fetch_val(f"SELECT age FROM {people} WHERE id = 1") == 99


async def test_a_nested_transaction_is_a_savepoint(db: Database, people: str) -> None:
    async with db.transaction() as outer:
        await db.execute(f"DELETE FROM {people} WHERE id = 1")
        with pytest.raises(UniqueViolation):  # noqa: PT012
            async with db.transaction():
                await db.execute(f"DELETE FROM {people} WHERE id = 2")
                await db.execute(f"INSERT INTO {people} VALUES (3, 'again', NULL)")
        async with outer.transaction() as inner:
            await inner.execute(f"INSERT INTO {people} VALUES (4, 'Dee', NULL)")
            async with inner.transaction():
                await db.execute(f"INSERT INTO {people} VALUES (5, 'Eve', NULL)")
    assert await db.fetch_all(f"SELECT id FROM {people} ORDER BY id", into=int) == [2, 3, 4, 5]


async def test_a_transaction_can_be_ended_by_hand(db: Database, people: str) -> None:
    tx = await db.begin()
    await tx.execute(f"DELETE FROM {people}")
    await tx.rollback()
    assert await count(db, people) == 3
    tx = await db.begin()
    await tx.execute(f"DELETE FROM {people} WHERE id = 1")
    await tx.commit()
    assert await count(db, people) == 2
    for use in (tx.commit, tx.rollback):
        with pytest.raises(ProgrammingError, match="has ended"):
            await use()
    with pytest.raises(ProgrammingError, match="has ended"):
        await tx.execute("SELECT 1")
    async with db.transaction() as tx:
        await tx.rollback()
    assert db.stats()["pool"]["in_use"] == 0


async def test_tasks_of_a_transaction_share_its_connection_in_turn(db: Database, people: str) -> None:
    async with db.transaction():
        found = await asyncio.gather(*(db.fetch_val("SELECT :n + 0", n=number, into=int) for number in range(20)))
    assert found == list(range(20))


async def test_isolation_levels_are_the_databases_own(db: Database, kind: str) -> None:
    asked = {
        "postgresql": "SELECT current_setting('transaction_isolation')",
    }
    for level in ("read committed", "repeatable read", "SERIALIZABLE", "read_uncommitted"):
        async with db.transaction(isolation=level) as tx:
            if kind == "postgresql":
                assert await tx.fetch_val(asked[kind]) == level.lower().replace("_", " ")
            else:
                assert await tx.fetch_val("SELECT 1") == 1
    with pytest.raises(ProgrammingError, match="isolation must be one of"):
        db.transaction(isolation="perfect")
    async with db.transaction():
        with pytest.raises(ProgrammingError, match="savepoint"):
            db.transaction(isolation="serializable")


async def test_a_read_only_transaction_refuses_writes(db: Database, people: str, kind: str) -> None:
    async with db.transaction(read_only=True) as tx:
        assert await count(tx, people) == 3
        if kind != "sqlite":
            with pytest.raises(ProgrammingError):
                await tx.execute(f"DELETE FROM {people}")


@pytest.mark.parametrize("kind", ["postgresql"])  # the others let one wait for the other
async def test_serializable_transactions_that_conflict_are_told_apart(db: Database, people: str, kind: str) -> None:
    from cello.database import TransactionConflict

    sql = f"UPDATE {people} SET age = (SELECT sum(id) FROM {people}) WHERE id = $1"
    first, second = await db.begin("serializable"), await db.begin("serializable")
    await first.execute(sql, 1)
    await second.execute(sql, 2)
    await first.commit()
    with pytest.raises(TransactionConflict):
        await second.commit()
    assert db.stats()["pool"]["in_use"] == 0


# Values


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float


@dataclasses.dataclass
class Everything:
    whole: int
    real: float
    price: Decimal
    yes: bool
    words: str
    raw: bytes
    day: date
    moment: datetime
    token: UUID
    place: Point
    tags: list[str]
    colour: Colour
    nix: str | None
    left_out: str = "default"


TYPES = {
    "sqlite": "whole INTEGER, real REAL, price TEXT, yes INTEGER, words TEXT, raw BLOB, day TEXT, moment TEXT, "
    "token TEXT, place TEXT, tags TEXT, colour TEXT, nix TEXT",
    "postgresql": "whole BIGINT, real FLOAT8, price NUMERIC(20,4), yes BOOLEAN, words TEXT, raw BYTEA, day DATE, "
    "moment TIMESTAMPTZ, token UUID, place JSONB, tags TEXT[], colour TEXT, nix TEXT",
    "mysql": "whole BIGINT, `real` DOUBLE, price DECIMAL(20,4), yes BOOLEAN, words TEXT, raw BLOB, day DATE, "
    "moment DATETIME(6), token CHAR(36), place JSON, tags JSON, colour TEXT, nix TEXT",
}


async def test_values_come_back_as_they_were(db: Database, table: str, kind: str) -> None:
    zone = timezone(timedelta(hours=2))
    values: dict[str, Any] = {
        "whole": 2**53 + 1, "real": 0.1, "price": Decimal("1234567890.1234"), "yes": True, "words": "ünï ✓ 'q' %s :x",
        "raw": b"\x00\xff'", "day": date(2026, 2, 28), "moment": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=zone),
        "token": UUID(int=2**100), "place": {"x": 1, "y": 2.5}, "tags": ["a", "b'"],
        "colour": "red", "nix": None,
    }  # fmt: skip
    await db.execute(f"CREATE TABLE {table} ({TYPES[kind]})")
    try:
        await db.execute(f"INSERT INTO {table} VALUES ({', '.join(f':{name}' for name in values)})", **values)
        found = await db.fetch_one(f"SELECT * FROM {table}", into=Everything)
        assert found is not None
        assert found.moment.replace(tzinfo=found.moment.tzinfo or UTC) == values["moment"]
        if kind != "mysql":
            assert found.moment.tzinfo is not None
        expected = {
            **values,
            "place": Point(1, 2.5),
            "colour": Colour.RED,
            "left_out": "default",
            "moment": found.moment,
        }
        assert {field.name: getattr(found, field.name) for field in dataclasses.fields(found)} == expected
        plain = await db.fetch_one(f"SELECT raw, whole, nix FROM {table}")
        assert plain == {"raw": b"\x00\xff'", "whole": 2**53 + 1, "nix": None}
        if kind == "postgresql":
            row = await db.fetch_one(f"SELECT place, tags, price, moment FROM {table}")
            assert row == {name: values[name] for name in ("place", "tags", "price", "moment")}
    finally:
        await db.execute(f"DROP TABLE {table}")


async def test_what_does_not_fit_a_model_names_the_column(db: Database) -> None:
    @dataclasses.dataclass
    class Odd:
        a: int

    for sql, words in (("SELECT 'x' AS a", "Odd.a cannot be 'x'"), ("SELECT NULL AS a", "the column is NULL")):
        with pytest.raises(DataError, match=words):
            await db.fetch_one(sql, into=Odd)


async def test_structs_and_pydantic_models_are_made_of_rows(db: Database, people: str) -> None:
    msgspec = pytest.importorskip("msgspec")
    pydantic = pytest.importorskip("pydantic")
    struct = msgspec.defstruct("PersonStruct", [("id", int), ("name", str), ("age", int | None, None)])
    model = pydantic.create_model("PersonModel", id=(int, ...), name=(str, ...), age=(int | None, None))
    for into in (struct, model):
        assert await db.fetch_one(f"SELECT * FROM {people} WHERE id = 1", into=into) == into(id=1, name="Ada", age=36)


# Streams


SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
NUMBERS = {
    "sqlite": f"{SERIES} SELECT i, 'a little text' AS t FROM n",
    "postgresql": "SELECT i, 'a little text' AS t FROM generate_series(1, :most) AS i",
    "mysql": "SELECT seq AS i, 'a little text' AS t FROM seq_1_to_1000000 WHERE seq <= :most",
}


@pytest.mark.timeout(120)
async def test_a_million_rows_are_read_in_bounded_memory(db: Database, kind: str) -> None:
    seen = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async for row in db.iterate(NUMBERS[kind], most=1_000_000, batch=10_000):
        seen += 1
        last = row["i"]
    assert (seen, last) == (1_000_000, 1_000_000)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 64  # a million dicts take 250
    assert db.stats()["pool"]["in_use"] == 0


async def test_an_iterator_left_early_gives_its_connection_back(db: Database, kind: str) -> None:
    for _ in range(POOL * 2):
        rows = db.iterate(NUMBERS[kind], most=5_000, batch=10)
        assert (await anext(rows))["i"] == 1
        await rows.aclose()
    assert db.stats()["pool"]["in_use"] == 0
    assert await db.fetch_val("SELECT 1") == 1


async def test_a_transaction_iterates_too(db: Database, people: str, kind: str) -> None:
    async with db.transaction() as tx:
        found = []
        async for row in tx.iterate(f"SELECT id FROM {people} ORDER BY id", batch=1):
            found.append(row["id"])
            if kind == "mysql":
                with pytest.raises(ProgrammingError, match="iterate"):
                    await tx.execute("SELECT 1")
            else:
                await tx.execute(f"UPDATE {people} SET age = 1 WHERE id = $1", row["id"])
    assert found == [1, 2, 3]


# The pool


async def slow(db: Any, kind: str, seconds: float = 30.0) -> Any:
    """Keep a connection busy."""
    if kind == "sqlite":
        return await db.fetch_val(f"{SERIES} SELECT max(i) FROM n", most=int(seconds * 10_000_000))
    return await db.fetch_val(f"SELECT {'pg_sleep' if kind == 'postgresql' else 'sleep'}({seconds})")


async def free(db: Database) -> None:
    """Wait until no connection is in use."""
    while db.stats()["pool"]["in_use"]:
        await asyncio.sleep(0.01)


async def test_a_cancelled_statement_gives_its_connection_back(db: Database, kind: str) -> None:
    for _ in range(3):
        tasks = [asyncio.create_task(slow(db, kind)) for _ in range(POOL)]
        while db.stats()["pool"]["in_use"] < POOL:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        assert {type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)} == {asyncio.CancelledError}
        await free(db)
    assert await db.fetch_val("SELECT 1") == 1


async def test_a_statement_cancelled_in_a_transaction_spoils_it(db: Database, people: str, kind: str) -> None:
    with pytest.raises(OperationalError, match="cannot go on"):  # noqa: PT012
        async with db.transaction() as tx:
            await tx.execute(f"DELETE FROM {people}")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await slow(tx, kind)
            await tx.execute("SELECT 1")
    await free(db)
    with pytest.raises(OperationalError, match="rolled back"):  # noqa: PT012
        async with db.transaction() as tx:
            await tx.execute(f"DELETE FROM {people}")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await slow(tx, kind)
    await free(db)
    assert await count(db, people) == 3


async def test_an_exhausted_pool_is_a_clear_error(url: str) -> None:
    config = DatabaseConfig(url, pool_size=2, connection_timeout_secs=0.2)
    async with await Database.connect(config) as db, db.raw(), db.raw():
        with pytest.raises(PoolTimeout, match=r"within 0\.2 s: all 2 of the pool are in use.*pool_size"):
            await db.fetch_val("SELECT 1")
        assert PoolTimeout("x").status == 503


async def test_two_hundred_statements_wait_for_a_pool_of_five(url: str) -> None:
    async with await Database.connect(DatabaseConfig(url, pool_size=5)) as db:
        assert await asyncio.gather(*(db.fetch_val("SELECT 1") for _ in range(200))) == [1] * 200
        stats = db.stats()["pool"]
        assert stats["opened"] <= 5
        assert (stats["in_use"], stats["waiting"]) == (0, 0)


async def test_raw_lends_the_drivers_own_connection(db: Database, kind: str) -> None:
    async with db.raw() as connection:
        if kind == "sqlite":
            assert connection.execute("SELECT 1").fetchone() == (1,)
        elif kind == "postgresql":
            assert await connection.fetchval("SELECT 1") == 1
        else:
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
                assert await cursor.fetchone() == (1,)
    assert db.stats()["pool"]["in_use"] == 0


async def test_a_connection_that_answers_is_kept(db: Database) -> None:
    for _ in range(3):
        await db.ping()
        async with db.raw() as connection:
            await db._core.driver.ping(connection)
    opened = db.stats()["pool"]["opened"]
    with pytest.raises(RuntimeError):
        async with db.raw():
            raise RuntimeError
    await free(db)
    assert await db.fetch_val("SELECT 1") == 1
    assert opened == 1


async def test_statistics_know_every_statement(db: Database, people: str, caplog: pytest.LogCaptureFixture) -> None:
    events: list[Any] = []
    db.add_listener(events.append)
    for _ in range(5):
        await db.fetch_val("SELECT 4711")
    with pytest.raises(ProgrammingError):
        await db.execute("SELECT nothing_here")
    stats = db.stats()
    found = stats["statements"]["SELECT 4711"]
    assert (found["count"], found["errors"]) == (5, 0)
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= found["max_ms"] <= found["total_ms"]
    assert stats["statements"]["SELECT nothing_here"]["errors"] == 1
    assert stats["errors"] == 1
    assert [event.statement for event in events] == ["SELECT 4711"] * 5 + ["SELECT nothing_here"]
    assert isinstance(events[-1].error, ProgrammingError)


async def test_a_slow_statement_is_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with await Database.connect(DatabaseConfig(url, slow_query_ms=0)) as db:
        await db.fetch_val("SELECT 12345")
    assert any("slow query" in record.message and "SELECT 12345" in record.message for record in caplog.records)


async def test_a_database_of_another_loop_says_so(db: Database) -> None:
    def elsewhere() -> None:
        async def ask() -> None:
            with pytest.raises(Exception, match="another event loop"):
                await db.fetch_val("SELECT 1")

        asyncio.run(ask())

    await asyncio.to_thread(elsewhere)


async def test_a_database_that_cannot_be_reached_says_so(kind: str, tmp_path: Any) -> None:
    from tests.integration.hosts import free_port

    url = f"sqlite:///{tmp_path}/none/x.db" if kind == "sqlite" else f"{kind}://root@127.0.0.1:{free_port()}/test"
    with pytest.raises(OperationalError):
        await Database.connect(url)


async def test_what_one_plain_thread_asks_is_done_on_it_in_sqlite(tmp_path: Path) -> None:
    def ask(database: Any) -> bool:
        def find() -> bool:
            return bool(database.fetch_val("SELECT thread()") == threading.get_ident())

        async def teach(raw: Any) -> None:
            raw.create_function("thread", 0, threading.get_ident)

        database.raw(teach)
        deadline_s = time.monotonic() + 30
        while not find():  # the facade's own thread has the loop until the first calls are answered
            assert time.monotonic() < deadline_s
        with database.transaction():
            return find()

    async with await Database.connect(DatabaseConfig(f"sqlite:///{tmp_path}/one.db", pool_size=1)) as database:
        assert await asyncio.to_thread(ask, database.blocking)


async def test_a_new_file_may_be_written_by_others_while_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")  # SQLite says "locked" at once to who would make it a WAL file now
        leaving = threading.Timer(0.1, other.execute, ["COMMIT"])
        leaving.start()
        async with await Database.connect(f"sqlite:///{path}") as database:
            assert await database.fetch_val("PRAGMA journal_mode") == "wal"
        leaving.join()
