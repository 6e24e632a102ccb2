"""A cluster of Kafka, for one event loop: sends by an idempotent producer, and opens subscriptions.

Rule 1: a message is confirmed when all replicas that are in sync have it (acks=all), and at most once (idempotent).
Rule 2: aiokafka sends again until it succeeds, also after a break. A message whose time was up may therefore still
arrive; that is what `SendTimeout` says.
Rule 3: once a broker refused an idempotent batch, the numbers of those behind it have a gap, and Kafka refuses them,
too. So the producer is replaced after a refusal by a broker.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from cello.errors import ConfigError
from cello.messaging.broker import check_options
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable, MessagingError, SendTimeout
from cello.messaging.kafka.batches import Batch
from cello.messaging.kafka.client import (
    check_topic,
    close_consumer,
    close_producer,
    connection_options,
    prepare_topics,
    require_aiokafka,
    translated,
    translation_of,
)
from cello.messaging.kafka.config import KafkaConfig
from cello.messaging.kafka.partitions import Partitions
from cello.messaging.kafka.records import Headers, fields_of
from cello.messaging.kafka.subscription import CONSUMER_OPTIONS, KafkaSubscription, Plan
from cello.messaging.kafka.transaction import Transaction, Transactions
from cello.messaging.message import Outgoing, Receipt
from cello.pipeline.deadlines import Deadlines, within

BATCH_BYTES = 131_072
"""What may wait for one partition; aiokafka's 16 KiB make who sends many wait for each other."""
RETRY_BACKOFF_MS = 250
"""aiokafka's pause between attempts, each of which it logs."""


