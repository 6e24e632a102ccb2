"""A saga whose step publishes by the outbox, as a program that is killed: `python -m tests.saga.publishing`.

Its words: the URL of the database, the table of the outbox, the topic, and the moment at which it dies.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from cello.database import Database
from cello.messaging.outbox import Outbox
from cello.saga import Saga, SagaConfig, SagaOrchestrator, SagaStep, StepRun

MOMENTS = ("before the commit", "after the commit", "after the end")


def make(
    database: Database, table: str, topic: str, reach: Callable[[str], None] = lambda moment: None
) -> tuple[SagaOrchestrator, Outbox]:
    """Return the saga's orchestrator and the outbox, both in one database; the saga is called like the table."""
    outbox = Outbox(lambda: database, table)

    async def publish(context: dict[str, Any], run: StepRun) -> None:
        async with database.transaction() as tx:
            if not await tx.fetch_val(f"SELECT COUNT(*) FROM {table}_orders WHERE id = :id", id=run.key):
                await tx.execute(f"INSERT INTO {table}_orders VALUES (:id)", id=run.key)
                await outbox.send(topic, {"order": context["order"]}, id=run.key)
            reach("before the commit")
        reach("after the commit")

    async def withdraw(context: dict[str, Any], run: StepRun) -> None:
        await outbox.send(topic, {"cancelled": context["order"]}, id=run.key)

    def ship(context: dict[str, Any]) -> None:
        if context.get("lost"):
            raise LookupError("the parcel is lost")

    saga = Saga(table)
    saga.add_step(SagaStep("publish", publish, withdraw))
    saga.add_step(SagaStep("ship", ship, max_retries=0))
    sagas = SagaOrchestrator(SagaConfig(lease_secs=0.4, retry_delay_ms=1), database=database)
    sagas.register(saga)
    return sagas, outbox


async def prepare(database: Database, outbox: Outbox) -> None:
    """Make the tables."""
    await outbox.make_tables(database, database._shared.address.kind)
    await database.execute(f"CREATE TABLE IF NOT EXISTS {outbox.table}_orders (id VARCHAR(200) PRIMARY KEY)")


async def main() -> None:
    url, table, topic, last = sys.argv[1:]

    def reach(moment: str) -> None:
        if moment == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sagas, _ = make(await Database.connect(url), table, topic, reach)
    await sagas.execute(table, {"order": 7}, key="7")
    reach("after the end")


if __name__ == "__main__":
    asyncio.run(main())
