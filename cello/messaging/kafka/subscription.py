"""One consumer's share of a topic: what it fetches, has in hand, and commits.

Rule 1: committed is what was settled without a gap (`offsets.py`), a moment after it was settled, and before partitions
are given up. aiokafka commits nothing by itself.
Rule 2: when partitions are taken away, what has not begun is forgotten (`claim`), what has begun may end within half a
session timeout, and that is committed. What ends later is refused: its partition's new owner handles it again.
Rule 3: Kafka cannot give a message back or delay it. What is released is returned by a later `fetch`; what is to be
retried goes to a retry topic of its group, out of which it is fetched and kept here until it is due.
Rule 4: where several handlers may run, each partition has a share of what may be in hand before others have more:
aiokafka empties one partition after the other, and handlers that go by partition would wait for each other.
"""

import asyncio
import contextlib
import heapq
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

from cello.errors import ConfigError
from cello.messaging.broker import Outcome, Settlement, dead_letter_headers
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import MessagingError
from cello.messaging.kafka.client import check_topic, close_consumer, translated
from cello.messaging.kafka.config import KafkaConfig
from cello.messaging.kafka.offsets import Offsets
from cello.messaging.kafka.records import Headers, KafkaMessage, make_headers, messages_of, read_retry, retry_headers
from cello.messaging.message import Message

logger = logging.getLogger("cello.messaging")

CONSUMER_OPTIONS = ("ordered_by",)
ORDERS = ("partition", "key", "none")
WAIT_S = 20.0
"""How long one request for messages waits, whoever waits for it."""
COMMIT_PAUSE_S = 0.05
"""Between two commits: what a killed process has handled and not committed is handled again."""
FAILED_PAUSE_S = 1.0
CLOSE_S = 5.0


class Plan(NamedTuple):
    """What a declaration means on Kafka.

    Attributes:
        group: The group it is in.
        ordered_by: "partition", "key" or "none".
        retry_topic: Where messages wait for their retry; None: in this process, holding up those behind them.
    """

    group: str
    ordered_by: str
    retry_topic: str | None

    @classmethod
    def of(cls, consumer: DeclaredConsumer, config: KafkaConfig) -> Self:
        """Return that of a declaration.

        Raises:
            ConfigError: A name or option cannot be.
        """
        check_topic(consumer.topic)
        ordered_by = consumer.options.get("ordered_by", "partition")
        if ordered_by not in ORDERS:
            raise ConfigError(
                f"consumer {consumer.name}: ordered_by is one of {', '.join(ORDERS)}, not {ordered_by!r:.80}"
            )
        group = consumer.group or config.group_id or (consumer.name if consumer.has_handler else "")
        if not group:
            raise ConfigError(
                "a consumer by hand is in a group: KafkaConfig(group_id=...) or Consumer.connect(group=...)"
            )
        waits_here = ordered_by == "partition" if consumer.in_order is None else consumer.in_order
        retry_topic = None
        if consumer.retries and not waits_here:
            retry_topic = check_topic(f"{consumer.topic}.{re.sub('[^A-Za-z0-9._-]', '-', group)}.retry")
        if consumer.dead_letter_place is not None:
            check_topic(consumer.dead_letter_place)
        return cls(group, ordered_by, retry_topic)


class Sender(Protocol):
    """What a subscription needs of its broker."""

    where: str

    async def deliver(self, topic: str, value: bytes, key: bytes | None, headers: Headers, sent_s: float) -> Any:
        """Send a record, and return when it is confirmed."""


