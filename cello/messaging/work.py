"""What a consumer does with one subscription, until that breaks or it is told to stop.

    fetch ──▶ schedule ──▶ handler ──▶ verdict ──▶ settle
                 ▲                        │
                 └─ after a pause, in order

The rules are those of runner.py, which begins anew where this ends.

PERF: there is a task for each handler that may run at the same time, not for each message: when a message is done with,
its task takes the next one (`bench.streams`), unless the handler left something in context variables, or cancelled it.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from cello.messaging.binding import Binding
from cello.messaging.broker import ACK, DISCARD, RELEASE, Outcome, Settlement, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import MessagingError
from cello.messaging.message import Message, MessageResult
from cello.messaging.observer import Observer
from cello.messaging.schedule import Schedule
from cello.messaging.verdicts import DONE, Verdict, Verdicts

logger = logging.getLogger("cello.messaging")

FETCH_S = 20.0
"""How long one `fetch` may wait; `stop` cancels it."""
RELEASE_PAUSE_S = 0.1
"""How long a message that its handler gave back is kept, so that nobody spins."""
LONGEST_TURN_S = 0.005
"""How long handlers that never wait keep the event loop to themselves."""
LEAST_SHARE = 8
REFETCH_S = 0.05
"""While handlers are free, but not for what waits: fetch when an eighth of the prefetch is free, or this often."""
LAG_EVERY_S = 15.0
LINGER_S = 30.0
"""How long handlers may take to end when the connection is lost, before the consumer starts over without them."""


class Work:
    """What a runner does with one subscription, until that breaks or it is told to stop."""

    def __init__(
        self,
        consumer: DeclaredConsumer,
        subscription: Subscription,
        binding: Binding,
        observer: Observer,
        prefetch: int,
    ) -> None:
        self.in_hand = 0
        self._consumer = consumer
        self._subscription = subscription
        self._verdicts = Verdicts(consumer, binding, observer, self._hear)
        self._observer = observer
        self._prefetch = prefetch
        self._unsettled: dict[int, Message] = {}
        self._schedule = Schedule()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._fetched_s = 0.0
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._filling: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Work until stopped; raises when the subscription is over."""
        self._fetching = asyncio.create_task(self._fetch())
        beside = [asyncio.create_task(self._watch_lag())]
        if self._subscription.heartbeat_s is not None:
            beside.append(asyncio.create_task(self._beat(self._subscription.heartbeat_s)))
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._fetching)
            if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this runs in one
                raise asyncio.CancelledError
            await self._finish()
        except MessagingError:
            if self._tasks:  # their messages will come again, but not while they are still at it
                await asyncio.wait(self._tasks, timeout=LINGER_S)
            raise
        finally:
            self._stopping.set()
            for task in (self._fetching, *beside, *self._tasks):
                task.cancel()
            await asyncio.gather(self._fetching, *beside, *self._tasks, return_exceptions=True)
            if self._filling is not None:
                self._filling.cancel()
            self._observer.in_hand(self._consumer, 0)

    @property
    def _is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop_fetching(self) -> None:
        """Take in nothing more; `run` ends when what has begun has ended."""
        self._stopping.set()
        if self._fetching is not None:
            self._fetching.cancel()

    async def _fetch(self) -> None:
        while not self._is_stopping:
            if not self._wants_more:
                self._room.clear()
                looking = self._loop.call_later(REFETCH_S, self._room.set) if self._lacks_work else None
                await self._room.wait()
                if looking is not None:
                    looking.cancel()
                continue
            messages = await self._subscription.fetch(self._prefetch - self.in_hand, FETCH_S)
            self._fetched_s = perf_counter()
            for message in messages:
                self._unsettled[id(message)] = message
                self._schedule.add(message)
            self._count(len(messages))
            self._begin()

    @property
    def _wants_more(self) -> bool:
        """Whether to fetch: when half of the prefetch is free, or little is left to begin with.

        PERF: not for each message that ends; `bench.streams` fetched five at a time of five hundred, and SQS takes
        money for each request.
        """
        free = self._prefetch - self.in_hand
        if free * 2 >= self._prefetch:
            return True
        if free <= 0:
            return False
        waiting = len(self._schedule)
        if self._consumer.batch_size is not None:
            return waiting < self._consumer.batch_size
        if not waiting:
            return True
        if not self._lacks_work:
            return False
        return free * LEAST_SHARE >= self._prefetch or perf_counter() - self._fetched_s >= REFETCH_S

    @property
    def _lacks_work(self) -> bool:
        """Whether there are handlers for whom nothing is ready, such as when all that waits is of one order key."""
        return self._running < self._consumer.concurrency and not self._schedule.has_ready

    def _count(self, change: int) -> None:
        self.in_hand += change
        self._observer.in_hand(self._consumer, self.in_hand)

    def _see_to_room(self) -> None:
        """Wake who fetches, if there is room for more."""
        if not self._room.is_set() and self._wants_more:
            self._room.set()

    async def _finish(self) -> None:
        """Give back what has not begun, and wait for what has."""
        for message in self._schedule.drop_all():
            self._spawn(self._settle(message, RELEASE))
        while self._tasks:
            await asyncio.wait(self._tasks)

    # From the schedule to the handler

    def _begin(self) -> None:
        """Start as many handlers as there may be."""
        while messages := self._next():
            self._spawn(self._handle(messages))
        self._see_to_room()

    def _next(self) -> list[Message]:
        """Return what a handler is to begin with, which counts as running from now on; or nothing."""
        size = self._consumer.batch_size
        while not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.has_ready:
            if size is not None and len(self._schedule) < size and self.in_hand < self._prefetch:
                if self._filling is None:
                    self._filling = self._loop.call_later(self._consumer.batch_wait_s, self._begin_partial)
                break
            if ours := self._claimed(self._schedule.take(size or 1)):
                self._running += 1
                return ours
        return []

    def _begin_partial(self) -> None:
        """Start a batch that has waited long enough."""
        self._filling = None
        if not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.has_ready:
            if ours := self._claimed(self._schedule.take(self._consumer.batch_size or 1)):
                self._running += 1
                self._spawn(self._handle(ours))
            self._begin()

    def _claimed(self, messages: list[Message]) -> list[Message]:
        """Return those that may be handled; forget the others."""
        ours = [message for message in messages if self._subscription.claim(message)]
        if len(ours) < len(messages):
            for message in messages:
                if message not in ours:
                    self._forget(message)
        return ours

    def _forget(self, message: Message) -> None:
        """Take note that a message is not in hand any more."""
        if self._unsettled.pop(id(message), None) is not None:
            self._schedule.done(message)
            self._count(-1)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, messages: list[Message]) -> None:
        """Have messages handled and settled, and then what comes next, while that needs no waiting in between."""
        turn_s = perf_counter()
        left: list[tuple[Message, Verdict]] = []
        while messages and not left:
            try:
                if perf_counter() - turn_s > LONGEST_TURN_S:
                    await asyncio.sleep(0)
                    turn_s = perf_counter()
                verdicts = await self._verdicts.of(messages)
            except BaseException:
                self._running -= 1
                self._begin()
                raise
            left = self._acknowledge(messages, verdicts)
            self._running -= 1
            messages = self._next() if not left and _is_as_new() else []
            if self._running < self._consumer.concurrency:
                self._begin()
            else:
                self._see_to_room()
        if len(left) == 1:
            await self._carry_out(left[0][0], *left[0][1])
        elif left:
            await asyncio.gather(*(self._carry_out(message, *verdict) for message, verdict in left))

    def _acknowledge(
        self, messages: list[Message], verdicts: Sequence[Verdict] | None
    ) -> list[tuple[Message, Verdict]]:
        """Acknowledge what can be without waiting, so that many of a batch need no task each; return the others."""
        said = messages
        if verdicts is not None:
            both = zip(messages, verdicts, strict=True)
            said = [each for each, (result, _) in both if result is MessageResult.ACK and id(each) in self._unsettled]
        done = self._subscription.acknowledge_at_once(said) if said else said
        if done:
            for message in done:
                del self._unsettled[id(message)]
                self._schedule.done(message)
            self._observer.settled(self._consumer, Outcome.ACK.value, len(done))
            self._count(-len(done))
            if len(done) == len(messages):
                return []
        if verdicts is None:
            verdicts = [DONE] * len(messages)
        both = zip(messages, verdicts, strict=True)
        return [(message, verdict) for message, verdict in both if id(message) in self._unsettled]

    # From what the handler said to what becomes of the message

    def _hear(self, message: Message) -> None:
        """Settle a message whose handler says so itself, now; from any thread."""
        self._loop.call_soon_threadsafe(self._settle_said, message)

    def _settle_said(self, message: Message) -> None:
        if id(message) in self._unsettled:
            self._spawn(self._carry_out(message, message.said, f"the handler said {message.said}"))

    async def _carry_out(self, message: Message, result: MessageResult | None, why: str) -> None:
        if result is None or id(message) not in self._unsettled:
            return
        if result is MessageResult.NACK and message.attempt <= self._consumer.retries:
            await self._retry(message, why)
        elif result is MessageResult.ACK:
            await self._settle(message, ACK)
        elif result is MessageResult.REJECT:
            await self._settle(message, DISCARD)
        elif result is MessageResult.REQUEUE:
            await asyncio.sleep(RELEASE_PAUSE_S)
            await self._settle(message, RELEASE)
        else:
            await self._dead_letter(message, why)

    async def _retry(self, message: Message, why: str) -> None:
        delay_s = self._consumer.delay_s(message.attempt)
        in_order = self._consumer.in_order
        if not (message.order_key is not None if in_order is None else in_order):
            await self._settle(message, Settlement(Outcome.RETRY, delay_s, why))
            return
        self._observer.settled(self._consumer, "retry")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        if self._is_stopping:
            await self._settle(message, RELEASE)
            return
        message.attempt += 1
        message.said = None
        self._schedule.again(message)
        self._begin()

    async def _dead_letter(self, message: Message, why: str) -> None:
        is_kept = self._consumer.dead_letter is not False
        fate = "dead-lettered" if is_kept else "dropped"
        logger.error(
            "consumer %s: message %s of %s is %s: %s", self._consumer.name, message.id, message.topic, fate, why
        )
        await self._settle(message, Settlement(Outcome.DEAD_LETTER, 0.0, why) if is_kept else DISCARD)

    async def _settle(self, message: Message, settlement: Settlement) -> None:
        result = settlement.outcome.value
        try:
            await self._subscription.settle(message, settlement)
        except MessagingError as error:
            result = "lost"
            logger.warning(
                "consumer %s: message %s of %s was not settled (%s) and will be delivered again: %s",
                self._consumer.name, message.id, message.topic, settlement.outcome.value, error,
            )  # fmt: skip
        finally:
            if id(message) in self._unsettled:
                self._forget(message)
                self._observer.settled(self._consumer, result)
                self._begin()

    # Beside

    async def _beat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if self._unsettled:
                try:
                    await self._subscription.heartbeat(list(self._unsettled.values()))
                except MessagingError as error:
                    logger.warning("consumer %s: heartbeat: %s", self._consumer.name, error)

    async def _watch_lag(self) -> None:
        while True:
            with contextlib.suppress(MessagingError):
                lag = await self._subscription.lag()
                if lag is not None:
                    self._observer.lag(self._consumer, lag)
            await asyncio.sleep(LAG_EVERY_S)


def _is_as_new() -> bool:
    """Return whether the current task is as when it began: no context variables, and nobody wants it to end."""
    task = asyncio.current_task()
    return not len(contextvars.copy_context()) and task is not None and not task.cancelling()
