"""The config classes of databases and Redis; nothing here imports a driver."""

from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import quote

from cello.config import config, field
from cello.database.redis.address import RedisAddress
from cello.database.sql.address import Address
from cello.errors import ConfigError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@config
class DatabaseConfig:
    """Which database, and how its connections are kept.

    Attributes:
        url: `sqlite://app.db`, `sqlite://:memory:`, `postgresql://user:password@host/name`, `mysql://…`, `mariadb://…`.
        pool_size: Most connections; `def` and `async def` handlers have a pool of this size each, opened when used.
        min_idle: Connections kept open though nobody uses them, `pool_size` at most.
        max_lifetime_secs: Seconds after which a connection is replaced, once it is free.
        connection_timeout_secs: Seconds that opening a connection may take, and waiting for a free one of the pool.
        idle_timeout_secs: Seconds after which an unused connection is closed, down to `min_idle`.
        application_name: What the server's list of connections shows; PostgreSQL and MySQL.
        sslmode: As libpq has it: "disable", "allow", "prefer", "require", "verify-ca", "verify-full".
        sslrootcert: File with the certificates of trusted authorities.
        sslcert: File with the client's certificate.
        sslkey: File with its key.
        slow_query_ms: Statements that take longer are logged as a warning by "cello.database"; None for none.
    """

    url: str
    pool_size: int = field(default=10, at_least=1)
    min_idle: int = field(default=1, at_least=0)
    max_lifetime_secs: float = field(default=1800, above=0)
    connection_timeout_secs: float = field(default=5, above=0)
    idle_timeout_secs: float = field(default=300, above=0)
    application_name: str | None = None
    sslmode: str | None = field(default=None, one_of=SSL_MODES)
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    slow_query_ms: float | None = field(default=1000, at_least=0)

    def __post_init__(self) -> None:
        if type(self.url) is str:  # what else it is the check of its type says
            Address.of(self)

    @classmethod
    def postgres(
        cls,
        host: str = "127.0.0.1",
        port: int = 5432,
        database: str = "postgres",
        user: str = "postgres",
        password: str | None = None,
        **options: Any,
    ) -> Self:
        """Return the config of a PostgreSQL server; `options` are further fields."""
        who = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        where = f"[{host}]" if ":" in host and not host.startswith("/") else quote(host, safe="")
        return cls(url=f"postgresql://{who}@{where}:{port}/{quote(database, safe='')}", **options)

    @classmethod
    def local(cls, **options: Any) -> Self:
        """Return the config of the PostgreSQL server on this machine: user and database "postgres"."""
        return cls.postgres(**options)

    def __repr__(self) -> str:
        return f"DatabaseConfig({Address.of(self).safe_url!r}, pool_size={self.pool_size})"


@config
class RedisConfig:
    """Which Redis server or cluster, and how its connections are kept.

    Attributes:
        url: `redis://[[user]:password@]host[:port][/database]`, `rediss://…` with TLS, `unix://path`.
        pool_size: Most connections; `def` and `async def` handlers have a pool of this size each, opened when used.
        min_idle: Connections opened at start-up.
        connection_timeout_secs: Seconds that connecting, an answer, and waiting for a free connection may take.
        idle_timeout_secs: Seconds after which a connection that nobody used is checked before it is used again.
        cluster_mode: The server is part of a cluster.
        default_ttl: Seconds that keys written by `set` live where the call says nothing; None for ever.
        database: The number of the database; where the URL names one too they must agree. A cluster has only 0.
        password: Instead of one in the URL.
        tls: Speak TLS, as `rediss://` does.
        key_prefix: Put in front of every key and channel, and taken off what comes back.
        nodes: More nodes of a cluster to begin with, as "host:port".
        tls_ca_file: File with the certificates of trusted authorities; None for the system's.
    """

    url: str = "redis://127.0.0.1:6379"
    pool_size: int = field(default=10, at_least=1)
    min_idle: int = field(default=1, at_least=0)
    connection_timeout_secs: float = field(default=5, above=0)
    idle_timeout_secs: float = field(default=300, above=0)
    cluster_mode: bool = False
    default_ttl: float | None = field(default=None, above=0)
    database: int = field(default=0, at_least=0)
    password: str | None = None
    tls: bool = False
    key_prefix: str | None = None
    nodes: Sequence[str] = ()
    tls_ca_file: str | None = None

    def __post_init__(self) -> None:
        if type(self.url) is str:  # what else it is the check of its type says
            RedisAddress.of(self)

    @classmethod
    def local(cls, **options: Any) -> Self:
        """Return the config of the server on this machine."""
        return cls(**options)

    @classmethod
    def cluster(
        cls,
        url: str | Sequence[str] | None = None,
        *,
        nodes: Sequence[str] | None = None,
        pool_size: int = 20,
        password: str | None = None,
        **options: Any,
    ) -> Self:
        """Return the config of a cluster.

        Args:
            url: Any of its nodes, or a list of them.
            nodes: Some of them, as "host:port" or URLs; instead of `url`.
            pool_size: Most connections to each node.
            password: The password of all nodes.
            options: Further fields.
        """
        given = [url] if isinstance(url, str) else [*(url or ()), *(nodes or ())]
        if not given:
            raise ConfigError("RedisConfig.cluster() needs the URL of a node, or nodes=[...]")
        first, *rest = (node if "://" in node else f"redis://{node}" for node in given)
        others = [node.partition("://")[2].rpartition("@")[2].partition("/")[0] for node in rest]
        return cls(url=first, nodes=others, pool_size=pool_size, password=password, cluster_mode=True, **options)

    def __repr__(self) -> str:
        return f"RedisConfig({RedisAddress.of(self).safe_url!r}, pool_size={self.pool_size})"
