"""SagaOrchestrator: begins executions, takes over those of others, and tells how they stand.

    sagas = SagaOrchestrator(SagaConfig(store="postgresql://…"))
    sagas.register(OrderSaga())
    execution = await sagas.execute("OrderSaga", {"order": 7})

Each execution runs in a task of its own, so whoever waits for it may go away (`keeper.py`).
"""

import asyncio
import inspect
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from cello.database.lease import new_owner
from cello.errors import ConfigError
from cello.gateways.home_loop import NestedThreads
from cello.saga.config import SagaConfig
from cello.saga.definition import Saga
from cello.saga.errors import SagaNotFound
from cello.saga.keeper import Keeper
from cello.saga.log import SagaLog
from cello.saga.run import Definition
from cello.saga.state import Record, SagaExecution, SagaStatus, StepState, StepStatus
from cello.spans import Spans

logger = logging.getLogger("cello.saga")

LONGEST_KEY = 250
Listener = Callable[[SagaExecution], Any]


class SagaOrchestrator:
    """Runs sagas, on the event loop that first uses it.

    Args:
        config: How steps are tried and where executions are kept; default: `SagaConfig()`.
        database: An open `Database` to keep them in, instead of one of its own.

    Attributes:
        config: The same.
        spans: Where a span of each attempt of a step goes.
    """

    def __init__(self, config: SagaConfig | None = None, *, database: Any = None) -> None:
        if config is not None and not isinstance(config, SagaConfig):
            raise ConfigError(f"a SagaOrchestrator takes a SagaConfig, not {config!r:.80}")
        self.config = config or SagaConfig()
        self._given = database
        self._definitions: dict[str, Definition] = {}
        self._listeners: list[Listener] = []
        self.spans = Spans()
        self._threads = NestedThreads()
        self._forget_process()

    def _forget_process(self) -> None:
        self._pid = os.getpid()
        self._keeper: Keeper | None = None
        self._opening: asyncio.Lock | None = None

    def __repr__(self) -> str:
        return f"<SagaOrchestrator of {', '.join(self._definitions) or 'nothing'}>"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # What there is

    def register(self, saga: Saga | type[Saga]) -> None:
        """Know a saga, by its name.

        Raises:
            ConfigError: There is one of that name, or it cannot be executed.
        """
        made = saga() if isinstance(saga, type) else saga
        if not isinstance(made, Saga):
            raise ConfigError(f"register takes a Saga, not {saga!r:.80}")
        if made.name in self._definitions:
            raise ConfigError(f"there is a saga {made.name!r:.80} already")
        self._definitions[made.name] = Definition(made)

    def on_change(self, listener: Listener) -> Listener:
        """Call a function, `def` or `async def`, with every execution of this process whenever it has changed.

        It is called in line, so it should be quick; what it raises is logged.
        """
        self._listeners.append(listener)
        return listener

    def use_database(self, database: Any) -> None:
        """Keep executions in an open `Database`; before they are begun."""
        self._given = database

    # Executions

    async def execute(
        self, saga_name: str, context: Any = None, *, key: str | None = None, timeout_ms: float | None = None
    ) -> SagaExecution:
        """Run a saga until it ends, or waits for an event or a time; or, still open, until this worker stops.

        It goes on when the caller is cancelled. A dict that was given has the members of the final context afterwards.

        Args:
            saga_name: A registered saga.
            context: What its steps read and change; of the saga's class, a dict where it has none.
            key: An execution of this saga with the same key is the same one: it is not begun twice, but waited for.
            timeout_ms: Instead of the config's.

        Raises:
            SagaError: A step failed for good; what was done has been compensated, or `error.execution` is stuck.
            ConfigError: There is no such saga.
        """
        begun = await self.start(saga_name, context, key=key, timeout_ms=timeout_ms)
        ended = await self.wait(begun.id)
        if type(context) is dict:
            context.clear()
            context.update(ended.context)
        ended.raise_for_status()
        return ended

    async def start(
        self, saga_name: str, context: Any = None, *, key: str | None = None, timeout_ms: float | None = None
    ) -> SagaExecution:
        """Begin a saga and return at once, with it on the log; for the arguments see `execute`."""
        definition = self._definition(saga_name)
        if key is not None and (type(key) is not str or not 0 < len(key) <= LONGEST_KEY):
            raise ConfigError(f"an idempotency key is a string of 1 to {LONGEST_KEY} characters, not {key!r:.80}")
        keeper = await self._ready()
        plain = definition.codec.encode(context)
        limit_ms = round(self.config.timeout_ms if timeout_ms is None else timeout_ms)
        steps = [StepState(name) for name in definition.steps]
        asked = Record(str(uuid.uuid4()), saga_name, steps, plain, plain, limit_ms, key=key)
        record = await keeper.log.create(asked)
        if record is None:
            return self._shown(await keeper.log.by_key(saga_name, str(key)))
        shown = self._shown(record)
        await self._changed(record, None)
        keeper.begin(record)
        return shown

    async def wait(
        self, execution_id: str, timeout_s: float | None = None, *, until_end: bool = False
    ) -> SagaExecution:
        """Wait until an execution ends, or waits itself; wherever it runs.

        Args:
            execution_id: Which one.
            timeout_s: For so many seconds; None: for ever.
            until_end: Wait on while it waits for an event or a time.

        Raises:
            SagaNotFound: There is no such execution.
            TimeoutError: It goes on still.
        """
        keeper = await self._ready()
        async with asyncio.timeout(timeout_s):
            while True:
                task = keeper.tasks.get(execution_id)
                cause = None if task is None else await asyncio.shield(task)
                record = await keeper.log.get(execution_id)
                # What has just gone to sleep here may be due by now, where the log is slow; perhaps nobody wakes it.
                is_asleep = task is not None or record.due_ms > keeper.now_ms()
                waits = record.status is SagaStatus.WAITING and is_asleep and not until_end
                if not record.is_open or waits or keeper.is_stopping:
                    return self._shown(record, cause)
                await asyncio.sleep(min(0.05, self.config.poll_interval_ms / 1000))

    async def get_execution(self, execution_id: str) -> SagaExecution | None:
        """Return how an execution stands; None where there is none of that id."""
        try:
            return self._shown(await (await self._ready()).log.get(execution_id))
        except SagaNotFound:
            return None

    async def find_execution(self, saga_name: str, key: str) -> SagaExecution | None:
        """Return how the execution of a saga that was begun with a key stands; None where there is none."""
        try:
            return self._shown(await (await self._ready()).log.by_key(saga_name, key))
        except SagaNotFound:
            return None

    async def list_executions(
        self, saga: str | None = None, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[SagaExecution]:
        """Return executions, the newest first.

        Args:
            saga: Of this one.
            status: In this state, a `SagaStatus`.
            limit: How many at most.
            offset: How many to leave out.

        Raises:
            ConfigError: There is no such state.
        """
        if status is not None and status not in list(SagaStatus):
            raise ConfigError(f"an execution is {', '.join(SagaStatus)}, never {status!r:.80}")
        log = (await self._ready()).log
        return [self._shown(record) for record in await log.find(saga, status, limit, offset)]

    async def resume(self, execution_id: str | None = None) -> list[SagaExecution]:
        """Take what is due, and nobody runs, until it ends or waits; return how that came out.

        An open orchestrator does so by itself. A worker that disappeared holds its lease until `lease_secs` are over.

        Args:
            execution_id: This one alone; None: all that are due.
        """
        keeper = await self._ready()
        log = keeper.log
        came_out = []
        while True:
            if execution_id is None:
                records = await log.claim(self._definitions, self.config.max_concurrent, keeper.tasks)
            else:
                found = await log.get(execution_id)
                taken = await log.take(execution_id, found.version) if execution_id not in keeper.tasks else None
                records = [] if taken is None else [taken]
            for record in records:
                keeper.begin(record)
            causes = await asyncio.gather(*[keeper.tasks[record.id] for record in records])
            for record, cause in zip(records, causes, strict=True):
                came_out.append(self._shown(await log.get(record.id), cause))
            if execution_id is not None or not records:
                return came_out

    async def signal(self, execution_id: str, event: str, data: Any = None) -> bool:
        """Tell an execution of an event that it waits for, or will wait for.

        Returns:
            Whether the event is the first of its name; a second one changes nothing.

        Raises:
            SagaNotFound: There is no such execution.
        """
        keeper = await self._ready()
        is_first = await keeper.log.signal(execution_id, event, data)
        keeper.ring()
        return is_first

    async def cancel(self, execution_id: str, reason: str = "cancelled") -> bool:
        """Have an execution compensated: at once where it waits, else when the step under way has ended.

        Returns:
            False where it has ended already.

        Raises:
            SagaNotFound: There is no such execution.
        """
        keeper = await self._ready()
        done = await keeper.log.cancel(execution_id, reason)
        keeper.ring()
        return done

    async def retry(self, execution_id: str) -> SagaExecution:
        """Try again what has ended without success: stuck compensations, else everything from the beginning.

        From the beginning the steps have other idempotency keys than before.

        Raises:
            SagaNotFound: There is no such execution.
            ConfigError: It is open, or was completed.
        """
        keeper = await self._ready()
        record = await keeper.log.get(execution_id)
        if record.is_open or record.status is SagaStatus.COMPLETED:
            raise ConfigError(f"execution {execution_id} is {record.status}: there is nothing to try again")
        status = SagaStatus.RUNNING
        if record.status is SagaStatus.STUCK:
            status = SagaStatus.COMPENSATING
            for state in record.steps:
                if state.compensation_error is not None:
                    state.status, state.compensation_error, state.undo_attempts = StepStatus.COMPLETED, None, 0
                    state.interruptions = 0
        else:
            record.run, record.context, record.failed_step, record.error = record.run + 1, record.input, None, None
            record.steps = [StepState(state.name) for state in record.steps]
        if not await keeper.log.reopen(record, status, round(self.config.timeout_ms)):
            raise ConfigError(f"execution {execution_id} was opened by somebody else at this moment")
        keeper.ring()
        return self._shown(await keeper.log.get(execution_id))

    async def forget(self, older_than_secs: float) -> int:
        """Delete executions that ended so many seconds ago; return how many."""
        return await (await self._ready()).log.forget(older_than_secs)

    # Life

    async def prepare(self) -> None:
        """Open the log.

        Raises:
            OperationalError: The database cannot be reached.
        """
        await self._ready()

    async def open(self) -> None:
        """Open the log and take what is due from now on.

        Raises:
            OperationalError: The database cannot be reached.
        """
        (await self._ready()).serve()

    async def close(self) -> None:
        """Let steps under way end, give executions back for others to go on with, and close the log."""
        if self._pid != os.getpid():
            return
        keeper = self._keeper
        if keeper is not None:
            await keeper.close()
            if self._given is None:
                await keeper.log.database.disconnect()
        self._forget_process()

    async def check(self) -> dict[str, Any]:
        """Ask the log for a sign of life; for health checks."""
        keeper = await self._ready()
        await keeper.log.now_ms()
        return {"running": len(keeper.tasks)}

    async def _ready(self) -> Keeper:
        """Return the keeper, its log opened at its first use."""
        if self._pid != os.getpid():
            self._forget_process()
        if self._keeper is not None:
            return self._keeper
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._keeper is None:
                self._keeper = await self._open_log()
            return self._keeper

    async def _open_log(self) -> Keeper:
        from cello.database.sql.database import Database  # drivers: only who executes sagas needs them

        database = self._given if self._given is not None else Database(self.config.database_config())
        log = SagaLog(database, new_owner(), round(self.config.lease_secs * 1000))
        keeper = Keeper(
            log, self.config, self._definitions, threads=self._threads, watcher=self._changed, spans=self.spans
        )
        try:
            await log.prepare()
            await keeper.set_clock()
        except BaseException:
            if self._given is None:
                await database.disconnect()
            raise
        return keeper

    def _definition(self, name: str) -> Definition:
        found = self._definitions.get(name)
        if found is None:
            known = ", ".join(map(repr, self._definitions)) or "none"
            raise ConfigError(f"no saga is registered with the name {name!r:.80} (registered: {known})")
        return found

    async def _changed(self, record: Record, cause: BaseException | None) -> None:
        if not self._listeners:
            return
        shown = self._shown(record, cause)
        for listener in self._listeners:
            try:
                outcome = listener(shown)
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception:
                logger.exception("a listener to sagas failed")

    def _shown(self, record: Record, cause: BaseException | None = None) -> SagaExecution:
        shown = SagaExecution(record, cause)
        definition = self._definitions.get(record.saga)
        plain: Mapping[str, Any] = record.context
        shown.context = dict(plain) if definition is None else definition.codec.decode(record.context)
        return shown
