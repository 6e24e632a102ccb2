"""Consuming by hand: `poll`, work, `commit`. What handlers declare is less to write and does more."""

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from cello.errors import ConfigError
from cello.messaging.broker import ACK, RELEASE, Broker, BrokerConfig, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.message import Message, MessageResult

MOST_UNSETTLED = 500


class Consumer:
    """Fetches messages of some topics or queues, when it is asked.

    A message is delivered again until it was committed. When the connection breaks, `poll` raises; `subscribe` begins
    anew.

    Args:
        broker: By which.
        group: Consumers of one group share the messages (Kafka); None: the config's.
    """

    def __init__(self, broker: Broker, group: str | None = None) -> None:
        self._broker = broker
        self._group = group
        self._open: dict[str, Subscription] = {}
        self._unsettled: dict[int, tuple[Subscription, Message]] = {}

    @classmethod
    async def connect(cls, config: BrokerConfig, group: str | None = None) -> Self:
        """Return a consumer that is connected.

        Raises:
            BrokerUnavailable: The broker cannot be reached.
            MissingDependency: Its library is not installed.
        """
        made = cls(config.make_broker(), group)
        await made._broker.connect()
        return made

    async def subscribe(self, topics: str | Sequence[str], **options: Any) -> None:
        """Begin to consume topics or queues, in place of those before.

        Args:
            topics: One or several.
            options: What only its broker understands.
        """
        await self._end()
        for topic in [topics] if isinstance(topics, str) else topics:
            declared = DeclaredConsumer(topic, group=self._group, prefetch=MOST_UNSETTLED, options=options)
            self._open[topic] = await self._broker.subscribe(declared)

    async def poll(self, timeout_ms: float = 1000, max_messages: int = 100) -> list[Message]:
        """Return messages that are there, or come within the time; each is to be given to `commit`.

        Raises:
            BrokerUnavailable: The connection is lost.
            ConfigError: Nothing is subscribed.
        """
        if not self._open:
            raise ConfigError("Consumer.poll(): subscribe to something first")
        limit = min(max_messages, MOST_UNSETTLED - len(self._unsettled))
        if limit < 1:
            raise ConfigError(f"Consumer.poll(): {MOST_UNSETTLED} messages are not committed: commit them first")
        tasks = {
            asyncio.create_task(subscription.fetch(limit, timeout_ms / 1000)): subscription
            for subscription in self._open.values()
        }
        try:
            await asyncio.wait(tasks, timeout=timeout_ms / 1000 + 1, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        found: list[Message] = []
        for task, subscription in tasks.items():
            with contextlib.suppress(asyncio.CancelledError):
                for message in task.result():
                    self._unsettled[id(message)] = (subscription, message)
                    found.append(message)
        return found

    async def commit(self, message: Message | None = None) -> None:
        """Say that a message is done with; None: all that were polled. One whose `nack()` was called is given back.

        Raises:
            MessagingError: It could not be said; the message will be delivered again.
        """
        entries = list(self._unsettled.values()) if message is None else [self._unsettled.get(id(message))]
        for entry in entries:
            if entry is not None:
                subscription, held = entry
                del self._unsettled[id(held)]
                await subscription.settle(held, RELEASE if held.said is MessageResult.NACK else ACK)

    async def close(self) -> None:
        """End; what is not committed will be delivered again."""
        await self._end()
        await self._broker.close()

    async def _end(self) -> None:
        self._unsettled.clear()
        while self._open:
            await self._open.popitem()[1].close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
