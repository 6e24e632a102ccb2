"""The log: one row for each execution, in any database of cello's, and the events that were signalled to it.

Rule 1: a change is one UPDATE that names the version it is based on, so of two that are based on the same one exactly
one happens. A runner that has lost its lease finds out by its next change, which does not happen.
Rule 2: `due_ms` says when somebody should take the execution: the end of the lease of who runs it, or of what it waits
for. Who takes it moves `due_ms` on; of many who try, the one UPDATE that still finds it due is the one.
Rule 3: time is the database's, so machines need not agree about theirs.
Rule 4: an event is written before the execution is woken, and looked for after the execution was put to sleep; so
whichever is first, it is found.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from cello.database.errors import UniqueViolation
from cello.database.lease import now_ms
from cello.database.tables import make_tables
from cello.http import json_codec
from cello.saga.errors import LeaseLost, SagaNotFound
from cello.saga.state import OPEN, Record, SagaStatus, StepState

NEVER_MS = 9_000_000_000_000_000
"""When what is never due is due."""
BEAT_AT_ONCE = 200
"""How many leases one statement renews."""
_OPEN = ", ".join(f"'{status}'" for status in OPEN)
_COLUMNS = (
    "id, saga, status, version, owner, due_ms, deadline_ms, run, start_key, reason, failed_step, error, context, "
    "input, steps, started_ms, ended_ms, waiting_ms"
)


class SagaLog:
    """The executions in a database.

    Args:
        database: A `Database`.
        owner: The name of this process, which no other has.
        lease_ms: For how long it holds what it runs.
    """

    def __init__(self, database: Any, owner: str, lease_ms: int) -> None:
        self.database = database
        self.owner = owner
        self._lease_ms = lease_ms
        self._kind: str = database._shared.address.kind
        self._now = now_ms(self._kind)

    async def prepare(self) -> None:
        """Make the tables, where they are missing."""
        await make_tables(self.database, _tables(self._kind))

    async def now_ms(self) -> int:
        """Return the database's time."""
        return int(await self.database.fetch_val(f"SELECT {self._now}"))

    async def create(self, record: Record) -> Record | None:
        """Write a new execution, leased to this process; return None where one of the same key is there."""
        sql = (
            f"INSERT INTO cello_sagas ({_COLUMNS}) "
            f"VALUES ($1, $2, $3, 1, $4, {self._now} + $5, {self._now} + $6, 1, $7, NULL, NULL, "
            f"NULL, $8, $9, $10, {self._now}, NULL, NULL)"
        )
        context = _text(record.context)
        try:
            await self.database.execute(
                sql, record.id, record.saga, str(record.status), self.owner, self._lease_ms, record.deadline_ms,
                start_key(record.saga, record.key), context, context, _steps_text(record.steps),
            )  # fmt: skip
        except UniqueViolation:
            return None
        return await self.get(record.id)

    async def get(self, execution_id: str) -> Record:
        """Return an execution.

        Raises:
            SagaNotFound: There is none of that id.
        """
        row = await self.database.fetch_one(f"SELECT {_COLUMNS} FROM cello_sagas WHERE id = $1", execution_id)
        if row is None:
            raise SagaNotFound(f"there is no execution {execution_id!r:.80}")
        return _record(row)

    async def by_key(self, saga: str, key: str) -> Record:
        """Return the execution of a saga that was begun with a key."""
        row = await self.database.fetch_one(
            f"SELECT {_COLUMNS} FROM cello_sagas WHERE start_key = $1", _start_key(saga, key)
        )
        if row is None:
            raise SagaNotFound(f"there is no execution of {saga!r:.80} with the key {key!r:.80}")
        return _record(row)

    async def find(self, saga: str | None, status: str | None, limit: int, offset: int) -> list[Record]:
        """Return executions, the newest first."""
        wanted = [(column, value) for column, value in (("saga", saga), ("status", status)) if value is not None]
        where = " AND ".join(f"{column} = ${number}" for number, (column, _) in enumerate(wanted, start=1))
        rows = await self.database.fetch_all(
            f"SELECT {_COLUMNS} FROM cello_sagas {f'WHERE {where}' if where else ''} "
            f"ORDER BY started_ms DESC, id LIMIT {int(limit)} OFFSET {int(offset)}",
            *[str(value) for _, value in wanted],
        )
        return [_record(row) for row in rows]

    async def save(self, record: Record, *, due_ms: int | None = None) -> None:
        """Write what has become of an execution that this process runs, and renew its lease.

        Args:
            record: The execution; its version goes up. What others have asked of it meanwhile is in it afterwards.
            due_ms: When it is to be taken next, by whomever: the lease ends with this. None: it goes on here.

        Raises:
            LeaseLost: Another has taken it.
        """
        owner = self.owner if due_ms is None else ""
        due = f"{self._now} + $15" if due_ms is None else "$15"
        sql = (
            "UPDATE cello_sagas SET version = $4, status = $5, owner = $6, deadline_ms = $7, run = $8, "
            "failed_step = $9, error = $10, context = $11, steps = $12, ended_ms = $13, waiting_ms = $14, "
            f"due_ms = {due} WHERE id = $1 AND version = $2 AND owner = $3"
        )
        context, steps = _text(record.context), _steps_text(record.steps)
        for _ in range(10):
            touched = await self.database.execute(
                sql, record.id, record.version, self.owner, record.version + 1, str(record.status), owner,
                record.deadline_ms, record.run, record.failed_step, record.error, context, steps, record.ended_ms,
                record.waiting_ms, self._lease_ms if due_ms is None else due_ms,
            )  # fmt: skip
            if touched:
                record.version += 1
                record.owner = owner
                return
            found = await self.get(record.id)
            if found.owner != self.owner or not found.is_open or found.reason == record.reason:
                break
            record.version, record.reason = found.version, found.reason  # it was cancelled; who runs it sees to that
        raise LeaseLost(f"execution {record.id} of {record.saga} is run by another worker now")

    async def claim(self, sagas: Iterable[str], limit: int, without: Iterable[str] = ()) -> list[Record]:
        """Take executions that are due; others may be at it, and each is taken by one.

        Args:
            sagas: Of which sagas.
            limit: How many at most.
            without: Those that are in hand here.
        """
        names, held = list(sagas), set(without)
        if not names or limit < 1:
            return []
        marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
        rows = await self.database.fetch_all(
            f"SELECT id, version FROM cello_sagas WHERE due_ms <= {self._now} AND status IN ({_OPEN}) "
            f"AND saga IN ({marks}) ORDER BY due_ms LIMIT {limit + len(held)}",
            *names,
        )
        free = [row for row in rows if row["id"] not in held][:limit]
        taken = [await self.take(row["id"], int(row["version"])) for row in free]
        return [record for record in taken if record is not None]

    async def take(self, execution_id: str, version: int) -> Record | None:
        """Take an execution that is due; None where somebody else was first."""
        touched = await self.database.execute(
            f"UPDATE cello_sagas SET owner = $3, version = version + 1, due_ms = {self._now} + $4 "
            f"WHERE id = $1 AND version = $2 AND due_ms <= {self._now} AND status IN ({_OPEN})",
            execution_id, version, self.owner, self._lease_ms,
        )  # fmt: skip
        return await self.get(execution_id) if touched else None

    async def beat(self, executions: Sequence[str]) -> None:
        """Renew the leases of what is in hand."""
        for first in range(0, len(executions), BEAT_AT_ONCE):
            some = executions[first : first + BEAT_AT_ONCE]
            marks = ", ".join(f"${number}" for number in range(3, len(some) + 3))
            await self.database.execute(
                f"UPDATE cello_sagas SET due_ms = {self._now} + $2 WHERE owner = $1 AND id IN ({marks})",
                self.owner, self._lease_ms, *some,
            )  # fmt: skip

    async def release(self, record: Record) -> None:
        """Give an execution back as it is, for whoever takes it next."""
        await self.database.execute(
            f"UPDATE cello_sagas SET owner = '', version = version + 1, due_ms = {self._now} "
            "WHERE id = $1 AND version = $2 AND owner = $3",
            record.id, record.version, self.owner,
        )  # fmt: skip

    async def postpone(self, record: Record) -> None:
        """Leave an execution to others for the time of a lease."""
        await self.database.execute(
            f"UPDATE cello_sagas SET owner = '', version = version + 1, due_ms = {self._now} + $4 "
            "WHERE id = $1 AND version = $2 AND owner = $3",
            record.id, record.version, self.owner, self._lease_ms,
        )  # fmt: skip

    async def wake(self, execution_id: str) -> None:
        """Have an execution that waits be taken now."""
        await self.database.execute(
            f"UPDATE cello_sagas SET due_ms = {self._now}, version = version + 1 "
            "WHERE id = $1 AND owner = '' AND status = 'waiting'",
            execution_id,
        )  # fmt: skip

    async def signal(self, execution_id: str, event: str, data: Any) -> bool:
        """Write an event and wake the execution; return whether it is the first of its name, which is the one to count.

        Raises:
            SagaNotFound: There is no such execution.
        """
        await self.get(execution_id)
        is_first = True
        try:
            await self.database.execute(
                f"INSERT INTO cello_saga_events (execution_id, event, data, at_ms) VALUES ($1, $2, $3, {self._now})",
                execution_id, event, _text(data),
            )  # fmt: skip
        except UniqueViolation:
            is_first = False
        await self.wake(execution_id)
        return is_first

    async def events(self, execution_id: str) -> dict[str, Any]:
        """Return what was signalled to an execution: event → data."""
        rows = await self.database.fetch_all(
            "SELECT event, data FROM cello_saga_events WHERE execution_id = $1", execution_id
        )
        return {row["event"]: _value(row["data"]) for row in rows}

    async def cancel(self, execution_id: str, reason: str) -> bool:
        """Note that an execution is not wanted any more; return False where it has ended already.

        Raises:
            SagaNotFound: There is no such execution.
        """
        touched = await self.database.execute(
            f"UPDATE cello_sagas SET reason = $2, version = version + 1, "
            f"due_ms = CASE WHEN owner = '' THEN {self._now} ELSE due_ms END WHERE id = $1 AND status IN ({_OPEN}) "
            "AND reason IS NULL",
            execution_id, reason[:2000],
        )  # fmt: skip
        return bool(touched) or (await self.get(execution_id)).is_open

    async def reopen(self, record: Record, status: SagaStatus, timeout_ms: int) -> bool:
        """Open an execution that has ended; return False where another was first."""
        return bool(
            await self.database.execute(
                f"UPDATE cello_sagas SET status = $3, version = version + 1, owner = '', run = $4, failed_step = $5, "
                f"error = $6, context = $7, steps = $8, reason = NULL, ended_ms = NULL, waiting_ms = NULL, "
                f"due_ms = {self._now}, deadline_ms = {self._now} + $9 WHERE id = $1 AND version = $2",
                record.id, record.version, str(status), record.run, record.failed_step, record.error,
                _text(record.context), _steps_text(record.steps), timeout_ms,
            )
        )  # fmt: skip

    async def forget(self, older_than_s: float) -> int:
        """Delete executions that ended so long ago, and their events; return how many."""
        limit = f"{self._now} - {int(older_than_s * 1000)}"
        async with self.database.transaction():
            await self.database.execute(
                "DELETE FROM cello_saga_events WHERE execution_id IN "
                f"(SELECT id FROM cello_sagas WHERE ended_ms < {limit})"
            )
            gone: int = await self.database.execute(f"DELETE FROM cello_sagas WHERE ended_ms < {limit}")
        return gone


