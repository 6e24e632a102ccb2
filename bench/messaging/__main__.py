"""Sending and consuming by RabbitMQ: aio-pika by itself, and cello.

Contenders take turns, round by round, so that a busy moment of the machine hits both. Sending: one message after the
other, each confirmed, and a batch whose confirmations are waited for together; mandatory in both. Single messages are
not persistent: else the server's disk would be what is measured.
Consuming: a full queue with a prefetch of 100, each message acknowledged after its handler. Shown are the median round
in µs per message, by the wall and of this process' processor time, the ratio to the bare client, and the spread
(quartiles). The server: CELLO_TEST_RABBITMQ, or the
usual one on this machine.

    python -m bench.messaging [--rounds 7] [--messages 1000]
"""

import argparse
import asyncio
import os
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import version

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from cello.messaging import Message, RabbitMQConfig
from cello.messaging.binding import Binding
from cello.messaging.declared import consumer_of
from cello.messaging.producer import Producer
from cello.messaging.runner import Runner

URL = os.environ.get("CELLO_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
PREFETCH = 100
BODY = b'{"item":"tea","amount":2}' * 10

Times = tuple[float, float]
Contender = Callable[[int], Awaitable[Times]]


def now() -> Times:
    """Return the time by the wall and by this process' own use of the processor, in seconds."""
    return time.perf_counter(), time.process_time()


def since(began: Times) -> Times:
    """Return what has passed of both."""
    wall, used = now()
    return wall - began[0], used - began[1]


async def make_contenders(
    queue: str, connection: aio_pika.abc.AbstractConnection, producer: Producer
) -> dict[str, dict[str, Contender]]:
    """Return, by what is measured and by contender, what takes the seconds for so many messages."""
    sending = await connection.channel(publisher_confirms=True, on_return_raises=True)
    taking = await connection.channel()
    await taking.set_qos(prefetch_count=PREFETCH)
    declared = await taking.declare_queue(queue, durable=True)
    config = RabbitMQConfig(URL, prefetch_count=PREFETCH)

    def plain(mode: int = 2) -> aio_pika.Message:
        return aio_pika.Message(BODY, delivery_mode=mode, message_id=uuid.uuid4().hex, content_type="application/json")

    async def bare_single(count: int) -> Times:
        began = now()
        for _ in range(count):
            await sending.default_exchange.publish(plain(1), queue, mandatory=True)
        return since(began)

    async def bare_batch(count: int) -> Times:
        began = now()
        await asyncio.gather(*(sending.default_exchange.publish(plain(), queue, mandatory=True) for _ in range(count)))
        return since(began)

    async def bare_consume(count: int) -> Times:
        await bare_batch(count)
        done, seen = asyncio.Event(), 0

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal seen
            await message.ack()
            seen += 1
            if seen == count:
                done.set()

        began = now()
        tag = await declared.consume(take)
        await done.wait()
        took = since(began)
        await declared.cancel(tag)
        return took

    async def our_single(count: int) -> Times:
        began = now()
        for _ in range(count):
            await producer.send(queue, BODY, persistent=False)
        return since(began)

    async def our_batch(count: int) -> Times:
        began = now()
        await producer.send_batch([{"topic": queue, "value": BODY} for _ in range(count)])
        return since(began)

    async def our_consume(count: int) -> Times:
        await our_batch(count)
        done, seen = asyncio.Event(), 0

        async def take(message: Message) -> None:
            nonlocal seen
            seen += 1
            if seen == count:
                done.set()

        consumer = consumer_of(queue, take, prefetch=PREFETCH, concurrency=PREFETCH)
        binding = Binding(take, singletons={}, overrides={}, on_thread=asyncio.to_thread)
        broker = config.make_broker()
        await broker.connect()
        runner = Runner(broker, consumer, binding)
        began = now()
        await runner.start()
        await done.wait()
        took = since(began)
        await runner.stop(30)
        await broker.close()
        return took

    return {
        "send": {"aio-pika": bare_single, "cello": our_single},
        "send in batches": {"aio-pika": bare_batch, "cello": our_batch},
        "consume": {"aio-pika": bare_consume, "cello": our_consume},
    }


async def measure(rounds: int, messages: int) -> None:
    """Run all and print the table."""
    queue = f"cello-bench-{uuid.uuid4().hex[:8]}"
    connection = await aio_pika.connect(URL)
    producer = await Producer.connect(RabbitMQConfig(URL))
    contenders = await make_contenders(queue, connection, producer)
    print(f"aio-pika {version('aio-pika')}, {messages} messages of {len(BODY)} bytes a round, {rounds} rounds")
    for what, by_name in contenders.items():
        times: dict[str, list[Times]] = {name: [] for name in by_name}
        for number in range(rounds + 1):
            for name, run in by_name.items():
                took = await run(messages)
                if number:  # the first is for warming up
                    times[name].append((took[0] / messages * 1e6, took[1] / messages * 1e6))
        bare = [statistics.median(column) for column in zip(*times["aio-pika"], strict=True)]
        for name, found in times.items():
            wall, used = (statistics.quantiles(column, n=4) for column in zip(*found, strict=True))
            print(
                f"{what:<16} {name:<9} {wall[1]:8.1f} µs x{wall[1] / bare[0]:.2f} ({wall[0]:.1f}-{wall[2]:.1f})"
                f"   processor {used[1]:7.1f} µs x{used[1] / bare[1]:.2f} ({used[0]:.1f}-{used[2]:.1f})"
            )
    await (await connection.channel()).queue_delete(queue)
    await producer.close()
    await connection.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.messaging", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, default=1000)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.messages))


if __name__ == "__main__":
    main()
