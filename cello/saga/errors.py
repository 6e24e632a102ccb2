"""What goes wrong with sagas."""

from typing import Any

from cello.errors import CelloError


class SagaError(CelloError):
    """A step failed for good, and what was done before has been compensated.

    A step that raises one itself is not tried again, whatever the retries are.

    Attributes:
        step_name: Which step.
        original_error: What it raised; a `StepFailed` with its words where that was in another process.
        execution: The `SagaExecution`; None where a step has raised this.
    """

    def __init__(self, step_name: str, original_error: BaseException) -> None:
        super().__init__(f"Saga failed at step {step_name!r}: {original_error}")
        self.step_name = step_name
        self.original_error = original_error
        self.execution: Any = None


class SagaCancelled(SagaError):
    """Somebody has cancelled the execution, and what was done has been compensated."""


class StepFailed(CelloError):
    """Stands for what a step raised in another process: its class and words."""


class SagaNotFound(CelloError, LookupError):
    """There is no execution of that id."""


class LeaseLost(CelloError):
    """Another worker has taken the execution over, as this one was silent for too long; what it does counts."""


class Interrupted(CelloError):
    """A step was begun again and again, and never ended: its worker died each time."""
