"""Sending many messages to Kafka at once: where they go, in which order, and what becomes of those that cannot go."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.messaging import BatchError, Message, Outgoing, Producer, Receipt, SendTimeout, TooLarge, Unroutable
from cello.messaging.kafka.batches import FEW
from cello.messaging.kafka.partitions import Partitions, Topic
from tests.messaging.kafka_cluster import PRODUCE, KafkaCluster
from tests.messaging.streams import KafkaRig, kafka_config, shared_kafka

aiokafka = pytest.importorskip("aiokafka")


async def receipts(producer: Producer, messages: list[Outgoing]) -> list[Receipt]:
    """Return what the broker says to a batch that arrives whole."""
    found = await producer._broker.send_batch(messages)
    assert all(isinstance(each, Receipt) for each in found), found
    return [each for each in found if isinstance(each, Receipt)]


def partition_of(receipt: Receipt) -> int:
    return int((receipt.position or "").split(":")[0])


@pytest.mark.parametrize("key", ["a", "order-4711", "größe", "x" * 300])
def test_a_key_goes_where_kafkas_own_client_puts_it(key: str) -> None:
    from aiokafka.partitioner import DefaultPartitioner

    partitions = list(range(7))
    expected = DefaultPartitioner()(key.encode(), partitions, partitions)
    assert Topic("orders", partitions, partitions).choose(Outgoing.of("orders", key=key)) == expected


def test_messages_without_a_key_go_in_turn_to_the_partitions_with_a_leader() -> None:
    topic = Topic("orders", [0, 1, 2], [0, 2])
    assert Counter(topic.choose(Outgoing.of("orders")) for _ in range(10)) == {0: 5, 2: 5}


PARTITIONS: dict[str, tuple[Any, str]] = {
    "there is none": (3, "no partition 3"),
    "no number": ("1", "whole number"),
    "negative": (-1, "whole number"),
}


@pytest.mark.parametrize(("partition", "words"), PARTITIONS.values(), ids=PARTITIONS.keys())
def test_a_partition_that_cannot_be_is_refused(partition: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Topic("orders", [0, 1, 2], [0, 1, 2]).choose(Outgoing.of("orders", partition=partition))


async def test_what_is_known_of_a_topic_is_forgotten_when_the_brokers_describe_it_anew(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        await producer.send(topic, "x")
        client = producer._broker._producer  # type: ignore[attr-defined]  # Kafka's
        partitions: Partitions = producer._broker._partitions  # type: ignore[attr-defined]  # the same
        known = await partitions.of(topic, client)
        assert await partitions.of(topic, client) is known
        await client.client.force_metadata_update()
        assert await partitions.of(topic, client) is not known


async def test_a_big_batch_keeps_keys_together_and_partitions_in_order(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    keys = ["a", "b", "c", None, None]
    messages = [Outgoing.of(topic, str(n) + "x" * 500, keys[n % 5]) for n in range(2_000)]
    async with kafka.producer() as producer:
        found = await receipts(producer, messages)
        alone = {key: partition_of(await producer.send(topic, "y", key=key)) for key in "abc"}
    assert [each.id for each in found] == [each.id for each in messages]
    for key, partition in alone.items():
        assert {partition_of(each) for n, each in enumerate(found) if keys[n % 5] == key} == {partition}
    assert len({each.position for each in found}) == 2_000
    arrived: dict[str | None, list[int]] = {}
    for message in await kafka.take(topic, 2_003):
        if message.text != "y":
            arrived.setdefault(message.key, []).append(int(message.text.rstrip("x")))
    assert all(arrived[key] == list(range(place, 2_000, 5)) for place, key in enumerate("abc"))
    assert len(arrived[None]) == 800


async def test_a_receipt_of_a_batch_says_where_the_message_stands(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        found = await receipts(producer, [Outgoing.of(topic, str(n), partition=1) for n in range(FEW + 1)])
    where: dict[str, str] = {}

    async def note(message: Message) -> None:
        where[message.id] = f"{message.token.partition}:{message.token.offset}"

    async with kafka.at_work(topic, note):
        async with asyncio.timeout(30):
            while len(where) < len(found):
                await asyncio.sleep(0.01)
    assert where == {each.id: each.position for each in found}


@pytest.mark.parametrize("count", [3, 3 * FEW], ids=["few", "many"])
async def test_what_is_too_large_stays_behind_alone(kafka: KafkaRig, count: int) -> None:
    topic = await kafka.topic()
    async with kafka.producer(max_message_bytes=10_000) as producer:
        messages = [{"topic": topic, "value": "x" * (20_000 if n == 1 else 10), "partition": 0} for n in range(count)]
        with pytest.raises(BatchError) as caught:
            await producer.send_batch(messages)
    assert list(caught.value.errors) == [1]
    assert isinstance(caught.value.errors[1], TooLarge)
    assert len(await kafka.take(topic, count - 1)) == count - 1


async def test_messages_larger_than_a_batch_are_sent(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": "x" * 140_000, "partition": 0} for _ in range(FEW)])
    assert {len(message.body) for message in await kafka.take(topic, FEW)} == {140_000}


@pytest.mark.parametrize("count", [3, 3 * FEW], ids=["few", "many"])
async def test_a_refusal_by_the_broker_is_told_for_each_and_spoils_nothing_behind_it(
    kafka: KafkaRig, count: int
) -> None:
    topic = await kafka.topic()
    messages = [{"topic": topic, "value": str(n), "partition": 0} for n in range(count)]
    async with kafka.producer() as producer:
        shared_kafka().fail(PRODUCE, 10)  # MESSAGE_TOO_LARGE
        with pytest.raises(BatchError) as caught:
            await producer.send_batch(messages)
        assert {type(error) for error in caught.value.errors.values()} == {TooLarge}
        assert len(caught.value.errors) == count
        assert await producer.send_batch(messages) == count
    assert [message.text for message in await kafka.take(topic, count)] == [str(n) for n in range(count)]


@pytest.mark.parametrize("count", [3, 3 * FEW], ids=["few", "many"])
async def test_without_a_broker_a_batch_is_given_up_in_time(own: KafkaCluster, count: int) -> None:
    topic = own.create_topic(f"t-{uuid.uuid4().hex[:8]}")
    config = kafka_config(brokers=[own.address], send_timeout_secs=1)
    messages = [{"topic": topic, "value": "x", "partition": 0} for _ in range(count)]
    async with await Producer.connect(config) as producer:
        await producer.send(topic, "before")
        own.down()
        with pytest.raises(BatchError) as caught:
            async with asyncio.timeout(10):
                await producer.send_batch(messages)
        assert {type(error) for error in caught.value.errors.values()} == {SendTimeout}
        assert len(caught.value.errors) == count
        own.up()


async def test_a_topic_that_cannot_be_spoils_nothing_of_others(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        with pytest.raises(BatchError) as caught:
            await producer.send_batch([{"topic": name, "value": "x"} for name in (topic, "no topic", topic)])
    assert list(caught.value.errors) == [1]
    assert not isinstance(caught.value.errors[1], Unroutable)
    assert len(await kafka.take(topic, 2)) == 2
