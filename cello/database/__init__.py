"""Databases and Redis: resources with pools, for handlers of both colours. Each name loads what it needs when used."""

from typing import TYPE_CHECKING, Any

from cello.database.config import DatabaseConfig, RedisConfig
from cello.database.errors import (
    CheckViolation,
    ConnectionLost,
    DatabaseError,
    DataError,
    ForeignKeyViolation,
    IntegrityError,
    LockError,
    NotNullViolation,
    OperationalError,
    PoolTimeout,
    ProgrammingError,
    RedisError,
    RedisUnavailable,
    TransactionConflict,
    UniqueViolation,
    WrongColour,
)

if TYPE_CHECKING:
    from cello.database.redis.blocking import BlockingRedis
    from cello.database.redis.client import Redis
    from cello.database.redis.subscription import RedisMessage
    from cello.database.sql.blocking import BlockingDatabase, BlockingTransaction
    from cello.database.sql.database import Database
    from cello.database.sql.transaction import Transaction
    from cello.database.unit_of_work import transactional

_LAZY = {
    "BlockingDatabase": "cello.database.sql.blocking",
    "BlockingRedis": "cello.database.redis.blocking",
    "BlockingTransaction": "cello.database.sql.blocking",
    "Database": "cello.database.sql.database",
    "Redis": "cello.database.redis.client",
    "RedisMessage": "cello.database.redis.subscription",
    "Transaction": "cello.database.sql.transaction",
    "transactional": "cello.database.unit_of_work",
}

__all__ = [
    "BlockingDatabase",
    "BlockingRedis",
    "BlockingTransaction",
    "CheckViolation",
    "ConnectionLost",
    "DataError",
    "Database",
    "DatabaseConfig",
    "DatabaseError",
    "ForeignKeyViolation",
    "IntegrityError",
    "LockError",
    "NotNullViolation",
    "OperationalError",
    "PoolTimeout",
    "ProgrammingError",
    "Redis",
    "RedisConfig",
    "RedisError",
    "RedisMessage",
    "RedisUnavailable",
    "Transaction",
    "TransactionConflict",
    "UniqueViolation",
    "WrongColour",
    "transactional",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'cello.database' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
