"""SagaOrchestrator: begins executions, takes over those of others, and tells how they stand.

    sagas = SagaOrchestrator(SagaConfig(store="postgresql://…"))
    sagas.register(OrderSaga())
    execution = await sagas.execute("OrderSaga", {"order": 7})

Each execution runs in a task of its own, so whoever waits for it may go away. A keeper renews the leases of what is in
hand and, once the orchestrator was opened, takes what is due: what was waiting, and what a worker that has disappeared
has left.
"""

import asyncio
import contextlib
import inspect
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from cello.database.errors import DatabaseError
from cello.database.lease import new_owner
from cello.errors import ConfigError
from cello.gateways.home_loop import NestedThreads
from cello.saga.config import SagaConfig
from cello.saga.definition import Saga
from cello.saga.errors import LeaseLost, SagaNotFound
from cello.saga.log import SagaLog
from cello.saga.run import Definition, Run
from cello.saga.state import Record, SagaExecution, SagaStatus, StepState, StepStatus
from cello.spans import Spans

logger = logging.getLogger("cello.saga")

DRAIN_S = 5.0
"""How long steps under way may take when the worker stops, before they are cut off for another to begin again."""
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
        self._log: SagaLog | None = None
        self._database: Any = None
        self._opening: asyncio.Lock | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_service = False
        self._is_stopping = False
        self._offset_ms = 0.0
        self._tasks: dict[str, asyncio.Task[BaseException | None]] = {}
        self._bell: asyncio.Event | None = None

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
        log = await self._ready()
        plain = definition.codec.encode(context)
        limit_ms = round(self.config.timeout_ms if timeout_ms is None else timeout_ms)
        steps = [StepState(name) for name in definition.steps]
        asked = Record(str(uuid.uuid4()), saga_name, steps, plain, plain, limit_ms, key=key)
        record = await log.create(asked)
        if record is None:
            return self._shown(await log.by_key(saga_name, str(key)))
        shown = self._shown(record)
        await self._changed(record, None)
        self._begin(record)
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
        log = await self._ready()
        async with asyncio.timeout(timeout_s):
            while True:
                task = self._tasks.get(execution_id)
                cause = None if task is None else await asyncio.shield(task)
                record = await log.get(execution_id)
                is_due = record.due_ms <= self._now_ms()
                is_asleep = record.status is SagaStatus.WAITING and not is_due and not until_end
                if not record.is_open or is_asleep or self._is_stopping:
                    return self._shown(record, cause)
                await asyncio.sleep(min(0.05, self.config.poll_interval_ms / 1000))

    async def get_execution(self, execution_id: str) -> SagaExecution | None:
        """Return how an execution stands; None where there is none of that id."""
        try:
            return self._shown(await (await self._ready()).get(execution_id))
        except SagaNotFound:
            return None

    async def find_execution(self, saga_name: str, key: str) -> SagaExecution | None:
        """Return how the execution of a saga that was begun with a key stands; None where there is none."""
        try:
            return self._shown(await (await self._ready()).by_key(saga_name, key))
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
        log = await self._ready()
        return [self._shown(record) for record in await log.find(saga, status, limit, offset)]

    async def resume(self, execution_id: str | None = None) -> list[SagaExecution]:
        """Take what is due, and nobody runs, until it ends or waits; return how that came out.

        An open orchestrator does so by itself. A worker that disappeared holds its lease until `lease_secs` are over.

        Args:
            execution_id: This one alone; None: all that are due.
        """
        log = await self._ready()
        came_out = []
        while True:
            if execution_id is None:
                records = await log.claim(self._definitions, self.config.max_concurrent, self._tasks)
            else:
                found = await log.get(execution_id)
                taken = await log.take(execution_id, found.version) if execution_id not in self._tasks else None
                records = [] if taken is None else [taken]
            for record in records:
                self._begin(record)
            causes = await asyncio.gather(*[self._tasks[record.id] for record in records])
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
        is_first = await (await self._ready()).signal(execution_id, event, data)
        self._ring()
        return is_first

    async def cancel(self, execution_id: str, reason: str = "cancelled") -> bool:
        """Have an execution compensated: at once where it waits, else when the step under way has ended.

        Returns:
            False where it has ended already.

        Raises:
            SagaNotFound: There is no such execution.
        """
        done = await (await self._ready()).cancel(execution_id, reason)
        self._ring()
        return done

    async def retry(self, execution_id: str) -> SagaExecution:
        """Try again what has ended without success: stuck compensations, else everything from the beginning.

        From the beginning the steps have other idempotency keys than before.

        Raises:
            SagaNotFound: There is no such execution.
            ConfigError: It is open, or was completed.
        """
        log = await self._ready()
        record = await log.get(execution_id)
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
        if not await log.reopen(record, status, round(self.config.timeout_ms)):
            raise ConfigError(f"execution {execution_id} was opened by somebody else at this moment")
        self._ring()
        return self._shown(await log.get(execution_id))

    async def forget(self, older_than_secs: float) -> int:
        """Delete executions that ended so many seconds ago; return how many."""
        return await (await self._ready()).forget(older_than_secs)

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
        await self._ready()
        self._is_service = True
        self._keep()
        self._ring()

    async def close(self) -> None:
        """Let steps under way end, give executions back for others to go on with, and close the log."""
        if self._pid != os.getpid():
            return
        self._is_stopping = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=DRAIN_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        keeper = self._keeper
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        if self._database is not None and self._given is None:
            await self._database.disconnect()
        self._forget_process()

    async def check(self) -> dict[str, Any]:
        """Ask the log for a sign of life; for health checks."""
        await (await self._ready()).now_ms()
        return {"running": len(self._tasks)}

    async def _ready(self) -> SagaLog:
        """Return the log, opened at its first use."""
        if self._pid != os.getpid():
            self._forget_process()
        if self._log is not None:
            return self._log
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._log is None:
                self._log = await self._open_log()
            return self._log

    async def _open_log(self) -> SagaLog:
        from cello.database.sql.database import Database  # drivers: only who executes sagas needs them

        database = self._given if self._given is not None else Database(self.config.database_config())
        log = SagaLog(database, new_owner(), round(self.config.lease_secs * 1000))
        try:
            await log.prepare()
            self._offset_ms = await log.now_ms() - time.monotonic() * 1000
        except BaseException:
            if self._given is None:
                await database.disconnect()
            raise
        self._bell = asyncio.Event()
        self._database = database
        return log

    def _definition(self, name: str) -> Definition:
        found = self._definitions.get(name)
        if found is None:
            known = ", ".join(map(repr, self._definitions)) or "none"
            raise ConfigError(f"no saga is registered with the name {name!r:.80} (registered: {known})")
        return found

    def _begin(self, record: Record) -> None:
        """Run an execution that is leased to this process, in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._drive(record))
        self._tasks[record.id] = task
        task.add_done_callback(lambda done: self._ended(record.id, done))
        self._keep()

    async def _drive(self, record: Record) -> BaseException | None:
        """Drive an execution; return what its failed step has raised."""
        log = await self._ready()
        definition = self._definitions[record.saga]
        if not definition.fits(record):
            logger.error(
                "%s %s was begun with other steps than the code has now, and is left to workers that have them",
                record.saga, record.id,
            )  # fmt: skip
            await log.postpone(record)
            return None
        config = self.config
        run = Run(
            record,
            definition,
            log,
            threads=self._threads,
            max_retries=config.max_retries,
            retry_delay_ms=config.retry_delay_ms,
            timeout_ms=config.timeout_ms,
            clock_offset_ms=self._offset_ms,
            watcher=self._changed,
            is_stopping=lambda: self._is_stopping,
            is_logging=config.enable_logging,
            spans=self.spans,
        )
        try:
            await run.drive()
        except LeaseLost as lost:
            logger.warning("%s", lost)
        except DatabaseError as error:
            logger.error("%s %s is left to whoever finds it: the log failed: %s", record.saga, record.id, error)
        except asyncio.CancelledError:
            await log.release(record)  # the worker stops; who waits for this task sees it open
        return run.cause

    def _ended(self, execution_id: str, task: "asyncio.Task[BaseException | None]") -> None:
        self._tasks.pop(execution_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("execution %s", execution_id, exc_info=error)

    def _keep(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keeping())

    async def _keeping(self) -> None:
        """Renew leases, and take what is due, as long as there is anything to do."""
        log = await self._ready()
        bell = self._bell or asyncio.Event()
        every_s = self.config.lease_secs / 3
        wait_s = min(self.config.poll_interval_ms / 1000, every_s) if self._is_service else every_s
        beaten_s = time.monotonic()
        while self._is_service or self._tasks:
            try:
                if self._tasks and time.monotonic() - beaten_s >= every_s:
                    await log.beat(list(self._tasks))
                    self._offset_ms = await log.now_ms() - time.monotonic() * 1000
                    beaten_s = time.monotonic()
                if self._is_service and not self._is_stopping:
                    room = self.config.max_concurrent - len(self._tasks)
                    for record in await log.claim(self._definitions, room, self._tasks):
                        self._begin(record)
            except DatabaseError as error:
                logger.warning("sagas wait for their log: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), wait_s)
            bell.clear()
            wait_s = min(self.config.poll_interval_ms / 1000, every_s) if self._is_service else every_s

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.set()

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

    def _now_ms(self) -> int:
        return round(time.monotonic() * 1000 + self._offset_ms)
