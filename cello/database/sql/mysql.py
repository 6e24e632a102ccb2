"""MySQL and MariaDB, by aiomysql.

The session's time zone is UTC: a datetime with a zone is written as UTC, and read as UTC without a zone, as MySQL keeps
none. Dicts and lists are written as JSON; JSON columns of MySQL are read as Python objects, those of MariaDB are text
there and are read by `into=`.
"""

import ssl
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

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
from cello.database.sql.address import Address
from cello.database.sql.driver import Row, lost
from cello.database.sql.statements import FORMAT
from cello.errors import ConfigError
from cello.http import json_codec

_JSON = 245
_CODES: dict[int, type[DatabaseError]] = {
    **dict.fromkeys((1022, 1062, 1586), UniqueViolation),
    **dict.fromkeys((1216, 1217, 1451, 1452), ForeignKeyViolation),
    **dict.fromkeys((1048, 1364), NotNullViolation),
    **dict.fromkeys((3819, 4025), CheckViolation),
    **dict.fromkeys((1020, 1205, 1213), TransactionConflict),
    **dict.fromkeys((1264, 1265, 1292, 1365, 1366, 1406), DataError),
    # Full, out of memory, too many connections, who may not sign in, a statement that was stopped.
    **dict.fromkeys((1021, 1037, 1038, 1040, 1041, 1044, 1045, 1049, 1114, 1129, 1203, 1226, 1317), OperationalError),
    **dict.fromkeys((1053, 1152, 1158, 1159, 1160, 1161, 1927), ConnectionLost),
    **dict.fromkeys((2002, 2003, 2005, 2026), OperationalError),
    **dict.fromkeys((2006, 2013, 2014, 2055), ConnectionLost),
}


