"""SQLite, by the standard library, on worker threads of its own: no driver to install.

Every connection has WAL, foreign keys and a busy timeout, and writes take their lock at `BEGIN`: two transactions that
both read and then write wait for each other instead of failing. SQLite knows integers, floats, text and bytes; other
values are written as text (ISO 8601, Decimal and UUID as they print, dicts and lists as JSON), and `into=` reads them.
"""

import itertools
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import UUID

from cello.database.errors import (
    CheckViolation,
    ConnectionLost,
    DatabaseError,
    DataError,
    ForeignKeyViolation,
    IntegrityError,
    NotNullViolation,
    OperationalError,
    ProgrammingError,
    TransactionConflict,
    UniqueViolation,
)
from cello.database.sql.address import Address
from cello.database.sql.driver import Row
from cello.database.sql.statements import QMARK
from cello.errors import ConfigError
from cello.gateways.turns import run_where_it_waits
from cello.http import json_codec
from cello.pipeline.threads import Job, WorkerThreads

T = TypeVar("T")

_NAMES = itertools.count(1)
_BROKEN = (
    ("UNIQUE", UniqueViolation),
    ("PRIMARYKEY", UniqueViolation),
    ("ROWID", UniqueViolation),
    ("FOREIGNKEY", ForeignKeyViolation),
    ("NOTNULL", NotNullViolation),
    ("CHECK", CheckViolation),
)
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_UNAVAILABLE = ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_INTERRUPT", "SQLITE_PROTOCOL")
RETRY_S = 0.01
_PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL", "foreign_keys": "ON"}


def memory_place() -> str:
    """Return the URI of a new database in memory, which connections of this process can share."""
    return f"file:/cello-{next(_NAMES)}?vfs=memdb"


