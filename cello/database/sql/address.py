"""Where a database is: every form of URL that users write, read once into the parts that drivers want.

SQLite: `sqlite://app.db`, `sqlite:///app.db` and `sqlite:app.db` are relative to the working directory,
`sqlite:////srv/app.db` is absolute, `sqlite://`, `sqlite://:memory:` and `sqlite:///:memory:` live in memory.
Servers: a driver after "+" and SQLAlchemy's or Heroku's spellings (`postgres://`, `mysql+pymysql://`) mean the same.
"""

import os
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cello.errors import ConfigError, MissingDependency

_KINDS = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "pgsql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_SSL_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_MYSQL_MODES = ("disable", "require", "verify-ca", "verify-full")
MEMORY = ":memory:"

DRIVERS = {"postgresql": ("asyncpg", "postgres"), "mysql": ("aiomysql", "mysql")}
"""Kind → the module that must be there, and the extra that brings it; SQLite needs none."""


class Located(Protocol):
    """What an address is made of: a `DatabaseConfig`, with also the fields of TLS and names."""

    @property
    def url(self) -> str:
        """The URL as the user wrote it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database's URL, taken apart.

    Attributes:
        kind: "sqlite", "postgresql" or "mysql".
        database: Its name; for SQLite the path of its file, or `:memory:`.
        host: The server's name, address, or the path of its socket or socket folder.
        port: Its port.
        user: Who signs in; "" for the driver's default.
        password: With what.
        options: The URL's query, and what the config says about TLS and names in the same terms.
    """

    kind: str
    database: str
    host: str
    port: int
    user: str
    password: str | None
    options: dict[str, str]

    @classmethod
    def of(cls, config: Located) -> "Address":
        """Read the URL of a config.

        Raises:
            ConfigError: It is none, or another field means nothing to this kind of database.
        """
        scheme, colon, rest = config.url.partition(":")
        kind = _KINDS.get(scheme.lower().partition("+")[0])
        if not colon or kind is None:
            known = "sqlite://, postgresql://, mysql:// or mariadb://"
            raise ConfigError(f"DatabaseConfig.url must begin with {known}: {_bounded(config.url)}")
        given = {name: getattr(config, name) for name in (*_SSL_OPTIONS, "application_name")}
        said = {name: str(value) for name, value in given.items() if value is not None}
        if kind == "sqlite":
            for name in said:
                raise ConfigError(f"DatabaseConfig.{name} means nothing to SQLite, which is a file")
            return cls._of_file(rest)
        return cls._of_server(kind, config.url, said)

    @classmethod
    def _of_file(cls, rest: str) -> "Address":
        path, _, query = rest.partition("?")
        path = path.removeprefix("//")
        if path.startswith("/") and path != "/":
            path = path[1:]
        path = unquote(path)
        options = dict(parse_qsl(query, keep_blank_values=True))
        return cls("sqlite", path if path not in ("", "/") else MEMORY, "", 0, "", None, options)

    @classmethod
    def _of_server(cls, kind: str, url: str, said: dict[str, str]) -> "Address":
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[kind]
            host = unquote(parts.hostname or "")
        except ValueError as error:
            raise ConfigError(f"DatabaseConfig.url: {error}: {_bounded(url)}") from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        options.update(said)
        mode = options.get("sslmode")
        if kind == "mysql" and mode is not None and mode not in _MYSQL_MODES:
            raise ConfigError(f"DatabaseConfig.sslmode must be one of {_MYSQL_MODES} for MySQL, not {mode!r:.80}")
        password = None if parts.password is None else unquote(parts.password)
        database = unquote(parts.path.lstrip("/"))
        return cls(
            kind,
            database,
            options.pop("host", host) or "127.0.0.1",
            port,
            unquote(parts.username or ""),
            password,
            options,
        )

    @property
    def is_memory(self) -> bool:
        """Whether it is an SQLite database without a file."""
        return self.database == MEMORY and self.kind == "sqlite"

    @property
    def safe_url(self) -> str:
        """The URL without its password and options, for messages."""
        if self.kind == "sqlite":
            return f"sqlite://{self.database}"
        who = f"{self.user}@" if self.user else ""
        return f"{self.kind}://{who}{self.host}:{self.port}/{self.database}"

    def sqlalchemy_url(self) -> str:
        """The URL as SQLAlchemy's asyncio drivers want it, without TLS, which goes into `connect_args`."""
        if self.kind == "sqlite":
            path = "" if self.is_memory else f"/{os.path.abspath(self.database)}"
            return f"sqlite+aiosqlite://{path}"
        driver = DRIVERS[self.kind][0]
        who = quote(self.user, safe="") + ("" if self.password is None else f":{quote(self.password, safe='')}")
        is_socket = self.host.startswith("/")
        where = "" if is_socket else (f"[{self.host}]" if ":" in self.host else self.host) + f":{self.port}"
        query = f"?{urlencode({'host': self.host})}" if is_socket else ""
        return f"{self.kind}+{driver}://{who}{'@' if who else ''}{where}/{quote(self.database, safe='')}{query}"

    def require_driver(self, who: str) -> None:
        """Check that the driver is installed, without loading it.

        Raises:
            MissingDependency: It is not; the message names the extra.
        """
        if self.kind == "sqlite":
            return
        from importlib.util import find_spec  # only an application with a database asks

        module, extra = DRIVERS[self.kind]
        if find_spec(module) is None:
            raise MissingDependency(f"{who} needs {module!r} for {self.kind}: pip install 'cello[{extra}]'")


def _bounded(url: str) -> str:
    """Return a URL for a message, its password hidden."""
    before, at, after = url.rpartition("@")
    if at and "://" in before:
        scheme, _, who = before.partition("://")
        url = f"{scheme}://{who.partition(':')[0]}:***@{after}"
    return f"{url!r:.120}"
