"""The outbox: sent if and only if committed; over SQLite and PostgreSQL, and through kill -9 of its process."""

import asyncio
import contextlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, DatabaseConfig
from cello.database import Database, transactional
from cello.features.messaging.switch import MessagingSwitch
from cello.messaging import MemoryConfig, Message, Producer
from cello.messaging.memory import SentMessages
from cello.messaging.outbox import PARKED, Outbox, Relay
from tests.database.servers import reachable
from tests.integration.hosts import Host, running
from tests.messaging.rigs import PATIENCE_S, RabbitMQRig, until


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/outbox.db"
        return
    with reachable(request.param) as url:
        yield url


@pytest.fixture
def table(database_url: str) -> Iterator[str]:
    name = f"outbox_{uuid.uuid4().hex[:10]}"
    yield name

    async def drop() -> None:
        async with await Database.connect(database_url) as database:
            for each in (name, f"{name}_lease", f"{name}_orders"):
                await database.execute(f"DROP TABLE IF EXISTS {each}")

    asyncio.run(drop())


def wait_for(holds: Callable[[], object]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if holds():
            return
        waiting.wait(0.01)
    pytest.fail("it did not come true")


def test_a_message_is_sent_if_and_only_if_the_transaction_is_committed(
    serve: Callable[..., Any], colour: str, database_url: str, table: str
) -> None:
    app = App()
    memory = MemoryConfig()
    app.enable_database(DatabaseConfig(database_url, pool_size=3))
    app.enable(MessagingSwitch("memory", "enable_memory", memory))
    app.enable_outbox("memory", table, interval=0.02)
    sent = SentMessages(memory.hub).sent

    if colour == "def":

        @app.post("/orders/{id}")
        @transactional
        def order(id: int) -> None:
            app.outbox.send("orders", {"id": id}, key="k", headers={"tenant": "a"}, id=f"order-{id}")
            if id == 13:
                raise ValueError

    else:

        @app.post("/orders/{id}")
        @transactional
        async def order(id: int) -> None:
            await app.outbox.send("orders", {"id": id}, key="k", headers={"tenant": "a"}, id=f"order-{id}")
            if id == 13:
                raise ValueError

    client = serve(app)
    for number in (1, 13, 2):
        assert client.post(f"/orders/{number}").status_code == (500 if number == 13 else 204)
    wait_for(lambda: len(sent("orders")) >= 2)
    assert [(message.id, message.json(), message.key, message.headers) for message in sent()] == [
        (f"order-{number}", {"id": number}, "k", {"tenant": "a", "content-type": "application/json"})
        for number in (1, 2)
    ]


@contextlib.asynccontextmanager
async def relays(url: str, table: str, memory: MemoryConfig, count: int = 1, **options: Any) -> Any:
    """Yield (database, outbox, relays that send when told)."""
    async with await Database.connect(url) as database:
        outbox = Outbox(lambda: database, table)
        await outbox.make_tables(database, database._shared.address.kind)
        await outbox.make_tables(database, database._shared.address.kind)
        made = [Relay(outbox, database, Producer(memory.make_broker()), **options) for _ in range(count)]
        yield database, outbox, made


async def test_messages_wait_while_the_broker_is_away(database_url: str, table: str) -> None:
    memory = MemoryConfig()
    memory.hub.go_down()
    async with relays(database_url, table, memory, interval_s=0.02) as (_, outbox, (relay,)):
        await relay.start()
        for number in range(3):
            await outbox.send("orders", number, id=f"m{number}")
        await asyncio.sleep(0.1)
        memory.hub.is_down = False
        await until(lambda: len(memory.hub.log.get("orders", [])) == 3)
        await relay.stop()
    assert [message.id for message in SentMessages(memory.hub).sent()] == ["m0", "m1", "m2"]


async def test_one_relay_at_a_time_sends_and_another_takes_over(database_url: str, table: str) -> None:
    memory = MemoryConfig()
    async with relays(database_url, table, memory, 2) as (_, outbox, (first, second)):
        await outbox.send("orders", b"\x00\xff")
        assert (await first.send_once(), await second.send_once()) == (1, 0)
        await outbox.send("orders", "two")
        assert (await second.send_once(), await first.send_once()) == (0, 1)
        await first.start()
        await first.stop()
        await outbox.send("orders", "three")
        assert await second.send_once() == 1
    assert [message.body for message in SentMessages(memory.hub).sent()] == [b"\x00\xff", b"two", b"three"]


async def test_what_the_broker_refuses_is_put_off_and_then_given_up_while_others_go_on(
    database_url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cello.messaging.outbox.FIRST_PAUSE_S", 0)
    memory = MemoryConfig(max_message_bytes=5)
    async with relays(database_url, table, memory, attempts=2) as (database, outbox, (relay,)):
        await outbox.send("orders", "too large", id="large")
        await outbox.send("orders", "small", id="small")
        assert await relay.send_once() == 1
        assert await relay.send_once() == 0
        (row,) = await database.fetch_all(f"SELECT id, attempts, due_ms, error FROM {table}")
        assert await relay.send_once() == 0
    assert (row["id"], row["attempts"], row["due_ms"]) == ("large", 2, PARKED)
    assert row["error"].startswith("TooLarge: the message has 9 bytes")
    assert [message.id for message in SentMessages(memory.hub).sent()] == ["small"]


def test_an_outbox_needs_a_database_and_its_broker() -> None:
    from cello.testing import TestClient

    app = App()
    app.enable_outbox("memory")
    with pytest.raises(ConfigError, match=r"there is no 'database': call app.enable_database\(\), too"):
        TestClient(app).open()
    for arguments in ({"table": "x; DROP"}, {"interval": 0}, {"attempts": 0}):
        with pytest.raises(ConfigError):
            App().enable_outbox(**arguments)  # type: ignore[arg-type]


CELLO = Host(
    "cello", "cello", ("{bin}/python", "-m", "cello", "run", "tests.messaging.outbox_app:app", "--port", "{port}"), True
)


@pytest.mark.timeout(150)
@pytest.mark.skipif(sys.platform == "win32", reason="it kills")
@pytest.mark.parametrize("moment", ["before sending", "after sending"])
async def test_what_is_committed_survives_kill_9(
    database_url: str, table: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = RabbitMQRig()
    await rig.open()
    queue = await rig.topic()
    for name, value in {"DATABASE_URL": database_url, "URL": rig.url, "TABLE": table, "QUEUE": queue}.items():
        monkeypatch.setenv(f"CELLO_TEST_{name}", value)
    seen: list[str] = []

    async def take(message: Message) -> None:
        seen.append(message.id)

    def run(*numbers: int, dies: str) -> None:
        monkeypatch.setenv("CELLO_TEST_DIES", dies)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(running(CELLO, tmp_path))
            for number in numbers:
                with contextlib.suppress(Exception):  # the last answer is never sent
                    server.request("POST", f"/orders/{number}")
            if dies:
                server.process.wait(PATIENCE_S)
            else:
                wait_for(lambda: {"order-1", "order-2", "order-3"} <= set(seen))

    async with rig.at_work(queue, take):
        await asyncio.to_thread(run, 1, 2, dies=moment)
        if moment == "before sending":
            assert seen == []
        await asyncio.to_thread(run, *((3,) if moment == "before sending" else (2, 3)), dies="")
    await rig.close()
    assert set(seen) == {"order-1", "order-2", "order-3"}
    assert (len(seen) > 3) == (moment == "after sending")
