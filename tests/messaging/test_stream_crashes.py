"""What survives on Kafka and SQS: consumers that are killed in mid-handler, and ones that are told to end."""

import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.messaging.rigs import Rig, until
from tests.messaging.streams import KafkaRig, SqsRig, kafka_config, shared_kafka, shared_sqs
from tests.serve.program import Program, free_port

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(sys.platform == "win32", reason="it kills")]

RIGS: dict[str, type[Rig]] = {"kafka": KafkaRig, "sqs": SqsRig}


@pytest.fixture(params=sorted(RIGS))
async def stream(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = RIGS[request.param]()
    await made.open()
    yield made
    await made.close()


class Log:
    """What the application noted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.path.touch()

    def noted(self, what: str) -> list[str]:
        return [line.split()[1] for line in self.path.read_text().splitlines() if line.startswith(what)]


def serving(rig: Rig, topic: str, log: Log, seconds: float) -> Program:
    """Run the application on cello's own server."""
    is_kafka = rig.name == "kafka"
    environment = {
        "CELLO_TEST_KIND": rig.name,
        "CELLO_TEST_ADDRESS": shared_kafka().address if is_kafka else shared_sqs().url,
        "CELLO_TEST_TOPIC": topic,
        "CELLO_TEST_LOG": str(log.path),
        "CELLO_TEST_SECONDS": str(seconds),
        "CELLO_TEST_SESSION_MS": str(kafka_config().session_timeout_ms) if is_kafka else "",
    }
    port = str(free_port())
    words = ("-m", "cello", "run", "tests.messaging.stream_app:app", "--port", port, "--workers", "1")
    return Program(*words, folder=log.path.parent, environment=environment)


async def send(rig: Rig, topic: str, count: int) -> list[str]:
    ids = [f"m{number}" for number in range(count)]
    async with rig.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": "x", "id": each} for each in ids])
    return ids


async def test_a_consumer_killed_in_mid_handler_loses_nothing(stream: Rig, tmp_path: Path) -> None:
    topic, log = await stream.topic(), Log(tmp_path)
    ids = await send(stream, topic, 20)
    with serving(stream, topic, log, seconds=60) as program:
        await until(lambda: len(log.noted("began")) == 2)
        program.process.send_signal(signal.SIGKILL)
        program.process.wait(30)
    assert log.noted("ended") == []
    with serving(stream, topic, log, seconds=0):
        await until(lambda: set(log.noted("ended")) == set(ids), 60)
    assert len(log.noted("began")) >= 22


async def test_told_to_end_it_finishes_what_it_has_in_hand_and_no_more(stream: Rig, tmp_path: Path) -> None:
    topic, log = await stream.topic(), Log(tmp_path)
    ids = await send(stream, topic, 20)
    with serving(stream, topic, log, seconds=1) as program:
        await until(lambda: len(log.noted("began")) >= 2)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(60) == 0
    began, ended = log.noted("began"), log.noted("ended")
    assert sorted(began) == sorted(ended)
    assert len(ended) < 20
    assert log.path.read_text().splitlines()[-1].startswith("stopped")
    with serving(stream, topic, log, seconds=0):
        await until(lambda: set(log.noted("ended")) == set(ids), 60)
    if stream.name == "sqs":
        assert len(log.noted("ended")) == 20
