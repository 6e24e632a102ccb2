"""What only Kafka has: partitions, groups, rebalances, offsets, retry topics, transactions; and what aiokafka bends.

Over librdkafka's mock cluster, or a real one by `CELLO_TEST_KAFKA=host:port` (`kafka_cluster.py`).
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.messaging import BrokerUnavailable, Consumer, Message, MessagingError, Producer, SendTimeout, TooLarge
from cello.messaging.broker import ATTEMPTS_HEADER, ERROR_HEADER
from cello.messaging.declared import consumer_of
from cello.messaging.kafka.offsets import Offsets
from tests.messaging.kafka_cluster import PRODUCE, KafkaCluster
from tests.messaging.rigs import until
from tests.messaging.streams import KafkaRig, kafka_config, shared_kafka

pytest.importorskip("aiokafka")


def group_of(rig: KafkaRig) -> str:
    return str(rig.options["group"])


async def committed(rig: KafkaRig, topic: str, partitions: int = 3) -> dict[int, int]:
    """Return what the rig's group has committed, by partition."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    client = AIOKafkaConsumer(
        bootstrap_servers=shared_kafka().address, group_id=group_of(rig), enable_auto_commit=False
    )
    await client.start()
    try:
        found = {number: await client.committed(TopicPartition(topic, number)) for number in range(partitions)}
    finally:
        await client.stop()
    return {number: offset for number, offset in found.items() if offset is not None}


OFFSETS: dict[str, tuple[list[int], list[int], int]] = {
    "in order": ([0, 1, 2], [0, 1], 2),
    "the first is not done": ([5, 6, 7], [6, 7], 5),
    "out of order": ([5, 6, 7], [7, 5, 6], 8),
    "with gaps, as of transactions and compaction": ([3, 9, 12], [9, 3], 10),
}


@pytest.mark.parametrize(("received", "done", "position"), OFFSETS.values(), ids=OFFSETS.keys())
def test_only_what_is_done_without_a_gap_may_be_committed(received: list[int], done: list[int], position: int) -> None:
    offsets = Offsets()
    offsets.receive(received)
    for offset in done:
        offsets.finish([offset])
    assert offsets.position == position
    assert offsets.is_dirty == (position != received[0])
    assert offsets.in_hand == len(received) - len(done)


def test_offsets_without_end_are_counted_in_bounded_memory() -> None:
    offsets = Offsets()
    for begin in range(0, 20_000, 10):
        offsets.receive(range(begin, begin + 10))
        offsets.finish([begin + 1])
        offsets.finish([begin, *range(begin + 2, begin + 9)])
        assert (offsets.position, offsets.in_hand) == (begin + 9, 1)
        offsets.finish([begin + 9])
        assert (offsets.position, offsets.in_hand) == (begin + 10, 0)
    assert len(offsets._received) < 2_000


