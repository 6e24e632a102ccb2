"""PostgreSQL, by asyncpg.

JSON columns are Python objects both ways (a `str` given for one is JSON text), arrays are lists, `timestamptz` has its
zone, `numeric` is Decimal. A statement that was cancelled is cancelled on the server, which asyncpg does by itself.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from cello.database.errors import ConnectionLost, DatabaseError, DataError, OperationalError, ProgrammingError
from cello.database.sql.address import Address
from cello.database.sql.driver import Row, by_sqlstate, lost
from cello.database.sql.statements import DOLLAR
from cello.http import json_codec


class PostgresDriver:
    """A driver (`driver.Driver`)."""

    system = "postgresql"
    shares_stream = True
    style = DOLLAR

    def __init__(self, address: Address) -> None:
        import asyncpg  # type: ignore[import-untyped]  # an extra without types, loaded when a database is opened

        self.where = address.safe_url
        self._asyncpg = asyncpg
        self._dsn = dsn(address)

    async def connect(self) -> Any:
        """Open a connection that reads and writes JSON."""
        raw = await self._asyncpg.connect(self._dsn)
        for name in ("json", "jsonb"):
            await raw.set_type_codec(name, encoder=_to_json, decoder=_from_json, schema="pg_catalog")
        return raw

    async def close(self, raw: Any) -> None:
        """Close in order."""
        await raw.close()

    def terminate(self, raw: Any) -> None:
        """Close at once."""
        raw.terminate()

    def is_closed(self, raw: Any) -> bool:
        """Whether the socket is closed."""
        return bool(raw.is_closed())

    async def ping(self, raw: Any) -> None:
        """Ask for a number."""
        await raw.execute("SELECT 1")

    async def mend(self, raw: Any) -> bool:
        """Wait for the server to have cancelled, then leave the transaction."""
        if raw.is_closed():
            return False
        await raw.execute("ROLLBACK" if raw.is_in_transaction() else "SELECT 1")
        return True

    async def fetch(self, raw: Any, sql: str, values: Sequence[Any]) -> list[Row]:
        """Return all rows."""
        return [dict(record) for record in await raw.fetch(sql, *values)]

    async def execute(self, raw: Any, sql: str, values: Sequence[Any]) -> int:
        """Return the number in the status, "INSERT 0 1"."""
        status: str = await raw.execute(sql, *values)
        number = status.rpartition(" ")[2]
        return int(number) if number.isdigit() else 0

    async def execute_many(self, raw: Any, sql: str, sets: Sequence[Sequence[Any]]) -> None:
        """Run in one batch."""
        await raw.executemany(sql, sets)

    async def iterate(self, raw: Any, sql: str, values: Sequence[Any], batch: int) -> AsyncGenerator[list[Row], None]:
        """Read through a cursor of the server."""
        cursor = await raw.cursor(sql, *values)
        while records := await cursor.fetch(batch):
            yield [dict(record) for record in records]

    def begin(self, isolation: str | None, *, read_only: bool) -> Sequence[str]:
        """One statement."""
        level = f" ISOLATION LEVEL {isolation.upper()}" if isolation else ""
        return (f"BEGIN{level}{' READ ONLY' if read_only else ''}",)

    async def end(self, raw: Any, sql: str) -> None:
        """Run it."""
        await raw.execute(sql)

    def translate(self, error: BaseException) -> DatabaseError | None:
        """By SQLSTATE; what asyncpg raises itself by class."""
        asyncpg = self._asyncpg
        if isinstance(error, asyncpg.PostgresError):
            return by_sqlstate(error.sqlstate or "", str(error))
        if isinstance(error, asyncpg.InterfaceError):
            if isinstance(error, ValueError):  # a value that its type cannot take
                return DataError(str(error))
            is_closed = "closed" in str(error)
            return ConnectionLost(str(error)) if is_closed else ProgrammingError(str(error))
        if isinstance(error, asyncpg.InternalClientError):
            return OperationalError(str(error))
        return lost(error)


def dsn(address: Address) -> str:
    """Return the URL as asyncpg reads it, TLS and names in its query."""
    who = quote(address.user, safe="") + ("" if address.password is None else f":{quote(address.password, safe='')}")
    options = dict(address.options)
    host = f"[{address.host}]" if ":" in address.host else address.host
    where = f"{host}:{address.port}"
    if host.startswith("/"):  # the folder of a unix socket
        options.update(host=host, port=str(address.port))
        where = ""
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{who}{'@' if who else ''}{where}/{quote(address.database, safe='')}{query}"


def _to_json(value: Any) -> str:
    return value if isinstance(value, str) else json_codec.encode(value).decode()


def _from_json(text: str) -> Any:
    return json_codec.decode(text.encode())
