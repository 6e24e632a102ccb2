"""Leases: of all processes on all machines that use a database, one holds a name, for as long as it renews it.

    leases = Leases(database)
    await leases.prepare()
    token = await leases.acquire("nightly", owner, 10)
    if token is not None: ...

Rule 1: time is the database's, so that machines need not agree about theirs.
Rule 2: each acquisition has a higher token than all before of its name. Who was slow, and whose lease has passed to
another meanwhile, is found out by what it writes to: a row that keeps the highest token refuses lower ones.
"""

import os
import socket
from typing import Any

from cello.database.tables import make_tables

_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
}


def now_ms(kind: str) -> str:
    """Return the SQL of the time now, in milliseconds since 1970, for "sqlite", "postgresql" or "mysql"."""
    return _NOW[kind]


def new_owner() -> str:
    """Return a name that no other holder has, which says for people where it is."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{os.urandom(6).hex()}"


class Leases:
    """The leases of a database.

    Args:
        database: A `Database`.
        prefix: What the name of the table, `<prefix>leases`, begins with.
    """

    def __init__(self, database: Any, prefix: str = "cello_") -> None:
        self._database = database
        kind: str = database._shared.address.kind
        table, now = f"{prefix}leases", now_ms(kind)
        name = "VARCHAR(255)" if kind != "sqlite" else "TEXT"
        end = " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if kind == "mysql" else ""
        self._table = (
            f"CREATE TABLE IF NOT EXISTS {table} (name {name} NOT NULL PRIMARY KEY, owner {name} NOT NULL, "
            f"token BIGINT NOT NULL, expires_ms BIGINT NOT NULL){end}"
        )
        ignore, rest = ("INSERT IGNORE", "") if kind == "mysql" else ("INSERT", " ON CONFLICT DO NOTHING")
        self._begin = f"{ignore} INTO {table} (name, owner, token, expires_ms) VALUES ($1, '', 0, 0){rest}"
        self._acquire = (
            f"UPDATE {table} SET owner = $2, token = token + 1, expires_ms = {now} + $3 "
            f"WHERE name = $1 AND (expires_ms <= {now} OR owner = $2)"
        )
        self._token = f"SELECT token FROM {table} WHERE name = $1 AND owner = $2"
        # What is written must differ from what was there, as MySQL counts only rows that changed.
        self._renew = (
            f"UPDATE {table} SET expires_ms = "
            f"CASE WHEN {now} + $4 > expires_ms THEN {now} + $4 ELSE expires_ms + 1 END "
            f"WHERE name = $1 AND owner = $2 AND token = $3"
        )
        self._release = f"UPDATE {table} SET owner = '', expires_ms = 0 WHERE name = $1 AND owner = $2 AND token = $3"
        self._holder = f"SELECT owner FROM {table} WHERE name = $1 AND expires_ms > {now}"

    async def prepare(self) -> None:
        """Make the table, where it is missing."""
        await make_tables(self._database, [self._table])

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        """Hold `name` for so long; return the token of the acquisition, None where another holds it."""
        touched = await self._database.execute(self._acquire, name, owner, int(seconds * 1000))
        if not touched:
            if await self.holder(name) is not None:
                return None
            await self._database.execute(self._begin, name)
            touched = await self._database.execute(self._acquire, name, owner, int(seconds * 1000))
            if not touched:
                return None
        token: int | None = await self._database.fetch_val(self._token, name, owner)
        return token

    async def renew(self, name: str, owner: str, token: int, seconds: float) -> bool:
        """Hold it for so long from now on; False where it has passed to another."""
        return bool(await self._database.execute(self._renew, name, owner, token, int(seconds * 1000)))

    async def release(self, name: str, owner: str, token: int) -> None:
        """Hold it no more, so that another need not wait."""
        await self._database.execute(self._release, name, owner, token)

    async def holder(self, name: str) -> str | None:
        """Return who holds it, or None."""
        found: str | None = await self._database.fetch_val(self._holder, name)
        return found
