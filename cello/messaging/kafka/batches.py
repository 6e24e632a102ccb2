"""Many messages at once: those of one partition in aiokafka's own batches, where they are many.

PERF: such a batch is confirmed as one; aiokafka's `send` makes a future for each message (`python -m bench.streams`).

Rule 1: messages of one partition stay in order, and a message goes where `send` had it go (`partitions.py`).
Rule 2: few messages for a partition are sent one by one. Those join what others send at that time, while a batch waits
until what is before it was taken.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from cello.errors import ConfigError
from cello.messaging.errors import TooLarge
from cello.messaging.kafka.partitions import Partitions, Topic
from cello.messaging.kafka.records import fields_of
from cello.messaging.message import Outgoing, Receipt

FEW = 32
"""Fewer messages for a partition are no batch of their own."""

Place = tuple[str, int]
Result = Receipt | Exception


class Faults(Protocol):
    """What is done about errors."""

    def as_result(self, error: Exception, message: Outgoing) -> Exception:
        """Return what an exception of aiokafka means for a message; raises what it does not know."""

    def after_refusal(self, producer: Any, error: Exception) -> None:
        """A batch was not confirmed."""


class Batch:
    """Messages that are being sent together.

    Args:
        producer: aiokafka's; it has started.
        partitions: Which there are.
        messages: What is sent.
        results: As many; what becomes of each message is written there as soon as it is known.
        faults: Who knows what errors mean.
        most_bytes: Of a message with its key and headers.
    """

    def __init__(
        self,
        producer: Any,
        partitions: Partitions,
        messages: Sequence[Outgoing],
        results: list[Result],
        faults: Faults,
        most_bytes: int,
    ) -> None:
        self._producer = producer
        self._partitions = partitions
        self._messages = messages
        self._results = results
        self._faults = faults
        self._most_bytes = most_bytes

    async def send(self) -> None:
        """Send all, and return when all is known; may be cancelled."""
        places = await self._places()
        many = {place: numbers for place, numbers in places.items() if len(numbers) >= FEW}
        few = [(place, number) for place, numbers in places.items() if place not in many for number in numbers]
        works = [self._send_many(place, numbers) for place, numbers in many.items()]
        if few:
            works.append(self._send_few(few))
        if len(works) == 1:
            await works[0]
            return
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _places(self) -> dict[Place, list[int]]:
        """Return which messages go where."""
        found: dict[Place, list[int]] = {}
        topics: dict[str, Topic | Exception] = {}
        for number, message in enumerate(self._messages):
            topic = topics.get(message.topic)
            if topic is None:
                topic = topics[message.topic] = await self._topic_of(message)
            if isinstance(topic, Exception):
                self._results[number] = topic
                continue
            try:
                place = (message.topic, topic.choose(message))
            except ConfigError as error:
                self._results[number] = error
                continue
            numbers = found.get(place)
            if numbers is None:
                found[place] = [number]
            else:
                numbers.append(number)
        return found

    async def _topic_of(self, message: Outgoing) -> Topic | Exception:
        try:
            return await self._partitions.of(message.topic, self._producer)
        except Exception as error:  # noqa: BLE001  # what is none of Kafka's is raised there
            return self._faults.as_result(error, message)

    async def _send_few(self, entries: Sequence[tuple[Place, int]]) -> None:
        waiting: list[tuple[int, Place, asyncio.Future[Any]]] = []
        try:
            for place, number in entries:
                message = self._messages[number]
                value, key, sent_ms, headers = fields_of(message)
                topic, partition = place
                try:
                    confirmed = await self._producer.send(topic, value, key, partition, sent_ms, headers)
                except Exception as error:  # noqa: BLE001  # the same
                    self._results[number] = self._faults.as_result(error, message)
                else:
                    waiting.append((number, place, confirmed))
            for number, place, confirmed in waiting:
                await self._note(confirmed, place, (number,))
        finally:
            _forget(confirmed for _, _, confirmed in waiting)

    async def _send_many(self, place: Place, numbers: Sequence[int]) -> None:
        """Send messages of one partition, in as few batches as they fit in."""
        from aiokafka.record.default_records import DefaultRecordBatchBuilder

        size_of, most_bytes = DefaultRecordBatchBuilder.estimate_size_in_bytes, self._most_bytes
        messages = self._messages
        waiting: list[tuple[Sequence[int], asyncio.Future[Any]]] = []
        builder, inside = self._producer.create_batch(), list[int]()
        try:
            for number in numbers:
                value, key, sent_ms, headers = fields_of(messages[number])
                size = size_of(key, value, headers)
                if size > most_bytes:
                    topic = place[0]
                    self._results[number] = TooLarge(f"{size} bytes are more than {most_bytes}: send to {topic!r:.80}")
                    continue
                if builder.append(timestamp=sent_ms, key=key, value=value, headers=headers) is None:
                    await self._put(builder, place, inside, waiting)
                    builder, inside = self._producer.create_batch(), []
                    builder.append(timestamp=sent_ms, key=key, value=value, headers=headers)
                inside.append(number)
            if inside:
                await self._put(builder, place, inside, waiting)
            for sent, confirmed in waiting:
                await self._note(confirmed, place, sent)
        finally:
            _forget(confirmed for _, confirmed in waiting)

    async def _put(
        self, builder: Any, place: Place, numbers: Sequence[int], waiting: list[tuple[Sequence[int], Any]]
    ) -> None:
        """Have the producer send a batch next; waits until what is before it was taken."""
        builder.close()
        try:
            waiting.append((numbers, await self._producer.send_batch(builder, place[0], partition=place[1])))
        except Exception as error:  # noqa: BLE001  # the same
            self._fail(numbers, error)

    async def _note(self, confirmed: "asyncio.Future[Any]", place: Place, numbers: Sequence[int]) -> None:
        """Wait for a confirmation, and write down what it says."""
        try:
            first = (await confirmed).offset
        except Exception as error:  # noqa: BLE001  # the same
            self._faults.after_refusal(self._producer, error)
            self._fail(numbers, error)
            return
        topic, partition = place
        for offset, number in enumerate(numbers, first):
            self._results[number] = Receipt(self._messages[number].id, topic, f"{partition}:{offset}")

    def _fail(self, numbers: Sequence[int], error: Exception) -> None:
        for number in numbers:
            self._results[number] = self._faults.as_result(error, self._messages[number])


def _forget(futures: "Iterable[asyncio.Future[Any]]") -> None:
    """Have nobody miss what nobody waits for any more."""
    for future in futures:
        if future.done():
            future.cancelled() or future.exception()
        else:
            future.cancel()
