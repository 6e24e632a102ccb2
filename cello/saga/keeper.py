"""The executions that a process has in hand.

Each runs in a task of its own. A task beside them renews their leases and, once the keeper serves, takes what is due:
what was waiting, and what a worker that has disappeared has left. It ends with the last execution where it does not.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from cello.database.errors import DatabaseError
from cello.gateways.home_loop import NestedThreads
from cello.saga.config import SagaConfig
from cello.saga.errors import LeaseLost
from cello.saga.log import SagaLog
from cello.saga.run import Definition, Run, Watcher
from cello.saga.state import Record
from cello.spans import Spans

logger = logging.getLogger("cello.saga")

DRAIN_S = 5.0
"""How long steps under way may take when the worker stops, before they are cut off for another to begin again."""


class Keeper:
    """See the module. It belongs to the event loop on which it was made.

    Args:
        log: Where executions are kept.
        config: How they are run.
        definitions: The sagas that there are, by name; more may be added.
        threads: For plain functions.
        watcher: Told of every change of an execution that was written.
        spans: Where a span of each attempt of a step goes.

    Attributes:
        log: The same.
        tasks: What runs here, by the execution's id; each returns what its failed step has raised.
        is_stopping: Whether executions are given back at the next boundary between steps.
    """

    def __init__(
        self,
        log: SagaLog,
        config: SagaConfig,
        definitions: Mapping[str, Definition],
        *,
        threads: NestedThreads,
        watcher: Watcher,
        spans: Spans,
    ) -> None:
        self.log = log
        self.tasks: dict[str, asyncio.Task[BaseException | None]] = {}
        self.is_stopping = False
        self._config = config
        self._definitions = definitions
        self._threads = threads
        self._watcher = watcher
        self._spans = spans
        self._offset_ms = 0.0
        self._is_serving = False
        self._bell = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def now_ms(self) -> int:
        """Return the database's time, as far as it is known here."""
        return round(time.monotonic() * 1000 + self._offset_ms)

    async def set_clock(self) -> None:
        """Ask for the database's time."""
        self._offset_ms = await self.log.now_ms() - time.monotonic() * 1000

    def begin(self, record: Record) -> None:
        """Run an execution that is leased to this process."""
        task = asyncio.get_running_loop().create_task(self._drive(record))
        self.tasks[record.id] = task
        task.add_done_callback(lambda done: self._ended(record.id, done))
        self._keep()

    def serve(self) -> None:
        """Take what is due, from now on."""
        self._is_serving = True
        self._keep()
        self.ring()

    def ring(self) -> None:
        """Have it look now for what is due."""
        self._bell.set()

    async def close(self) -> None:
        """Let steps under way end, and give executions back for others to go on with."""
        self.is_stopping = True
        if self.tasks:
            _, late = await asyncio.wait(self.tasks.values(), timeout=DRAIN_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        keeping = self._keeping
        if keeping is not None:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def _drive(self, record: Record) -> BaseException | None:
        """Drive an execution; return what its failed step has raised."""
        definition = self._definitions[record.saga]
        if not definition.fits(record):
            logger.error(
                "%s %s was begun with other steps than the code has now, and is left to workers that have them",
                record.saga, record.id,
            )  # fmt: skip
            await self.log.postpone(record)
            return None
        config = self._config
        run = Run(
            record,
            definition,
            self.log,
            threads=self._threads,
            max_retries=config.max_retries,
            retry_delay_ms=config.retry_delay_ms,
            timeout_ms=config.timeout_ms,
            clock_offset_ms=self._offset_ms,
            watcher=self._watcher,
            is_stopping=lambda: self.is_stopping,
            is_logging=config.enable_logging,
            spans=self._spans,
        )
        try:
            await run.drive()
        except LeaseLost as lost:
            logger.warning("%s", lost)
        except DatabaseError as error:
            logger.error("%s %s is left to whoever finds it: the log failed: %s", record.saga, record.id, error)
        except asyncio.CancelledError:
            await self.log.release(record)  # the worker stops; who waits for this task sees it open
        return run.cause

    def _ended(self, execution_id: str, task: "asyncio.Task[BaseException | None]") -> None:
        self.tasks.pop(execution_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("execution %s", execution_id, exc_info=error)

    def _keep(self) -> None:
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep_on())

    async def _keep_on(self) -> None:
        every_s = self._config.lease_secs / 3
        renewed_s = time.monotonic()
        while self.tasks or (self._is_serving and not self.is_stopping):  # a cancellation may come to nothing (3.11)
            try:
                if self.tasks and time.monotonic() - renewed_s >= every_s:
                    await self.log.beat(list(self.tasks))
                    await self.set_clock()
                    renewed_s = time.monotonic()
                if self._is_serving and not self.is_stopping:
                    room = self._config.max_concurrent - len(self.tasks)
                    for record in await self.log.claim(self._definitions, room, self.tasks):
                        self.begin(record)
            except DatabaseError as error:
                logger.warning("sagas wait for their log: %s", error)
            wait_s = min(self._config.poll_interval_ms / 1000, every_s) if self._is_serving else every_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), wait_s)
            self._bell.clear()
