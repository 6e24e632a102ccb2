"""Messages a second to and from Kafka and SQS: the bare client, and cello with handlers for one message and for lists.

Contenders take turns, so that a busy moment of the machine hits all. Shown are the median round's rate by the clock,
and the time of the processor that a message takes in this process, with its ratio to the bare client's and the spread:
that is what a client costs, whatever else the machine does. Kafka is `CELLO_TEST_KAFKA=host:port`, or librdkafka's mock
cluster; SQS is moto's server, whose own time is most of what passes.

Like is compared with like, see "Messages" in bench/README.md: handlers are the same functions. By hand, four handlers
run at a time as a task for each partition, which polls that alone and notes how far it is: the cheapest way we know, so
ratios are to that ("aiokafka"). What one writes first, a task for each partition of a poll and a wait for all of them
("aiokafka, polls"), runs one or two handlers at a time, as aiokafka empties one partition after the other.

    python -m bench.streams [--rounds 5] [--messages 20000] [--only kafka]
"""

import argparse
import asyncio
import json
import logging
import platform
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

from cello.messaging import Message, Producer
from tests.messaging.rigs import Rig
from tests.messaging.streams import KafkaRig, SqsRig, kafka_config, shared_kafka, shared_sqs, sqs_config

Times = tuple[float, float]
Round = Callable[[str, int], Awaitable[Times]]
CROWD = 100
COMMIT_S = 0.05
"""What handlers have done is committed that often, by cello and by the bare client here."""
BODY = {"item": "tea", "amount": 2, "note": "x" * 200}


def now() -> Times:
    """Return the time by the clock, and that of the processor for this process, in seconds."""
    return time.perf_counter(), time.process_time()


def since(began: Times) -> Times:
    by_clock_s, of_processor_s = now()
    return by_clock_s - began[0], of_processor_s - began[1]


def bodies(count: int) -> list[bytes]:
    return [json.dumps(BODY).encode()] * count


def bare_producer(**options: Any) -> Any:
    """Return aiokafka's producer with the guarantees of cello's: idempotent, confirmed by all replicas in sync."""
    from aiokafka import AIOKafkaProducer

    return AIOKafkaProducer(
        bootstrap_servers=shared_kafka().address, enable_idempotence=True, acks="all", max_batch_size=131_072, **options
    )


def bare_headers() -> list[tuple[str, bytes]]:
    """Return what cello's messages carry: the kind of body, and an id by which a receiver knows a message again."""
    return [("content-type", b"application/octet-stream"), ("cello-id", uuid.uuid4().hex.encode())]


async def kafka_batch_bare(topic: str, count: int) -> Times:
    async with bare_producer() as producer:
        await producer.send_and_wait(topic, b"{}")
        began = now()
        await asyncio.gather(*[await producer.send(topic, body, headers=bare_headers()) for body in bodies(count)])
        return since(began)


async def kafka_single_bare(topic: str, count: int) -> Times:
    async with bare_producer() as producer:
        await producer.send_and_wait(topic, b"{}")
        began = now()
        for body in bodies(count):
            await producer.send_and_wait(topic, body, headers=bare_headers())
        return since(began)


async def kafka_crowd_bare(topic: str, count: int) -> Times:
    async with bare_producer() as producer:
        await producer.send_and_wait(topic, b"{}")
        left = iter(bodies(count))

        async def one_of_many() -> None:
            for body in left:
                await producer.send_and_wait(topic, body, headers=bare_headers())

        began = now()
        await asyncio.gather(*[one_of_many() for _ in range(CROWD)])
        return since(began)


async def send_cello(config: Any, topic: str, count: int) -> Times:
    async with await Producer.connect(config) as producer:
        await producer.send(topic, b"{}")
        messages: list[Any] = [{"topic": topic, "value": body} for body in bodies(count)]
        began = now()
        await producer.send_batch(messages)
        return since(began)


async def kafka_batch_cello(topic: str, count: int) -> Times:
    return await send_cello(kafka_config(), topic, count)


async def kafka_single_cello(topic: str, count: int) -> Times:
    async with await Producer.connect(kafka_config()) as producer:
        await producer.send(topic, b"{}")
        began = now()
        for body in bodies(count):
            await producer.send(topic, body)
        return since(began)


async def kafka_crowd_cello(topic: str, count: int) -> Times:
    async with await Producer.connect(kafka_config()) as producer:
        await producer.send(topic, b"{}")
        left = iter(bodies(count))

        async def one_of_many() -> None:
            for body in left:
                await producer.send(topic, body)

        began = now()
        await asyncio.gather(*[one_of_many() for _ in range(CROWD)])
        return since(began)


