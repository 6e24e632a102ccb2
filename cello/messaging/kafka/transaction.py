"""Several messages or none: what is sent in a transaction is read by others (read_committed) once it was committed.

Rule 1: an id is of one process and one client at a time, as Kafka ends the transactions of whoever had it before. So
ids are made of the config's, the machine, the process and a number. What a killed process left open ends by
`transaction_timeout_ms`.
Rule 2: a client whose transaction could not be ended is not used again.
"""

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from cello.messaging.errors import MessagingError
from cello.messaging.kafka.client import close_producer, translated
from cello.messaging.kafka.config import KafkaConfig
from cello.messaging.message import Outgoing, Receipt

_numbers = itertools.count(1)


class Transactions:
    """The transactions of one broker object, one after the other.

    Args:
        config: Whose ids.
        where: The brokers, for errors.
        make: Returns a producer for an id that is connected.
    """

    def __init__(self, config: KafkaConfig, where: str, make: Callable[[str], Awaitable[Any]]) -> None:
        self._config = config
        self._where = where
        self._make = make
        self._producer: Any = None
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        """Yield a producer in a transaction; commit it at the end, abort it when the block raises."""
        async with self._lock:
            if self._producer is None:
                name = f"{self._config.transactional_id}-{socket.gethostname()}-{os.getpid()}-{next(_numbers)}"
                self._producer = await self._make(name)
            producer = self._producer
            await self._do("begin", producer.begin_transaction())
            try:
                yield producer
            except BaseException:
                with contextlib.suppress(MessagingError):
                    await self._do("abort", producer.abort_transaction())
                raise
            await self._do("commit", producer.commit_transaction())

    async def _do(self, verb: str, work: Awaitable[None]) -> None:
        try:
            with translated(self._where, f"{verb} a transaction"):
                async with asyncio.timeout(self._config.send_timeout_secs):
                    await work
        except MessagingError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the client; a transaction that is open is aborted by Kafka in time."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer)


class Transaction:
    """What sends messages in a transaction: to a `Producer` a broker.

    Args:
        where: The brokers.
        producer: In a transaction.
        send: Sends by a producer.
    """

    def __init__(self, where: str, producer: Any, send: Callable[[Outgoing, Any], Awaitable[Receipt]]) -> None:
        self.where = where
        self._producer = producer
        self._send = send

    async def send(self, message: Outgoing) -> Receipt:
        """Send a message as a part of the transaction."""
        return await self._send(message, self._producer)

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Send messages as a part of the transaction."""
        return await asyncio.gather(*map(self.send, messages))
