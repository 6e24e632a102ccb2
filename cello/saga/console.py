"""What `cello sagas` does: looks at the executions of an application, and changes them, whoever runs them.

Nothing is executed here: what is to be tried again, cancelled or told of an event is taken up by a running server.
"""

import datetime
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cello.errors import ConfigError
from cello.http import json_codec
from cello.saga.errors import SagaNotFound
from cello.saga.orchestrator import SagaOrchestrator
from cello.saga.state import SagaExecution
from cello.saga.switch import Sagas

HEAD = ("ID", "SAGA", "STATUS", "STARTED", "STEP", "ERROR")


async def run(feature: Sagas, work: Callable[[SagaOrchestrator], Awaitable[Any]]) -> Any:
    """Do something with the orchestrator of an application that does not run here.

    Raises:
        ConfigError: Its executions are in the memory of its workers.
    """
    orchestrator = feature.orchestrator
    if orchestrator.config.is_memory:
        raise ConfigError(
            'these sagas are kept in memory, where only their worker sees them: SagaConfig(store="sqlite://sagas.db")'
        )
    feature.use_database()
    try:
        return await work(orchestrator)
    finally:
        await orchestrator.close()


async def show(orchestrator: SagaOrchestrator, execution_id: str) -> dict[str, Any]:
    """Return everything about an execution, its context included.

    Raises:
        SagaNotFound: There is none of that id.
    """
    found = await orchestrator.get_execution(execution_id)
    if found is None:
        raise SagaNotFound(f"there is no execution {execution_id!r:.80}")
    plain: dict[str, Any] = json_codec.decode(
        json_codec.encode({**found.get_status(), "key": found.key, "context": found.context})
    )
    return plain


def rows(executions: Sequence[SagaExecution]) -> list[tuple[str, ...]]:
    """Return a line of the table for each execution."""
    return [
        (
            each.id,
            each.saga_name,
            str(each.status),
            datetime.datetime.fromtimestamp(each.started_at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
            each.failed_step or _current(each),
            " ".join((each.error or "-").split())[:80],
        )
        for each in executions
    ]


def _current(execution: SagaExecution) -> str:
    """Return the step that an execution is at."""
    at = [step["name"] for step in execution.steps if step["status"] in ("running", "waiting", "compensating")]
    return ", ".join(at) or "-"
