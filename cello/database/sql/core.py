"""One database on one event loop: its pool, its statements, its statistics, and the one way a statement is run.

Rule 1: connections are in autocommit, so a plain statement is one trip; transactions say BEGIN themselves.
Rule 2: whatever becomes of a statement — a result, an error, a cancellation — its connection goes back to the pool.
Rule 3: a pool belongs to the process and the loop that it was opened on. A forked child opens its own.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

from cello.database.config import DatabaseConfig
from cello.database.errors import ConnectionLost, DatabaseError, OperationalError
from cello.database.sql.address import Address
from cello.database.sql.driver import Driver
from cello.database.sql.pool import Lent, Pool
from cello.database.sql.rows import Builders
from cello.database.sql.sqlite import SqliteDriver, memory_place
from cello.database.sql.statements import Statement, Statements
from cello.database.sql.statistics import Statistics

T = TypeVar("T")
Operation = Callable[..., Coroutine[Any, Any, T]]

logger = logging.getLogger("cello.database")


class Shared:
    """What the two colours of one database have in common.

    Attributes:
        config: What the user said.
        address: Where it is.
        statistics: Of both.
        builders: For `into=`.
    """

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config
        self.address = Address.of(config)
        self.address.require_driver("the database")
        self.builders = Builders()
        slow_s = None if config.slow_query_ms is None else config.slow_query_ms / 1000
        self.statistics = Statistics(self.address.kind, slow_s, _log_slow)
        self._place = memory_place() if self.address.is_memory else None
        self._anchor: sqlite3.Connection | None = None

    def make_driver(self) -> Driver:
        """Return a driver; drivers are loaded here."""
        if self.address.kind == "postgresql":
            from cello.database.sql.postgres import PostgresDriver

            return PostgresDriver(self.address)
        if self.address.kind == "mysql":
            from cello.database.sql.mysql import MysqlDriver

            return MysqlDriver(self.address)
        driver = SqliteDriver(self.address, self._place, self.config.pool_size, self.config.connection_timeout_secs)
        if self._place is not None and self._anchor is None:
            self._anchor = driver.connect_now()  # without any connection the database would be gone
        return driver

    def release(self) -> None:
        """Let go of a database in memory."""
        anchor, self._anchor = self._anchor, None
        if anchor is not None:
            anchor.close()


class Core:
    """See the module."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.driver: Driver = shared.make_driver()
        self.statements = Statements(self.driver.style)
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._inherited: list[Pool | None] = []

    @property
    def pool(self) -> Pool:
        """The pool of the running loop, made at its first use.

        Raises:
            DatabaseError: It was opened on another loop, which still runs.
        """
        pool = self._pool
        if pool is not None and self._pid == os.getpid():
            loop = asyncio.get_running_loop()
            if self._loop is loop:
                return pool
            if self._loop is not None and not self._loop.is_closed():
                raise DatabaseError(
                    "this database was opened on another event loop: open one on this loop by "
                    "Database.connect(), or use .blocking, which works from everywhere"
                )
        # A parent's connections are kept alive, never closed: that would end them for the parent too.
        self._inherited.append(pool)
        config = self.shared.config
        if self._pid not in (0, os.getpid()):
            self.driver = self.shared.make_driver()
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._pool = Pool(
            self.driver,
            size=config.pool_size,
            min_idle=config.min_idle,
            max_lifetime_s=config.max_lifetime_secs,
            idle_timeout_s=config.idle_timeout_secs,
            connect_timeout_s=config.connection_timeout_secs,
        )
        self._pool.start_keeping()
        return self._pool

    async def open(self) -> None:
        """Open the first connections.

        Raises:
            OperationalError: The database cannot be reached.
        """
        await self.pool.open()

    async def close(self) -> None:
        """Close the pool; a later use opens another."""
        pool, self._pool = self._pool, None
        if pool is not None and self._pid == os.getpid():
            await pool.close()
        if isinstance(self.driver, SqliteDriver):
            self.driver.end_threads()

    def pool_stats(self) -> dict[str, int]:
        """Return how the pool stands."""
        pool = self._pool
        size = self.shared.config.pool_size
        if pool is None or self._pid != os.getpid():
            return {"size": size, "idle": 0, "in_use": 0, "waiting": 0, "opened": 0}
        return {
            "size": size,
            "idle": pool.idle,
            "in_use": pool.in_use,
            "waiting": pool.waiting,
            "opened": pool.opened,
        }

    async def run(self, operation: Operation[T], statement: Statement, values: Sequence[Any]) -> T:
        """Run one statement on a connection of the pool."""
        pool = self.pool
        lent = await pool.acquire()
        started_s = perf_counter()
        try:
            result = await operation(lent.raw, statement.sql, values)
        except BaseException as error:
            found = self.failed(error, statement, started_s)
            self.take_back(pool, lent, found)
            if found is error:
                raise
            raise found from error
        self.shared.statistics.add(statement.text, perf_counter() - started_s)
        pool.release(lent)
        return result

    def failed(self, error: BaseException, statement: Statement, started_s: float) -> BaseException:
        """Count a statement that failed, and return its error by the name it has here."""
        found = self.named(error, statement.text)
        self.shared.statistics.add(statement.text, perf_counter() - started_s, found)
        return found

    def named(self, error: BaseException, text: str | None = None) -> BaseException:
        """Return an error of the driver by its name here; any other as it is."""
        if isinstance(error, DatabaseError):
            return error
        found = self.driver.translate(error)
        if found is None:
            return error
        found.statement = text
        return found

    def take_back(self, pool: Pool, lent: Lent, error: BaseException) -> None:
        """Give back a connection whose statement raised."""
        if not isinstance(error, Exception):
            pool.mend(lent)
        elif isinstance(error, ConnectionLost) or self.driver.is_closed(lent.raw):
            pool.discard(lent, is_outage=True)
        else:
            pool.release(lent)

    @asynccontextmanager
    async def lending(self) -> AsyncIterator[Any]:
        """Lend the driver's own connection; after an error it is mended before anybody else gets it."""
        pool = self.pool
        lent = await pool.acquire()
        try:
            yield lent.raw
        except BaseException as error:
            found = self.named(error)
            if isinstance(found, ConnectionLost) or self.driver.is_closed(lent.raw):
                pool.discard(lent, is_outage=True)
            else:
                pool.mend(lent)
            if found is error:
                raise
            raise found from error
        pool.release(lent)

    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            OperationalError: There is none.
        """
        async with self.lending() as raw:
            try:
                async with asyncio.timeout(self.shared.config.connection_timeout_secs):
                    await self.driver.ping(raw)
            except TimeoutError:
                raise OperationalError("the database does not answer") from None


def _log_slow(statement: str, seconds: float) -> None:
    logger.warning("slow query: %.0f ms: %.1000s", seconds * 1e3, " ".join(statement.split()))
