"""An append on SQLite, whole on one thread: BEGIN to COMMIT without a switch of threads in between.

SQLite lets one write at a time, from BEGIN IMMEDIATE on. So the last position and the version of a stream are read off
the events themselves, by two indices; what was archived or deleted of them is remembered by a trigger
(`sql_tables.py`).

PERF: 31 → 23 µs for the statements of an append without the disk's sync, and three pages a commit instead of five,
against rows that are raised; bench/data/events.py.
"""

import copy
import os
import sqlite3
import threading
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import NamedTuple

from cello.database.sql.database import Database
from cello.database.sql.sqlite import SqliteDriver
from cello.database.sql.statements import Statements
from cello.eventsourcing.event import Record
from cello.eventsourcing.journal import Placed
from cello.eventsourcing.sql_texts import Texts


class Wanted(NamedTuple):
    """What a journal's `append` takes."""

    records: Sequence[Record]
    expected: int | None
    most: int


CLOSE_S = 5.0
"""How long the end of a store waits for an append that is under way."""
Outcome = Placed | sqlite3.IntegrityError | None
"""None: the stream has another version, or no room."""


class SqliteAppend:
    """The statements of an append, on the thread that calls.

    Args:
        statements: Of the database.
        texts: Those of the store.

    Attributes:
        insert: The statement that stands for all of them in statistics.
    """

    def __init__(self, statements: Statements, texts: Texts) -> None:
        self.insert = statements.get(texts.insert)
        self._last = statements.get(texts.last)
        self._lock = statements.get(texts.lock)

    def transact(self, raw: sqlite3.Connection, batch: Sequence[Wanted]) -> list[Outcome]:
        """Append from BEGIN to COMMIT, each of the batch whole or not at all, whatever becomes of the others.

        Raises:
            sqlite3.Error: Nothing was appended at all.
        """
        try:
            raw.execute("BEGIN IMMEDIATE")
            outcomes = [self._try(raw, wanted) for wanted in batch]
            raw.execute("COMMIT" if any(type(outcome) is Placed for outcome in outcomes) else "ROLLBACK")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
        return outcomes

    def append_within(self, raw: sqlite3.Connection, wanted: Wanted) -> Placed | None:
        """Append in a transaction of the caller's, which is to be rolled back to where it was if this raises."""
        raw.execute(self._lock.sql)  # one that began for reading only has no lock yet
        return self._append(raw, wanted)

    def _try(self, raw: sqlite3.Connection, wanted: Wanted) -> Outcome:
        are_several = len(wanted.records) > 1  # one is undone by SQLite itself
        if are_several:
            raw.execute("SAVEPOINT append")
        outcome: Outcome
        try:
            outcome = self._append(raw, wanted)
        except sqlite3.IntegrityError as error:
            if not raw.in_transaction:  # a trigger of somebody else's has ended it
                raise
            if are_several:
                raw.execute("ROLLBACK TO append")
            outcome = error
        if are_several:
            raw.execute("RELEASE append")
        return outcome

    def _append(self, raw: sqlite3.Connection, wanted: Wanted) -> Placed | None:
        records, expected, most = wanted
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
    """Appends on whatever thread calls: plain functions on their own, coroutines on one of the driver's.

    All threads of a process share one connection, in turn: SQLite lets only one write anyway.

    PERF: 74 → 28 µs an append of a plain function without the disk's sync, against the loop of the blocking facade;
    bench/data/events.py.

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
        self._failure = sqlite3.Error()

    def append(self, records: Sequence[Record], expected: int | None, most: int) -> Placed | None:
        """Append in a transaction of its own; None where that was not to be, for whatever reason: nothing was done."""
        started_s = perf_counter()
        try:
            (outcome,) = self.transact((Wanted(records, expected, most),))
        except sqlite3.Error:
            return None
        if not isinstance(outcome, Placed):
            return None
        self._shared.statistics.add(self._append.insert.text, perf_counter() - started_s)
        return outcome

    def transact(self, batch: Sequence[Wanted]) -> list[Outcome]:
        """Append a batch.

        Raises:
            sqlite3.Error: Nothing was appended at all.
        """
        if self._pid != os.getpid():
            self._inherited.append(self._raw)  # the parent's: never used, and never closed
            self._begin()
        started_s = perf_counter()
        with self._lock:  # not by `acquire()`: an interrupt right after it would leave it locked
            if self._failed_s > started_s:  # who waited meanwhile need not wait for the same again
                raise copy.copy(self._failure)
            try:
                return self._append.transact(self._connection(), batch)
            except sqlite3.Error as error:
                self._failed_s, self._failure = perf_counter(), copy.copy(error)
                self._disconnect()
                raise

    def close(self) -> None:
        """Close the connection, unless an append holds it for too long; a later one opens another."""
        if self._pid == os.getpid() and self._lock.acquire(timeout=CLOSE_S):
            try:
                self._disconnect()
            finally:
                self._lock.release()

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
