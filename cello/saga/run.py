"""One execution under way: what its record says is done next, until it ends, waits, or is given back.

    running ──→ completed
       │  ↑↓
       │ waiting            for an event or a time; nobody holds it
       ↓
    compensating ──→ failed │ cancelled │ stuck

Rule 1: the record says that a step is running before its action is called, and that it is completed before the next one
is: one change of the log says both. After a crash only what the log calls running is called again, with the same key.
Rule 2: what is compensated is every step that was completed, and every step that may have been: one of which an attempt
was cut off, by a time limit or with its worker. Of one that only raised it is known that it did not happen.
Rule 3: compensation goes backwards, one step after the other, and goes on when one fails for good; the execution is
stuck then, for a person to look at and `retry`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from cello.gateways.home_loop import NestedThreads
from cello.http import json_codec
from cello.saga.context import Codec, apply, changes
from cello.saga.definition import Call, Saga, SagaStep, Sleep, StepRun, WaitForEvent
from cello.saga.errors import Interrupted, SagaError
from cello.saga.log import NEVER_MS, SagaLog
from cello.saga.state import Record, SagaStatus, StepState, StepStatus, in_words
from cello.spans import Spans

logger = logging.getLogger("cello.saga")

LONGEST_PAUSE_S = 60.0
MOST_INTERRUPTIONS = 10
Watcher = Callable[[Record, BaseException | None], Awaitable[None]]


class Definition:
    """A registered saga, prepared.

    Attributes:
        saga: As it was registered.
        steps: By name.
        stages: Names of steps, those side by side together.
        codec: For its contexts.
    """

    def __init__(self, saga: Saga) -> None:
        saga.check()
        self.saga = saga
        self.steps = {step.name: step for step in saga.get_steps()}
        self.stages = [tuple(step.name for step in stage) for stage in saga.stages()]
        self.codec = Codec(saga.context, f"saga {saga.name!r:.80}")

    def fits(self, record: Record) -> bool:
        """Whether an execution was begun with the same steps."""
        return [step.name for step in record.steps] == list(self.steps)


class Run:
    """Drives one execution; of no use to a second.

    Args:
        record: The execution, leased to this process.
        definition: Its saga.
        log: Where it is kept.
        threads: For plain functions.
        max_retries: Of a step that does not say.
        retry_delay_ms: Of a step that does not say.
        timeout_ms: Of an attempt of a compensation whose step does not say.
        clock_offset_ms: What to add to the local clock for the database's.
        watcher: Told of every change that was written.
        is_stopping: Whether to give it back at the next boundary between steps.
        is_logging: Whether transitions are logged.
        spans: Where a span of each attempt goes.

    Attributes:
        cause: What the step that failed has raised, where that was in this process.
    """

    def __init__(
        self,
        record: Record,
        definition: Definition,
        log: SagaLog,
        *,
        threads: NestedThreads,
        max_retries: int,
        retry_delay_ms: float,
        timeout_ms: float,
        clock_offset_ms: float,
        watcher: Watcher,
        is_stopping: Callable[[], bool],
        is_logging: bool,
        spans: Spans,
    ) -> None:
        self.record = record
        self.cause: BaseException | None = None
        self._definition = definition
        self._log = log
        self._threads = threads
        self._max_retries = max_retries
        self._retry_delay_ms = retry_delay_ms
        self._timeout_ms = timeout_ms
        self._offset_ms = clock_offset_ms
        self._watcher = watcher
        self._is_stopping = is_stopping
        self._is_logging = is_logging
        self._spans = spans
        self._saving = asyncio.Lock()

    async def drive(self) -> None:
        """Go on until the execution ends, waits, or is given back.

        Raises:
            LeaseLost: It is run by another worker.
            DatabaseError: The log cannot be written; whoever takes the execution next finds it as it is there.
        """
        record = self.record
        self._recover()
        while record.is_open:
            if self._is_stopping():
                await self._log.release(record)
                return
            if record.status is SagaStatus.COMPENSATING:
                await self._compensate_next()
                continue
            if record.reason is not None:
                self._turn_back(f"cancelled: {record.reason}")
                continue
            stage = next((names for names in self._definition.stages if not self._is_done(names)), None)
            if stage is None:
                await self._end(SagaStatus.COMPLETED)
            elif not await self._forward(stage):
                return

    # Forwards

    async def _forward(self, stage: tuple[str, ...]) -> bool:
        """Do what is left of a stage; return False when it waits."""
        record = self.record
        states = [state for name in stage if (state := record.step(name)).status is not StepStatus.COMPLETED]
        before = dict(record.context)
        await _all([self._do(state, before) for state in states if not self._is_wait(state)])
        if any(state.status is StepStatus.FAILED for state in states):
            self._turn_back(None)
            return True
        if record.reason is not None:
            return True
        return await self._waited([state for state in states if self._is_wait(state)])

    async def _do(self, state: StepState, before: dict[str, Any]) -> None:
        """Call a step's action until it succeeds or has failed for good."""
        step = self._definition.steps[state.name]
        retries = self._max_retries if step.max_retries is None else step.max_retries
        while state.status is not StepStatus.FAILED:
            if state.interruptions > MOST_INTERRUPTIONS:
                self._fail(state, Interrupted(f"it was interrupted {state.interruptions} times"), is_doubtful=True)
                return
            may_be_done = state.is_doubtful or state.interruptions > 0
            if self._left_s() <= 0:
                self._fail(state, TimeoutError("the time for the whole saga is over"), is_doubtful=may_be_done)
                return
            state.status, state.attempts = StepStatus.RUNNING, state.attempts + 1
            await self._save()
            if self.record.reason is not None:  # it was cancelled, as the log has just told
                state.attempts -= 1
                state.status = StepStatus.RUNNING if may_be_done else StepStatus.PENDING
                return
            limit_s = self._left_s() if step.timeout is None else min(step.timeout, self._left_s())
            try:
                changed, result = await self._attempt(step.do, state, state.attempts, limit_s, before)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the step's failure
                pause_s = self._pause_s(step, state.attempts)
                is_doubtful = isinstance(error, _TimedOut | _NotJson)
                is_final = isinstance(error, SagaError | _NotJson) or getattr(error, "is_retryable", None) is False
                self._say("step %s failed: %s", state.name, in_words(error), level=logging.WARNING)
                state.error = in_words(error)
                state.is_doubtful = state.is_doubtful or is_doubtful
                if is_final or state.attempts > retries or pause_s >= self._left_s():
                    self._fail(state, error, is_doubtful=state.is_doubtful or may_be_done)
                    return
                await asyncio.sleep(pause_s)
            else:
                apply(self.record.context, changed)
                state.status, state.result, state.error, state.is_doubtful = StepStatus.COMPLETED, result, None, False
                self._say("step %s completed", state.name)
                return

    async def _attempt(
        self, call: Call, state: StepState, attempt: int, limit_s: float, before: dict[str, Any], undoing: str = ""
    ) -> tuple[dict[str, Any], Any]:
        """Call an action or compensation once; return what it changed in the context, and its result."""
        record, codec = self.record, self._definition.codec
        context = codec.decode(before)
        results = {step.name: step.result for step in record.steps if step.result is not None}
        key = f"{record.id}:{record.run}:{state.name}"
        why = (record.error or record.reason) if undoing else None
        run = StepRun(f"{key}{undoing}", record.id, record.saga, state.name, attempt, results, key, why)
        arguments = (context, run) if call.takes_run else (context,)
        try:
            name, about = f"{record.saga} {state.name}{undoing}", {"cello.saga.attempt": attempt}
            with self._spans.span(name, "internal", about):
                async with asyncio.timeout(limit_s) as limit:
                    if call.is_async:
                        result = await call.function(*arguments)
                    else:
                        result = await self._threads.run(call.function, *arguments)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _TimedOut(f"it took longer than {limit_s:.3g} s") from error
        try:
            kept = json_codec.decode(json_codec.encode(result))
            return changes(before, codec.encode(context)), kept
        except (TypeError, ValueError, RecursionError) as error:
            raise _NotJson(f"it was done, but what it leaves cannot be kept: {error}") from error

    def _fail(self, state: StepState, error: BaseException, *, is_doubtful: bool) -> None:
        state.status, state.error, state.is_doubtful = StepStatus.FAILED, in_words(error), is_doubtful
        if self.record.failed_step is None:
            original = error.original_error if isinstance(error, SagaError) else error
            self.cause = original
            self.record.failed_step, self.record.error = state.name, in_words(original)

    # Waiting

    async def _waited(self, states: list[StepState]) -> bool:
        """Complete what has been waited for; where something has not, let go of the execution and return False."""
        if not states:
            return True
        record = self.record
        events = await self._log.events(record.id)
        for state in states:
            step = self._definition.steps[state.name]
            if state.status is not StepStatus.WAITING:
                try:
                    state.status, state.due_ms = StepStatus.WAITING, self._due_ms(step)
                except Exception as error:  # noqa: BLE001  # a function of the user's says how long
                    self._fail(state, error, is_doubtful=False)
                    continue
            if isinstance(step, WaitForEvent) and step.event in events:
                record.context[step.event] = events[step.event]
                state.status, state.result = StepStatus.COMPLETED, events[step.event]
                self._say("event %s has come", step.event)
            elif state.due_ms is not None and state.due_ms <= self._now_ms():
                if isinstance(step, WaitForEvent):
                    self._fail(
                        state, TimeoutError(f"{step.event!r} has not come in {step.timeout:g} s"), is_doubtful=False
                    )
                else:
                    state.status = StepStatus.COMPLETED
        if any(state.status is StepStatus.FAILED for state in states):
            self._turn_back(None)
            return True
        waiting = [state for state in states if state.status is StepStatus.WAITING]
        if not waiting:
            return True
        record.status, record.waiting_ms = SagaStatus.WAITING, self._now_ms()
        due_ms = min(NEVER_MS if state.due_ms is None else state.due_ms for state in waiting)
        self._say("waits for %s", ", ".join(state.name for state in waiting))
        await self._save(due_ms=due_ms)
        awaited = {getattr(self._definition.steps[state.name], "event", None) for state in waiting}
        if awaited & (await self._log.events(record.id)).keys():
            await self._log.wake(record.id)
        return False

    def _due_ms(self, step: SagaStep) -> int | None:
        if isinstance(step, Sleep):
            seconds = step.seconds
            if callable(seconds):
                seconds = seconds(self._definition.codec.decode(self.record.context))
            return self._now_ms() + round(seconds * 1000)
        return None if step.timeout is None else self._now_ms() + round(step.timeout * 1000)

    def _is_wait(self, state: StepState) -> bool:
        return isinstance(self._definition.steps[state.name], WaitForEvent | Sleep)

    # Backwards

    def _turn_back(self, why: str | None) -> None:
        """Begin to compensate; written with the first compensation, or with the end."""
        record = self.record
        for state in record.steps:
            if state.status is StepStatus.RUNNING:  # begun by who died since, or cut off
                state.is_doubtful = True
            elif state.status is StepStatus.WAITING:
                state.status = StepStatus.PENDING
        record.status = SagaStatus.COMPENSATING
        self._say("compensates: %s", why or f"step {record.failed_step} failed: {record.error}", level=logging.WARNING)

    async def _compensate_next(self) -> None:
        """Undo the last step that is not undone; end where there is none."""
        record = self.record
        state = next((state for state in reversed(record.steps) if _is_to_undo(state)), None)
        if state is not None:
            await self._undo(state)
            return
        if any(state.compensation_error is not None for state in record.steps):
            await self._end(SagaStatus.STUCK)
        else:
            await self._end(SagaStatus.FAILED if record.failed_step is not None else SagaStatus.CANCELLED)

    async def _undo(self, state: StepState) -> None:
        """Call a step's compensation until it succeeds or has failed for good."""
        step = self._definition.steps[state.name]
        if step.undo is None:
            state.status, state.is_doubtful = StepStatus.COMPENSATED, False
            return
        retries = self._max_retries if step.max_retries is None else step.max_retries
        limit_s = self._timeout_ms / 1000 if step.timeout is None else step.timeout
        while True:
            state.status, state.undo_attempts = StepStatus.COMPENSATING, state.undo_attempts + 1
            await self._save()
            try:
                changed, _ = await self._attempt(
                    step.undo, state, state.undo_attempts, limit_s, self.record.context, ":undo"
                )
            except Exception as error:  # noqa: BLE001  # whatever it is, the step is not undone
                self._say("step %s is not compensated: %s", state.name, in_words(error), level=logging.WARNING)
                is_worn = state.interruptions > MOST_INTERRUPTIONS
                if state.undo_attempts > retries or is_worn or getattr(error, "is_retryable", None) is False:
                    state.status, state.is_doubtful = StepStatus.FAILED, False
                    state.compensation_error = in_words(error)
                    return
                await asyncio.sleep(self._pause_s(step, state.undo_attempts))
            else:
                apply(self.record.context, changed)
                state.status, state.is_doubtful, state.compensation_error = StepStatus.COMPENSATED, False, None
                self._say("step %s compensated", state.name)
                return

    # Both

    def _recover(self) -> None:
        """Take over from whoever had the execution before: what they began and did not end is begun again."""
        record = self.record
        for state in record.steps:
            if state.status is StepStatus.RUNNING:
                state.interruptions += 1
                state.attempts = max(0, state.attempts - 1)
            elif state.status is StepStatus.COMPENSATING:
                state.interruptions += 1
                state.undo_attempts = max(0, state.undo_attempts - 1)
        if record.waiting_ms is not None:
            record.deadline_ms += max(0, self._now_ms() - record.waiting_ms)
            record.waiting_ms = None
        if record.status is SagaStatus.WAITING:
            record.status = SagaStatus.RUNNING

    async def _end(self, status: SagaStatus) -> None:
        # This clock may be some milliseconds behind the database's, of which the beginning is.
        self.record.status, self.record.ended_ms = status, max(self.record.started_ms, self._now_ms())
        await self._save(due_ms=NEVER_MS)
        self._say("%s", status, level=logging.INFO if status is SagaStatus.COMPLETED else logging.WARNING)

    async def _save(self, *, due_ms: int | None = None) -> None:
        async with self._saving:
            await self._log.save(self.record, due_ms=due_ms)
        await self._watcher(self.record, self.cause)

    def _left_s(self) -> float:
        return (self.record.deadline_ms - self._now_ms()) / 1000

    def _now_ms(self) -> int:
        return round(time.monotonic() * 1000 + self._offset_ms)

    def _pause_s(self, step: SagaStep, attempts: int) -> float:
        delay_ms = self._retry_delay_ms if step.retry_delay_ms is None else step.retry_delay_ms
        return float(min(LONGEST_PAUSE_S, delay_ms / 1000 * 2 ** min(attempts - 1, 20)))

    def _is_done(self, names: tuple[str, ...]) -> bool:
        return all(self.record.step(name).status is StepStatus.COMPLETED for name in names)

    def _say(self, text: str, *values: object, level: int = logging.INFO) -> None:
        if self._is_logging and logger.isEnabledFor(level):
            logger.log(level, "%s %s: %s", self.record.saga, self.record.id, text % values)


class _TimedOut(TimeoutError):
    """The time limit of an attempt has passed: it may have been done."""


class _NotJson(TypeError):
    """What an action left in the context, or returned, cannot be kept."""


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; when one cannot go on, none does."""
    if len(work) == 1:
        await work[0]
        return
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _is_to_undo(state: StepState) -> bool:
    if state.status is StepStatus.FAILED:
        return state.is_doubtful and state.compensation_error is None
    return state.status in (StepStatus.COMPLETED, StepStatus.COMPENSATING, StepStatus.RUNNING)