async def test_messages_of_a_partition_stay_in_order_and_partitions_run_at_the_same_time(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    running: set[int] = set()
    most = 0

    async def take(message: Message) -> None:
        nonlocal most
        partition = message.json()["partition"]
        assert partition not in running, "two of one partition at a time"
        running.add(partition)
        most = max(most, len(running))
        await asyncio.sleep(0.002)
        seen[partition].append(message.json()["n"])
        running.discard(partition)

    async with kafka.producer() as producer:
        for n in range(10):
            for partition in range(3):
                await producer.send(topic, {"partition": partition, "n": n}, partition=partition)
        async with kafka.at_work(topic, take, concurrency=8):
            await until(lambda: sum(map(len, seen.values())) == 30)
    assert seen == {partition: list(range(10)) for partition in range(3)}
    assert most == 3


async def test_partitions_with_a_backlog_are_handled_at_the_same_time_not_one_after_the_other(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: list[int] = []

    async def take(message: Message) -> None:
        seen.append(message.json())
        await asyncio.sleep(0)

    async with kafka.producer() as producer:
        await producer.send_batch(
            [{"topic": topic, "value": place, "partition": place} for place in range(3) for _ in range(100)]
        )
        async with kafka.at_work(topic, take, concurrency=3, prefetch=9, ordered_by="partition"):
            await until(lambda: len(seen) == 300)
    assert max(seen.index(place) for place in range(3)) < 100, "none waits until another is done"


async def test_a_partition_that_is_held_up_does_not_hold_up_another(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: list[str] = []
    go_on = asyncio.Event()

    async def take(message: Message) -> None:
        seen.append(message.text)
        if message.text == "slow":
            await go_on.wait()

    async with kafka.producer() as producer:
        for value in ("slow", *map(str, range(7))):
            await producer.send(topic, value, partition=0)
        async with kafka.at_work(topic, take, concurrency=2, prefetch=9):  # with eight in hand, one ninth is free
            await until(lambda: seen)
            await producer.send(topic, "beside", partition=1)
            await until(lambda: "beside" in seen)
            assert seen == ["slow", "beside"]
            go_on.set()
            await until(lambda: len(seen) == 9)


async def test_what_is_handled_is_committed_and_no_more(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    done: list[str] = []
    hanging = asyncio.Event()

    async def take(message: Message) -> None:
        if message.text == "hang":
            hanging.set()
            await asyncio.Event().wait()
        done.append(message.text)

    async with kafka.producer() as producer:
        for text in ("a", "b", "hang", "c"):
            await producer.send(topic, text, partition=0)
        async with kafka.at_work(topic, take, ordered_by="none", concurrency=4) as working:
            await until(lambda: sorted(done) == ["a", "b", "c"])
            await working.runner.stop(0)
    assert await committed(kafka, topic) == {0: 2}


async def test_a_key_chooses_the_partition_and_an_option_may(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        first = await producer.send(topic, "a", key="same")
        second = await producer.send(topic, "b", key="same")
        assert str(first.position).partition(":")[0] == str(second.position).partition(":")[0]
        third = await producer.send(topic, "c", partition=2)
        assert str(third.position).startswith("2:")
        with pytest.raises(ConfigError, match="no partition 7"):
            await producer.send(topic, "d", partition=7)
        with pytest.raises(ConfigError, match="has no option 'partitoin'; did you mean 'partition'"):
            await producer.send(topic, "d", partitoin=1)


async def test_a_retry_waits_in_a_topic_of_its_group_with_the_error(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: list[tuple[int, str | None, str]] = []

    async def fail_once(message: Message) -> None:
        seen.append((message.attempt, message.key, message.topic))
        assert not {"cello-due", ATTEMPTS_HEADER, ERROR_HEADER} & message.headers.keys()
        if message.attempt == 1:
            raise ValueError("not yet")

    async with kafka.producer() as producer, kafka.at_work(topic, fail_once, in_order=False):
        await producer.send(topic, b"\xff\x00", key="k")
        await until(lambda: len(seen) == 2)
    assert seen == [(1, "k", topic), (2, "k", topic)]
    waiting = f"{topic}.{group_of(kafka)}.retry"
    kafka.options = {"group": f"g-{uuid.uuid4().hex[:8]}"}
    (copy,) = await kafka.take(waiting, 1)
    assert copy.body == b"\xff\x00"
    assert copy.headers[ERROR_HEADER] == "ValueError: not yet"


async def test_a_retry_is_not_handled_before_it_is_due(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    at_s: list[float] = []

    async def fail_once(message: Message) -> None:
        at_s.append(time.time())
        if message.attempt == 1:
            raise ValueError

    options: dict[str, Any] = {"in_order": False, "backoff": 1.0, "max_backoff": 1.0}
    async with kafka.producer() as producer, kafka.at_work(topic, fail_once, **options):
        await producer.send(topic, "x")
        await until(lambda: len(at_s) == 2)
    assert at_s[1] - at_s[0] >= 0.7


async def test_two_members_of_a_group_share_and_nothing_is_lost_when_they_come_and_go(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: dict[str, list[str]] = {"first": [], "second": []}

    def taking(who: str) -> Any:
        async def take(message: Message) -> None:
            await asyncio.sleep(0.001)
            seen[who].append(message.text)

        return take

    async def send(begin: int) -> None:
        messages = [{"topic": topic, "value": str(n), "partition": n % 3} for n in range(begin, begin + 300)]
        assert await producer.send_batch(messages) == 300

    def all_seen() -> set[str]:
        return {*seen["first"], *seen["second"]}

    async with kafka.producer() as producer, kafka.at_work(topic, taking("first"), concurrency=3):
        await send(0)
        await until(lambda: len(seen["first"]) >= 100)
        async with kafka.at_work(topic, taking("second"), concurrency=3):
            begin = 300
            while not seen["second"]:
                await send(begin)
                begin += 300
                await asyncio.sleep(0.2)
            await until(lambda: len(all_seen()) == begin)
        await send(begin)
        await until(lambda: len(all_seen()) == begin + 300)
    twice = len(seen["first"]) + len(seen["second"]) - len(all_seen())
    assert twice < 100, "more came twice than was in hand"


async def test_what_was_taken_away_is_not_handled_and_is_refused_when_it_is_settled(kafka: KafkaRig) -> None:
    from cello.messaging.broker import ACK, RELEASE

    topic = await kafka.topic()
    broker = kafka_config().make_broker()
    subscription: Any = await broker.subscribe(consumer_of(topic, print, group=group_of(kafka), retries=0))
    try:
        async with kafka.producer() as producer:
            await producer.send(topic, "x", partition=0)
        (message,) = await subscription.fetch(10, 30.0)
        generation = subscription.generation
        assert subscription.claim([message]) == [message]
        giving_up = asyncio.create_task(subscription.give_up_partitions())
        await asyncio.sleep(0)
        assert subscription.generation != generation
        assert not subscription.claim([message]), "it is being taken away"
        await asyncio.wait_for(giving_up, 30)  # half a session timeout passes: the handler does not end
        with pytest.raises(MessagingError, match="went to others"):
            await subscription.settle(message, ACK)
        await subscription.settle(message, RELEASE)
    finally:
        await subscription.close()
        await broker.close()


async def ten_messages(kafka: KafkaRig) -> str:
    """Send "0" to "9" to one partition of a new topic; return that."""
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": str(number), "partition": 0} for number in range(10)])
    return topic


class StopsAtFive:
    """A handler that notes what it takes, and at "5" waits for `go_on`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.go_on = asyncio.Event()

    async def take(self, message: Message) -> None:
        self.seen.append(message.text)
        if message.text == "5":
            await self.go_on.wait()


@contextlib.asynccontextmanager
async def stopped_at_five(kafka: KafkaRig, topic: str) -> AsyncIterator[tuple[StopsAtFive, Any]]:
    """Give a handler that has come to "5", and its runner, which has fetched what is behind as well."""
    handler = StopsAtFive()
    async with kafka.at_work(topic, handler.take, prefetch=100, ordered_by="partition") as working:
        await until(lambda: len(handler.seen) == 6)
        yield handler, working.runner


async def test_while_a_handler_hangs_what_came_before_it_is_committed_and_nothing_behind_it_begins(
    kafka: KafkaRig,
) -> None:
    topic = await ten_messages(kafka)
    async with stopped_at_five(kafka, topic) as (handler, runner):
        await until(lambda: runner._work.in_hand == 5)  # acknowledged, although the run has not ended
        await runner.stop(0)
    assert handler.seen == ["0", "1", "2", "3", "4", "5"]
    assert await committed(kafka, topic) == {0: 5}


async def test_a_consumer_that_stops_ends_what_has_begun_and_leaves_the_rest_to_others(kafka: KafkaRig) -> None:
    topic = await ten_messages(kafka)
    async with stopped_at_five(kafka, topic) as (handler, runner):
        stopping = asyncio.create_task(runner.stop(30))
        await asyncio.sleep(0)
        handler.go_on.set()
        await stopping
    assert handler.seen == ["0", "1", "2", "3", "4", "5"]
    assert await committed(kafka, topic) == {0: 6}
    async with kafka.at_work(topic, handler.take, prefetch=100, ordered_by="partition"):
        await until(lambda: len(handler.seen) == 10)
    assert handler.seen == [str(number) for number in range(10)]


async def test_when_partitions_are_taken_away_what_would_come_next_is_forgotten(kafka: KafkaRig) -> None:
    topic = await ten_messages(kafka)
    async with stopped_at_five(kafka, topic) as (handler, runner):
        giving_up = asyncio.create_task(runner._work._subscription.give_up_partitions())
        await asyncio.sleep(0)
        handler.go_on.set()
        await asyncio.wait_for(giving_up, 30)
        await until(lambda: runner._work.in_hand == 0)
    assert handler.seen == ["0", "1", "2", "3", "4", "5"]
    assert await committed(kafka, topic) == {0: 6}


async def test_a_failure_in_the_middle_keeps_the_order(kafka: KafkaRig) -> None:
    topic = await ten_messages(kafka)
    seen: list[tuple[str, int]] = []

    async def take(message: Message) -> None:
        seen.append((message.text, message.attempt))
        if (message.text, message.attempt) == ("5", 1):
            raise ValueError("not yet")

    async with kafka.at_work(topic, take, prefetch=100, ordered_by="partition", retries=1):
        await until(lambda: len(seen) == 11)
    assert seen == [
        *((str(number), 1) for number in range(6)),
        ("5", 2),
        *((str(number), 1) for number in range(6, 10)),
    ]
    assert await committed(kafka, topic) == {0: 10}


async def test_how_far_a_group_is_behind_is_known(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    broker = kafka_config().make_broker()
    async with kafka.producer() as producer:
        for n in range(5):
            await producer.send(topic, str(n), partition=1)
    subscription: Any = await broker.subscribe(consumer_of(topic, print, group=group_of(kafka), retries=0))
    try:
        await subscription.fetch(2, 30.0)
        assert await subscription.lag() == 5
    finally:
        await subscription.close()
        await broker.close()


async def test_by_hand_messages_are_polled_and_committed(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": str(n), "partition": 0} for n in range(4)])
    async with await Consumer.connect(kafka_config(group_id=group_of(kafka))) as consumer:
        await consumer.subscribe([topic])
        found: list[Message] = []
        async with asyncio.timeout(30):
            while len(found) < 4:
                found += await consumer.poll(1000)
        await consumer.commit(found[0])
        await consumer.commit(found[1])
    assert await committed(kafka, topic) == {0: 2}


async def test_by_hand_a_group_is_to_be_said(kafka: KafkaRig) -> None:
    async with await Consumer.connect(kafka_config()) as consumer:
        with pytest.raises(ConfigError, match="is in a group"):
            await consumer.subscribe("orders")


async def test_a_batch_arrives_in_order(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": str(n), "partition": 0} for n in range(3_000)])
    assert [message.text for message in await kafka.take(topic, 3_000)] == [str(n) for n in range(3_000)]


async def test_a_refused_batch_does_not_spoil_those_behind_it(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        shared_kafka().fail(PRODUCE, 10)  # MESSAGE_TOO_LARGE, as the broker says it
        with pytest.raises(TooLarge):
            await producer.send(topic, "large")
        for n in range(3):
            await producer.send(topic, str(n))
    assert sorted(message.text for message in await kafka.take(topic, 3)) == ["0", "1", "2"]


async def test_a_passing_refusal_is_tried_again(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    async with kafka.producer() as producer:
        shared_kafka().fail(PRODUCE, 6, 19)  # NOT_LEADER, NOT_ENOUGH_REPLICAS
        await producer.send(topic, "x")
    assert [message.text for message in await kafka.take(topic, 1)] == ["x"]


async def test_without_a_broker_sending_raises_in_time_and_works_again_afterwards(own: KafkaCluster) -> None:
    topic = own.create_topic(f"t-{uuid.uuid4().hex[:8]}")
    config = kafka_config(brokers=[own.address], send_timeout_secs=1, connection_timeout_secs=1)
    async with await Producer.connect(config) as producer:
        await producer.send(topic, "before")
        own.down()
        with pytest.raises(SendTimeout):
            await producer.send(topic, "meanwhile")
        with pytest.raises(BrokerUnavailable):
            await producer._broker.check()
        own.up()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BrokerUnavailable):
                    await producer.send(topic, "after")
                    break


async def test_a_broker_that_is_not_there_is_said_by_the_time_limit(own: KafkaCluster) -> None:
    own.down()
    config = kafka_config(brokers=[own.address], connection_timeout_secs=0.5)
    with pytest.raises(BrokerUnavailable, match=own.address):
        await Producer.connect(config)


async def test_a_consumer_goes_on_when_its_broker_was_away(own: KafkaCluster) -> None:
    topic = own.create_topic(f"t-{uuid.uuid4().hex[:8]}")
    rig = KafkaRig()
    rig.config = lambda **fields: kafka_config(brokers=[own.address], **fields)  # type: ignore[method-assign]
    rig.options = {"group": "g"}
    seen: set[str] = set()

    async def take(message: Message) -> None:
        seen.add(message.text)

    async with rig.producer(send_timeout_secs=30) as producer, rig.at_work(topic, take):
        await producer.send(topic, "before")
        await until(lambda: "before" in seen)
        own.down()
        await asyncio.sleep(0.5)
        own.up()
        await producer.send(topic, "after")
        await until(lambda: "after" in seen)


async def test_ten_thousand_go_in_and_ten_thousand_come_out_though_the_broker_breaks_off(own: KafkaCluster) -> None:
    topic = own.create_topic(f"t-{uuid.uuid4().hex[:8]}", 4)
    rig = KafkaRig()
    rig.config = lambda **fields: kafka_config(brokers=[own.address], **fields)  # type: ignore[method-assign]
    rig.options = {"group": "g", "prefetch": 500}
    seen: dict[str, int] = {}

    async def take(messages: list[Message]) -> None:
        for message in messages:
            seen[message.text] = seen.get(message.text, 0) + 1

    async with rig.producer() as producer, rig.at_work(topic, take, batch=100, concurrency=4):
        for begin in range(0, 10_000, 1_000):
            sending = asyncio.create_task(
                producer.send_batch([{"topic": topic, "value": str(n)} for n in range(begin, begin + 1_000)])
            )
            if begin == 5_000 and own.is_mock:
                own.down()
                await asyncio.sleep(0.3)
                own.up()
            assert await sending == 1_000
        await until(lambda: len(seen) == 10_000)
    twice = sum(seen.values()) - 10_000
    assert twice <= 1_000, f"{twice} came twice"


async def test_a_transaction_is_read_whole(kafka: KafkaRig) -> None:
    first, second = await kafka.topic(), await kafka.topic()
    async with kafka.producer(transactional_id="orders") as producer:
        async with producer.transaction() as transaction:
            await transaction.send(first, "a")
            await transaction.send_batch([{"topic": second, "value": "b"}])
        async with producer.transaction() as transaction:
            await transaction.send(first, "c")
        await producer.send(first, "outside")
    assert sorted(message.text for message in await kafka.take(first, 3)) == ["a", "c", "outside"]
    assert [message.text for message in await kafka.take(second, 1)] == ["b"]


async def test_a_transaction_that_raises_is_aborted(kafka: KafkaRig) -> None:
    topic = await kafka.topic()

    async def fail(producer: Producer) -> None:
        async with producer.transaction() as transaction:
            await transaction.send(topic, "aborted")
            raise ZeroDivisionError

    async with kafka.producer(transactional_id="orders") as producer:
        with pytest.raises(ZeroDivisionError):
            await fail(producer)
        async with producer.transaction() as transaction:
            await transaction.send(topic, "committed")
    if shared_kafka().is_mock:
        return  # the mock cluster keeps what was aborted, and shows it
    assert [message.text for message in await kafka.take(topic, 1)] == ["committed"]


async def test_a_transaction_needs_an_id_and_a_broker_that_has_them(kafka: KafkaRig) -> None:
    from cello.messaging import MemoryConfig

    async with kafka.producer() as producer:
        with pytest.raises(ConfigError, match="transactional_id"):
            async with producer.transaction():
                pass
    async with await Producer.connect(MemoryConfig()) as producer:
        with pytest.raises(ConfigError, match="memory has no transactions"):
            async with producer.transaction():
                pass


WRONG = {
    "a topic that cannot be": ("a topic", {}, "'a topic' is no topic"),
    "an unknown order": ("topic", {"ordered_by": "time"}, "ordered_by is one of partition, key, none, not 'time'"),
    "an unknown option": ("topic", {"orderd_by": "key"}, "did you mean 'ordered_by'"),
    "a dead-letter topic that cannot be": ("topic", {"dead_letter": "no/topic"}, "'no/topic' is no topic"),
}


@pytest.mark.parametrize(("topic", "options", "words"), WRONG.values(), ids=WRONG.keys())
async def test_a_declaration_that_cannot_be_is_refused(topic: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        await kafka_config().make_broker().subscribe(consumer_of(topic, print, **options))
