"""The feature: an orchestrator that lives with the application, for handlers of both colours."""

import logging
from collections.abc import Iterator
from typing import Any

from cello.database.colours import Both
from cello.errors import ConfigError
from cello.extension import Host
from cello.gateways.home_loop import HomeLoop
from cello.review import Deployment, Finding
from cello.saga.blocking import BlockingOrchestrator
from cello.saga.config import OF_THE_APPLICATION, SagaConfig
from cello.saga.orchestrator import SagaOrchestrator
from cello.saga.state import SagaExecution

logger = logging.getLogger("cello.saga")

LOG_BAND = 40
"""After databases and event stores, and before the application's own hooks, which may begin sagas."""
RUN_BAND = 60
"""After the application's own hooks, which may make what steps use: executions of others are taken up from then on."""
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0, 86400.0)


class Sagas:
    """Sagas of an application. For what the arguments mean see `App.enable_saga`.

    Attributes:
        resource: The orchestrator, for handlers of both colours.
    """

    name = "saga"
    resource: Both[SagaOrchestrator, BlockingOrchestrator]

    def __init__(self, config: SagaConfig | None = None) -> None:
        self.orchestrator = SagaOrchestrator(config)

    def install(self, host: Host) -> None:
        """Provide the orchestrator, and a health check of its log."""
        self._host = host
        self.resource = Both(self.orchestrator, BlockingOrchestrator(self.orchestrator, HomeLoop.install_once(host)))
        host.provide("sagas", self.resource)
        host.on_start(self._start, band=LOG_BAND)
        host.on_start(self.orchestrator.open, band=RUN_BAND)
        host.on_stop(self.orchestrator.close, band=RUN_BAND)
        host.on_stop(self.orchestrator.close, band=LOG_BAND)  # what a shutdown hook has asked opened the log once more
        host.add_check("sagas", self.orchestrator.check)
        text = "How long executions of sagas took, in seconds."
        self._durations = host.metric("histogram", "saga_duration_seconds", text, ("saga", "status"), BUCKETS_S)
        self.orchestrator.on_change(self._count)
        self.orchestrator.spans = host.spans

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find logs that not every process reaches."""
        config, processes = self.orchestrator.config, deployment.workers * deployment.machines
        said = str(getattr(config.store, "url", config.store))
        if config.is_memory and (processes > 1 or deployment.env == "production"):
            yield Finding(
                "error" if processes > 1 else "warning",
                "sagas-memory",
                "enable_saga: executions are kept in the memory of one process: others do not see them, and they are "
                'gone with it. Say SagaConfig(store="sqlite://sagas.db"), or a server',
            )
        elif said.startswith("sqlite") and deployment.machines > 1:
            yield Finding(
                "error",
                "sagas-file",
                f"enable_saga: SQLite is a file of one machine, and there are {deployment.machines}: each has "
                "executions of its own. Use PostgreSQL or MySQL",
            )

    def has_work(self) -> bool:
        """Whether `cello worker` has executions to take up: those of a log that others write to."""
        return not self.orchestrator.config.is_memory

    def use_database(self) -> None:
        """Keep executions in the application's database, where the config says so.

        Raises:
            ConfigError: There is none.
        """
        if self.orchestrator.config.store == OF_THE_APPLICATION:
            database = self._host.resource("database")
            if database is None:
                raise ConfigError('SagaConfig(store="database") needs app.enable_database()')
            self.orchestrator.use_database(database.aio)

    async def _start(self) -> None:
        self.use_database()
        if self.orchestrator.config.is_memory and not self._host.shared.origin().is_alone:
            logger.warning(
                "sagas are kept in the memory of this worker alone, and are gone when it ends: "
                'SagaConfig(store="sqlite://sagas.db") keeps them for all workers'
            )
        await self.orchestrator.prepare()

    def _count(self, execution: SagaExecution) -> None:
        if not execution.is_open and execution.completed_at is not None:
            seconds = max(0.0, execution.completed_at - execution.started_at)
            self._durations.labelled(execution.saga_name, str(execution.status)).observe(seconds)


def feature_of(app: Any) -> Sagas:
    """Return the feature of an application.

    Raises:
        ConfigError: `enable_saga()` was not called.
    """
    found: Sagas | None = app.feature("saga")
    if found is None:
        raise ConfigError("the application has no sagas: app.enable_saga() was not called")
    return found
