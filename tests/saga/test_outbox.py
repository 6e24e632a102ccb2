"""Steps that publish by the outbox: once for each execution, whatever happens to the process."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, DatabaseConfig, SagaConfig
from cello.database import Database
from cello.features.messaging.switch import MessagingSwitch
from cello.messaging import MemoryConfig, Message
from cello.messaging.memory import SentMessages
from cello.messaging.outbox import Outbox, Relay
from cello.saga import Saga, SagaError, SagaOrchestrator, SagaStep
from tests.messaging.rigs import PATIENCE_S, RIGS, Rig, until
from tests.messaging.test_outbox import wait_for
from tests.saga import publishing

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = RIGS[request.param]()
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def table(url: str) -> Iterator[str]:
    name = f"saga_outbox_{uuid.uuid4().hex[:10]}"
    yield name

    async def drop() -> None:
        async with await Database.connect(url) as database:
            for each in (name, f"{name}_lease", f"{name}_orders"):
                await database.execute(f"DROP TABLE IF EXISTS {each}")
            await database.execute("DELETE FROM cello_sagas WHERE saga = :name", name=name)

    asyncio.run(drop())


@contextlib.asynccontextmanager
async def at_work(url: str, table: str, rig: Rig, topic: str) -> AsyncIterator[tuple[SagaOrchestrator, list[Any]]]:
    """Yield the sagas of a worker whose relay sends, and what arrives at the other side of the broker."""
    came: list[Any] = []

    async def take(message: Message) -> None:
        came.append((message.id, message.json()))

    async with await Database.connect(url) as database:
        sagas, outbox = publishing.make(database, table, topic)
        await publishing.prepare(database, outbox)
        async with rig.producer() as producer, rig.at_work(topic, take):
            relay = Relay(outbox, database, producer, interval_s=0.02)
            await relay.start()
            try:
                yield sagas, came
            finally:
                await relay.stop()
                await sagas.close()


async def test_what_a_step_and_its_compensation_publish_arrives_once_and_in_order(
    url: str, table: str, rig: Rig
) -> None:
    topic = await rig.topic()
    async with at_work(url, table, rig, topic) as (sagas, came):
        done = await sagas.execute(table, {"order": 1}, key="1")
        with pytest.raises(SagaError) as failed:
            await sagas.execute(table, {"order": 2, "lost": True}, key="2")
        assert (await sagas.execute(table, {"order": 1}, key="1")).id == done.id
        await until(lambda: len(came) == 3)
        undone = failed.value.execution.id
        assert came == [
            (f"{done.id}:1:publish", {"order": 1}),
            (f"{undone}:1:publish", {"order": 2}),
            (came[2][0], {"cancelled": 2}),
        ]
        assert came[2][0].startswith(f"{undone}:1:publish")


@pytest.mark.skipif(sys.platform == "win32", reason="it kills")
@pytest.mark.parametrize("moment", publishing.MOMENTS)
async def test_killed_around_the_commit_a_step_has_published_once(url: str, table: str, rig: Rig, moment: str) -> None:
    async with await Database.connect(url) as database:
        await publishing.prepare(database, Outbox(lambda: database, table))
    topic = await rig.topic()
    command = [sys.executable, "-m", "tests.saga.publishing", url, table, topic, moment]
    killed = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=PATIENCE_S, check=False)
    assert killed.returncode == -signal.SIGKILL
    async with at_work(url, table, rig, topic) as (sagas, came):
        [begun] = await sagas.list_executions(table)
        assert begun.is_open == (moment != "after the end")
        deadline = time.monotonic() + PATIENCE_S
        while begun.is_open:
            assert time.monotonic() < deadline
            await sagas.resume(begun.id)
            [begun] = await sagas.list_executions(table)
            await asyncio.sleep(0.05)
        assert begun.status == "completed"
        await sagas.execute(table, {"order": 8}, key="8")  # what comes after it is there: nothing is on its way
        await until(lambda: any(said == {"order": 8} for _, said in came))
        assert [each for each in came if each[1] == {"order": 7}] == [(f"{begun.id}:1:publish", {"order": 7})]
        assert len(came) == 2


def test_steps_of_both_colours_publish_by_the_application_s_outbox(
    serve: Callable[..., Any], colour: str, tmp_path: Path
) -> None:
    app, memory = App(), MemoryConfig()
    app.enable_database(DatabaseConfig(f"sqlite:///{tmp_path}/shop.db"))
    app.enable(MessagingSwitch("memory", "enable_memory", memory))
    app.enable_outbox("memory", "outbox", interval=0.02)
    app.enable_saga(SagaConfig(store="database", retry_delay_ms=1, max_retries=1))
    tries: list[int] = []

    if colour == "def":

        def publish(context: dict[str, Any], run: Any) -> None:
            with app.database.transaction():
                app.outbox.send("orders", context["order"], id=run.key)
                tries.append(1)
                if len(tries) == 1:
                    raise OSError("what was sent in this attempt is not sent")

    else:

        async def publish(context: dict[str, Any], run: Any) -> None:  # type: ignore[misc]
            async with app.database.transaction():
                await app.outbox.send("orders", context["order"], id=run.key)
                tries.append(1)
                if len(tries) == 1:
                    raise OSError("what was sent in this attempt is not sent")

    saga = Saga("Publishing")
    saga.add_step(SagaStep("publish", publish))
    app.sagas.register(saga)

    @app.post("/orders/{id}")
    async def order(id: int) -> str:
        return (await app.sagas.execute("Publishing", {"order": id})).id

    client = serve(app)
    first = client.post("/orders/1")
    assert first.status_code == 200
    client.post("/orders/2")
    sent = SentMessages(memory.hub).sent
    wait_for(lambda: len(sent("orders")) >= 2)
    assert [message.json() for message in sent("orders")] == [1, 2]
    assert sent("orders")[0].id == f"{first.text}:1:publish"
