"""The journal in a database: SQLite, PostgreSQL, MySQL and MariaDB.

The choice. Numbers that a database gives out by itself (sequences, AUTO_INCREMENT) become visible in another order than
they were given out, and leave gaps: who reads "all after 7" may see 9 before 8 is committed, and never see 8. So the
last position is a row of its own. An append raises it in its own transaction and thereby holds its lock until it has
committed: positions are in the order of commits, and one that is rolled back is given to the next.

The cost. Appends to one store commit one after the other: as many a second as the server can commit. Readers wait for
nobody. Appends of one event loop take turns before they take a connection. On PostgreSQL an append is one statement, so
no trip to the server happens under the lock; on MySQL two do. Who appends within a transaction of his own keeps all
others waiting until its end.

The row of the aggregate in `event_streams` is locked before that, always in this order, so that two appends cannot wait
for each other; its version is what `expected` is compared with. UNIQUE (aggregate_id, version) would refuse a second
winner even so.

SQLite lets only one write at a time and needs no rows to lock: there the last position, and the version of a stream,
are the highest there are (`sqlite_append.py`).

An append whose connection broke is tried again: its events have ids, so that it happens once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from cello.database.errors import ConnectionLost, TransactionConflict, UniqueViolation
from cello.database.lease import Leases
from cello.database.sql.database import Database
from cello.database.sql.transaction import current
from cello.database.tables import make_tables
from cello.eventsourcing.errors import EventsMissing
from cello.eventsourcing.event import Record
from cello.eventsourcing.journal import PAGE, Checkpoint, Conflict, Kept, Placed
from cello.eventsourcing.sql_texts import Texts
from cello.eventsourcing.sqlite_append import SqliteAppend, SqliteWriter, Wanted
from cello.eventsourcing.sqlite_line import SqliteLine

T = TypeVar("T")

ATTEMPTS = 8
FIRST_PAUSE_S = 0.01


class SqlJournal:
    """A journal (`journal.Journal`).

    Args:
        database: Where the tables are.
        prefix: What their names begin with.
        owns_database: Whether to close it in the end.
        writer: The one of its twin; only SQLite has one.

    Attributes:
        kind: "sqlite", "postgresql" or "mysql".
        leases: Of all processes that use the database.
        writer: What appends to SQLite, for plain functions too.
    """

    def __init__(
        self, database: Database, prefix: str, *, owns_database: bool, writer: SqliteWriter | None = None
    ) -> None:
        self.database = database
        self.kind: str = database._shared.address.kind
        self.leases = Leases(database, prefix)
        self._prefix = prefix
        self._texts = Texts(self.kind, prefix)
        self.owns_database = owns_database
        self.writer = writer
        self._line: SqliteLine | None = None
        self._turn: tuple[asyncio.AbstractEventLoop | None, asyncio.Lock] = (None, asyncio.Lock())
        if self.kind == "sqlite":
            append = SqliteAppend(database._core.statements, self._texts)
            self.writer = SqliteWriter(database, append) if writer is None else writer
            self._line = SqliteLine(database, append, self.writer)

    def twin(self, database: Database) -> "SqlJournal":
        """Return this journal on another pool of the same database."""
        return SqlJournal(database, self._prefix, owns_database=False, writer=self.writer)

    async def open(self) -> None:
        """Connect, and make the tables."""
        await self.database._core.open()
        await make_tables(self.database, self._texts.tables)
        await self.leases.prepare()

    async def close(self) -> None:
        """Close the database, if it is the store's own."""
        if self.writer is not None:
            self.writer.close()
        if self.owns_database:
            await self.database.disconnect()

    # Appending

    async def append(self, records: Sequence[Record], expected: int | None, most: int) -> Placed:
        """In one transaction; again after a deadlock or a lost connection, but within a transaction of the caller's."""
        if self._line is not None:
            return await self._on_sqlite(self._line, Wanted(records, expected, most))
        insert = self._by_statement if self.kind == "postgresql" else self._by_transaction
        if current(self.database._core) is not None:
            async with self.database.transaction():  # a savepoint, so that a conflict leaves the rest as it is
                return await self._or_conflict(insert(records, expected, most))
        async with self._in_turn():
            return await self._again(lambda: self._or_conflict(insert(records, expected, most)))

    def _in_turn(self) -> asyncio.Lock:
        """Return what the loop's appends wait for.

        PERF: they would wait for each other's row anyway, and there it costs connections and the server's waking of all
        that wait: 1,650 → 2,300 appends a second of 16 callers on PostgreSQL; bench/data/events.py.
        """
        loop = asyncio.get_running_loop()
        if self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        return self._turn[1]

    async def _on_sqlite(self, line: SqliteLine, wanted: Wanted) -> Placed:
        placed: Placed | None
        if current(self.database._core) is None:
            placed = await self._again(lambda: line.append(wanted))
        else:
            async with self.database.transaction() as transaction:
                placed = await self._or_conflict(line.append_within(transaction, wanted))
        if placed is None:
            raise Conflict
        return placed

    async def _or_conflict(self, appended: Awaitable[T]) -> T:
        try:
            return await appended
        except UniqueViolation as error:
            raise Conflict from error

    async def _by_statement(self, records: Sequence[Record], expected: int | None, most: int) -> Placed:
        columns = [list(column) for column in zip(*(record[3:] for record in records), strict=True)]
        bound = most - len(records) if most else None
        row = await self.database.fetch_one(
            self._texts.append, records[0].aggregate_id, len(records), expected, bound, *columns
        )
        if row is None:
            raise Conflict
        return Placed(row["version"], row["position"])

    async def _by_transaction(self, records: Sequence[Record], expected: int | None, most: int) -> Placed:
        texts, count = self._texts, len(records)
        aggregate_id = records[0].aggregate_id
        isolation = None if current(self.database._core) else "read committed"
        async with self.database.transaction(isolation) as tx:
            if expected:
                version = expected + count
                if not await tx.execute(texts.raise_stream, aggregate_id, count, expected):
                    raise Conflict
            else:
                start = texts.begin_stream if expected == 0 else texts.raise_or_begin_stream
                await tx.execute(start, aggregate_id, count)
                version = await tx.fetch_val(texts.version, aggregate_id)
            if 0 < most < version:
                raise Conflict
            await tx.execute(texts.raise_head, count)
            position = await tx.fetch_val(texts.head)
            rows = [
                (position - count + number, aggregate_id, version - count + number, *record[3:])
                for number, record in enumerate(records, start=1)
            ]
            if count == 1:
                await tx.execute(texts.insert, *rows[0])
            else:
                await tx.execute_many(texts.insert, rows)
        return Placed(version, position)

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        pause_s = FIRST_PAUSE_S
        for _ in range(ATTEMPTS - 1):
            try:
                return await work()
            except (TransactionConflict, ConnectionLost):
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))
                pause_s *= 2
        return await work()

    async def places(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Ask for them, those in the archive too."""
        found: dict[str, tuple[str, int]] = {}
        for each in ids:
            for row in await self.database.fetch_all(self._texts.place, each):
                found[each] = (row["aggregate_id"], row["version"])
        return found

    # Reading

    async def version(self, aggregate_id: str) -> int:
        """Ask for it."""
        return await self.database.fetch_val(self._texts.version, aggregate_id) or 0

    async def stream(self, aggregate_id: str, since: int, most: int = PAGE) -> list[Record]:
        """Read on from `since`; what is missing at the beginning was archived."""
        records, is_last = await self._stream(aggregate_id, since, most)
        if not is_last and len(records) < most:  # the archive ends there
            records += await self.stream(aggregate_id, records[-1].version, most - len(records))
        return records

    async def _stream(self, aggregate_id: str, since: int, most: int) -> tuple[list[Record], bool]:
        """Return records of one table, and whether it is the one of the newest."""
        for _ in range(2):  # what was committed, or archived, between two statements is seen the second time
            for text in (self._texts.stream, self._texts.stream_archive):
                records = await self._records(text, aggregate_id, since, most)
                if records and records[0].version == since + 1:
                    return records, text == self._texts.stream
                if not records and await self.version(aggregate_id) <= since:
                    return [], True
        raise EventsMissing(f"version {since + 1} of {aggregate_id!r:.80} is gone, from the store and its archive")

    async def load(self, aggregate_id: str) -> tuple[Kept | None, list[Record]]:
        """Read both in one statement."""
        rows = await self.database.fetch_all(self._texts.load, aggregate_id)
        kept = None
        if rows and rows[0]["position"] == 0:
            first = rows.pop(0)
            kept = Kept(first["version"], first["schema_version"], first["data"], first["created_ms"])
        records = [Record(**row) for row in rows]
        since = 0 if kept is None else kept.version
        if not records or records[0].version != since + 1:  # there are none, or they were archived
            records = await self.stream(aggregate_id, since)
        return kept, records

    async def feed(self, after: int, most: int = PAGE) -> list[Record]:
        """Read on from `after`; what is missing at the beginning was archived."""
        for _ in range(2):
            for text in (self._texts.feed, self._texts.feed_archive):
                records = await self._records(text, after, most)
                if records and records[0].position == after + 1:
                    return records
                if not records and await self.head() <= after:
                    return []
        raise EventsMissing(f"the event at position {after + 1} is gone, from the store and its archive")

    async def head(self) -> int:
        """Read the row."""
        return int(await self.database.fetch_val(self._texts.head))

    async def _records(self, text: str, *values: Any) -> list[Record]:
        return [Record(**row) for row in await self.database.fetch_all(text, *values)]

    # Snapshots

    async def save_snapshot(self, aggregate_id: str, kept: Kept) -> None:
        """Insert or replace."""
        await self._again(lambda: self.database.execute(self._texts.save_snapshot, aggregate_id, *kept))

    async def get_snapshot(self, aggregate_id: str) -> Kept | None:
        """Read the row."""
        row = await self.database.fetch_one(self._texts.get_snapshot, aggregate_id)
        return None if row is None else Kept(**row)

    # The archive

    async def archive(self, before_ms: int, most: int) -> int:
        """Copy and delete in one transaction; the archive is always the beginning of the feed."""
        texts = self._texts
        first = await self.database.fetch_val(texts.first)
        if first is None:
            return 0
        young = await self.database.fetch_val(texts.first_young, before_ms)
        end = min(first + most, young if young is not None else await self.head() + 1)
        if end <= first:
            return 0

        async def move() -> int:
            async with self.database.transaction() as tx:
                await tx.execute(texts.copy_to_archive, end)
                return int(await tx.execute(texts.delete_archived, end))

        return await self._again(move)

    async def archived(self) -> int:
        """Ask for the last one."""
        return await self.database.fetch_val(self._texts.last_archived) or 0

    # Checkpoints

    async def checkpoint(self, name: str) -> Checkpoint:
        """Read the row, or make it."""
        row = await self.database.fetch_one(self._texts.checkpoint, name)
        if row is None:
            await self.database.execute(self._texts.begin_checkpoint, name)
            row = await self.database.fetch_one(self._texts.checkpoint, name)
        assert row is not None, "the row was just made"  # rows are never deleted
        return Checkpoint(**{**row, "is_fresh": bool(row["is_fresh"])})

    async def advance(self, name: str, epoch: int, known: Checkpoint, fault: str | None = None) -> bool:
        """Update the row, if it is still ours."""
        values = (known.position, int(known.is_fresh), fault, name, epoch, known.generation)
        return bool(await self.database.execute(self._texts.advance, *values))

    async def take(self, name: str, epoch: int) -> bool:
        """Update the row."""
        await self.checkpoint(name)
        return bool(await self.database.execute(self._texts.take, name, epoch))

    async def rewind(self, name: str) -> None:
        """Update the row."""
        await self.checkpoint(name)
        await self.database.execute(self._texts.rewind, name)
