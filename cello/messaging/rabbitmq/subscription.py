"""The messages of one consumer, pushed by the server on a channel of its own, at most its prefetch.

A message that is to be tried again later goes, as a copy, to a queue that nobody consumes and whose messages expire
into the consumer's queue. There is one such queue for each order of magnitude of the pause, since RabbitMQ looks for
expired messages at the head only; they vanish when they are not used.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelClosed,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from cello.errors import ConfigError
from cello.messaging.broker import Outcome, Settlement, check_options, dead_letter_headers
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable, MessagingError
from cello.messaging.message import Message, Outgoing, Receipt
from cello.messaging.rabbitmq.config import QUEUE_TYPES, RabbitMQConfig
from cello.messaging.rabbitmq.link import Link, translating, words
from cello.messaging.rabbitmq.properties import ATTEMPT, received
from cello.messaging.routing import bindings_of

Send = Callable[[Outgoing], Awaitable[Receipt]]

CONSUMER_OPTIONS = (
    "arguments", "declare", "durable", "exchange", "exchange_type", "queue_type", "routing_key", "single_active",
)  # fmt: skip
SERVERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
"""Headers that the server adds, which a copy must not have."""
UNUSED_S = 60
"""How long an empty queue of retries outlives its last message."""


class RabbitMQSubscription:
    """A consumer's channel.

    Args:
        config: Of the server.
        link: Where channels are made.
        send: Sends copies, and returns when they are confirmed.
        consumer: What is consumed.

    A consumer's options:
        exchange, exchange_type, routing_key: Declare an exchange ("direct", "topic" or "fanout") and bind the queue to
            it, by one key or a list; default: the queue's name.
        queue_type: "classic" or "quorum"; default: the config's.
        durable: Whether the queue outlives a restart of the server; default True.
        single_active: Only one consumer of all gets messages, in their order; another takes over when it is gone.
        arguments: Further ones for the queue, such as {"x-max-length": 1000}.
        declare: False where the queue is there already, and not to be declared.
    """

    heartbeat_s: float | None = None
    generation = 0

    def __init__(self, config: RabbitMQConfig, link: Link, send: Send, consumer: DeclaredConsumer) -> None:
        self._config = config
        self._link = link
        self._send = send
        self._consumer = consumer
        self._who = f"consumer {consumer.name}"
        self._queue_type = consumer.options.get("queue_type", self._config.queue_type)
        self._channel: Any = None
        self._opened: Any = None
        self._pushed: deque[Message] = deque()
        self._news = asyncio.Event()
        self._lost: str | None = None
        self._places: set[str] = set()

    async def open(self) -> None:
        """Declare everything and begin to consume.

        Raises:
            ConfigError: What is declared is there, and is something else.
            BrokerUnavailable: Not now.
        """
        check_options(self._who, self._consumer.options, CONSUMER_OPTIONS)
        if self._queue_type not in QUEUE_TYPES:
            kinds = ", ".join(QUEUE_TYPES)
            raise ConfigError(f"{self._who}: queue_type is one of {kinds}, not {self._queue_type!r:.80}")
        self._opened = await self._link.channel(publisher_confirms=False)
        with self._declaring(), translating(self._config):
            async with asyncio.timeout(self._config.connection_timeout_secs):
                self._channel = await self._opened.get_underlay_channel()
                self._channel.closing.add_done_callback(self._on_closed)
                self._channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
                await self._channel.basic_qos(prefetch_count=self._consumer.prefetch or self._config.prefetch_count)
                await self._declare()
                await self._channel.basic_consume(self._consumer.topic, self._take)

    async def fetch(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """Return what was pushed."""
        if not self._pushed and self._lost is None:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        if self._lost is not None:
            raise BrokerUnavailable(f"RabbitMQ at {self._config.safe_url}: {self._lost}")
        return [self._pushed.popleft() for _ in range(min(limit, len(self._pushed)))]

    def claim(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return all: what was delivered stays ours while the channel is open."""
        return messages

    def give_up(self, messages: Sequence[Message]) -> None:
        """Do nothing: there are no claims."""

    def acknowledge_at_once(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return none: the broker is to be asked."""
        return ()

    async def settle(self, message: Message, settlement: Settlement) -> None:
        """Carry out a decision."""
        try:
            if settlement.outcome is Outcome.RETRY:
                await self._send_later(message, settlement)
            elif settlement.outcome is Outcome.DEAD_LETTER:
                await self._send_away(message, settlement)
        except MessagingError:
            # The copy may be missing, so the original must stay; unsettled it would stay with us as long as we live.
            await self._answer(message, requeue=True)
            raise
        await self._answer(message, requeue=settlement.outcome is Outcome.RELEASE)

    async def heartbeat(self, messages: Sequence[Message]) -> None:
        """Do nothing: the connection has a heartbeat of its own."""

    async def lag(self) -> int | None:
        """Return how many messages are ready in the queue."""
        with translating(self._config):
            timeout_s = self._config.connection_timeout_secs
            found = await self._channel.queue_declare(self._consumer.topic, passive=True, timeout=timeout_s)
        count: int = found.message_count
        return count

    async def close(self) -> None:
        """Close the channel: the server takes back what is not settled."""
        opened, self._opened = self._opened, None
        self._lost = self._lost or "the subscription was closed"
        if opened is not None:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(self._config.connection_timeout_secs):
                    await opened.close()

    # What the server says

    async def _take(self, delivered: Any) -> None:
        self._pushed.append(received(delivered, self._consumer.topic))
        self._news.set()

    def _on_closed(self, closing: "asyncio.Future[Any]") -> None:
        error = None if closing.cancelled() else closing.exception()
        self._lose("the connection was lost" if error is None else words(error))

    def _on_cancelled(self, frame: Any) -> None:
        self._lose(f"the queue {self._consumer.topic!r:.80} was deleted")

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._news.set()

    # Queues

    async def _declare(self) -> None:
        consumer, options = self._consumer, self._consumer.options
        if not options.get("declare", True):
            await self._channel.queue_declare(consumer.topic, passive=True)
        else:
            await self._declare_queue(consumer.topic, options.get("arguments") or {})
        for bound in bindings_of(consumer):
            await self._channel.exchange_declare(bound.exchange, exchange_type=bound.kind, durable=True)
            await self._channel.queue_bind(bound.queue, bound.exchange, bound.pattern)

    async def _declare_queue(self, name: str, arguments: dict[str, Any]) -> None:
        said = {"x-queue-type": self._queue_type, **arguments}
        if self._consumer.options.get("single_active"):
            said["x-single-active-consumer"] = True
        if said["x-queue-type"] == "classic":
            del said["x-queue-type"]  # what servers take for granted, and older ones do not know
        await self._channel.queue_declare(name, durable=self._consumer.options.get("durable", True), arguments=said)

    @contextlib.contextmanager
    def _declaring(self) -> Any:
        try:
            yield
        except BrokerUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, ChannelPreconditionFailed | ChannelNotFoundEntity) or (
                isinstance(cause, ChannelClosed) and "ACCESS_REFUSED" in str(cause)
            ):
                raise ConfigError(f"{self._who}: {words(cause)}") from cause
            raise

    # Copies

    async def _send_later(self, message: Message, settlement: Settlement) -> None:
        bucket_ms = 2 ** math.ceil(math.log2(max(settlement.delay_s * 1000, 1)))
        place = f"{self._consumer.topic}.retry.{bucket_ms}"
        arguments: dict[str, Any] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self._consumer.topic,
            "x-expires": 2 * bucket_ms + UNUSED_S * 1000,
        }
        if self._queue_type == "quorum":
            arguments |= {
                "x-queue-type": "quorum",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        # Each time: a queue that expires is gone, with whatever is in it, when nobody has declared it for so long.
        await self._make(place, arguments)
        headers = message.headers | {ATTEMPT: str(message.attempt + 1)}
        await self._send(_copy(message, place, headers, expiration=settlement.delay_s))

    async def _send_away(self, message: Message, settlement: Settlement) -> None:
        place = self._consumer.dead_letter_place or ""
        if place not in self._places:
            await self._make(place, {"x-queue-type": "quorum"} if self._queue_type == "quorum" else {})
            self._places.add(place)
        headers = dead_letter_headers(message, settlement, self._consumer)
        await self._send(_copy(message, place, headers))

    async def _make(self, queue: str, arguments: dict[str, Any]) -> None:
        """Declare a queue, on a channel of its own: a refusal closes the channel."""
        channel = await self._link.channel(publisher_confirms=False)
        try:
            with translating(self._config):
                async with asyncio.timeout(self._config.connection_timeout_secs):
                    underlay = await channel.get_underlay_channel()
                    await underlay.queue_declare(queue, durable=True, arguments=arguments)
        except BrokerUnavailable as error:
            if not isinstance(error.__cause__, ChannelPreconditionFailed):
                raise
            # It is there and somebody else's, who has given it other properties: good enough to be sent to.
        finally:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                await channel.close()

    async def _answer(self, message: Message, *, requeue: bool) -> None:
        with translating(self._config):
            if requeue:
                await self._channel.basic_reject(message.token, requeue=True)
            else:
                await self._channel.basic_ack(message.token)


def _copy(message: Message, place: str, headers: dict[str, str], **options: Any) -> Outgoing:
    headers = {name: value for name, value in headers.items() if not name.startswith(SERVERS_OWN)}
    sent = Outgoing(place, message.body, message.key, headers, message.id, message.timestamp)
    return replace(sent, options=options)
