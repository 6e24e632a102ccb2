"""Kafka and SQS under the table of tests: how each is reached, and what it cannot do."""

import asyncio
import atexit
import contextlib
import functools
import uuid
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from cello.messaging.broker import BrokerConfig
from cello.messaging.kafka.config import KafkaConfig
from cello.messaging.sqs.config import SqsConfig
from tests.messaging.kafka_cluster import KafkaCluster, RealKafka, bear_with_the_mock, running_kafka
from tests.messaging.rigs import Rig
from tests.messaging.sqs_server import REGION, SqsServer, running_sqs


@functools.cache
def shared_kafka() -> KafkaCluster | RealKafka:
    """Return the Kafka of this test process."""
    stack = contextlib.ExitStack()
    cluster = stack.enter_context(running_kafka())
    atexit.register(stack.close)
    if cluster.is_mock:
        bear_with_the_mock()
    return cluster


@functools.cache
def shared_sqs() -> SqsServer:
    """Return the SQS of this test process."""
    stack = contextlib.ExitStack()
    server = stack.enter_context(running_sqs())
    atexit.register(stack.close)
    return server


def kafka_config(**fields: Any) -> KafkaConfig:
    """Return the config of the shared cluster."""
    cluster = shared_kafka()
    timeout_ms = 2000 if cluster.is_mock else 6000  # the mock cluster always waits that long for members
    return KafkaConfig(**{"brokers": cluster.address.split(","), "session_timeout_ms": timeout_ms, **fields})


class KafkaRig(Rig):
    """Kafka, by the protocol at least: `kafka_cluster.py`."""

    name = "kafka"
    options = MappingProxyType({"ordered_by": "key"})

    def __init__(self) -> None:
        super().__init__()
        self._group = f"group-{uuid.uuid4().hex[:8]}"

    async def open(self) -> None:
        await asyncio.to_thread(shared_kafka)
        self.options = {**type(self).options, "group": self._group}

    def config(self, **fields: Any) -> BrokerConfig:
        return kafka_config(**fields)

    async def topic(self) -> str:
        name = await super().topic()
        await asyncio.to_thread(shared_kafka().create_topic, name, 3)
        return name


def sqs_config(**fields: Any) -> SqsConfig:
    """Return the config of the shared server."""
    known = {"region": REGION, "endpoint_url": shared_sqs().url, "access_key_id": "test", "secret_access_key": "test"}
    return SqsConfig(**{**known, "wait_time_secs": 1, **fields})


class SqsRig(Rig):
    """SQS, by its protocol: `sqs_server.py`."""

    name = "sqs"

    async def open(self) -> None:
        await asyncio.to_thread(shared_sqs)

    def config(self, **fields: Any) -> BrokerConfig:
        return sqs_config(**fields)

    async def topic(self) -> str:
        name = await super().topic()
        await asyncio.to_thread(shared_sqs().create_queue, name)
        return name

    def dead_letter_of(self, topic: str) -> str:
        return f"{topic}-dead-letter"


@contextlib.contextmanager
def kafka_for_guide() -> Iterator[str]:
    """Yield the address that the guide calls "localhost:9092", of a cluster without anybody's topics."""
    with running_kafka() as cluster:
        if cluster.is_mock:
            bear_with_the_mock()
        for topic in ("orders", "visits", "audit", "debits", "credits"):
            cluster.create_topic(topic)
        yield cluster.address


@contextlib.contextmanager
def sqs_for_guide() -> Iterator[str]:
    """Yield what the guide calls "SqsConfig.local(", of a server without anybody's queues."""
    with running_sqs() as server:
        yield f"SqsConfig.local(endpoint_url={server.url!r}, "
