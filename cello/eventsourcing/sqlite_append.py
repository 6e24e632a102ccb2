"""An append on SQLite, whole on one thread: BEGIN to COMMIT without a switch of threads in between.

SQLite lets one write at a time, from BEGIN IMMEDIATE on. So the last position and the version of a stream are read off
the events themselves, by two indices; what was archived or deleted of them is remembered by a trigger
(`sql_tables.py`).

PERF: 31 → 23 µs for the statements of an append without the disk's sync, and three pages a commit instead of five,
against rows that are raised; bench/data/events.py.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from time import monotonic, perf_counter

from cello.database.sql.database import Database
from cello.database.sql.sqlite import SqliteDriver
from cello.database.sql.transaction import Transaction
from cello.eventsourcing.event import Record
from cello.eventsourcing.journal import Placed
from cello.eventsourcing.sql_texts import Texts

Wanted = tuple[Sequence[Record], int | None, int]
"""What a journal's `append` takes."""


class SqliteAppend:
    """Appends, for `async def`.

    Args:
        database: Where to.
        texts: The statements.
    """

    def __init__(self, database: Database, texts: Texts) -> None:
        self._database = database
        statements = database._core.statements
        self.insert = statements.get(texts.insert)
        self._last = statements.get(texts.last)
        self._lock = statements.get(texts.lock)

    async def run(self, *wanted: *Wanted) -> Placed | None:
        """Append in a transaction of its own; None where the stream has another version, or no room."""
        return await self._database._core.run(self._alone, self.insert, wanted)

    async def run_within(self, transaction: Transaction, *wanted: *Wanted) -> Placed | None:
        """Append within a transaction of the caller's."""
        return await transaction._run(self._within, self.insert, wanted)

    async def _alone(self, raw: sqlite3.Connection, _: str, wanted: Wanted) -> Placed | None:
        return await _driver(self._database).run(self.transact, raw, *wanted)

    async def _within(self, raw: sqlite3.Connection, _: str, wanted: Wanted) -> Placed | None:
        return await _driver(self._database).run(self._lock_and_append, raw, *wanted)

    def transact(self, raw: sqlite3.Connection, *wanted: *Wanted) -> Placed | None:
        """Append from BEGIN to COMMIT, on the calling thread."""
        try:
            raw.execute("BEGIN IMMEDIATE")
            placed = self._append(raw, *wanted)
            raw.execute("ROLLBACK" if placed is None else "COMMIT")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        return placed

    def _lock_and_append(self, raw: sqlite3.Connection, *wanted: *Wanted) -> Placed | None:
        raw.execute(self._lock.sql)  # a transaction that began for reading only has no lock yet
        return self._append(raw, *wanted)

    def _append(
        self, raw: sqlite3.Connection, records: Sequence[Record], expected: int | None, most: int
    ) -> Placed | None:
        aggregate_id, count = records[0].aggregate_id, len(records)
        position, version = raw.execute(self._last.sql, self._last.values((aggregate_id,), {})).fetchone()
        if expected not in (None, version) or 0 < most < version + count:
            return None
        rows = [
            (position + number, aggregate_id, version + number, *record[3:])
            for number, record in enumerate(records, start=1)
        ]
        if count == 1:
            raw.execute(self.insert.sql, rows[0])
        else:
            raw.executemany(self.insert.sql, rows)
        return Placed(version + count, position + count)


class SqliteWriter:
    """Appends for plain functions, on the thread that they are on: no event loop has a part in it.

    All threads of a process share one connection, in turn: SQLite lets only one write anyway.

    PERF: 74 → 28 µs an append without the disk's sync, against the loop of the blocking facade; bench/data/events.py.

    Args:
        database: Where to.
        append: What does it.
    """

    def __init__(self, database: Database, append: SqliteAppend) -> None:
        self._shared = database._shared
        self._append = append
        self._lifetime_s = database.config.max_lifetime_secs
        self._inherited: list[sqlite3.Connection | None] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._raw: sqlite3.Connection | None = None
        self._opened_s = self._failed_s = 0.0

    def append(self, *wanted: *Wanted) -> Placed | None:
        """Append in a transaction of its own; None where that was not to be, for whatever reason: nothing was done."""
        if self._pid != os.getpid():
            self._inherited.append(self._raw)  # the parent's: never used, and never closed
            self._begin()
        started_s = perf_counter()
        with self._lock:  # not by `acquire()`: an interrupt right after it would leave it locked
            if self._failed_s > started_s:  # who waited meanwhile need not wait for the same again
                return None
            try:
                placed = self._append.transact(self._connection(), *wanted)
            except sqlite3.Error:
                self._failed_s = perf_counter()
                self._disconnect()
                return None
        if placed is not None:
            self._shared.statistics.add(self._append.insert.text, perf_counter() - started_s)
        return placed

    def close(self) -> None:
        """Close the connection; a later append opens another."""
        if self._pid == os.getpid():
            with self._lock:
                self._disconnect()

    def _connection(self) -> sqlite3.Connection:
        if self._raw is not None and monotonic() - self._opened_s > self._lifetime_s:
            self._disconnect()
        if self._raw is None:
            driver = self._shared.make_driver()
            assert isinstance(driver, SqliteDriver), "only SQLite has such a writer"
            self._raw = driver.connect_now()
            self._opened_s = monotonic()
        return self._raw

    def _disconnect(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()


def _driver(database: Database) -> SqliteDriver:
    driver = database._core.driver
    assert isinstance(driver, SqliteDriver), "only SQLite appends on a thread"
    return driver
