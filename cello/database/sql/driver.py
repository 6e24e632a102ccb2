"""What the pool and the queries ask of a driver; nothing here knows one.

Every method that takes `raw` takes a connection of the driver's own, in autocommit. `values` are in the order of
`Statement.order`. Errors are the driver's own; `translate` gives them their name in cello.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

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

Row = dict[str, Any]

ISOLATION_LEVELS = ("read uncommitted", "read committed", "repeatable read", "serializable")


class Driver(Protocol):
    """One kind of database."""

    @property
    def system(self) -> str:
        """Which kind: "postgresql", "mysql" or "sqlite"."""

    @property
    def style(self) -> str:
        """How placeholders are written: a constant of `statements`."""

    @property
    def shares_stream(self) -> bool:
        """Whether a connection runs other statements while `iterate` reads."""

    @property
    def where(self) -> str:
        """The address without its password, for messages."""

    async def connect(self) -> Any:
        """Open a connection."""

    async def close(self, raw: Any) -> None:
        """Take leave of the server and close."""

    def terminate(self, raw: Any) -> None:
        """Close without a word."""

    def is_closed(self, raw: Any) -> bool:
        """Whether it is known to be closed."""

    async def ping(self, raw: Any) -> None:
        """Ask the server for a sign of life."""

    async def mend(self, raw: Any) -> bool:
        """Make a connection usable whose statement was cancelled; False where that cannot be."""

    async def fetch(self, raw: Any, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return all rows."""

    async def execute(self, raw: Any, sql: str, values: Sequence[Any]) -> int:
        """Return how many rows were touched; 0 where that means nothing."""

    async def execute_many(self, raw: Any, sql: str, sets: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each set of values."""

    def iterate(self, raw: Any, sql: str, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        """Return the rows, `batch` at a time, within a transaction."""

    def begin(self, isolation: str | None, *, read_only: bool) -> Sequence[str]:
        """Return the statements that begin a transaction."""

    async def end(self, raw: Any, sql: str) -> None:
        """Run COMMIT, ROLLBACK or a statement about a savepoint."""

    def translate(self, error: BaseException) -> DatabaseError | None:
        """Return the error by its name here, or None for what is no error of a database."""


_STATES: dict[str, Callable[..., DatabaseError]] = {
    "23505": UniqueViolation,
    "23503": ForeignKeyViolation,
    "23001": ForeignKeyViolation,
    "23502": NotNullViolation,
    "23514": CheckViolation,
    "40001": TransactionConflict,
    "40P01": TransactionConflict,
    "55P03": TransactionConflict,
    "25P02": ProgrammingError,
    "25006": ProgrammingError,
    "57014": OperationalError,
    "57P01": ConnectionLost,
    "57P02": ConnectionLost,
}
_CLASSES: dict[str, Callable[..., DatabaseError]] = {
    "08": ConnectionLost,
    "0A": ProgrammingError,
    "22": DataError,
    "23": IntegrityError,
    "28": OperationalError,
    "3D": OperationalError,
    "40": TransactionConflict,
    "42": ProgrammingError,
    "53": OperationalError,
    "54": ProgrammingError,
    "57": OperationalError,
    "58": OperationalError,
}


def by_sqlstate(state: str, message: str) -> DatabaseError:
    """Return the error of an SQLSTATE."""
    kind = _STATES.get(state) or _CLASSES.get(state[:2]) or DatabaseError
    return kind(message, code=state)


def lost(error: BaseException) -> DatabaseError | None:
    """Return the error of a socket that failed, or None for another."""
    if isinstance(error, OSError | EOFError):  # TimeoutError and IncompleteReadError among them
        return ConnectionLost(str(error) or type(error).__name__)
    return None
