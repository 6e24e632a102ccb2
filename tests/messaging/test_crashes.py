"""What survives: consumers that are killed, told to end, and a broker that is killed under load."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cello import RabbitMQConfig
from cello.messaging import BrokerUnavailable, Message, Producer
from tests.database.servers import running
from tests.integration.hosts import free_port
from tests.messaging.rigs import PATIENCE_S, RabbitMQRig, Rig, until
from tests.messaging.servers import RabbitMQ

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(sys.platform == "win32", reason="it kills")]

ROOT = Path(__file__).parents[2]
MESSAGES = 10_000


class Worker:
    """`cello worker`, or another command, in a process of its own."""

    command: tuple[str, ...] = ("worker", "tests.messaging.worker_app:app")

    def __init__(self, folder: Path, url: str, queue: str, seconds: float, colour: str = "async") -> None:
        self.log = folder / "log"
        self.log.touch()
        self.environment = os.environ | {
            "CELLO_TEST_URL": url,
            "CELLO_TEST_QUEUE": queue,
            "CELLO_TEST_LOG": str(self.log),
            "CELLO_TEST_SECONDS": str(seconds),
            "CELLO_TEST_COLOUR": colour,
        }
        self.output = (folder / "output").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cello", *self.command],
            cwd=ROOT, env=self.environment, stdout=self.output, stderr=self.output,
        )  # fmt: skip

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.output.close()

    def noted(self, what: str) -> list[str]:
        return [line.split()[1] for line in self.log.read_text().splitlines() if line.startswith(what)]

    async def until_noted(self, what: str, count: int) -> None:
        await until(lambda: len(self.noted(what)) >= count)


@pytest.fixture
async def rabbit() -> AsyncIterator[RabbitMQRig]:
    rig = RabbitMQRig()
    await rig.open()
    yield rig
    await rig.close()


async def send(rig: Rig, topic: str, count: int) -> list[str]:
    ids = [f"m{number}" for number in range(count)]
    async with rig.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": "x", "id": each} for each in ids])
    return ids


async def test_a_consumer_killed_in_mid_handler_loses_nothing(rabbit: RabbitMQRig, tmp_path: Path) -> None:
    queue = await rabbit.topic()
    worker = Worker(tmp_path, rabbit.url, queue, seconds=60)
    try:
        worker.start()
        ids = await send(rabbit, queue, 20)
        await worker.until_noted("began", 2)
        worker.end(signal.SIGKILL)
        assert worker.noted("ended") == []
        worker.environment["CELLO_TEST_SECONDS"] = "0"
        worker.start()
        await worker.until_noted("ended", 20)
        assert worker.end(signal.SIGTERM) == 0
        assert sorted(worker.noted("ended")) == sorted(ids)
        assert len(worker.noted("began")) == 22
    finally:
        worker.close()
    assert await rabbit.left(queue) == 0


@pytest.mark.parametrize("role", ["worker", "server"])
@pytest.mark.parametrize("colour", ["def", "async"])
async def test_sigterm_lets_a_process_finish_what_it_has_in_hand(
    rabbit: RabbitMQRig, tmp_path: Path, colour: str, role: str
) -> None:
    queue = await rabbit.topic()
    worker = Worker(tmp_path, rabbit.url, queue, seconds=1, colour=colour)
    if role == "server":
        worker.command = ("run", "tests.messaging.worker_app:app", "--port", str(free_port()))
        worker.environment["CELLO_TEST_CONSUMERS"] = "everywhere"
    try:
        worker.start()
        await send(rabbit, queue, 20)
        await worker.until_noted("began", 2)
        assert worker.end(signal.SIGTERM) == 0
        began, ended = worker.noted("began"), worker.noted("ended")
        assert sorted(began) == sorted(ended)
        assert worker.noted("started") == worker.noted("stopped") == [role]
        lines = worker.log.read_text().splitlines()
        assert lines[-1].startswith("stopped")  # the application's own hooks find everything done
    finally:
        worker.close()
    assert len(ended) < 20
    assert await rabbit.left(queue) == 20 - len(ended)


def test_a_worker_without_consumers_says_so(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("from cello import App\napp = App()\n")
    argv = [sys.executable, "-m", "cello", "worker", "idle:app"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the application declares no consumers" in done.stderr


def test_a_worker_that_cannot_reach_its_broker_ends_with_exit_code_1(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "amqp://127.0.0.1:1", "queue", seconds=0)
    worker.start()
    try:
        assert worker.process is not None
        assert worker.process.wait(60) == 1
    finally:
        worker.close()
    assert "RabbitMQ at amqp://127.0.0.1:1/ is not available" in (tmp_path / "output").read_text()


async def test_a_broker_killed_under_load_loses_nothing_that_was_confirmed() -> None:
    rig = RabbitMQRig()
    with running(RabbitMQ()) as server:
        rig.url = server.url  # type: ignore[attr-defined]  # a RabbitMQ has one
        seen: Counter[str] = Counter()
        config = RabbitMQConfig(rig.url, prefetch_count=100, connection_timeout_secs=10)

        async def count(message: Message) -> None:
            seen[message.id] += 1

        rig.config = lambda **fields: config  # type: ignore[assignment]
        async with rig.at_work("load", count, concurrency=10, prefetch=100), await Producer.connect(config) as producer:
            confirmed: set[str] = set()
            sending = asyncio.create_task(send_all(producer, confirmed))
            await until(lambda: len(confirmed) > MESSAGES // 5 and seen)
            await asyncio.to_thread(server.kill)
            before = len(confirmed)
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(sending, 150)
            await until(lambda: seen.keys() >= confirmed, 60)
    assert before < MESSAGES
    assert len(confirmed) == MESSAGES
    assert seen.keys() == confirmed
    duplicates = sum(seen.values()) - len(seen)
    print(f"{MESSAGES} confirmed, {len(seen)} received, {duplicates} of them more than once")


async def send_all(producer: Producer, confirmed: set[str]) -> None:
    """Send the messages, several at a time, each until it is confirmed."""
    numbers = iter(range(MESSAGES))

    async def send_some() -> None:
        for number in numbers:
            name = f"m{number}"
            while name not in confirmed:
                try:
                    await producer.send("load", "x", id=name)
                except BrokerUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    confirmed.add(name)

    await asyncio.gather(*(send_some() for _ in range(20)))