class MysqlDriver:
    """A driver (`driver.Driver`)."""

    system = "mysql"
    shares_stream = False
    style = FORMAT

    def __init__(self, address: Address) -> None:
        import aiomysql  # type: ignore[import-untyped]  # an extra without types, loaded when a database is opened
        import pymysql  # type: ignore[import-untyped]

        self.where = address.safe_url
        self._errors = pymysql.err
        self._connect = aiomysql.connect
        self._options = options_of(address)

        self._cursor = type("Cursor", (_CursorManners, aiomysql.Cursor), {})
        self._stream_cursor = type("StreamCursor", (_CursorManners, aiomysql.SSCursor), {})

    async def connect(self) -> Any:
        """Open a connection in autocommit."""
        return await self._connect(cursorclass=self._cursor, **self._options)

    async def close(self, raw: Any) -> None:
        """Say goodbye and close."""
        await raw.ensure_closed()

    def terminate(self, raw: Any) -> None:
        """Close at once."""
        raw.close()

    def is_closed(self, raw: Any) -> bool:
        """Whether either side has closed."""
        return bool(raw.closed or raw._reader is None or raw._reader.at_eof())

    async def ping(self, raw: Any) -> None:
        """Ask by the protocol's own ping."""
        await raw.ping(reconnect=False)

    async def mend(self, raw: Any) -> bool:
        """Have the server stop the statement; the connection cannot be used again."""
        number = raw.thread_id()
        raw.close()
        other = await self.connect()
        try:
            async with other.cursor() as cursor:
                await cursor.execute(f"KILL {int(number)}")
        except self._errors.MySQLError:
            return False  # it has ended by itself
        finally:
            other.close()
        return False

    async def fetch(self, raw: Any, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return all rows."""
        async with raw.cursor() as cursor:
            await cursor.execute(sql, _adapted(values))
            return _rows(cursor.description, await cursor.fetchall())

    async def execute(self, raw: Any, sql: str, values: Sequence[Any]) -> int:
        """Return how many rows were touched."""
        async with raw.cursor() as cursor:
            await cursor.execute(sql, _adapted(values))
            return max(0, int(cursor.rowcount)) if cursor.description is None else 0

    async def execute_many(self, raw: Any, sql: str, sets: Sequence[Sequence[Any]]) -> None:
        """Run them; an INSERT as statements of many rows."""
        async with raw.cursor() as cursor:
            await cursor.executemany(sql, [_adapted(values) for values in sets])

    async def iterate(self, raw: Any, sql: str, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        """Read rows off the connection as they come."""
        async with raw.cursor(self._stream_cursor) as cursor:
            await cursor.execute(sql, _adapted(values))
            while rows := await cursor.fetchmany(batch):
                yield _rows(cursor.description, rows)

    def begin(self, isolation: str | None, *, read_only: bool) -> Sequence[str]:
        """The level is said before."""
        start = f"START TRANSACTION{' READ ONLY' if read_only else ''}"
        return (f"SET TRANSACTION ISOLATION LEVEL {isolation.upper()}", start) if isolation else (start,)

    async def end(self, raw: Any, sql: str) -> None:
        """Run it."""
        async with raw.cursor() as cursor:
            await cursor.execute(sql)

    def translate(self, error: BaseException) -> DatabaseError | None:
        """By number, else by class."""
        errors = self._errors
        if isinstance(error, errors.MySQLError):
            code = error.args[0] if error.args and isinstance(error.args[0], int) else None
            message = str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__
            kind: type[DatabaseError] | None = _CODES.get(code or 0)
            if kind is None:
                kind = next((ours for theirs, ours in _classes(errors) if isinstance(error, theirs)), DatabaseError)
            return kind(message, code=code)
        if isinstance(error, RuntimeError) and "closed" in str(error).lower():
            return ConnectionLost(str(error))
        return lost(error)


class _CursorManners:
    """What our cursors do otherwise than aiomysql's."""

    async def _show_warnings(self, conn: Any) -> None:
        """Do not ask for warnings, which costs a trip and ends up in Python's warnings."""

    def _escape_args(self, args: Sequence[Any], conn: Any) -> tuple[Any, ...]:
        # COMPAT: aiomysql 0.3 writes bytes by a function that PyMySQL 1.2 has no more.
        return tuple(f"_binary X'{arg.hex()}'" if isinstance(arg, bytes) else conn.literal(arg) for arg in args)


def _classes(errors: Any) -> Sequence[tuple[type[BaseException], type[DatabaseError]]]:
    return (
        (errors.IntegrityError, IntegrityError),
        (errors.DataError, DataError),
        (errors.ProgrammingError, ProgrammingError),
        (errors.NotSupportedError, ProgrammingError),
        (errors.InterfaceError, ConnectionLost),
        # What PyMySQL calls every number of the server's that it does not know: an unknown column among them.
        (errors.OperationalError, ProgrammingError),
    )


def options_of(address: Address) -> dict[str, Any]:
    """Return what aiomysql connects with.

    Raises:
        ConfigError: A TLS file or an option of the URL cannot be used.
    """
    options: dict[str, Any] = {
        "user": address.user or None,
        "password": address.password or "",
        "db": address.database or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "init_command": "SET time_zone = '+00:00'",
    }
    if address.host.startswith("/"):
        options["unix_socket"] = address.host
    else:
        options.update(host=address.host, port=address.port)
    known = {"application_name": "program_name", "charset": "charset", "unix_socket": "unix_socket"}
    for name, value in address.options.items():
        if name in known:
            options[known[name]] = value
        elif name not in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
            raise ConfigError(f"DatabaseConfig.url: MySQL knows no option {name!r:.80}; known: {', '.join(known)}")
    context = _tls(address.options)
    if context is not None:
        options["ssl"] = context
    return options


def _tls(options: dict[str, str]) -> ssl.SSLContext | None:
    """Return what `sslmode` and its files ask for; files alone ask for "verify-full"."""
    files = options.get("sslrootcert"), options.get("sslcert"), options.get("sslkey")
    mode = options.get("sslmode") or ("verify-full" if any(files) else "disable")
    if mode == "disable":
        return None
    authority, certificate, key = files
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError(f"DatabaseConfig: the TLS files {files} cannot be used: {error}") from None
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _adapted(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(value if type(value) in _AS_THEY_ARE else _adapt(value) for value in values)


_AS_THEY_ARE = frozenset((int, str, bytes, float, bool, type(None)))


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, dict | list):
        return json_codec.encode(value).decode()
    if isinstance(value, Enum):
        return _adapt(value.value)
    if isinstance(value, UUID):
        return str(value)
    return bytes(value) if isinstance(value, memoryview) else value


def _rows(description: Any, rows: Sequence[Sequence[Any]]) -> list[Row]:
    names = [column[0] for column in description or ()]
    made = [dict(zip(names, row, strict=True)) for row in rows]
    for name in [column[0] for column in description or () if column[1] == _JSON]:
        for row in made:
            if isinstance(row[name], str):
                row[name] = json_codec.decode(row[name].encode())
    return made
