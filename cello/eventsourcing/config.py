"""EventSourcingConfig: which store, and how it is kept."""

from typing import Any, Self

from cello.config import config, field
from cello.errors import ConfigError

STORES = ("memory", "sqlite", "postgresql", "mysql")
DEFAULT_SQLITE = "sqlite://cello_events.db"
"""What "sqlite" is without a URL: a file in the working directory."""


@config
class EventSourcingConfig:
    """Which event store, and how it is kept.

    Attributes:
        store_type: "memory" (of this process, gone with it), "sqlite", "postgresql" or "mysql" (MariaDB too).
        snapshot_interval: Events of an aggregate after which its repository takes another snapshot.
        enable_snapshots: Whether repositories take and read snapshots.
        max_events_per_aggregate: Most events of one aggregate, beyond which appending is refused; 0 for no limit.
        event_ttl_secs: Seconds after which events are moved to the archive, where they can still be read; 0 for never.
        connection_url: Where the database is. None: the one of `enable_database`, if it is of that kind; else for
            "sqlite" the file "cello_events.db", and for "postgresql" the server on this machine, as
            `DatabaseConfig.local()` has it.
        table_prefix: What the names of the tables begin with; several stores in one database have one each.
        poll_ms: Milliseconds between two looks for events that other processes appended, where somebody waits for them.
        lease_secs: Seconds after which another process takes over from one that died.
    """

    store_type: str = field(default="memory", one_of=STORES)
    snapshot_interval: int = field(default=100, at_least=1)
    enable_snapshots: bool = True
    max_events_per_aggregate: int = field(default=10_000, at_least=0)
    event_ttl_secs: float = field(default=0, at_least=0)
    connection_url: str | None = None
    table_prefix: str = "cello_"
    poll_ms: float = field(default=100, above=0)
    lease_secs: float = field(default=10, above=0)

    def __post_init__(self) -> None:
        prefix = self.table_prefix
        if type(prefix) is str and not (prefix.isascii() and prefix.isidentifier() and len(prefix) <= 30):
            raise ConfigError(
                f"EventSourcingConfig.table_prefix must be up to 30 ASCII letters, digits and _, not {prefix!r:.80}"
            )
        if self.connection_url is not None and type(self.connection_url) is str and self.store_type in STORES:
            self._check_url(self.connection_url)

    def _check_url(self, url: str) -> None:
        from cello.database.config import DatabaseConfig  # only a store in a database has one
        from cello.database.sql.address import Address

        kind = Address.of(DatabaseConfig(url)).kind
        if kind != self.store_type:
            raise ConfigError(
                f"EventSourcingConfig.connection_url is one of {kind}, but store_type is {self.store_type!r}: "
                f"say store_type={kind!r}, or leave the URL out"
            )

    @classmethod
    def memory(cls, **options: Any) -> Self:
        """Return the config of a store in the memory of this process; `options` are further fields."""
        return cls(store_type="memory", **options)

    @classmethod
    def sqlite(cls, url: str | None = None, **options: Any) -> Self:
        """Return the config of a store in a file; `url` as `DatabaseConfig` takes it."""
        return cls(store_type="sqlite", connection_url=url, **options)

    @classmethod
    def postgresql(cls, url: str | None = None, **options: Any) -> Self:
        """Return the config of a store in PostgreSQL."""
        return cls(store_type="postgresql", connection_url=url, **options)

    @classmethod
    def mysql(cls, url: str | None = None, **options: Any) -> Self:
        """Return the config of a store in MySQL or MariaDB."""
        return cls(store_type="mysql", connection_url=url, **options)

    def __repr__(self) -> str:
        return f"EventSourcingConfig(store_type={self.store_type!r}, snapshot_interval={self.snapshot_interval})"
