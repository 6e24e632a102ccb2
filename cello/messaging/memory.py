"""A broker in memory, with the semantics of the real ones: for tests of applications, and for trying things out.

Everything is in a `Hub`, which all brokers of one `MemoryConfig` share, whichever loops and threads they are on. Each
group of consumers has a queue of its own on a topic; what is not settled when a subscription ends is delivered again.
"""

import asyncio
import contextlib
import heapq
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self

from cello.config import config, field
from cello.messaging.broker import Outcome, Settlement, dead_letter_headers
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable, TooLarge, Unroutable
from cello.messaging.message import Message, Outgoing, Receipt
from cello.messaging.routing import Bindings, bindings_of


class Stored:
    """A message in a queue.

    Attributes:
        outgoing: As it was sent.
        attempt: Which delivery comes next, or is under way.
        outcome: What became of it in the end, or None.
        error: Why, where it failed.
        ended: Set then.
    """

    __slots__ = ("attempt", "ended", "error", "outcome", "outgoing")

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.attempt = 1
        self.outcome: Outcome | None = None
        self.error = ""
        self.ended = threading.Event()


class Queue:
    """The messages of one group on one topic; its hub's lock is held by whoever touches it."""

    def __init__(self) -> None:
        self.ready: deque[Stored] = deque()
        self.delayed: list[tuple[float, int, Stored]] = []
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def take(self, limit: int) -> list[Stored]:
        """Return what is due, the oldest first."""
        now_s = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now_s:
            self.ready.append(heapq.heappop(self.delayed)[2])
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]

    def next_due_s(self, most_s: float) -> float:
        """Return how long until something is due, at most so long."""
        return most_s if not self.delayed else max(0.0, min(most_s, self.delayed[0][0] - time.monotonic()))

    def wait(self) -> "asyncio.Future[None]":
        """Return what is settled when there is something to take."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop, future))
        return future

    def wake(self) -> None:
        """Have all that wait look again."""
        waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # a loop that was closed, and with it whoever waited
                loop.call_soon_threadsafe(_settle, future)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Hub:
    """All topics and queues.

    Attributes:
        log: Everything that was sent, by topic, oldest first.
        is_down: Set it to have everything raise `BrokerUnavailable`, as if the broker were gone.
        skips_delays: Whether retries come at once.
    """

    def __init__(self) -> None:
        self.log: dict[str, list[Outgoing]] = {}
        self.is_down = False
        self.skips_delays = False
        self.lock = threading.Lock()
        self._queues: dict[str, dict[str, Queue]] = {}
        self._bindings = Bindings()
        self._number = 0

    def send(self, outgoing: Outgoing, limit_bytes: int | None = None) -> list[Stored]:
        """Put a message into every queue that it goes to; return it as it stands in each."""
        self.refuse_when_down()
        if limit_bytes is not None and len(outgoing.value) > limit_bytes:
            raise TooLarge(f"the message has {len(outgoing.value)} bytes, {limit_bytes} are taken")
        with self.lock:
            exchange = outgoing.options.get("exchange", "")
            topics = [outgoing.topic] if not exchange else self._bindings.queues(exchange, outgoing.topic)
            if not topics:
                raise Unroutable(f"no queue is bound to {exchange!r} for {outgoing.topic!r:.80}")
            self.log.setdefault(outgoing.topic, []).append(outgoing)
            if exchange:
                for topic in topics:
                    self.log.setdefault(topic, [])
            return [stored for topic in topics for stored in self._put(topic, outgoing)]

    def _put(self, topic: str, outgoing: Outgoing) -> list[Stored]:
        made = []
        for queue in self._queues.setdefault(topic, {"": Queue()}).values():
            stored = Stored(outgoing)
            queue.ready.append(stored)
            queue.wake()
            made.append(stored)
        return made

    def queue(self, consumer: DeclaredConsumer) -> Queue:
        """Return the queue of a consumer's group; a new group begins with all that was sent."""
        with self.lock:
            for binding in bindings_of(consumer):
                self._bindings.add(binding)
            groups = self._queues.setdefault(consumer.topic, {})
            group = consumer.group or ""
            if group not in groups:
                # What came while nobody was there waits in the nameless group, which the first to come takes over.
                waiting = groups.pop("") if "" in groups else None
                groups[group] = self._from_log(consumer.topic) if waiting is None else waiting
            return groups[group]

    def _from_log(self, topic: str) -> Queue:
        queue = Queue()
        queue.ready.extend(map(Stored, self.log.get(topic, ())))
        return queue

    def later(self, queue: Queue, stored: Stored, delay_s: float) -> None:
        """Deliver a message again."""
        with self.lock:
            self._number += 1
            due_s = time.monotonic() + (0 if self.skips_delays else delay_s)
            heapq.heappush(queue.delayed, (due_s, self._number, stored))
            queue.wake()

    def refuse_when_down(self) -> None:
        """Raise while the broker is said to be gone."""
        if self.is_down:
            raise BrokerUnavailable("the broker in memory is down")

    def go_down(self) -> None:
        """Be gone: whoever waits for messages hears it at once."""
        self.is_down = True
        with self.lock:
            for queue in (queue for groups in self._queues.values() for queue in groups.values()):
                queue.wake()


