"""Sagas: steps that are done one after the other, and undone backwards when one of them fails, whatever crashes.

`docs/guide/sagas.md` is the guide.
"""

from cello.saga.config import SagaConfig
from cello.saga.definition import Parallel, Saga, SagaStep, Sleep, StepRun, WaitForEvent
from cello.saga.errors import SagaCancelled, SagaError, SagaNotFound, StepFailed
from cello.saga.orchestrator import SagaOrchestrator
from cello.saga.state import SagaExecution, SagaStatus, StepStatus

__all__ = [
    "Parallel",
    "Saga",
    "SagaCancelled",
    "SagaConfig",
    "SagaError",
    "SagaExecution",
    "SagaNotFound",
    "SagaOrchestrator",
    "SagaStatus",
    "SagaStep",
    "Sleep",
    "StepFailed",
    "StepRun",
    "StepStatus",
    "WaitForEvent",
]
