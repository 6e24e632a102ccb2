"""The blocking facade: a database for `def` handlers and other plain code.

Strategy: its pool lives on an event loop of its own, never on the server's, so waiting for it cannot deadlock: not on
the loop thread, not under WSGI, not in a worker thread. Whoever calls runs that loop, or waits for who does
(`gateways/turns.py`). Context variables go along, so a transaction holds for the plain code inside its `with`.
"""

import os
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from cello.database.sql.core import Shared
from cello.database.sql.driver import Row
from cello.database.sql.queries import BATCH
from cello.database.sql.transaction import Transaction, current
from cello.gateways.turns import TurnPortal
from cello.pipeline.threads import is_on_loop

T = TypeVar("T")
M = TypeVar("M")


class _Loop:
    """The facade's loop, and what is called when somebody waits for it on an event loop."""

    def __init__(self) -> None:
        self.portal = TurnPortal()
        self.on_held_loop: Callable[[], None] | None = None

    def run(self, awaitable: Awaitable[T]) -> T:
        self.note_held()
        return self.portal.run(awaitable)

    def note_held(self) -> None:
        """Tell whoever wants to know that somebody waits, if it is on an event loop."""
        if self.on_held_loop is not None and is_on_loop():
            self.on_held_loop()


class BlockingQueries:
    """The methods that a database and a transaction have in common, for plain functions. See `Queries` for each."""

    _loop: _Loop

    def _get(self) -> Any:
        """Return the `Queries` that do it."""
        raise NotImplementedError

    async def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await work(self._get())

    def _run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return self._loop.run(self._do(work))

    def execute(self, sql: str, /, *args: Any, **named: Any) -> int:
        """Run a statement; return how many rows it inserted, changed or deleted."""
        touched: int = self._run(lambda queries: queries.execute(sql, *args, **named))
        return touched

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]], /) -> int:
        """Run a statement once for each of `rows`, all or none; return how many there were."""
        held = list(rows)  # a generator's code belongs on the caller's thread
        count: int = self._run(lambda queries: queries.execute_many(sql, held))
        return count

    @overload
    def fetch_all(self, sql: str, /, *args: Any, into: type[M], **named: Any) -> list[M]: ...
    @overload
    def fetch_all(self, sql: str, /, *args: Any, into: None = None, **named: Any) -> list[Row]: ...
    def fetch_all(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return all rows, as dicts or as objects of the class `into`."""
        return self._run(lambda queries: queries.fetch_all(sql, *args, into=into, **named))

    @overload
    def fetch_one(self, sql: str, /, *args: Any, into: type[M], **named: Any) -> M | None: ...
    @overload
    def fetch_one(self, sql: str, /, *args: Any, into: None = None, **named: Any) -> Row | None: ...
    def fetch_one(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return the first row, as a dict or an object of the class `into`; None when there is none."""
        return self._run(lambda queries: queries.fetch_one(sql, *args, into=into, **named))

    def fetch_val(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return the first column of the first row, as `into` if that is given; None when there is none."""
        return self._run(lambda queries: queries.fetch_val(sql, *args, into=into, **named))

    fetch = fetch_all
    fetchrow = fetch_one
    fetchval = fetch_val

    def iterate(
        self, sql: str, /, *args: Any, into: Any = None, batch: int = BATCH, **named: Any
    ) -> Generator[Any, None, None]:
        """Return the rows one by one, `batch` of them in memory; close it when you leave early."""
        batches = self._loop.portal.iterate(self._batches(sql, args, named, into, batch))
        try:
            for rows in batches:
                yield from rows
        finally:
            batches.close()

    async def _batches(self, sql: str, args: Any, named: Any, into: Any, batch: int) -> Any:
        batches = self._get()._batches(sql, args, named, into, batch)
        try:
            async for rows in batches:
                yield rows
        finally:
            await batches.aclose()


class BlockingDatabase(BlockingQueries):
    """A database for plain functions; `Database.blocking` is one.

    Args:
        shared: What it has in common with its async twin.
        make_inner: Returns a database for the facade's loop.
    """

    def __init__(self, shared: Shared, make_inner: Callable[[], Any]) -> None:
        self._shared = shared
        self._make_inner = make_inner
        self._loop = _Loop()
        self._inner: Any = None
        self._pid = 0

    def __repr__(self) -> str:
        return f"<BlockingDatabase {self._shared.address.safe_url}>"

    @property
    def blocking(self) -> Self:
        """Itself, so that code for either object works."""
        return self

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction of this database is open in the calling context."""
        return self._inner is not None and current(self._inner._core) is not None

    def transaction(self, isolation: str | None = None, *, read_only: bool = False) -> "BlockingTransaction":
        """Return a transaction for `with`; inside another one of this database it is a savepoint."""

        async def make() -> Transaction:
            made: Transaction = self._get().transaction(isolation, read_only=read_only)
            return made

        return BlockingTransaction(self._loop, self._loop.run(make()))

    begin = transaction

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._run(lambda database: database.ping())

    def raw(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Call `await work(connection)` with the driver's own connection, on the facade's loop."""

        async def lend(database: Any) -> T:
            async with database.raw() as connection:
                return await work(connection)

        return self._run(lend)

    def stats(self) -> dict[str, Any]:
        """Return how the pool stands, and the times of every statement."""
        return {
            "database": self._shared.address.safe_url,
            "pool": self._pool_stats(),
            **self._shared.statistics.snapshot(),
        }

    def disconnect(self) -> None:
        """Close all connections and end the loop."""
        inner, self._inner = self._inner, None
        if inner is not None and self._pid == os.getpid():
            self._loop.run(inner._core.close())
        self._loop.portal.close()

    close = disconnect

    def _get(self) -> Any:
        """Return the database on the facade's loop; called there, so never by two threads."""
        if self._inner is None or self._pid != os.getpid():
            self._inner = self._make_inner()
            self._pid = os.getpid()
        return self._inner

    def _pool_stats(self) -> dict[str, int] | None:
        inner = self._inner
        if inner is None:
            return None
        stats: dict[str, int] = inner._core.pool_stats()
        return stats


class BlockingTransaction(BlockingQueries):
    """A transaction for plain functions: `with db.transaction() as tx:`."""

    def __init__(self, loop: _Loop, transaction: Transaction) -> None:
        self._loop = loop
        self._transaction = transaction

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._transaction)[1:]}"

    def __enter__(self) -> Self:
        self._loop.run(self._transaction.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.run(self._transaction.__aexit__(kind, error, traceback))

    @property
    def is_open(self) -> bool:
        """Whether it has begun and not ended."""
        return self._transaction.is_open

    def transaction(self) -> "BlockingTransaction":
        """Return a savepoint within this transaction, for `with`."""
        return BlockingTransaction(self._loop, Transaction(self._transaction._core, parent=self._transaction))

    begin = transaction

    def commit(self) -> None:
        """End the transaction, or the savepoint, keeping what it did."""
        self._run(lambda transaction: transaction.commit())

    def rollback(self) -> None:
        """End the transaction, or the savepoint, undoing what it did."""
        self._run(lambda transaction: transaction.rollback())

    def _get(self) -> Any:
        return self._transaction
