"""The brokers that the table of tests runs over and how each is reached.

To add one: a subclass of `Rig`, and its line in `RIGS`.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

from cello.messaging.binding import Binding
from cello.messaging.broker import BrokerConfig
from cello.messaging.declared import DeclaredConsumer, consumer_of
from cello.messaging.memory import MemoryConfig
from cello.messaging.message import Message
from cello.messaging.observer import Observer
from cello.messaging.producer import Producer
from cello.messaging.rabbitmq.config import RabbitMQConfig
from cello.messaging.rabbitmq.link import Link
from cello.messaging.runner import Runner
from cello.pipeline.threads import WorkerThreads
from tests.messaging.servers import rabbitmq_server

PATIENCE_S = 30.0


class Rig:
    """One broker under test, in one test.

    Attributes:
        name: Of the broker.
        options: What every consumer of a test says in addition.
    """

    name = ""
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self.made: list[str] = []

    async def open(self) -> None:
        """Reach the server, or skip the test."""

    async def close(self) -> None:
        """Remove what the test made: the topics in `made`, and what belongs to them."""

    def config(self, **fields: Any) -> BrokerConfig:
        """Return the config of the server."""
        raise NotImplementedError

    async def topic(self) -> str:
        """Return the name of a new topic or queue, which exists."""
        name = f"cello-test-{uuid.uuid4().hex[:12]}"
        self.made.append(name)
        return name

    def dead_letter_of(self, topic: str) -> str:
        """Return where dead letters of a topic go by default."""
        return f"{topic}.dead-letter"

    # What tests do with it

    @contextlib.asynccontextmanager
    async def at_work(
        self, topic: str, handler: Callable[..., Any], observer: Observer | None = None, **options: Any
    ) -> AsyncIterator["AtWork"]:
        """Run a consumer while the block lasts; retries come soon."""
        said = {"backoff": 0.02, "max_backoff": 0.1, **self.options, **options}
        consumer = consumer_of(topic, handler, **said)
        working = AtWork(self, consumer, observer)
        try:
            await working.runner.start()
            yield working
        finally:
            await working.close()

    @contextlib.asynccontextmanager
    async def producer(self, **fields: Any) -> AsyncIterator[Producer]:
        """Yield a producer that is connected."""
        async with await Producer.connect(self.config(**fields)) as producer:
            yield producer

    async def take(self, topic: str, count: int) -> list[Message]:
        """Return so many messages of a topic, in whatever order, and acknowledge them."""
        found: list[Message] = []

        def keep(message: Message) -> None:
            found.append(message)

        async with self.at_work(topic, keep, dead_letter=False):
            await until(lambda: len(found) >= count)
        return found


class AtWork:
    """A consumer at work."""

    def __init__(self, rig: Rig, consumer: DeclaredConsumer, observer: Observer | None) -> None:
        self.broker = rig.config().make_broker()
        self.threads = WorkerThreads(8)
        binding = Binding(
            consumer.handler,
            singletons={},
            overrides={},
            on_thread=self.threads.run,
            is_batch=consumer.batch_size is not None,
        )
        self.runner = Runner(self.broker, consumer, binding, observer)

    async def close(self) -> None:
        await self.runner.stop(PATIENCE_S)
        await self.broker.close()
        self.threads.shutdown(1)


class MemoryRig(Rig):
    """The broker in memory."""

    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self._config = MemoryConfig()

    def config(self, **fields: Any) -> BrokerConfig:
        return MemoryConfig(hub=self._config.hub, **fields)


class RabbitMQRig(Rig):
    """A RabbitMQ server."""

    name = "rabbitmq"

    async def open(self) -> None:
        self._stack = contextlib.ExitStack()
        self.url = self._stack.enter_context(rabbitmq_server())
        self._link = Link(RabbitMQConfig(self.url), "test")

    async def close(self) -> None:
        names = [name for topic in self.made for name in (topic, f"{topic}.dead-letter", *_retries(topic))]
        channel = await (await self._link.channel()).get_underlay_channel()
        for name in names:
            await channel.queue_delete(name)
        await self._link.close()
        self._stack.close()

    def config(self, **fields: Any) -> BrokerConfig:
        return RabbitMQConfig(self.url, **fields)

    async def topic(self) -> str:
        name = await super().topic()
        channel = await self._link.channel()
        await channel.declare_queue(name, durable=True)
        await channel.close()
        return name

    async def left(self, queue: str) -> int:
        """Return how many messages wait, once the server has taken back those of whoever is gone."""
        channel = await (await self._link.channel()).get_underlay_channel()
        async with asyncio.timeout(PATIENCE_S):
            while (found := await channel.queue_declare(queue, passive=True)).consumer_count:
                await asyncio.sleep(0.05)
        count: int = found.message_count
        return count


def _retries(topic: str) -> list[str]:
    return [f"{topic}.retry.{2**power}" for power in range(13)]


RIGS: dict[str, type[Rig]] = {rig.name: rig for rig in (MemoryRig, RabbitMQRig)}


async def until(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(patience_s):
        while not holds():
            await asyncio.sleep(0.005)
