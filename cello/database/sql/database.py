"""Database: what `async def` code uses.

    db = await Database.connect(DatabaseConfig("postgresql://user@localhost/shop"))
    user = await db.fetch_one("SELECT * FROM users WHERE id = :id", id=7, into=User)

`blocking` is the same for plain functions (`blocking.py`).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cello.database.colours import awaited
from cello.database.config import DatabaseConfig
from cello.database.sql.blocking import BlockingDatabase
from cello.database.sql.core import Core, Operation, Shared
from cello.database.sql.driver import Row
from cello.database.sql.queries import Queries
from cello.database.sql.statements import Statement
from cello.database.sql.statistics import QueryEvent
from cello.database.sql.transaction import Transaction, current
from cello.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

DEFAULT_URL = "sqlite://cello.db"


def as_config(config: DatabaseConfig | str | None) -> DatabaseConfig:
    """Return a config: itself, that of a URL, or the default one.

    Raises:
        ConfigError: It is something else.
    """
    if config is None or isinstance(config, str):
        return DatabaseConfig(url=DEFAULT_URL if config is None else config)
    if not isinstance(config, DatabaseConfig):
        raise ConfigError(f"a database takes a DatabaseConfig, not {config!r:.80}")
    return config


class Database(Queries):
    """A database and its pool of connections, on the loop that first uses it.

    Args:
        config: Which database; a URL will do; None for "sqlite://cello.db".

    Raises:
        MissingDependency: Its driver is not installed.

    Attributes:
        config: What it was made of.
    """

    def __init__(self, config: DatabaseConfig | str | None = None) -> None:
        self.config = as_config(config)
        self._shared = Shared(self.config)
        self._core = Core(self._shared)

    @classmethod
    def _sharing(cls, shared: Shared) -> Self:
        """Return a database with a pool of its own and all else in common."""
        self = cls.__new__(cls)
        self.config = shared.config
        self._shared = shared
        self._core = Core(shared)
        return self

    @classmethod
    async def connect(cls, config: DatabaseConfig | str | None = None) -> Self:
        """Return a database that was reached.

        Raises:
            OperationalError: It cannot be reached within `connection_timeout_secs`.
        """
        database = cls(config)
        try:
            await database._core.open()
        except BaseException:
            await database.disconnect()
            raise
        return database

    def __repr__(self) -> str:
        return f"<Database {self._shared.address.safe_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    @property
    def aio(self) -> Self:
        """Itself, so that code for either colour works."""
        return self

    @cached_property
    def blocking(self) -> BlockingDatabase:
        """The same database for `def` handlers and other plain code, with a pool of its own."""
        return BlockingDatabase(self._shared, lambda: Database._sharing(self._shared))

    async def disconnect(self) -> None:
        """Close all connections; those in use when they come back. May be a shutdown hook as it is."""
        await self._core.close()
        facade = self.__dict__.get("blocking")
        if facade is not None:
            # Not by a thread: at the exit of a WSGI host's process there can be no new ones. The loop waits shortly.
            facade.disconnect()
        self._shared.release()

    close = disconnect

    @awaited
    def transaction(self, isolation: str | None = None, *, read_only: bool = False) -> Transaction:
        """Return a transaction for `async with`; inside another one of this database it is a savepoint.

        Args:
            isolation: "read uncommitted", "read committed", "repeatable read" or "serializable"; None for the
                database's default. SQLite is always serializable.
            read_only: The database is to refuse writes (SQLite: only not to lock for them).
        """
        return Transaction(self._core, isolation, read_only=read_only, parent=current(self._core))

    begin = transaction

    @awaited
    async def ping(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            OperationalError: There is none.
        """
        await self._core.ping()

    @awaited
    def raw(self) -> AbstractAsyncContextManager[Any]:
        """Lend the driver's own connection: `async with db.raw() as connection:`.

        It is an asyncpg, aiomysql or sqlite3 connection, in autocommit. What it does is not counted, and its errors
        are the driver's, translated when they leave the block.
        """
        return self._core.lending()

    def stats(self) -> dict[str, Any]:
        """Return how the pools stand, and the times of every statement."""
        facade = self.__dict__.get("blocking")
        return {
            "database": self._shared.address.safe_url,
            "pool": self._core.pool_stats(),
            "blocking_pool": None if facade is None else facade._pool_stats(),
            **self._shared.statistics.snapshot(),
        }

    def add_listener(self, listener: Callable[[QueryEvent], None]) -> None:
        """Have `listener` called after every statement, where it ran: for metrics and traces."""
        self._shared.statistics.listeners.append(listener)

    def make_engine(self, **options: Any) -> "AsyncEngine":
        """Return a SQLAlchemy engine of the same database: for migrations, and for its ORM.

        Its connections are its own, not of this pool; dispose of it when done.

        Raises:
            MissingDependency: SQLAlchemy or its driver is not installed.
        """
        from cello.database.sql.engine import make_engine

        try:
            return make_engine(self._shared.address, self.config, **options)
        except ModuleNotFoundError as error:
            extra = {"postgresql": "postgres"}.get(self._shared.address.kind, self._shared.address.kind)
            raise MissingDependency(f"make_engine needs {error.name!r}: pip install 'cello[{extra}]'") from None

    async def _run(self, operation: Operation[T], statement: Statement, values: Sequence[Any]) -> T:
        transaction = current(self._core)
        if transaction is not None:
            return await transaction._run(operation, statement, values)
        return await self._core.run(operation, statement, values)

    async def _run_many(self, statement: Statement, sets: Sequence[Sequence[Any]]) -> None:
        async with self.transaction() as transaction:
            await transaction._run(self._core.driver.execute_many, statement, sets)

    async def _rows(self, statement: Statement, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        async with self._reading() as transaction:
            batches = transaction._rows(statement, values, batch)
            try:
                async for rows in batches:
                    yield rows
            finally:
                await batches.aclose()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Transaction]:
        """Yield the transaction of this context, or one for reading that ends with the block."""
        transaction = current(self._core)
        if transaction is not None:
            yield transaction
            return
        # Not entered by `async with`: other statements of whoever iterates have nothing to do with it.
        transaction = await Transaction(self._core, read_only=self._core.driver.system == "sqlite")
        try:
            yield transaction
        except GeneratorExit:
            await transaction._roll_back()
            raise
        except BaseException:
            await transaction._roll_back()
            raise
        await transaction.commit()
