"""Transactions, and savepoints within them.

Rule 1: `async with` commits at its end and rolls back on any exception. Nested, it is a savepoint.
Rule 2: inside the block the database's own methods run in the transaction too, in this task and in those it starts;
one statement at a time.
Rule 3: a transaction whose statement was cancelled, or whose connection broke, does nothing any more but end; it is
never committed.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar

from cello.database.colours import awaited
from cello.database.errors import ConnectionLost, OperationalError, ProgrammingError
from cello.database.sql.core import Core, Operation
from cello.database.sql.driver import ISOLATION_LEVELS, Row
from cello.database.sql.pool import Lent, Pool
from cello.database.sql.queries import Queries
from cello.database.sql.statements import Statement

T = TypeVar("T")

_innermost: ContextVar["Transaction | None"] = ContextVar("cello_transaction", default=None)


def current(core: Core) -> "Transaction | None":
    """Return the innermost open transaction of this context on a database."""
    transaction = _innermost.get()
    while transaction is not None and (transaction._core is not core or not transaction.is_open):
        transaction = transaction._outside
    return transaction


class _Line:
    """What a transaction shares with its savepoints: the connection."""

    __slots__ = ("lent", "lock", "pool", "savepoints", "spoiled", "streams")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.pool: Pool | None = None
        self.lent: Lent | None = None
        self.spoiled: BaseException | None = None
        self.savepoints = 0
        self.streams = 0


class Transaction(Queries):
    """A transaction; `Database.transaction()` makes them.

    `async with db.transaction() as tx:`, or `tx = await db.begin()` and then `commit()` or `rollback()`.

    Attributes:
        is_open: Whether it has begun and not ended.
    """

    def __init__(
        self, core: Core, isolation: str | None = None, *, read_only: bool = False, parent: "Transaction | None" = None
    ) -> None:
        if isolation is not None:
            isolation = str(isolation).replace("_", " ").lower()
            if isolation not in ISOLATION_LEVELS:
                raise ProgrammingError(f"isolation must be one of {ISOLATION_LEVELS}, not {isolation!r:.80}")
            if parent is not None:
                raise ProgrammingError("a transaction within another is a savepoint, which has no isolation of its own")
        self._core = core
        self._isolation = isolation
        self._read_only = read_only
        self._parent = parent
        self._line: _Line = _Line() if parent is None else parent._line
        self._savepoint = ""
        self._outside: Transaction | None = None
        self._token: Token[Transaction | None] | None = None
        self.is_open = False

    def __repr__(self) -> str:
        kind = "Transaction" if self._parent is None else "savepoint"
        return f"<{kind}, {'open' if self.is_open else 'not open'}>"

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begun().__await__()

    async def __aenter__(self) -> Self:
        await self._begun()
        self._outside = _innermost.get()
        self._token = _innermost.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _innermost.set(self._outside)
            self._token = None
        if not self.is_open:
            return
        if error is None:
            await self.commit()
        else:
            await self._roll_back()

    @awaited
    def transaction(self) -> "Transaction":
        """Return a savepoint within this transaction, for `async with`."""
        return Transaction(self._core, parent=self)

    begin = transaction

    @awaited
    async def commit(self) -> None:
        """End the transaction, or the savepoint, keeping what it did.

        Raises:
            ProgrammingError: It has ended already.
            OperationalError: It cannot be kept; it was rolled back.
        """
        self._require_open()
        spoiled = self._line.spoiled
        if spoiled is not None:
            await self._roll_back()
            raise OperationalError(f"the transaction was rolled back, as a statement did not end: {spoiled!r:.200}")
        if self._parent is not None:
            self.is_open = False
            await self._say(f"RELEASE SAVEPOINT {self._savepoint}")
            return
        try:
            await self._say("COMMIT")
        except BaseException:
            if self.is_open:
                await self._roll_back()
            raise
        self.is_open = False
        self._give_back()

    @awaited
    async def rollback(self) -> None:
        """End the transaction, or the savepoint, undoing what it did.

        Raises:
            ProgrammingError: It has ended already.
        """
        self._require_open()
        await self._roll_back()

    # Inside

    async def _begun(self) -> Self:
        if self.is_open:
            raise ProgrammingError("the transaction has begun already")
        line = self._line
        if self._parent is not None:
            self._parent._require_open()
            line.savepoints += 1
            self._savepoint = f"cello_{line.savepoints}"
            await self._say(f"SAVEPOINT {self._savepoint}")
            self.is_open = True
            return self
        line.pool = self._core.pool
        line.lent = await line.pool.acquire()
        try:
            for sql in self._core.driver.begin(self._isolation, read_only=self._read_only):
                await self._core.driver.end(line.lent.raw, sql)
        except BaseException as error:
            found = self._core.named(error)
            line.spoiled = found
            self._give_back()
            if found is error:
                raise
            raise found from error
        self.is_open = True
        return self

    async def _roll_back(self) -> None:
        self.is_open = False
        if self._line.spoiled is not None:
            if self._parent is None:
                self._give_back()
            return
        try:
            await self._say(f"ROLLBACK TO SAVEPOINT {self._savepoint}" if self._parent is not None else "ROLLBACK")
        except ConnectionLost:
            return  # the server has rolled back by itself; the error that led here is the one to raise
        finally:
            if self._parent is None:
                self._give_back()

    def _give_back(self) -> None:
        line = self._line
        pool, lent = line.pool, line.lent
        line.pool = line.lent = None
        if pool is None or lent is None:
            return
        if line.spoiled is None:
            pool.release(lent)
        elif isinstance(line.spoiled, ConnectionLost):
            pool.discard(lent, is_outage=True)
        else:
            pool.mend(lent)

    async def _say(self, sql: str) -> None:
        """Run a statement of the transaction's own."""
        await self._on_line(lambda raw: self._core.driver.end(raw, sql), None)

    def _require_open(self) -> None:
        if not self.is_open:
            raise ProgrammingError("the transaction has ended, or has not begun: use it inside `async with`")

    async def _run(self, operation: Operation[T], statement: Statement, values: Sequence[Any]) -> T:
        self._require_open()
        started_s = perf_counter()
        result: T = await self._on_line(lambda raw: operation(raw, statement.sql, values), statement)
        self._core.shared.statistics.add(statement.text, perf_counter() - started_s)
        return result

    async def _run_many(self, statement: Statement, sets: Sequence[Sequence[Any]]) -> None:
        async with Transaction(self._core, parent=self) as inner:
            await inner._run(self._core.driver.execute_many, statement, sets)

    async def _on_line(self, work: Any, statement: Statement | None) -> Any:
        line = self._line
        async with line.lock:
            if line.spoiled is not None:
                raise OperationalError(
                    f"the transaction cannot go on: a statement of it did not end: {line.spoiled!r:.200}"
                )
            lent = line.lent
            if line.streams and not self._core.driver.shares_stream:
                raise ProgrammingError("this database runs no other statement while iterate() reads its rows")
            if lent is None:
                raise ProgrammingError("the transaction around this savepoint has ended")
            started_s = perf_counter()
            try:
                return await work(lent.raw)
            except BaseException as error:
                found = self._core.named(error, None if statement is None else statement.text)
                if statement is not None:
                    self._core.shared.statistics.add(statement.text, perf_counter() - started_s, found)
                if isinstance(found, ConnectionLost) or not isinstance(found, Exception):
                    line.spoiled = found
                if found is error:
                    raise
                raise found from error

    async def _rows(self, statement: Statement, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        self._require_open()
        line = self._line
        started_s = perf_counter()
        try:
            lent = line.lent
            if lent is None or line.spoiled is not None:
                raise OperationalError("the transaction cannot go on: a statement of it did not end")
            line.streams += 1
            batches = self._core.driver.iterate(lent.raw, statement.sql, values, batch)
            try:
                while True:
                    async with line.lock:
                        rows = await anext(batches, None)
                    if rows is None:
                        break
                    yield rows
            finally:
                line.streams -= 1
                await batches.aclose()
        except GeneratorExit:
            raise
        except BaseException as error:
            found = self._core.failed(error, statement, started_s)
            if isinstance(found, ConnectionLost) or not isinstance(found, Exception):
                line.spoiled = found
            if found is error:
                raise
            raise found from error
        self._core.shared.statistics.add(statement.text, perf_counter() - started_s)
