"""What an execution is at one moment: the record that the log keeps, and the view of it that users have."""

import dataclasses
from enum import StrEnum
from typing import Any

from cello.errors import CelloError
from cello.saga.errors import SagaCancelled, SagaError, StepFailed


class StepStatus(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


class SagaStatus(StrEnum):
    """Where an execution is.

    `FAILED` and `CANCELLED` have been compensated; `STUCK` has not, as a compensation failed for good.
    """

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"


OPEN = (SagaStatus.RUNNING, SagaStatus.WAITING, SagaStatus.COMPENSATING)


_FURTHER = (
    *("attempts", "undo_attempts", "interruptions", "is_doubtful", "result", "error", "compensation_error", "due_ms"),
)


@dataclasses.dataclass(slots=True)
class StepState:
    """Where one step of an execution is.

    Attributes:
        attempts: Of its action, that ended or are under way.
        undo_attempts: Of its compensation.
        interruptions: How often its worker died, or was stopped, within its action or compensation.
        is_doubtful: It may or may not have been done: it ran into its time limit.
        due_ms: Until when it waits.
    """

    name: str
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0
    undo_attempts: int = 0
    interruptions: int = 0
    is_doubtful: bool = False
    result: Any = None
    error: str | None = None
    compensation_error: str | None = None
    due_ms: int | None = None

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "StepState":
        """Read what the log says."""
        return cls(**{**saved, "status": StepStatus(saved["status"])})

    def shown(self) -> dict[str, Any]:
        """Return it as the log keeps it; what is at its default left out."""
        shown: dict[str, Any] = {"name": self.name, "status": str(self.status)}
        for name in _FURTHER:
            value = getattr(self, name)
            if value is not None and value is not False and (name == "result" or value != 0):
                shown[name] = value
        return shown


@dataclasses.dataclass(slots=True)
class Record:
    """One execution as the log has it; times in milliseconds since 1970 by the database's clock.

    Attributes:
        version: Goes up with every change; who changes it says which one they have seen.
        owner: Who runs it; "" for nobody.
        due_ms: When somebody should take it: when the lease ends, or what is waited for is due.
        deadline_ms: When its steps must have ended.
        run: From 1; one more for each `retry` from the beginning.
        reason: Why it was cancelled; None: it was not.
    """

    id: str
    saga: str
    steps: list[StepState]
    context: dict[str, Any]
    input: dict[str, Any]
    deadline_ms: int
    status: SagaStatus = SagaStatus.RUNNING
    version: int = 1
    owner: str = ""
    due_ms: int = 0
    run: int = 1
    key: str | None = None
    reason: str | None = None
    failed_step: str | None = None
    error: str | None = None
    started_ms: int = 0
    ended_ms: int | None = None
    waiting_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    def step(self, name: str) -> StepState:
        """Return the state of a step."""
        return next(step for step in self.steps if step.name == name)


class SagaExecution:
    """An execution as it was when somebody looked.

    Attributes:
        id: A UUID.
        saga_name: Its saga.
        status: A `SagaStatus`.
        steps: For each step its name, status, attempts, result and error.
        context: As the steps have left it.
        failed_step: Which step failed.
        error: What that step raised, in words; or why the execution was cancelled.
        key: What `execute` was told, to have it once.
        started_at: In seconds since 1970.
        completed_at: The same; None while it is open.
    """

    def __init__(self, record: Record, cause: BaseException | None = None) -> None:
        self.id = record.id
        self.saga_name = record.saga
        self.status = record.status
        self.steps = [step.shown() for step in record.steps]
        self.context: Any = record.context
        self.failed_step = record.failed_step
        self.error = record.error if record.error is not None else record.reason
        self.key = record.key
        self.version = record.version
        self.started_at = record.started_ms / 1000
        self.completed_at = None if record.ended_ms is None else record.ended_ms / 1000
        self._cause = cause

    def __repr__(self) -> str:
        return f"<SagaExecution {self.id} of {self.saga_name}: {self.status}>"

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in OPEN

    def get_status(self) -> dict[str, Any]:
        """Return all but the context, as JSON has it."""
        return {
            "id": self.id,
            "saga_name": self.saga_name,
            "status": str(self.status),
            "steps": self.steps,
            "failed_step": self.failed_step,
            "error": self.error,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
        }

    def raise_for_status(self) -> None:
        """Raise where it ended without success.

        Raises:
            SagaError: A step failed.
            SagaCancelled: It was cancelled.
        """
        if self.is_open or self.status is SagaStatus.COMPLETED:
            return
        cause: BaseException = self._cause or StepFailed(self.error or "no reason was given")
        cancelled = self.status is SagaStatus.CANCELLED
        step = self.failed_step or next((each["name"] for each in self.steps), "")
        error = (SagaCancelled if cancelled else SagaError)(step, cause)
        error.execution = self
        raise error from (self._cause if isinstance(self._cause, Exception) else None)


def in_words(error: BaseException) -> str:
    """Return an error for the log: its class and words, bounded."""
    said = str(error)
    kind = type(error).__name__
    return (said if isinstance(error, CelloError) and said else f"{kind}: {said}" if said else kind)[:2000]