class KafkaSubscription:
    """See `Subscription`.

    Args:
        broker: Sends copies to other topics.
        client: An `AIOKafkaConsumer` that has started.
        config: Time limits.
        consumer: Whose messages.
        plan: What its declaration means.
    """

    heartbeat_s: float | None = None

    def __init__(
        self, broker: Sender, client: Any, config: KafkaConfig, consumer: DeclaredConsumer, plan: Plan
    ) -> None:
        self._broker = broker
        self._client = client
        self._consumer = consumer
        self._plan = plan
        self._grace_s = config.session_timeout_ms / 2000
        self._most_waiting = config.max_poll_records
        self._is_shared = consumer.concurrency > 1 and plan.ordered_by != "none"
        self._offsets: dict[Any, Offsets] = {}
        self._is_ours = True
        self.generation = 0
        self._begun: set[Message] = set()
        self._none_begun: asyncio.Event | None = None
        self._waiting: list[tuple[float, int, Message]] = []
        self._number = 0
        self._woken = asyncio.Event()
        self._getting: asyncio.Task[list[Message]] | None = None
        self._dirty = asyncio.Event()
        topics = [consumer.topic] if plan.retry_topic is None else [consumer.topic, plan.retry_topic]
        client.subscribe(topics, listener=_listener(self))
        self._committing = asyncio.create_task(self._keep_committing())

    # Fetching

    async def fetch(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """Return what is due of what waits here, else what Kafka has."""
        until_s = time.monotonic() + timeout_s
        while True:
            found = self._take_due(limit)
            left_s = until_s - time.monotonic()
            if found or left_s <= 0:
                return found
            if self._getting is None:
                found = await self._get(limit, 0)
                if found:
                    return found
                self._getting = asyncio.create_task(self._get(limit, WAIT_S))
            self._woken.clear()
            woken = asyncio.create_task(self._woken.wait())
            due_s = self._waiting[0][0] - time.monotonic() if self._waiting else left_s
            try:
                await asyncio.wait(
                    (self._getting, woken), timeout=max(0.0, min(left_s, due_s)), return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                woken.cancel()
            if self._getting.done():
                getting, self._getting = self._getting, None
                found = await getting
                for message in found[limit:]:  # what was asked for may be more than `limit` is now
                    self._wait(message, 0.0)
                if found:
                    return found[:limit]

    async def _get(self, limit: int, wait_s: float) -> list[Message]:
        """Return what Kafka has, as messages of the assignment that it belongs to."""
        with translated(self._broker.where, f"fetch from {self._consumer.topic!r}"):
            if self._is_shared:
                if not wait_s and (found := await self._get_shares(limit)):
                    return found
                limit = min(limit, self._share or limit) if wait_s else limit
            records = await self._client.getmany(timeout_ms=int(wait_s * 1000), max_records=limit)
        return [message for partition, each in records.items() for message in self._received(partition, each)]

    @property
    def _share(self) -> int:
        """How many messages of a partition may be in hand before others have theirs."""
        partitions: int = sum(partition.topic == self._consumer.topic for partition in self._offsets)
        prefetch = self._consumer.prefetch or 0
        return prefetch // max(1, partitions)

    async def _get_shares(self, limit: int) -> list[Message]:
        """Return what Kafka has of partitions of which less than their share is in hand (Rule 4)."""
        found: list[Message] = []
        share = self._share
        try:
            for partition, offsets in list(self._offsets.items()):
                most = min(limit - len(found), share - offsets.in_hand)
                if most > 0 and partition.topic == self._consumer.topic and not offsets.is_lost:
                    records = await self._client.getmany(partition, timeout_ms=0, max_records=most)
                    found += [message for place, each in records.items() for message in self._received(place, each)]
        except BaseException:
            for message in found:
                self._wait(message, 0.0)
            raise
        return found

    def _received(self, partition: Any, records: Sequence[Any]) -> Sequence[Message]:
        offsets = self._offsets.setdefault(partition, Offsets())
        offsets.receive([record.offset for record in records])
        received = messages_of(partition, records, offsets, self._plan.ordered_by)
        if partition.topic != self._plan.retry_topic:
            return received
        found: list[KafkaMessage] = []
        for message in received:
            wait_s = read_retry(message, self._consumer.topic) - time.time()
            if wait_s > 0:
                self._wait(message, wait_s)
            else:
                found.append(message)
        return found

    def _wait(self, message: Message, wait_s: float) -> None:
        """Keep a message here until it is due."""
        self._number += 1
        self._woken.set()
        heapq.heappush(self._waiting, (time.monotonic() + wait_s, self._number, message))
        if len(self._waiting) >= self._most_waiting:
            self._client.pause(*self._retry_partitions())

    def _take_due(self, limit: int) -> list[Message]:
        now_s = time.monotonic()
        found: list[Message] = []
        while self._waiting and self._waiting[0][0] <= now_s and len(found) < limit:
            found.append(heapq.heappop(self._waiting)[2])
        if found and len(self._waiting) < self._most_waiting:
            paused = self._client.paused()
            self._client.resume(*(each for each in self._retry_partitions() if each in paused))
        return found

    def _retry_partitions(self) -> list[Any]:
        return [each for each in self._client.assignment() if each.topic == self._plan.retry_topic]

    def claim(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return which messages may be handled: not those whose partition was, or is being, taken away."""
        if not self._is_ours:
            return ()
        found = [message for message in _own(messages) if not message.offsets.is_lost]
        self._begun.update(found)
        return found

    def give_up(self, messages: Sequence[Message]) -> None:
        """Note that messages have not begun after all."""
        self._begun.difference_update(messages)
        self._note_end()

    # Settling

    def acknowledge_at_once(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Take note that messages are done; their positions are committed a moment later."""
        found, places = _own(messages), {message.offsets for message in _own(messages)}
        if any(offsets.is_lost for offsets in places):
            found = [message for message in found if not message.offsets.is_lost]
        for offsets in places:
            done = found if len(places) == 1 else [message for message in found if message.offsets is offsets]
            offsets.finish([message.token.offset for message in done])
        if found:
            self._begun.difference_update(found)
            self._dirty.set()
            self._note_end()
        return found

    def _note_end(self) -> None:
        if self._none_begun is not None and not self._begun:
            self._none_begun.set()

    async def settle(self, message: Message, settlement: Settlement) -> None:
        """Carry out a decision; positions are committed a moment later."""
        assert isinstance(message, KafkaMessage)  # it came from here
        outcome = settlement.outcome
        try:
            if message.offsets.is_lost:
                if outcome is Outcome.RELEASE:
                    return
                raise MessagingError(f"partition {message.token.partition} of {message.token.topic!r} went to others")
            if outcome is Outcome.RELEASE:
                self._wait(message, 0.0)
                return
            try:
                if outcome is Outcome.RETRY:
                    await self._send_to_retry(message, settlement)
                elif outcome is Outcome.DEAD_LETTER:
                    await self._send_to_dead_letters(message, settlement)
            except BaseException:
                self._wait(message, FAILED_PAUSE_S)
                raise
            message.offsets.finish([message.token.offset])
            self._dirty.set()
        finally:
            self._begun.discard(message)
            self._note_end()

    async def _send_to_retry(self, message: KafkaMessage, settlement: Settlement) -> None:
        record = message.token
        if self._plan.retry_topic is None:  # in_order was not said, and a message had no order key
            raise MessagingError("this consumer has no retry topic")
        headers = retry_headers(message, settlement, time.time())
        await self._broker.deliver(self._plan.retry_topic, record.value or b"", record.key, headers, message.timestamp)

    async def _send_to_dead_letters(self, message: KafkaMessage, settlement: Settlement) -> None:
        record = message.token
        headers = make_headers(message.id, dead_letter_headers(message, settlement, self._consumer))
        place = self._consumer.dead_letter_place or ""
        await self._broker.deliver(place, record.value or b"", record.key, headers, message.timestamp)

    async def _keep_committing(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            pause_s = COMMIT_PAUSE_S if await self._commit() else FAILED_PAUSE_S
            await asyncio.sleep(pause_s)

    async def _commit(self) -> bool:
        """Commit what was settled without a gap; return whether that is certain."""
        positions = {
            partition: offsets.position
            for partition, offsets in self._offsets.items()
            if offsets.is_dirty and offsets.position is not None
        }
        if not positions:
            return True
        offsets_then = {partition: self._offsets[partition] for partition in positions}
        try:
            with translated(self._broker.where, f"commit for the group {self._plan.group!r}"):
                await self._client.commit(positions)
        except MessagingError as error:
            logger.warning("consumer %s: %s", self._consumer.name, error)
            self._dirty.set()
            return False
        for partition, position in positions.items():
            offsets_then[partition].committed = position
        return True

    # The group

    async def give_up_partitions(self) -> None:
        """End what has begun, commit it, and forget the rest (Rule 2)."""
        self._is_ours = False
        self.generation += 1
        if self._begun:
            self._none_begun = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_begun.wait(), self._grace_s)
            self._none_begun = None
        await self._commit()
        self._forget_partitions()
        self._waiting.clear()
        self._begun.clear()

    def _forget_partitions(self) -> None:
        for offsets in self._offsets.values():
            offsets.is_lost = True
        self._offsets = {}

    async def take_partitions(self, partitions: Sequence[Any]) -> None:
        """Begin with partitions that are ours now."""
        self._forget_partitions()
        self._offsets = {partition: Offsets() for partition in partitions}
        self._is_ours = True
        self.generation += 1

    async def heartbeat(self, messages: Sequence[Message]) -> None:
        """Do nothing: aiokafka says that it lives."""

    async def lag(self) -> int | None:
        """Return how far the group is behind in the partitions that are ours."""
        total = 0
        for partition, offsets in list(self._offsets.items()):
            end = self._client.highwater(partition)
            if end is None:
                continue
            position = offsets.position
            if position is None:
                with translated(self._broker.where, "ask for a position"):
                    position = await asyncio.wait_for(self._client.position(partition), CLOSE_S)
            total += max(0, end - position)
        return total

    async def close(self) -> None:
        """Commit, and leave the group, so that others need not wait for the session to time out."""
        ending = [task for task in (self._committing, self._getting) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if self._none_begun is not None:
            self._none_begun.set()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._commit()
        except TimeoutError:
            logger.warning("consumer %s: the last commit was not confirmed", self._consumer.name)
        await close_consumer(self._client)


def _own(messages: Sequence[Message]) -> Sequence[KafkaMessage]:
    return messages  # type: ignore[return-value]  # they came from here


def _listener(subscription: KafkaSubscription) -> Any:
    """Return what aiokafka tells about rebalances."""
    from aiokafka.abc import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka may be missing
        async def on_partitions_revoked(self, revoked: Any) -> None:
            await subscription.give_up_partitions()

        async def on_partitions_assigned(self, assigned: Any) -> None:
            await subscription.take_partitions(assigned)

    return Listener()