@config
class MemoryConfig:
    """A broker in memory; all that is made from one config, or from copies of it, is one broker.

    Attributes:
        max_message_bytes: What is larger is refused; None: nothing is.
        hub: Where everything is.
    """

    max_message_bytes: int | None = field(default=None, at_least=0)
    hub: Hub = field(default_factory=Hub)

    def make_broker(self) -> "MemoryBroker":
        """Return a broker."""
        return MemoryBroker(self)


class MemoryBroker:
    """A broker that is always connected, unless its hub says otherwise."""

    where = "memory"

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._hub = config.hub

    async def connect(self) -> None:
        """Check that the hub is up."""
        self._hub.refuse_when_down()

    async def close(self) -> None:
        """Do nothing."""

    async def check(self) -> Mapping[str, Any] | None:
        """Check that the hub is up."""
        self._hub.refuse_when_down()
        return None

    async def send(self, message: Outgoing) -> Receipt:
        """Put a message into its queues."""
        self._hub.send(message, self._config.max_message_bytes)
        return Receipt(message.id, message.topic)

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Put messages into their queues."""
        self._hub.refuse_when_down()
        results: list[Receipt | Exception] = []
        for message in messages:
            try:
                results.append(await self.send(message))
            except (TooLarge, Unroutable) as error:
                results.append(error)
        return results

    async def subscribe(self, consumer: DeclaredConsumer) -> "MemorySubscription":
        """Begin to consume."""
        self._hub.refuse_when_down()
        return MemorySubscription(self._hub, consumer)


class MemorySubscription:
    """The messages of one consumer."""

    heartbeat_s: float | None = None
    generation = 0

    def __init__(self, hub: Hub, consumer: DeclaredConsumer) -> None:
        self._hub = hub
        self._consumer = consumer
        self._queue = hub.queue(consumer)
        self._held: dict[int, Stored] = {}

    async def fetch(self, limit: int, timeout_s: float) -> list[Message]:
        """Return messages as soon as there is one."""
        until_s = time.monotonic() + timeout_s
        while True:
            self._hub.refuse_when_down()
            with self._hub.lock:
                taken = self._queue.take(limit)
                waiting = None if taken else self._queue.wait()
                left_s = self._queue.next_due_s(until_s - time.monotonic())
            if waiting is None:
                return [self._received(stored) for stored in taken]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting, max(0.0, left_s))
            if time.monotonic() >= until_s:
                return []

    def _received(self, stored: Stored) -> Message:
        sent = stored.outgoing
        message = Message(
            sent.id, self._consumer.topic, sent.key, sent.value, sent.headers, sent.timestamp,
            attempt=stored.attempt, order_key=sent.key, token=stored,
        )  # fmt: skip
        self._held[id(stored)] = stored
        return message

    def claim(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return all: nobody takes anything away."""
        return messages

    def give_up(self, messages: Sequence[Message]) -> None:
        """Do nothing: there are no claims."""

    def acknowledge_at_once(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return none: it goes the way of the others."""
        return ()

    async def settle(self, message: Message, settlement: Settlement) -> None:
        """Carry out a decision."""
        self._hub.refuse_when_down()
        stored: Stored = message.token
        if settlement.outcome is Outcome.DEAD_LETTER:
            place = self._consumer.dead_letter_place or ""
            headers = dead_letter_headers(message, settlement, self._consumer)
            self._hub.send(Outgoing(place, message.body, message.key, headers, message.id, message.timestamp))
        if self._held.pop(id(stored), None) is None:
            return
        stored.error = settlement.error
        if settlement.outcome is Outcome.RETRY:
            stored.attempt = message.attempt + 1
            self._hub.later(self._queue, stored, settlement.delay_s)
        elif settlement.outcome is Outcome.RELEASE:
            self._give_back([stored])
        else:
            stored.outcome = settlement.outcome
            stored.ended.set()

    async def heartbeat(self, messages: Sequence[Message]) -> None:
        """Do nothing."""

    async def lag(self) -> int | None:
        """Return how many messages wait."""
        with self._hub.lock:
            return len(self._queue.ready) + len(self._queue.delayed)

    async def close(self) -> None:
        """Give back what is not settled."""
        held, self._held = list(self._held.values()), {}
        for stored in held:
            stored.attempt += 1
        self._give_back(held)

    def _give_back(self, messages: Sequence[Stored]) -> None:
        with self._hub.lock:
            self._queue.ready.extendleft(reversed(messages))
            self._queue.wake()


class SentMessages:
    """What a test sees of a broker in memory, and does with it; `TestClient.messages` is one.

    Attributes:
        hub: Where everything is.
    """

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def sent(self, topic: str | None = None) -> list[Message]:
        """Return what was sent to a topic, queue or routing key, oldest first; None: to all."""
        with self.hub.lock:
            logs = self.hub.log.values() if topic is None else [self.hub.log.get(topic, [])]
            found = sorted((sent for log in logs for sent in log), key=lambda sent: sent.timestamp)
        return [_as_message(sent) for sent in found]

    def dead_letters(self, topic: str) -> list[Message]:
        """Return what could not be handled of a topic's messages, by its default dead-letter place."""
        return self.sent(f"{topic}.dead-letter")

    def deliver(
        self,
        topic: str,
        value: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 30.0,
        **options: Any,
    ) -> "Delivered":
        """Send a message and wait until consumers have done with it; retries come without a pause.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: They have not, or there is no consumer.
        """
        self.hub.skips_delays = True
        found = self.hub.send(Outgoing.of(topic, value, key, headers, **options))
        until_s = time.monotonic() + timeout
        for stored in found:
            if not stored.ended.wait(max(0.0, until_s - time.monotonic())):
                raise TimeoutError(f"no consumer was done with the message to {topic!r:.80} within {timeout:g} s")
        return Delivered(found)

    def clear(self) -> Self:
        """Forget what was sent."""
        with self.hub.lock:
            self.hub.log.clear()
        return self


class Delivered:
    """What became of a message.

    Attributes:
        outcome: "ack", "discard" or "dead_letter".
        attempts: How often it was handled.
        error: Why it failed the last time, or "".
    """

    def __init__(self, found: Sequence[Stored]) -> None:
        outcomes = [stored.outcome.value for stored in found if stored.outcome is not None]
        self.outcome = next((outcome for outcome in outcomes if outcome != "ack"), "ack")
        self.attempts = max(stored.attempt for stored in found)
        self.error = next((stored.error for stored in found if stored.error), "")


def _as_message(sent: Outgoing) -> Message:
    return Message(sent.id, sent.topic, sent.key, sent.value, sent.headers, sent.timestamp)