class SqliteDriver:
    """A driver (`driver.Driver`).

    Args:
        address: The file; its options are PRAGMAs.
        place: What to open in its stead: a database in memory that others share.
        size: Threads, one for each connection that is busy.
        busy_timeout_s: How long a statement waits for another's lock.
    """

    system = "sqlite"
    shares_stream = True
    style = QMARK

    def __init__(self, address: Address, place: str | None, size: int, busy_timeout_s: float) -> None:
        self.where = address.safe_url
        self._place = place or address.database
        self._is_uri = place is not None
        self._timeout_s = busy_timeout_s
        self._pragmas = {**_PRAGMAS, **address.options}
        if place is not None:
            self._pragmas.pop("journal_mode")
        for name, value in self._pragmas.items():
            if not name.isidentifier() or not value.lstrip("-").isalnum():
                raise ConfigError(f"DatabaseConfig.url: {name}={value!r:.80} is no PRAGMA of SQLite")
        self._threads = WorkerThreads(size)

    async def connect(self) -> sqlite3.Connection:
        """Open the file."""
        return await self.run(self.connect_now)

    def connect_now(self) -> sqlite3.Connection:
        """Open the file on the calling thread."""
        raw = sqlite3.connect(
            self._place, self._timeout_s, isolation_level=None, check_same_thread=False, uri=self._is_uri
        )
        try:
            for name, value in self._pragmas.items():
                self._set(raw, name, value)
        except sqlite3.Error:
            raw.close()
            raise
        return raw

    def _set(self, raw: sqlite3.Connection, name: str, value: str) -> None:
        # A file that becomes a WAL one while another connection is about to write is "locked" at once, without any
        # waiting: so it is for the first workers of a new file, which all make it one.
        deadline_s = monotonic() + self._timeout_s
        while True:
            try:
                raw.execute(f"PRAGMA {name} = {value}")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith(_BUSY) or monotonic() >= deadline_s:
                    raise
            sleep(RETRY_S)

    async def close(self, raw: sqlite3.Connection) -> None:
        """Close."""
        await self.run(raw.close)

    def terminate(self, raw: sqlite3.Connection) -> None:
        """Close, once what it does is interrupted."""
        try:
            raw.interrupt()
        except sqlite3.ProgrammingError:  # closed already
            return
        self._threads.submit(raw.close)

    def is_closed(self, raw: sqlite3.Connection) -> bool:
        """Whether it was closed."""
        try:
            return raw.total_changes < 0
        except sqlite3.ProgrammingError:
            return True

    async def ping(self, raw: sqlite3.Connection) -> None:
        """Look at the file."""
        await self.run(_touch, raw)

    async def mend(self, raw: sqlite3.Connection) -> bool:
        """Interrupt, wait for that, and leave the transaction."""
        raw.interrupt()
        await self.run(_leave, raw)
        return True

    async def fetch(self, raw: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return all rows."""
        return await self.run(_fetch, raw, sql, _adapted(values))

    async def execute(self, raw: sqlite3.Connection, sql: str, values: Sequence[Any]) -> int:
        """Return how many rows were touched."""
        return await self.run(_execute, raw, sql, _adapted(values))

    async def execute_many(self, raw: sqlite3.Connection, sql: str, sets: Sequence[Sequence[Any]]) -> None:
        """Run them on one thread."""
        await self.run(_execute_many, raw, sql, [_adapted(values) for values in sets])

    async def iterate(
        self, raw: sqlite3.Connection, sql: str, values: Sequence[Any], batch: int
    ) -> AsyncGenerator[list[Row], None]:
        """Read through a cursor."""
        cursor = await self.run(raw.execute, sql, _adapted(values))
        try:
            while rows := await self.run(_next_rows, cursor, batch):
                yield rows
        finally:
            cursor.close()

    def begin(self, isolation: str | None, *, read_only: bool) -> Sequence[str]:
        """Every level is the highest one here."""
        return ("BEGIN" if read_only else "BEGIN IMMEDIATE",)

    async def end(self, raw: sqlite3.Connection, sql: str) -> None:
        """Run it."""
        await self.run(_execute, raw, sql, ())

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Call on the thread that waits for it, or on one of the driver's."""
        return await run_where_it_waits(self._threads, call, *args)

    def start(self, job: Job) -> None:
        """Have one of the driver's threads do it."""
        self._threads.start(job)

    def end_threads(self) -> None:
        """Let the threads finish and end."""
        self._threads.shutdown()

    def translate(self, error: BaseException) -> DatabaseError | None:
        """By the name of the code, which says most."""
        if not isinstance(error, sqlite3.Error):
            return None
        message = str(error)
        code: str = getattr(error, "sqlite_errorname", "")
        if isinstance(error, sqlite3.IntegrityError):
            for word, broken in _BROKEN:
                if code.endswith(word):
                    return broken(message, code=code)
            return IntegrityError(message, code=code)
        if code.startswith(_BUSY):
            return TransactionConflict(message, code=code)
        if code.startswith(_UNAVAILABLE):
            return OperationalError(message, code=code)
        if isinstance(error, sqlite3.ProgrammingError) and "closed" in message:
            return ConnectionLost(message)
        if isinstance(error, sqlite3.DataError | sqlite3.InterfaceError) or "binding parameter" in message:
            return DataError(message, code=code or None)
        return ProgrammingError(message, code=code or None)


def _fetch(raw: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    cursor = raw.execute(sql, values)
    try:
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]
    finally:
        cursor.close()


def _next_rows(cursor: sqlite3.Cursor, batch: int) -> list[Row]:
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(batch)]


def _execute(raw: sqlite3.Connection, sql: str, values: Sequence[Any]) -> int:
    cursor = raw.execute(sql, values)
    try:
        cursor.fetchall()  # a statement with RETURNING is done when its rows were read
        return max(0, cursor.rowcount)
    finally:
        cursor.close()


def _execute_many(raw: sqlite3.Connection, sql: str, sets: Sequence[Sequence[Any]]) -> None:
    raw.executemany(sql, sets).close()


def _touch(raw: sqlite3.Connection) -> None:
    raw.execute("SELECT 1").close()


def _leave(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK").close()


_AS_THEY_ARE = frozenset((int, str, bytes, float, bool, type(None)))


def _adapted(values: Sequence[Any]) -> Sequence[Any]:
    return [value if type(value) in _AS_THEY_ARE else _adapt(value) for value in values]


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, dict | list):
        return json_codec.encode(value).decode()
    if isinstance(value, Enum):
        return _adapt(value.value)
    return value
