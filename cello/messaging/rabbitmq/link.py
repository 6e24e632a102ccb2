"""A connection to RabbitMQ that is opened when needed, and its errors by their names here.

aio-pika's robust connection is not used: it restores consumers and channels behind one's back, while who holds a
message of the lost channel must know that it is not his any more.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from cello.messaging.errors import BrokerUnavailable
from cello.messaging.rabbitmq.config import RabbitMQConfig


class Link:
    """One connection; opened by whoever needs it first, while the others wait.

    Args:
        config: Where to.
        purpose: What the server's list of connections shows.
    """

    def __init__(self, config: RabbitMQConfig, purpose: str) -> None:
        self._config = config
        self._purpose = purpose
        self._connection: Any = None
        self._opening: asyncio.Lock | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as we know."""
        connection = self._connection
        # One that was lost is not `is_closed`: that says whether it was closed by us.
        return connection is not None and not connection.is_closed and connection.connected.is_set()

    async def connection(self) -> Any:
        """Return a connection that is open.

        Raises:
            BrokerUnavailable: There is none to be had within the time.
        """
        if self.is_open:
            return self._connection
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if not self.is_open:
                await self._drop()
                with translating(self._config):
                    async with asyncio.timeout(self._config.connection_timeout_secs):
                        self._connection = await aio_pika.connect(
                            self._config.full_url,
                            heartbeat=self._config.heartbeat,
                            client_properties={"connection_name": f"cello {self._purpose}"},
                        )
        return self._connection

    async def channel(self, **options: Any) -> Any:
        """Return a new channel of an open connection."""
        connection = await self.connection()
        with translating(self._config):
            async with asyncio.timeout(self._config.connection_timeout_secs):
                return await connection.channel(**options)

    async def close(self) -> None:
        """Close the connection."""
        self._opening = None
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
                async with asyncio.timeout(self._config.connection_timeout_secs):
                    await connection.close()


@contextlib.contextmanager
def translating(config: RabbitMQConfig) -> Iterator[None]:
    """Raise errors of the client library by their names here."""
    try:
        yield
    except TimeoutError as error:
        raise BrokerUnavailable(f"RabbitMQ at {config.safe_url} does not answer in time") from error
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerUnavailable(f"RabbitMQ at {config.safe_url} is not available: {words(error)}") from error


def words(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return " ".join((str(error) or type(error).__name__).split())[:300]
