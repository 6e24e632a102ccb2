"""Sending to RabbitMQ: persistent, mandatory and confirmed, unless a message says otherwise."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelPreconditionFailed, DeliveryError, PublishError

from cello.messaging.broker import check_options
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable, MessagingError, Refused, SendTimeout, TooLarge, Unroutable
from cello.messaging.message import Outgoing, Receipt
from cello.messaging.rabbitmq.config import RabbitMQConfig
from cello.messaging.rabbitmq.link import Link, translating, words
from cello.messaging.rabbitmq.properties import properties_of
from cello.messaging.rabbitmq.subscription import RabbitMQSubscription

MESSAGE_OPTIONS = ("exchange", "expiration", "mandatory", "persistent", "priority")


class RabbitMQBroker:
    """A broker on two connections: what holds back publishers (a server out of memory) leaves acknowledgements alone.

    A message's options:
        exchange: Where it is sent; its topic is the routing key there. Default: straight to the queue of that name.
        mandatory: Raise `Unroutable` where it would go to no queue; default True.
        persistent: Keep it on disk; default True.
        expiration: Seconds after which it is dropped or dead-lettered.
        priority: 0 to 255, for queues that have priorities.
    """

    def __init__(self, config: RabbitMQConfig) -> None:
        self.config = config
        self.where = config.safe_url
        self._sending = Link(config, "producer")
        self._consuming = Link(config, "consumer")
        self._channel: Any = None
        self._opening: asyncio.Lock | None = None
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def connect(self) -> None:
        """Connect for sending."""
        await self._open()

    async def close(self) -> None:
        """Disconnect."""
        self._channel = self._opening = None
        self._under_way = {}
        await self._sending.close()
        await self._consuming.close()

    async def check(self) -> Mapping[str, Any] | None:
        """Ask the server something that changes nothing and that everybody may ask."""
        channel = await self._open()
        with translating(self.config):
            await channel.basic_qos(prefetch_count=0, timeout=self.config.connection_timeout_secs)
        return None

    async def send(self, message: Outgoing) -> Receipt:
        """Send a message, and return when the server has confirmed it."""
        check_options("a message to RabbitMQ", message.options, MESSAGE_OPTIONS)
        limit = self.config.max_message_bytes
        if limit is not None and len(message.value) > limit:
            raise TooLarge(f"the message has {len(message.value)} bytes, RabbitMQConfig.max_message_bytes is {limit}")
        channel = await self._open()
        # aiormq finds out what was returned by its id, so of two with the same id one must wait.
        while (other := self._under_way.get(message.id)) is not None:
            await asyncio.wait({other})
        done = self._under_way[message.id] = asyncio.get_running_loop().create_future()
        try:
            await self._publish(channel, message)
        finally:
            self._under_way.pop(message.id, None)
            done.cancel()
        return Receipt(message.id, message.topic)

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Send messages one behind the other, and wait for all confirmations."""
        await self._open()
        results = await asyncio.gather(*map(self.send, messages), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, MessagingError | ValueError):
                raise result
        return results  # type: ignore[return-value]  # all others were raised

    async def subscribe(self, consumer: DeclaredConsumer) -> RabbitMQSubscription:
        """Declare the queue and what belongs to it, and begin to consume."""
        subscription = RabbitMQSubscription(self.config, self._consuming, self.send, consumer)
        try:
            await subscription.open()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def _open(self) -> Any:
        """Return the channel for sending."""
        channel = self._channel
        if channel is not None and not channel.is_closed:
            return channel
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            channel = self._channel
            if channel is None or channel.is_closed:
                opened = await self._sending.channel(publisher_confirms=True, on_return_raises=True)
                with translating(self.config):
                    channel = self._channel = await opened.get_underlay_channel()
                channel.keeper = opened  # else it is closed when it is collected
        return channel

    async def _publish(self, channel: Any, message: Outgoing) -> None:
        exchange = message.options.get("exchange", "")
        try:
            await channel.basic_publish(
                message.value,
                exchange=exchange,
                routing_key=message.topic,
                properties=properties_of(message),
                mandatory=message.options.get("mandatory", True),
                timeout=self.config.confirm_timeout_secs,
            )
        except PublishError as error:
            place = f"the exchange {exchange!r:.80} with the key {message.topic!r:.80}" if exchange else "it"
            what = f"no queue is bound to {place}" if exchange else f"there is no queue {message.topic!r:.80}"
            raise Unroutable(f"RabbitMQ at {self.where}: {what}") from error
        except DeliveryError as error:
            raise Refused(f"RabbitMQ at {self.where} does not take the message: {words(error)}") from error
        except TimeoutError as error:
            limit_s = self.config.confirm_timeout_secs
            raise SendTimeout(f"RabbitMQ at {self.where} did not confirm within {limit_s:g} s") from error
        except ChannelPreconditionFailed as error:
            if "message size" in str(error):
                raise TooLarge(f"RabbitMQ at {self.where}: {words(error)}") from error
            raise BrokerUnavailable(f"RabbitMQ at {self.where} closed the channel: {words(error)}") from error
        except CONNECTION_EXCEPTIONS as error:
            if getattr(error, "args", None) and "NOT_FOUND" in str(error):
                raise Unroutable(f"RabbitMQ at {self.where}: {words(error)}") from error
            raise BrokerUnavailable(f"RabbitMQ at {self.where} is not available: {words(error)}") from error