class Taking:
    """The handlers of a round, the same for all contenders: they read each body, and wait for something.

    Args:
        count: How many messages there are.
    """

    def __init__(self, count: int) -> None:
        self._left = count
        self._began: Times | None = None
        self.is_over = asyncio.Event()

    async def take_one(self, message: Message) -> None:
        """Handle one of cello's messages, or of aiokafka's records, which have the body as `value`, too."""
        if self._began is None:
            self._began = now()
        json.loads(message.value)
        await asyncio.sleep(0)
        self._left -= 1
        if not self._left:
            self.is_over.set()

    async def take_list(self, messages: list[Message]) -> None:
        """Handle several."""
        for message in messages:
            await self.take_one(message)

    async def took(self) -> Times:
        """Return how long all took, when they are over."""
        await self.is_over.wait()
        return since(self._began or now())


async def bare_consumer(topic: str) -> Any:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=shared_kafka().address, group_id=uuid.uuid4().hex, enable_auto_commit=False,
        auto_offset_reset="earliest", isolation_level="read_committed",
    )  # fmt: skip
    await consumer.start()
    return consumer


async def kafka_take_bare(topic: str, count: int) -> Times:
    """Handle what a poll found, one by one, and commit every 50 ms what was polled."""
    consumer = await bare_consumer(topic)
    try:
        taking, left, committed_s = Taking(count), count, 0.0
        while left > 0:
            found = await consumer.getmany(timeout_ms=1000, max_records=500)
            for records in found.values():
                for record in records:
                    await taking.take_one(record)
                left -= len(records)
            if time.monotonic() - committed_s > COMMIT_S:
                await consumer.commit()
                committed_s = time.monotonic()
        return await taking.took()
    finally:
        await consumer.stop()


async def kafka_take_bare_together(topic: str, count: int) -> Times:
    """Handle each partition in a task of its own, and commit every 50 ms what they have done."""
    consumer = await bare_consumer(topic)
    taking, done = Taking(count), dict[Any, int]()

    async def take_all_of(partition: Any) -> None:
        while True:
            for records in (await consumer.getmany(partition, timeout_ms=1000, max_records=125)).values():
                for record in records:
                    await taking.take_one(record)
                    done[partition] = record.offset + 1

    async def keep_committing() -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            if done:
                positions = dict(done)
                done.clear()
                await consumer.commit(positions)

    while not consumer.assignment():
        await asyncio.sleep(0.01)
    tasks = [asyncio.create_task(take_all_of(partition)) for partition in consumer.assignment()]
    tasks.append(asyncio.create_task(keep_committing()))
    try:
        return await taking.took()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await consumer.stop()


async def kafka_take_bare_polls_together(topic: str, count: int) -> Times:
    """Handle the partitions of a poll at the same time, of which it mostly has one, and wait for all of them."""
    consumer = await bare_consumer(topic)
    taking, left, committed_s = Taking(count), count, 0.0

    async def take_all(records: list[Any]) -> None:
        for record in records:
            await taking.take_one(record)

    try:
        while left > 0:
            found = await consumer.getmany(timeout_ms=1000, max_records=500)
            await asyncio.gather(*map(take_all, found.values()))
            left -= sum(map(len, found.values()))
            if time.monotonic() - committed_s > COMMIT_S:
                await consumer.commit()
                committed_s = time.monotonic()
        return await taking.took()
    finally:
        await consumer.stop()


async def take_cello(rig: Rig, topic: str, count: int, *, batch: bool, limit: int = 500, **options: Any) -> Times:
    taking = Taking(count)
    if batch:
        options |= {"batch": limit, "batch_wait": 0.01}
    async with rig.at_work(topic, taking.take_list if batch else taking.take_one, **options):
        return await taking.took()


async def kafka_rig() -> KafkaRig:
    rig = KafkaRig()
    await rig.open()
    rig.options = {"group": uuid.uuid4().hex, "prefetch": 500}
    return rig


async def kafka_take_one(topic: str, count: int) -> Times:
    return await take_cello(await kafka_rig(), topic, count, batch=False)


async def kafka_take_list(topic: str, count: int) -> Times:
    return await take_cello(await kafka_rig(), topic, count, batch=True)


async def kafka_take_one_together(topic: str, count: int) -> Times:
    return await take_cello(await kafka_rig(), topic, count, batch=False, concurrency=4)