def start_key(saga: str, key: str | None) -> str | None:
    """Return what makes an execution the only one of its key."""
    return None if key is None else _start_key(saga, key)


def _start_key(saga: str, key: str) -> str:
    return f"{saga}:{key}"


def _tables(kind: str) -> list[str]:
    long = "LONGTEXT" if kind == "mysql" else "TEXT"
    end = " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if kind == "mysql" else ""
    # MySQL has no CREATE INDEX IF NOT EXISTS, the others no index within CREATE TABLE.
    index = ", KEY cello_sagas_due (due_ms), KEY cello_sagas_started (started_ms)" if kind == "mysql" else ""
    sagas = (
        "CREATE TABLE IF NOT EXISTS cello_sagas (id VARCHAR(64) NOT NULL PRIMARY KEY, saga VARCHAR(200) NOT NULL, "
        "status VARCHAR(20) NOT NULL, version BIGINT NOT NULL, owner VARCHAR(200) NOT NULL, due_ms BIGINT NOT NULL, "
        "deadline_ms BIGINT NOT NULL, run INTEGER NOT NULL, start_key VARCHAR(500) UNIQUE, reason TEXT, "
        f"failed_step VARCHAR(200), error TEXT, context {long} NOT NULL, input {long} NOT NULL, steps {long} NOT NULL, "
        f"started_ms BIGINT NOT NULL, ended_ms BIGINT, waiting_ms BIGINT{index}){end}"
    )
    events = (
        "CREATE TABLE IF NOT EXISTS cello_saga_events (execution_id VARCHAR(64) NOT NULL, event VARCHAR(200) NOT NULL, "
        f"data {long} NOT NULL, at_ms BIGINT NOT NULL, PRIMARY KEY (execution_id, event)){end}"
    )
    if kind == "mysql":
        return [sagas, events]
    indexes = [
        "CREATE INDEX IF NOT EXISTS cello_sagas_due ON cello_sagas (due_ms)",
        "CREATE INDEX IF NOT EXISTS cello_sagas_started ON cello_sagas (started_ms)",
    ]
    return [sagas, events, *indexes]


def _text(value: Any) -> str:
    return json_codec.encode(value).decode()


def _value(text: str) -> Any:
    return json_codec.decode(text.encode())


def _steps_text(steps: Sequence[StepState]) -> str:
    return _text([step.shown() for step in steps])


def _record(row: dict[str, Any]) -> Record:
    optional = {name: None if row[name] is None else int(row[name]) for name in ("ended_ms", "waiting_ms")}
    prefix = f"{row['saga']}:"
    return Record(
        id=row["id"],
        saga=row["saga"],
        steps=[StepState.of(saved) for saved in _value(row["steps"])],
        context=_value(row["context"]),
        input=_value(row["input"]),
        deadline_ms=int(row["deadline_ms"]),
        status=SagaStatus(row["status"]),
        version=int(row["version"]),
        owner=row["owner"],
        due_ms=int(row["due_ms"]),
        run=int(row["run"]),
        key=None if row["start_key"] is None else row["start_key"].removeprefix(prefix),
        reason=row["reason"],
        failed_step=row["failed_step"],
        error=row["error"],
        started_ms=int(row["started_ms"]),
        **optional,
    )
