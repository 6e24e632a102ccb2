"""A transactional outbox: messages that are sent if, and only if, a transaction of the database is committed.

    async with app.database.transaction():
        await app.database.execute("INSERT INTO orders …")
        await app.outbox.send("orders", order)      # a row in the same transaction

Strategy: `send` writes a row into a table. A relay in every process tries to hold a lease, a row of a second table; who
has it reads the rows, oldest first, sends them, and deletes what the broker has confirmed.

Rule 1: a row is deleted after its message was confirmed, never before: killed in between, the next relay sends it
again, under the same id. What is committed is sent at least once.
Rule 2: rows are sent in the order of their making, by one process at a time. While the broker is away they wait.
Rule 3: a message that the broker refuses is tried again with growing pauses, while others go on. After `attempts` of
them its row stays, marked with the error, until somebody looks.
"""

import asyncio
import base64
import contextlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cello.errors import CelloError, ConfigError
from cello.http import json_codec
from cello.messaging.errors import BatchError, BrokerUnavailable
from cello.messaging.message import Outgoing
from cello.messaging.producer import Producer

logger = logging.getLogger("cello.messaging")

BATCH = 100
LEASE_S = 10.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
PARKED = 2**62
"""When a message is due that is not to be tried any more: never."""
BODY_TYPES = {"mysql": "LONGTEXT", "postgresql": "TEXT", "sqlite": "TEXT"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,50}")


class Database(Protocol):
    """What an outbox asks of a database, in whatever colour."""

    def execute(self, sql: str, /, *args: Any, **named: Any) -> Any:
        """Run a statement; return how many rows it touched."""

    def fetch_all(self, sql: str, /, *args: Any, **named: Any) -> Any:
        """Return rows as mappings."""


class Outbox:
    """Writes messages into the table.

    Args:
        database: Returns the application's database, for both colours.
        table: Its name; the lease is in one with "_lease" behind it.

    Raises:
        ConfigError: The name is none.
    """

    def __init__(self, database: Callable[[], Database], table: str) -> None:
        if not _NAME.fullmatch(table):
            raise ConfigError(f"an outbox's table is named by letters, digits and underscores, not {table!r:.80}")
        self.table = table
        self._database = database

    def send(
        self,
        topic: str,
        value: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        id: str | None = None,
        **options: Any,
    ) -> Any:
        """Have a message sent once the transaction at hand is committed; outside of one, soon.

        Awaited in `async def`, a plain call in `def`. The arguments are those of `Producer.send`.

        Raises:
            DatabaseError: It could not be written.
        """
        message = Outgoing.of(topic, value, key, headers, id=id, **options)
        now_ns = time.time_ns()
        return self._database().execute(
            f"INSERT INTO {self.table} (id, created_ns, topic, message_key, body, headers, options, attempts, due_ms) "
            "VALUES (:id, :created_ns, :topic, :key, :body, :headers, :options, 0, :due_ms)",
            id=message.id,
            created_ns=now_ns,
            topic=topic,
            key=key,
            body=base64.b64encode(message.value).decode(),
            headers=json_codec.encode(message.headers).decode(),
            options=json_codec.encode(message.options).decode(),
            due_ms=now_ns // 1_000_000,
        )

    async def make_tables(self, database: Database, kind: str) -> None:
        """Make the tables where they are not there.

        Args:
            database: For `async def`.
            kind: "sqlite", "postgresql" or "mysql".
        """
        body = BODY_TYPES[kind]
        await database.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} (id VARCHAR(255) PRIMARY KEY, created_ns BIGINT NOT NULL, "
            f"topic VARCHAR(255) NOT NULL, message_key VARCHAR(255), body {body} NOT NULL, headers {body} NOT NULL, "
            f"options {body} NOT NULL, attempts INTEGER NOT NULL, due_ms BIGINT NOT NULL, error VARCHAR(1000))"
        )
        await database.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table}_lease "
            "(id INTEGER PRIMARY KEY, owner VARCHAR(80) NOT NULL, until_ms BIGINT NOT NULL)"
        )


