"""The methods that a database and a transaction have in common, for `async def`."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from cello.database.colours import awaited
from cello.database.errors import ProgrammingError
from cello.database.sql.core import Core, Operation
from cello.database.sql.driver import Row
from cello.database.sql.statements import Statement

T = TypeVar("T")
M = TypeVar("M")

BATCH = 1_000
"""Rows that `iterate` holds at a time."""


class Queries(ABC):
    """Runs statements.

    Parameters of a statement are `:name` with keywords, or `$1 …` with positional arguments, whatever the database.
    """

    _core: Core

    @abstractmethod
    async def _run(self, operation: Operation[T], statement: Statement, values: Sequence[Any]) -> T:
        """Run one statement."""

    @abstractmethod
    def _rows(self, statement: Statement, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        """Return the rows of one statement, batch by batch."""

    @awaited
    async def execute(self, sql: str, /, *args: Any, **named: Any) -> int:
        """Run a statement; return how many rows it inserted, changed or deleted."""
        statement = self._core.statements.get(sql)
        return await self._run(self._core.driver.execute, statement, statement.values(args, named))

    @awaited
    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]], /) -> int:
        """Run a statement once for each of `rows`, all or none; return how many there were.

        Args:
            sql: The statement.
            rows: Mappings for `:name` parameters, sequences for `$1 …`.
        """
        statement = self._core.statements.get(sql)
        sets = [_values(statement, row) for row in rows]
        if sets:
            await self._run_many(statement, sets)
        return len(sets)

    @abstractmethod
    async def _run_many(self, statement: Statement, sets: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each set of values, all or none."""

    @overload
    async def fetch_all(self, sql: str, /, *args: Any, into: type[M], **named: Any) -> list[M]: ...
    @overload
    async def fetch_all(self, sql: str, /, *args: Any, into: None = None, **named: Any) -> list[Row]: ...
    @awaited
    async def fetch_all(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return all rows, as dicts or as objects of the class `into`."""
        statement = self._core.statements.get(sql)
        build = None if into is None else self._core.shared.builders.get(into)
        rows = await self._run(self._core.driver.fetch, statement, statement.values(args, named))
        return rows if build is None else [build(row) for row in rows]

    @overload
    async def fetch_one(self, sql: str, /, *args: Any, into: type[M], **named: Any) -> M | None: ...
    @overload
    async def fetch_one(self, sql: str, /, *args: Any, into: None = None, **named: Any) -> Row | None: ...
    @awaited
    async def fetch_one(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return the first row, as a dict or an object of the class `into`; None when there is none."""
        statement = self._core.statements.get(sql)
        build = None if into is None else self._core.shared.builders.get(into)
        rows = await self._run(self._core.driver.fetch, statement, statement.values(args, named))
        if not rows:
            return None
        return rows[0] if build is None else build(rows[0])

    @awaited
    async def fetch_val(self, sql: str, /, *args: Any, into: Any = None, **named: Any) -> Any:
        """Return the first column of the first row, as `into` if that is given; None when there is none."""
        statement = self._core.statements.get(sql)
        rows = await self._run(self._core.driver.fetch, statement, statement.values(args, named))
        if not rows:
            return None
        if into is not None:
            return self._core.shared.builders.get(into)(rows[0])
        return next(iter(rows[0].values()), None)

    fetch = fetch_all
    fetchrow = fetch_one
    fetchval = fetch_val

    @awaited
    def iterate(
        self, sql: str, /, *args: Any, into: Any = None, batch: int = BATCH, **named: Any
    ) -> AsyncGenerator[Any, None]:
        """Return the rows one by one, `batch` of them in memory: `async for row in db.iterate(...)`.

        Its connection is in use, in a transaction, until the last row was taken or the iterator is closed.
        """
        if batch < 1:
            raise ProgrammingError(f"iterate: batch must be at least 1, not {batch!r:.80}")
        statement = self._core.statements.get(sql)
        return self._iterate(statement, statement.values(args, named), into, batch)

    async def _iterate(
        self, statement: Statement, values: Sequence[Any], into: Any, batch: int
    ) -> AsyncGenerator[Any, None]:
        build = None if into is None else self._core.shared.builders.get(into)
        batches = self._rows(statement, values, batch)
        try:
            async for rows in batches:
                for row in rows:
                    yield row if build is None else build(row)
        finally:
            await batches.aclose()

    async def _batches(
        self, sql: str, args: Sequence[Any], named: Mapping[str, Any], into: Any, batch: int
    ) -> AsyncGenerator[list[Any], None]:
        """Return the rows of `iterate` batch by batch, for the facade."""
        statement = self._core.statements.get(sql)
        build = None if into is None else self._core.shared.builders.get(into)
        batches = self._rows(statement, statement.values(args, named), batch)
        try:
            async for rows in batches:
                yield rows if build is None else [build(row) for row in rows]
        finally:
            await batches.aclose()


def _values(statement: Statement, row: Any) -> Sequence[Any]:
    if isinstance(row, Mapping):
        return statement.values((), row)
    if isinstance(row, Sequence) and not isinstance(row, str | bytes):
        return statement.values(row, {})
    raise ProgrammingError(f"execute_many takes sequences or mappings, not {row!r:.80}", statement=statement.text)
