"""The orchestrator for plain functions: the same methods, which return results. Steps run on the application's loop."""

from typing import Any

from cello.gateways.home_loop import HomeLoop
from cello.saga.orchestrator import SagaOrchestrator
from cello.saga.state import SagaExecution


class BlockingOrchestrator:
    """See `SagaOrchestrator` for each method; what does not wait is the orchestrator's own."""

    def __init__(self, orchestrator: SagaOrchestrator, home: HomeLoop) -> None:
        self._orchestrator = orchestrator
        self._home = home

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._orchestrator)[1:]}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._orchestrator, name)

    def execute(
        self, saga_name: str, context: Any = None, *, key: str | None = None, timeout_ms: float | None = None
    ) -> SagaExecution:
        """Run a saga until it ends, or waits."""
        work = self._orchestrator.execute(saga_name, context, key=key, timeout_ms=timeout_ms)
        return self._home.run(work, "sagas.execute()")

    def start(
        self, saga_name: str, context: Any = None, *, key: str | None = None, timeout_ms: float | None = None
    ) -> SagaExecution:
        """Begin a saga and return at once."""
        work = self._orchestrator.start(saga_name, context, key=key, timeout_ms=timeout_ms)
        return self._home.run(work, "sagas.start()")

    def wait(self, execution_id: str, timeout_s: float | None = None, *, until_end: bool = False) -> SagaExecution:
        """Wait until an execution ends, or waits itself."""
        return self._home.run(self._orchestrator.wait(execution_id, timeout_s, until_end=until_end), "sagas.wait()")

    def get_execution(self, execution_id: str) -> SagaExecution | None:
        """Return how an execution stands; None where there is none of that id."""
        return self._home.run(self._orchestrator.get_execution(execution_id), "sagas.get_execution()")

    def find_execution(self, saga_name: str, key: str) -> SagaExecution | None:
        """Return how the execution of a saga that was begun with a key stands; None where there is none."""
        return self._home.run(self._orchestrator.find_execution(saga_name, key), "sagas.find_execution()")

    def list_executions(
        self, saga: str | None = None, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[SagaExecution]:
        """Return executions, the newest first."""
        work = self._orchestrator.list_executions(saga, status, limit, offset)
        return self._home.run(work, "sagas.list_executions()")

    def resume(self, execution_id: str | None = None) -> list[SagaExecution]:
        """Take what is due, until it ends or waits."""
        return self._home.run(self._orchestrator.resume(execution_id), "sagas.resume()")

    def signal(self, execution_id: str, event: str, data: Any = None) -> bool:
        """Tell an execution of an event."""
        return self._home.run(self._orchestrator.signal(execution_id, event, data), "sagas.signal()")

    def cancel(self, execution_id: str, reason: str = "cancelled") -> bool:
        """Have an execution compensated."""
        return self._home.run(self._orchestrator.cancel(execution_id, reason), "sagas.cancel()")

    def retry(self, execution_id: str) -> SagaExecution:
        """Try again what has ended without success."""
        return self._home.run(self._orchestrator.retry(execution_id), "sagas.retry()")

    def forget(self, older_than_secs: float) -> int:
        """Delete executions that ended so many seconds ago."""
        return self._home.run(self._orchestrator.forget(older_than_secs), "sagas.forget()")
