"""What handlers send messages with: one for `async def`, and one that waits for `def`."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from cello.errors import ConfigError
from cello.gateways.turns import TurnPortal
from cello.messaging.broker import Broker, BrokerConfig
from cello.messaging.errors import BatchError
from cello.messaging.message import Message, Outgoing, Receipt
from cello.pipeline.threads import is_on_loop

T = TypeVar("T")
Given = Outgoing | Message | Mapping[str, Any]


class SendObserver(Protocol):
    """Who is told what was sent: metrics and traces."""

    def sending(self, headers: dict[str, str]) -> None:
        """Add to a message's headers, as trace context does."""

    def sent(self, topic: str, outcome: str, seconds: float, count: int) -> None:
        """`count` messages were "ok", or failed with an error of that name."""


class Producer:
    """Sends messages.

    Args:
        broker: By which; connected when needed.
        observer: Who is told.
    """

    def __init__(self, broker: Broker, observer: SendObserver | None = None) -> None:
        self._broker = broker
        self._observer = observer

    @classmethod
    async def connect(cls, config: BrokerConfig) -> Self:
        """Return a producer that is connected; close it by `close()` or `async with`.

        Args:
            config: A `RabbitMQConfig`, `KafkaConfig`, `SqsConfig` or `MemoryConfig`.

        Raises:
            BrokerUnavailable: It cannot be reached.
            MissingDependency: Its library is not installed.
        """
        made = cls(config.make_broker())
        await made._broker.connect()
        return made

    async def send(
        self,
        topic: str,
        value: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        id: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Send a message, and return when the broker has confirmed it.

        Args:
            topic: The topic or queue.
            value: Bytes and text are sent as they are, None is empty, all else is JSON.
            key: Messages of one key stay in order; on Kafka it chooses the partition.
            headers: Text by name.
            id: What receivers know it by; None: a new one.
            options: What only its broker understands.

        Raises:
            BrokerUnavailable: It was not confirmed; it may have arrived.
            Refused: The broker does not take it: `Unroutable`, `TooLarge`.
        """
        message = Outgoing.of(topic, value, key, headers, id=id, **options)
        if self._observer is None:
            return await self._broker.send(message)
        with self._observing(self._observer, topic, 1):
            return await self._broker.send(self._prepared(message))

    async def send_batch(self, messages: Sequence[Given]) -> int:
        """Send messages in as few trips as the broker allows; return how many were confirmed, which is all.

        Args:
            messages: Mappings with `topic`, `value` and what else `send` takes; or `Outgoing`s.

        Raises:
            BatchError: Some were not confirmed; `errors` says which and why.
            BrokerUnavailable: There is no connection: none was sent.
        """
        outgoing = [self._prepared(_as_outgoing(given)) for given in messages]
        if not outgoing:
            return 0
        if self._observer is None:
            return await self._send_batch(outgoing)
        with self._observing(self._observer, outgoing[0].topic, len(outgoing)):
            return await self._send_batch(outgoing)

    async def _send_batch(self, outgoing: Sequence[Outgoing]) -> int:
        results = await self._broker.send_batch(outgoing)
        errors = {place: result for place, result in enumerate(results) if isinstance(result, Exception)}
        if errors:
            raise BatchError(errors, len(outgoing) - len(errors))
        return len(outgoing)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """Yield a producer whose messages are read all, when the block ends, or none, when it raises; Kafka only.

        Raises:
            ConfigError: The broker has no transactions, or its config names none.
            BrokerUnavailable: It could not be committed; what was sent in it may be read or not.
        """
        begin = getattr(self._broker, "transaction", None)
        if begin is None:
            raise ConfigError(f"the broker {self._broker.where} has no transactions")
        async with begin() as broker:
            yield type(self)(broker, self._observer)

    async def close(self) -> None:
        """Disconnect; a later `send` connects again."""
        await self._broker.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Producer {self._broker.where}>"

    def _prepared(self, message: Outgoing) -> Outgoing:
        if self._observer is not None and isinstance(message.headers, dict):
            self._observer.sending(message.headers)
        return message

    @staticmethod
    @contextlib.contextmanager
    def _observing(observer: SendObserver, topic: str, count: int) -> Iterator[None]:
        began_s = time.perf_counter()
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            observer.sent(topic, outcome, time.perf_counter() - began_s, count)


class BlockingProducer:
    """A producer for plain functions: it waits, while its broker lives on a loop of its own.

    Args:
        make: Returns a producer for that loop.

    Attributes:
        on_held_loop: Called when somebody waits on an event loop.
    """

    def __init__(self, make: Callable[[], Producer]) -> None:
        self.on_held_loop: Callable[[], None] | None = None
        self._make = make
        self._portal = TurnPortal()
        self._producer: Producer | None = None
        self._pid = 0

    def send(
        self,
        topic: str,
        value: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        id: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Send a message and return when it is confirmed; see `Producer.send`."""
        return self._run(lambda made: made.send(topic, value, key, headers, id=id, **options))

    def send_batch(self, messages: Sequence[Given]) -> int:
        """Send messages and return when all are confirmed; see `Producer.send_batch`."""
        return self._run(lambda made: made.send_batch(messages))

    def close(self) -> None:
        """Disconnect; a later `send` connects again."""
        if self._portal.is_running:
            self._portal.run(self._do(lambda made: made.close()))
            self._portal.close()

    @property
    def blocking(self) -> Self:
        """Itself, so that code for either object works."""
        return self

    def _run(self, work: Callable[[Producer], Awaitable[T]]) -> T:
        if self.on_held_loop is not None and is_on_loop():
            self.on_held_loop()
        return self._portal.run(self._do(work))

    async def _do(self, work: Callable[[Producer], Awaitable[T]]) -> T:
        if self._producer is None or self._pid != os.getpid():  # a forked child has a loop of its own
            self._producer, self._pid = self._make(), os.getpid()
        return await work(self._producer)


def _as_outgoing(given: Given) -> Outgoing:
    if isinstance(given, Outgoing):
        return given
    if isinstance(given, Message):
        return Outgoing.of(given.topic, given.value, given.key, given.headers, id=given.id)
    return Outgoing.of(**given)
