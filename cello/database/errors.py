"""What goes wrong with databases and Redis, in one tree whatever the driver.

Rule 1: what the program did (`IntegrityError`, `ProgrammingError`, `DataError`) stays an ordinary exception: 500 unless
the application has a handler for it. What the service does (`OperationalError`, `RedisUnavailable`) is an answer, 503
with `Retry-After`, whose detail never holds the driver's words.
Rule 2: the driver's exception is the `__cause__`; its code is in `code`.
"""

from cello.errors import CelloError, HTTPError


class DatabaseError(CelloError):
    """Base of all errors of a database.

    Attributes:
        code: The SQLSTATE, or the driver's own code, or None.
        statement: The SQL that was running, or None.
    """

    def __init__(self, message: str, *, code: str | int | None = None, statement: str | None = None) -> None:
        Exception.__init__(self, message)
        self.code = code
        self.statement = statement


class IntegrityError(DatabaseError):
    """A constraint was broken."""


class UniqueViolation(IntegrityError):
    """A value that must be unique is there already."""


class ForeignKeyViolation(IntegrityError):
    """A row is referred to that is not there, or is still referred to."""


class NotNullViolation(IntegrityError):
    """A column that must have a value got NULL."""


class CheckViolation(IntegrityError):
    """A CHECK constraint was broken."""


class ProgrammingError(DatabaseError):
    """The statement cannot work: syntax, names, parameters, rights; or the API was used wrongly."""


class DataError(DatabaseError):
    """A value does not fit its type, in a statement or in the model of `into=`."""


class WrongColour(ProgrammingError, TypeError):
    """An async method was called in a `def` handler, where nothing can await it."""


class OperationalError(DatabaseError, HTTPError):
    """The database cannot do it now: unreachable, restarting, overloaded. Answered 503."""

    status = 503

    def __init__(self, message: str, *, code: str | int | None = None, statement: str | None = None) -> None:
        DatabaseError.__init__(self, message, code=code, statement=statement)
        self.detail: str | None = "The database is not available."
        self.headers: dict[str, str] = {"Retry-After": "1"}
        self.extensions: dict[str, object] = {}


class ConnectionLost(OperationalError):
    """The connection broke while it was in use; what it did last may or may not have happened."""


class PoolTimeout(OperationalError):
    """No connection of the pool came free in time."""


class TransactionConflict(OperationalError):
    """A serialization failure, a deadlock, or a lock that was not to be had: run the transaction again."""

    is_retryable = True


class RedisError(CelloError):
    """Base of all errors of Redis; raised itself for what the server refuses."""


class RedisUnavailable(RedisError, HTTPError):
    """Redis cannot be reached, or all connections of the pool are in use. Answered 503."""

    status = 503

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.detail = "A service this application needs is not available."
        self.headers = {"Retry-After": "1"}
        self.extensions = {}


class LockError(RedisError):
    """A lock was not acquired in time, or is not held any more."""
