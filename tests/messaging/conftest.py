"""`rig`: each test once for every broker; `kafka`, `own`: what tests of Kafka alone need."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.messaging.kafka_cluster import KafkaCluster, RealKafka, bear_with_the_mock, running_kafka
from tests.messaging.rigs import RIGS, Rig
from tests.messaging.streams import KafkaRig, SqsRig

ALL: dict[str, type[Rig]] = {**RIGS, "kafka": KafkaRig, "sqs": SqsRig}


@pytest.fixture(params=sorted(ALL))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = ALL[request.param]()
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def kafka() -> AsyncIterator[KafkaRig]:
    """Kafka in the default order, by partition, with a group of its own."""
    made = KafkaRig()
    await made.open()
    made.options = {"group": f"g-{uuid.uuid4().hex[:8]}"}
    yield made
    await made.close()


@pytest.fixture
def own() -> Iterator[KafkaCluster | RealKafka]:
    """A cluster that the test may stop."""
    with running_kafka() as cluster:
        bear_with_the_mock()
        yield cluster