class Relay:
    """Sends what is in the table, in the background.

    Args:
        outbox: The table.
        database: For `async def`.
        producer: Sends.
        interval_s: The pause after which it looks again, when there was nothing.
        attempts: How often a message is tried that the broker refuses.
    """

    def __init__(
        self, outbox: Outbox, database: Database, producer: Producer, *, interval_s: float = 0.2, attempts: int = 10
    ) -> None:
        self._table = outbox.table
        self._database = database
        self._producer = producer
        self._interval_s = interval_s
        self._attempts = attempts
        self._owner = f"{os.getpid()} {secrets.token_hex(8)}"
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End after the batch at hand, and let another process have the lease."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()
        await task
        with contextlib.suppress(CelloError):
            await self._database.execute(f"DELETE FROM {self._table}_lease WHERE owner = :owner", owner=self._owner)

    async def _run(self) -> None:
        problem = ""
        while not self._stopping.is_set():
            sent = 0
            try:
                sent = await self.send_once()
                problem = ""
            except CelloError as error:  # the database or the broker is away: its rows wait
                if str(error) != problem:
                    logger.warning("outbox %s: %s; trying again", self._table, error)
                problem = str(error)
            except Exception:
                logger.exception("outbox %s: unexpected", self._table)
            if sent < BATCH:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), self._interval_s)

    async def send_once(self) -> int:
        """Send what is due, at most a batch; return how many were sent.

        Raises:
            BrokerUnavailable: The broker is away.
            DatabaseError: The database is.
        """
        if not await self._holds_lease():
            return 0
        rows = await self._database.fetch_all(
            f"SELECT id, topic, message_key, body, headers, options, attempts, created_ns FROM {self._table} "
            f"WHERE due_ms <= :now ORDER BY created_ns, id LIMIT {BATCH}",
            now=_now_ms(),
        )
        if not rows:
            return 0
        errors: Mapping[int, Exception] = {}
        try:
            async with asyncio.timeout(LEASE_S / 2):  # else another process may send the same
                await self._producer.send_batch([_as_message(row) for row in rows])
        except BatchError as error:
            errors = error.errors
        except TimeoutError as error:
            raise BrokerUnavailable(f"a batch of {len(rows)} messages was not confirmed in time") from error
        await self._forget([row["id"] for place, row in enumerate(rows) if place not in errors])
        for place, refusal in errors.items():
            await self._put_off(rows[place], refusal)
        return len(rows) - len(errors)

    async def _holds_lease(self) -> bool:
        now = _now_ms()
        taken = await self._database.execute(
            f"UPDATE {self._table}_lease SET owner = :owner, until_ms = :until "
            "WHERE id = 1 AND (owner = :same OR until_ms < :now)",
            owner=self._owner, same=self._owner, until=now + int(LEASE_S * 1000), now=now,
        )  # fmt: skip
        if taken:
            return True
        found = await self._database.fetch_all(f"SELECT owner FROM {self._table}_lease WHERE id = 1")
        if found:
            return bool(found[0]["owner"] == self._owner)  # MySQL counts what has changed only
        try:
            await self._database.execute(
                f"INSERT INTO {self._table}_lease (id, owner, until_ms) VALUES (1, :owner, :until)",
                owner=self._owner, until=now + int(LEASE_S * 1000),
            )  # fmt: skip
        except CelloError:  # another process was first; or the database is away, which the next round says
            return False
        return True

    async def _forget(self, ids: list[str]) -> None:
        if ids:
            named = {f"id{number}": each for number, each in enumerate(ids)}
            places = ", ".join(f":{name}" for name in named)
            await self._database.execute(f"DELETE FROM {self._table} WHERE id IN ({places})", **named)

    async def _put_off(self, row: Mapping[str, Any], error: Exception) -> None:
        """Have a message tried again later, or not at all."""
        attempts = row["attempts"]
        if isinstance(error, BrokerUnavailable):
            due_ms = _now_ms()  # it is not the message's fault
        else:
            attempts += 1
            due_ms = _now_ms() + int(1000 * min(FIRST_PAUSE_S * 2 ** (attempts - 1), LONGEST_PAUSE_S))
        if attempts >= self._attempts:
            due_ms = PARKED
            logger.error("outbox %s: message %s to %s is given up: %s", self._table, row["id"], row["topic"], error)
        await self._database.execute(
            f"UPDATE {self._table} SET attempts = :attempts, due_ms = :due_ms, error = :error WHERE id = :id",
            attempts=attempts, due_ms=due_ms, error=f"{type(error).__name__}: {error}"[:1000], id=row["id"],
        )  # fmt: skip


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _as_message(row: Mapping[str, Any]) -> Outgoing:
    return Outgoing(
        row["topic"],
        base64.b64decode(row["body"]),
        row["message_key"],
        json_codec.decode(row["headers"].encode()),
        row["id"],
        row["created_ns"] / 1e9,
        json_codec.decode(row["options"].encode()),
    )