async def kafka_take_list_together(topic: str, count: int) -> Times:
    return await take_cello(await kafka_rig(), topic, count, batch=True, limit=125, concurrency=4)


async def sqs_send_bare(topic: str, count: int) -> Times:
    broker: Any = sqs_config().make_broker()
    client, url = await broker.client(), await broker.url_of(topic)
    began = now()
    texts = [body.decode() for body in bodies(count)]
    for begin in range(0, count, 10):
        entries = [{"Id": str(place), "MessageBody": text} for place, text in enumerate(texts[begin : begin + 10])]
        await client.send_message_batch(QueueUrl=url, Entries=entries)
    took = since(began)
    await broker.close()
    return took


async def sqs_send_cello(topic: str, count: int) -> Times:
    return await send_cello(sqs_config(), topic, count)


async def sqs_take_bare(topic: str, count: int) -> Times:
    broker: Any = sqs_config().make_broker()
    client, url = await broker.client(), await broker.url_of(topic)
    taking, left = Taking(count), count
    while left > 0:
        found = (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1))["Messages"]
        for each in found:
            await taking.take_one(Message(value=each["Body"].encode()))
        handles = [{"Id": str(place), "ReceiptHandle": each["ReceiptHandle"]} for place, each in enumerate(found)]
        await client.delete_message_batch(QueueUrl=url, Entries=handles)
        left -= len(found)
    took = await taking.took()
    await broker.close()
    return took


async def sqs_take_list(topic: str, count: int) -> Times:
    rig = SqsRig()
    await rig.open()
    return await take_cello(rig, topic, count, batch=True, prefetch=10, limit=10)


async def sqs_take_one(topic: str, count: int) -> Times:
    rig = SqsRig()
    await rig.open()
    return await take_cello(rig, topic, count, batch=False, concurrency=10)


CONTENDERS: dict[str, dict[str, dict[str, Round]]] = {
    "kafka": {
        "send a batch": {"aiokafka": kafka_batch_bare, "cello": kafka_batch_cello},
        "send by 100 tasks": {"aiokafka": kafka_crowd_bare, "cello": kafka_crowd_cello},
        "send one by one": {"aiokafka": kafka_single_bare, "cello": kafka_single_cello},
        "take": {"aiokafka": kafka_take_bare, "cello, lists": kafka_take_list, "cello, one by one": kafka_take_one},
        "take, 4 at a time": {
            "aiokafka": kafka_take_bare_together,
            "aiokafka, polls": kafka_take_bare_polls_together,
            "cello, lists": kafka_take_list_together,
            "cello, one by one": kafka_take_one_together,
        },
    },
    "sqs": {
        "send": {"aiobotocore": sqs_send_bare, "cello": sqs_send_cello},
        "take": {"aiobotocore": sqs_take_bare, "cello, lists": sqs_take_list, "cello, one by one": sqs_take_one},
    },
}


def make_topic(kind: str) -> str:
    name = f"bench-{uuid.uuid4().hex[:10]}"
    if kind == "kafka":
        return shared_kafka().create_topic(name, 4)
    shared_sqs().create_queue(name)
    return name


async def measure(kind: str, rounds: int, count: int) -> None:
    for what, contenders in CONTENDERS[kind].items():
        found: dict[str, list[Times]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, run in contenders.items():
                topic = make_topic(kind)
                if what.startswith("take"):
                    await (kafka_batch_cello if kind == "kafka" else sqs_send_cello)(topic, count - 1)
                async with asyncio.timeout(120):
                    found[name].append(await run(topic, count))
        bare_us = 0.0
        for name, times in found.items():
            rate = count / statistics.median(by_clock_s for by_clock_s, _ in times)
            costs = [of_processor_s * 1e6 / count for _, of_processor_s in times]
            cost_us = statistics.median(costs)
            bare_us = bare_us or cost_us
            spread = f"{min(costs):.0f} to {max(costs):.0f}"
            print(f"{kind:5} {what:17} {name:17} {rate:7.0f}/s {cost_us:7.1f} µs ×{cost_us / bare_us:4.2f} ({spread})")


def main() -> None:
    parser = argparse.ArgumentParser(description="messages a second, bare and through cello")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--only", choices=sorted(CONTENDERS))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiokafka", "aiobotocore"))
    print(f"Python {platform.python_version()}, {libraries}")
    for kind in CONTENDERS:
        if options.only in (None, kind):
            count = options.messages if kind == "kafka" else min(options.messages, 200)  # moto's queues slow down
            asyncio.run(measure(kind, options.rounds, count))


if __name__ == "__main__":
    main()
