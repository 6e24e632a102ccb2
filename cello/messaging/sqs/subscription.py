"""One consumer's messages of a queue: received by long polls, hidden from others while they are in hand, deleted.

Rule 1: whatever is in hand has its visibility extended at every third of the timeout (`heartbeat`), so a slow handler
keeps its message, and that of a killed process comes back within one timeout.
Rule 2: messages are deleted ten at a time, and each settlement returns when its own was confirmed.
Rule 3: a message to be tried again stays in the queue, hidden until then; SQS counts how often it was received.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cello.messaging.broker import Outcome, Settlement, dead_letter_headers
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import MessagingError
from cello.messaging.message import Message, Outgoing
from cello.messaging.sqs.batches import BATCH, Batches, outcomes
from cello.messaging.sqs.client import translated
from cello.messaging.sqs.config import SqsConfig
from cello.messaging.sqs.records import WANTED, message_of

logger = logging.getLogger("cello.messaging")

MOST_HIDDEN_S = 43_200
MOST_RECEIVERS = 8
CLOSE_S = 5.0


class Sender(Protocol):
    """What a subscription needs of its broker."""

    where: str
    config: SqsConfig

    async def send(self, message: Outgoing) -> object:
        """Send a message, and return when it is confirmed."""

    async def waiting(self, url: str) -> int:
        """Return how many messages wait in a queue."""


class SqsSubscription:
    """See `Subscription`.

    Args:
        broker: Sends copies to other queues.
        client: Of SQS.
        consumer: Whose messages.
        queue: The queue as it was named.
        url: Its URL.
        dead_letter_url: Where dead letters go; None: nowhere.
    """

    generation = 0

    def __init__(
        self,
        broker: Sender,
        client: Any,
        consumer: DeclaredConsumer,
        queue: str,
        url: str,
        dead_letter_url: str | None,
    ) -> None:
        config = broker.config
        self._broker = broker
        self._client = client
        self._consumer = consumer
        self._queue = queue
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._hidden_s = config.visibility_timeout_secs
        self._most = config.max_messages
        self._wait_s = config.wait_time_secs
        self._held: dict[str, Message] = {}
        self._ready: list[Message] = []
        self._receiving: set[asyncio.Task[list[Message]]] = set()
        self._receivers = 1
        self._deletions = Batches(self._delete, f"SQS at {broker.where}: delete from {url}")
        self._changes = Batches(self._change, f"SQS at {broker.where}: hide messages of {url}")

    @property
    def heartbeat_s(self) -> float | None:
        """A third of the time for which messages are hidden."""
        return self._hidden_s / 3

    # Receiving

    async def fetch(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """Return what was received, or is within the time.

        Requests go on when nobody waits for them any more: what they bring is for the next call.
        """
        until_s = time.monotonic() + timeout_s
        while not self._ready:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return []
            while len(self._receiving) < self._receivers:
                self._receiving.add(asyncio.create_task(self._receive(min(limit, self._most), left_s)))
            done, _ = await asyncio.wait(self._receiving, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._receiving.discard(task)
            for task in done:
                received = task.result()
                self._ready.extend(received)
                self._adapt(len(received))
        taken, self._ready = self._ready[:limit], self._ready[limit:]
        return taken

    def _adapt(self, count: int) -> None:
        """Ask by more requests at a time while each comes back full, by one while the queue is empty."""
        if count == BATCH:
            self._receivers = min(MOST_RECEIVERS, self._receivers * 2, max(1, (self._consumer.prefetch or 1) // BATCH))
        elif not count:
            self._receivers = 1

    async def _receive(self, limit: int, timeout_s: float) -> list[Message]:
        with translated(self._broker.where, f"receive from {self._url}"):
            answer = await self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=min(self._wait_s, int(timeout_s)),
                VisibilityTimeout=self._hidden_s,
                **WANTED,
            )
        found = [message_of(raw, self._queue) for raw in answer.get("Messages", ())]
        self._held |= {message.token.receipt: message for message in found}
        return found

    def claim(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return all: what is hidden stays ours."""
        return messages

    def give_up(self, messages: Sequence[Message]) -> None:
        """Do nothing: there are no claims."""

    # Settling

    def acknowledge_at_once(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return none: the broker is to be asked."""
        return ()

    async def settle(self, message: Message, settlement: Settlement) -> None:
        """Carry out a decision."""
        receipt: str = message.token.receipt
        outcome = settlement.outcome
        if outcome is Outcome.DEAD_LETTER:
            await self._send_to_dead_letters(message, settlement)
        self._held.pop(receipt, None)  # before it is deleted: a heartbeat of what is gone would be refused
        if outcome in (Outcome.RETRY, Outcome.RELEASE):
            hidden_s = min(MOST_HIDDEN_S, -int(-settlement.delay_s // 1)) if outcome is Outcome.RETRY else 0
            await self._changes.add({"ReceiptHandle": receipt, "VisibilityTimeout": hidden_s})
        else:
            await self._deletions.add({"ReceiptHandle": receipt})

    async def _send_to_dead_letters(self, message: Message, settlement: Settlement) -> None:
        if self._dead_letter_url is None:
            raise MessagingError("this consumer has no queue for dead letters")
        headers = dead_letter_headers(message, settlement, self._consumer)
        key = message.token.message.get("Attributes", {}).get("MessageGroupId") or message.key
        await self._broker.send(Outgoing(self._dead_letter_url, message.body, key, headers, message.id))

    async def _delete(self, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        with translated(self._broker.where, f"delete from {self._url}"):
            answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return dict(answer)

    async def _change(self, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        with translated(self._broker.where, f"hide messages of {self._url}"):
            answer = await self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        return dict(answer)

    async def heartbeat(self, messages: Sequence[Message]) -> None:
        """Hide messages for longer: those in hand, and those received that nobody has fetched yet."""
        receipts = {message.token.receipt for message in (*messages, *self._ready)} & set(self._held)
        errors = await self._hide(sorted(receipts), self._hidden_s)
        if errors:
            raise errors[0]

    async def _hide(self, receipts: Sequence[str], hidden_s: int) -> list[MessagingError]:
        """Hide messages for so long from now on; return what went wrong."""
        errors = []
        for begin in range(0, len(receipts), BATCH):
            part = receipts[begin : begin + BATCH]
            entries = [
                {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": hidden_s}
                for place, receipt in enumerate(part)
            ]
            answer = await self._change(entries)
            found = outcomes(answer, len(part), f"SQS at {self._broker.where}: hide messages of {self._url}")
            errors += [
                each
                for receipt, each in zip(part, found, strict=True)
                if isinstance(each, MessagingError) and receipt in self._held
            ]
        return errors

    async def lag(self) -> int | None:
        """Return how many messages wait, about."""
        return await self._broker.waiting(self._url)

    async def close(self) -> None:
        """Show what is in hand to others again."""
        for task in self._receiving:
            task.cancel()
        await asyncio.gather(*self._receiving, return_exceptions=True)
        await self._deletions.close(CLOSE_S)
        await self._changes.close(CLOSE_S)
        with contextlib.suppress(MessagingError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._hide(list(self._held), 0)
        self._held.clear()
