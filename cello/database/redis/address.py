"""Where Redis is: the URL and the fields of a config, read once and made one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cello.errors import ConfigError

_SCHEMES = ("redis", "rediss", "unix")
_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A server, or the nodes of a cluster to begin with.

    Attributes:
        nodes: (host, port) of each; none for a unix socket.
        path: Of the unix socket, or "".
        user: Who signs in; None for the default user.
        password: With what.
        database: The number of the database.
        tls: Whether to speak TLS.
    """

    nodes: Sequence[tuple[str, int]]
    path: str
    user: str | None
    password: str | None
    database: int
    tls: bool

    @classmethod
    def of(cls, config: Any) -> "RedisAddress":
        """Read a `RedisConfig`.

        Raises:
            ConfigError: The URL is none, or says something else than a field.
        """
        try:
            parts = urlsplit(config.url)
            host, port = unquote(parts.hostname or "127.0.0.1"), parts.port or _PORT
        except ValueError as error:
            raise ConfigError(f"RedisConfig.url: {error}") from None
        if parts.scheme not in _SCHEMES:
            raise ConfigError("RedisConfig.url must begin with redis://, rediss:// or unix://")
        query = dict(parse_qsl(parts.query))
        unknown = query.keys() - {"db"}
        if unknown:
            raise ConfigError(f"RedisConfig.url knows no option {min(unknown)!r:.80}; use the fields of RedisConfig")
        is_socket = parts.scheme == "unix"
        number = query.get("db") or ("" if is_socket else parts.path.strip("/"))
        if number and not number.isdecimal():
            raise ConfigError(f"RedisConfig.url: the database is a number, not {number!r:.80}")
        database = int(number or config.database)
        if number and config.database and database != config.database:
            raise ConfigError(f"RedisConfig.url says database {database}, RedisConfig.database says {config.database}")
        password = None if parts.password is None else unquote(parts.password)
        if password and config.password and password != config.password:
            raise ConfigError("RedisConfig.url and RedisConfig.password say different passwords")
        tls = config.tls or parts.scheme == "rediss"
        if config.tls_ca_file is not None and not tls:
            raise ConfigError("RedisConfig.tls_ca_file means nothing without TLS: use rediss:// or tls=True")
        if config.cluster_mode and (is_socket or database):
            raise ConfigError("a Redis cluster has database 0 only, and no unix socket")
        if config.nodes and not config.cluster_mode:
            raise ConfigError("RedisConfig.nodes means nothing without cluster_mode=True")
        if isinstance(config.nodes, str):
            raise ConfigError("RedisConfig.nodes is a list of 'host:port'")
        return cls(
            [] if is_socket else [(host, port), *map(_node, config.nodes)],
            unquote((parts.netloc + parts.path) if is_socket else ""),
            unquote(parts.username) if parts.username else None,
            password or config.password or None,
            database,
            tls,
        )

    @property
    def safe_url(self) -> str:
        """The URL without its password, for messages."""
        if self.path:
            return f"unix://{self.path}"
        host, port = self.nodes[0]
        return f"redis{'s' if self.tls else ''}://{host}:{port}/{self.database}"


def _node(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, _PORT
    if not port.isdecimal():
        raise ConfigError(f"RedisConfig.nodes: {text!r:.80} is no host:port")
    return host.strip("[]"), int(port)
