"""SQS, for one event loop: one client with its pool of connections; sends, and opens subscriptions.

Queues go by name or URL; names are looked up once. To send makes no queue; to consume makes one that goes by name.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from cello.errors import ConfigError
from cello.messaging.broker import check_options
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable, MessagingError, TooLarge, Unroutable
from cello.messaging.message import Outgoing, Receipt
from cello.messaging.sqs.batches import BATCH, outcomes
from cello.messaging.sqs.client import make_client, require_aiobotocore, translated
from cello.messaging.sqs.config import SqsConfig, is_url
from cello.messaging.sqs.records import entry_of, size_of
from cello.messaging.sqs.subscription import SqsSubscription

logger = logging.getLogger("cello.messaging")

FIFO = ".fifo"
MOST_DELAY_S = 900


class SqsBroker:
    """See `Broker`.

    Args:
        config: Which server and queues.
    """

    def __init__(self, config: SqsConfig) -> None:
        require_aiobotocore()
        self.where = config.endpoint_url or f"AWS {config.region}"
        self.config = config
        self._client: Any = None
        self._stack = contextlib.AsyncExitStack()
        self._connecting: asyncio.Lock | None = None
        self._urls: dict[str, str] = {}

    async def connect(self) -> None:
        """Make the client, and see whether SQS answers it."""
        if self._client is not None:
            return
        try:
            await self.check()
        except BaseException:
            await self.close()  # whoever could not connect closes nothing
            raise

    async def client(self) -> Any:
        """Return the client; it connects when it is used."""
        if self._client is not None:
            return self._client
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._client is None:
                # A second of imports and files, which would hold the loop.
                made = await asyncio.to_thread(make_client, self.config)
                with translated(self.where, "connect"):
                    self._client = await self._stack.enter_async_context(made)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        self._client = None
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        try:
            await stack.aclose()
        except Exception:
            logger.exception("closing the client of SQS")

    async def check(self) -> Mapping[str, Any] | None:
        """Ask for what waits in the config's queue; without one, for the name of any queue."""
        client = await self.client()
        limit_s = self.config.connection_timeout_secs
        with translated(self.where, "look for the queue" if self.config.queue_url else "ask for queues"):
            try:
                async with asyncio.timeout(limit_s):
                    if not self.config.queue_url:
                        await client.list_queues(MaxResults=1)
                        return None
                    return {"waiting": await self.waiting(self.config.queue_url)}
            except TimeoutError:
                raise BrokerUnavailable(f"SQS at {self.where}: no answer within {limit_s:g} s") from None

    async def waiting(self, url: str) -> int:
        """Return how many messages wait in a queue, about."""
        found = await self.attributes(url, "ApproximateNumberOfMessages")
        return int(found.get("ApproximateNumberOfMessages", 0))

    async def attributes(self, url: str, *names: str) -> Mapping[str, str]:
        """Return attributes of a queue."""
        client = await self.client()
        with translated(self.where, f"ask about the queue {url}"):
            found = await client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return cast("Mapping[str, str]", found.get("Attributes", {}))

    # Sending

    async def send(self, message: Outgoing) -> Receipt:
        """Send a message."""
        with translated(self.where, f"send to {message.topic!r:.80}"):
            async with asyncio.timeout(self.config.send_timeout_secs):
                url = await self.url_of(message.topic)
                entry = self._entry(message, url)
                client = await self.client()
                answer = await client.send_message(QueueUrl=url, **entry)
        return Receipt(message.id, message.topic, answer.get("SequenceNumber"))

    def _entry(self, message: Outgoing, url: str) -> dict[str, Any]:
        check_options("a message to SQS", message.options, ("delay",))
        delay_s = message.options.get("delay", 0)
        if type(delay_s) is not int or not 0 <= delay_s <= MOST_DELAY_S:
            raise ConfigError(f"the delay of a message is 0 to {MOST_DELAY_S} whole seconds, not {delay_s!r:.80}")
        entry = entry_of(message, is_fifo=url.endswith(FIFO))
        size = size_of(entry)
        if size > self.config.max_message_bytes:
            raise TooLarge(f"the message has {size} bytes, {self.config.max_message_bytes} are taken")
        return entry

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Send messages, up to ten at a time; those of one queue in order."""
        results: list[Receipt | Exception] = [MessagingError("not sent")] * len(messages)
        queues: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for place, message in enumerate(messages):
            try:
                url = await self.url_of(message.topic)
                queues.setdefault(url, []).append((place, self._entry(message, url)))
            except BrokerUnavailable:
                raise
            except (MessagingError, ConfigError) as error:
                results[place] = error
        for url, entries in queues.items():
            for chunk in _chunks(entries, self.config.max_message_bytes):
                answers = await self._send_chunk(url, [entry for _, entry in chunk])
                for (place, _), answer in zip(chunk, answers, strict=True):
                    message = messages[place]
                    results[place] = (
                        answer
                        if isinstance(answer, Exception)
                        else Receipt(message.id, message.topic, answer.get("SequenceNumber"))
                    )
        return results

    async def _send_chunk(self, url: str, entries: Sequence[dict[str, Any]]) -> Sequence[Any]:
        what = f"send to {url}"
        try:
            with translated(self.where, what):
                async with asyncio.timeout(self.config.send_timeout_secs):
                    client = await self.client()
                    numbered = [{"Id": str(place), **entry} for place, entry in enumerate(entries)]
                    answer = await client.send_message_batch(QueueUrl=url, Entries=numbered)
        except MessagingError as error:
            return [error] * len(entries)
        return outcomes(answer, len(entries), f"SQS at {self.where}: {what}")

    # Queues

    async def url_of(self, queue: str) -> str:
        """Return the URL of a queue: of a name, of a URL, or, for "", of the config's.

        Raises:
            Unroutable: There is none of that name.
        """
        queue = queue or self.config.queue_url
        if is_url(queue):
            return queue
        if queue not in self._urls:
            client = await self.client()
            with translated(self.where, f"look for the queue {queue!r:.80}"):
                found = await client.get_queue_url(QueueName=queue)
            self._urls[queue] = str(found["QueueUrl"])
        return self._urls[queue]

    async def make_queue(self, name: str) -> str:
        """Return the URL of the queue of that name, which is made if there is none."""
        with contextlib.suppress(Unroutable):
            return await self.url_of(name)
        client = await self.client()
        attributes = {"FifoQueue": "true"} if name.endswith(FIFO) else {}
        with translated(self.where, f"make the queue {name!r:.80}"):
            made = await client.create_queue(QueueName=name, Attributes=attributes)
        self._urls[name] = str(made["QueueUrl"])
        return self._urls[name]

    async def dead_letter_url(self, consumer: DeclaredConsumer, url: str) -> str | None:
        """Return where a consumer's dead letters go: where it says, where the queue's own policy says, or beside it."""
        if isinstance(consumer.dead_letter, str):
            return consumer.dead_letter if is_url(consumer.dead_letter) else await self.make_queue(consumer.dead_letter)
        if not consumer.dead_letter:
            return None
        policy = json.loads((await self.attributes(url, "All")).get("RedrivePolicy", "{}"))
        target = str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2]
        return await self.url_of(target) if target else await self.make_queue(dead_letter_name(url))

    async def subscribe(self, consumer: DeclaredConsumer) -> SqsSubscription:
        """Look for the queue, and for the one of its dead letters."""
        check_options(f"the consumer {consumer.name} of SQS", consumer.options, ())
        queue = consumer.topic or self.config.queue_url
        if not queue:
            raise ConfigError(f"the consumer {consumer.name} names no queue, and SqsConfig.queue_url is empty")
        try:
            url = queue if is_url(queue) else await self.make_queue(queue)
            dead_letter_url = await self.dead_letter_url(consumer, url)
        except Unroutable as error:
            raise ConfigError(f"the consumer {consumer.name}: there is no such queue: {queue!r:.200}") from error
        return SqsSubscription(self, await self.client(), consumer, queue, url, dead_letter_url)


def dead_letter_name(url: str) -> str:
    """Return the default name of the queue for dead letters of another one."""
    name = urlsplit(url).path.rpartition("/")[2]
    base, fifo = (name[: -len(FIFO)], FIFO) if name.endswith(FIFO) else (name, "")
    return f"{base}-dead-letter{fifo}"


def _chunks(entries: list[tuple[int, dict[str, Any]]], most_bytes: int) -> list[list[tuple[int, dict[str, Any]]]]:
    """Return entries in portions that one request takes: ten, and as many bytes as one message may have."""
    chunks: list[list[tuple[int, dict[str, Any]]]] = []
    size = most_bytes
    for place, entry in entries:
        grown = size + size_of(entry)
        if not chunks or grown > most_bytes or len(chunks[-1]) == BATCH:
            chunks.append([])
            grown = size_of(entry)
        chunks[-1].append((place, entry))
        size = grown
    return chunks
