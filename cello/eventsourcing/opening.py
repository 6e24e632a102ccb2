"""Which journal a config means; what a database needs is loaded only where there is one."""

from typing import TYPE_CHECKING

from cello.errors import ConfigError
from cello.eventsourcing.config import DEFAULT_SQLITE, EventSourcingConfig
from cello.eventsourcing.journal import Journal
from cello.eventsourcing.memory import MemoryJournal

if TYPE_CHECKING:
    from cello.database.sql.database import Database


def make_journal(config: EventSourcingConfig, database: "Database | None") -> Journal:
    """Return where a store keeps its records.

    Raises:
        ConfigError: There is no database, or it is of another kind.
    """
    if config.store_type == "memory":
        if config.connection_url is not None or database is not None:
            raise ConfigError("an event store in memory has no database: say store_type=, or leave the URL out")
        return MemoryJournal()
    from cello.database.config import DatabaseConfig
    from cello.database.sql.database import Database
    from cello.eventsourcing.sql import SqlJournal

    is_own = database is None
    url = config.connection_url
    if is_own and url is None:
        if config.store_type == "mysql":
            raise ConfigError(
                'EventSourcingConfig(store_type="mysql") needs connection_url=, or enable_database() with a database '
                "of that kind"
            )
        url = DEFAULT_SQLITE if config.store_type == "sqlite" else DatabaseConfig.local().url
    used = Database(DatabaseConfig(durable(str(url)))) if database is None else database
    kind = used._shared.address.kind
    if kind != config.store_type:
        raise ConfigError(f"EventSourcingConfig.store_type is {config.store_type!r}, but the database is one of {kind}")
    return SqlJournal(used, config.table_prefix, owns_database=is_own)


def durable(url: str) -> str:
    """Return the URL of a database whose commits are on the disk when they return; SQLite must be told."""
    if not url.startswith("sqlite") or "synchronous=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}synchronous=FULL"