class KafkaBroker:
    """See `Broker`.

    Args:
        config: Which cluster.
    """

    def __init__(self, config: KafkaConfig) -> None:
        require_aiokafka()
        self.where = ", ".join(config.brokers)
        self._config = config
        self._options = connection_options(config)
        self._limits = Deadlines()
        self._partitions = Partitions()
        self._producer: Any = None
        self._connecting: asyncio.Lock | None = None
        self._transactions: Transactions | None = None

    async def connect(self) -> None:
        """Start the producer."""
        await self._started()

    async def _started(self) -> Any:
        if self._producer is not None:
            return self._producer
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._producer is None:
                producer = await self._start(self._make_producer())
                self._partitions.follow(producer)
                self._producer = producer
        return self._producer

    def _make_producer(self, **options: Any) -> Any:
        from aiokafka import AIOKafkaProducer

        config = self._config
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=config.idempotent,
            compression_type=config.compression,
            linger_ms=config.linger_ms,
            max_request_size=config.max_message_bytes,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=max(1, int(config.send_timeout_secs * 800)),  # before our own time limit is up
            retry_backoff_ms=RETRY_BACKOFF_MS,
            **options,
        )

    async def _start(self, client: Any, close: Callable[[Any], Awaitable[None]] = close_producer) -> Any:
        """Return a producer or consumer that is connected by the time limit for connecting; else close it and raise."""
        limit_s = self._config.connection_timeout_secs
        try:
            with translated(self.where, "connect"):
                try:
                    async with asyncio.timeout(limit_s):
                        await client.start()
                except TimeoutError:
                    raise BrokerUnavailable(f"Kafka at {self.where}: no connection within {limit_s:g} s") from None
                except ValueError as error:  # aiokafka's own checks of arguments
                    raise ConfigError(f"KafkaConfig: {error}") from error
        except BaseException:
            await close(client)
            raise
        return client

    async def close(self) -> None:
        """Send what is held, and disconnect."""
        if self._transactions is not None:
            await self._transactions.close()
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)

    async def check(self) -> Mapping[str, Any] | None:
        """Ask for the list of brokers."""
        producer = await self._started()
        limit_s = self._config.connection_timeout_secs
        with translated(self.where, "ask for the brokers"):
            try:
                async with asyncio.timeout(limit_s):
                    found = await producer.client.fetch_all_metadata()
            except TimeoutError:
                raise BrokerUnavailable(f"Kafka at {self.where}: no answer within {limit_s:g} s") from None
        return {"brokers": len(found.brokers())}

    async def send(self, message: Outgoing) -> Receipt:
        """Send a message."""
        return await self._send(message, self._producer or await self._started())

    async def _send(self, message: Outgoing, producer: Any) -> Receipt:
        confirmed = await self._in_time(message.topic, self._put(producer, message))
        return Receipt(message.id, message.topic, f"{confirmed.partition}:{confirmed.offset}")

    async def _put(self, producer: Any, message: Outgoing) -> Any:
        topic = message.topic
        partition = (await self._partitions.of(topic, producer)).choose(message)
        value, key, sent_ms, headers = fields_of(message)
        return await self._confirmed(producer, await producer.send(topic, value, key, partition, sent_ms, headers))

    async def deliver(self, topic: str, value: bytes, key: bytes | None, headers: Headers, sent_s: float) -> Any:
        """Send a record as it is, and return what aiokafka knows of it, once it is confirmed."""
        producer = await self._started()
        sending = producer.send(check_topic(topic), value, key, None, int(sent_s * 1000), headers)

        async def put() -> Any:
            return await self._confirmed(producer, await sending)

        return await self._in_time(topic, put())

    async def _confirmed(self, producer: Any, future: "asyncio.Future[Any]") -> Any:
        try:
            return await future
        except Exception as error:
            self.after_refusal(producer, error)
            raise

    async def _in_time(self, topic: str, sending: Awaitable[Any]) -> Any:
        try:
            return await within(self._limits, self._config.send_timeout_secs, sending)
        except Exception as error:
            translation = translation_of(error, self.where, f"send to {topic!r:.80}")
            if translation is None:
                raise
            raise translation from error

    def after_refusal(self, producer: Any, error: Exception) -> None:
        """Have the next message sent by another producer (Rule 3)."""
        if self._config.idempotent and not isinstance(error, TimeoutError | SendTimeout) and self._producer is producer:
            self._producer = None
            task = asyncio.get_running_loop().create_task(close_producer(producer))
            task.add_done_callback(_look_at)

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Send messages, those of one partition in order and together."""
        producer = await self._started()
        late: Exception = SendTimeout(f"Kafka at {self.where}: no confirmation in time")
        results: list[Receipt | Exception] = [late] * len(messages)
        batch = Batch(producer, self._partitions, messages, results, self, self._config.max_message_bytes)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.send_timeout_secs):
                await batch.send()
        return results

    def as_result(self, error: Exception, message: Outgoing) -> Exception:
        """Return what became of a message of a batch that was not sent; raise what nobody expects."""
        if isinstance(error, MessagingError | ConfigError):
            return error
        translation = translation_of(error, self.where, f"send to {message.topic!r:.80}")
        if translation is None:
            raise error
        translation.__cause__ = error
        return translation

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Yield what sends messages that are read all or none; one after the other in a process.

        Raises:
            ConfigError: The config has no `transactional_id`.
        """
        if self._config.transactional_id is None:
            raise ConfigError("a transaction needs KafkaConfig(transactional_id=...): what their ids begin with")
        if self._transactions is None:
            self._transactions = Transactions(self._config, self.where, self._make_transactional)
        async with self._transactions.begin() as producer:
            yield Transaction(self.where, producer, self._send)

    async def _make_transactional(self, transactional_id: str) -> Any:
        timeout_ms = self._config.transaction_timeout_ms
        made = self._make_producer(transactional_id=transactional_id, transaction_timeout_ms=timeout_ms)
        return await self._start(made)

    async def subscribe(self, consumer: DeclaredConsumer) -> KafkaSubscription:
        """Join the consumer's group."""
        from aiokafka import AIOKafkaConsumer

        check_options(f"the consumer {consumer.name} of Kafka", consumer.options, CONSUMER_OPTIONS)
        plan = Plan.of(consumer, self._config)
        config = self._config
        beside = [place for place in (plan.retry_topic, consumer.dead_letter_place) if place is not None]
        client = AIOKafkaConsumer(
            **self._options,
            group_id=plan.group,
            enable_auto_commit=False,
            auto_offset_reset=config.auto_offset_reset,
            isolation_level=config.isolation_level,
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=max(1, min(3_000, config.session_timeout_ms // 3)),
            max_poll_records=config.max_poll_records,
            max_poll_interval_ms=2**31 - 1,  # how long a handler may take is said by `timeout=`
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        await self._start(client, close_consumer)
        try:
            with translated(self.where, f"look for the topic {consumer.topic!r:.80}"):
                async with asyncio.timeout(config.connection_timeout_secs):
                    await prepare_topics(config, consumer.topic, beside)
        except BaseException:
            await close_consumer(client)
            raise
        return KafkaSubscription(self, client, config, consumer, plan)


def _look_at(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()
