"""What one consumer has in hand: messages that were fetched and are not settled, and how each of them ends.

What is fetched when, and handled by whom, is `work.py`.
"""

import asyncio
import contextlib
import contextvars
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from cello.messaging.broker import ACK, DISCARD, RELEASE, Outcome, Settlement, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import MessagingError
from cello.messaging.message import Message, MessageResult
from cello.messaging.observer import Observer
from cello.messaging.schedule import Run, Schedule
from cello.messaging.verdicts import DONE, Verdict

logger = logging.getLogger("cello.messaging")

RELEASE_PAUSE_S = 0.1
"""How long a message that its handler gave back is kept, so that nobody spins."""


class Hand(ABC):
    """Messages in hand.

    Args:
        consumer: Whose.
        subscription: Where they are from.
        observer: Who is told.

    Attributes:
        in_hand: How many they are.
    """

    def __init__(self, consumer: DeclaredConsumer, subscription: Subscription, observer: Observer) -> None:
        self.in_hand = 0
        self._consumer = consumer
        self._subscription = subscription
        self._observer = observer
        self._unsettled: set[Message] = set()
        self._schedule = Schedule()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def _is_stopping(self) -> bool:
        return self._stopping.is_set()

    @abstractmethod
    def _begin(self) -> None:
        """Start as many handlers as there may be."""

    def _count(self, change: int) -> None:
        self.in_hand += change
        self._observer.in_hand(self._consumer, self.in_hand)

    def _forget(self, message: Message) -> None:
        """Take note that a message is not in hand any more."""
        if message in self._unsettled:
            self._unsettled.remove(message)
            self._schedule.done((message,))
            self._count(-1)

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._note(asyncio.create_task(work(*args), context=contextvars.Context()))

    def _note(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _acknowledge(
        self, messages: list[Message], verdicts: Sequence[Verdict] | None, run: Run | None = None
    ) -> list[tuple[Message, Verdict]]:
        """Acknowledge what can be without waiting, so that many of a batch need no task each; return the others."""
        said, unsettled = messages, self._unsettled
        if verdicts is not None:
            both = zip(messages, verdicts, strict=True)
            said = [each for each, (result, _) in both if result is MessageResult.ACK and each in unsettled]
        done = self._subscription.acknowledge_at_once(said) if said else said
        if done:
            unsettled.difference_update(done)
            if run is not None and len(done) == len(run.handled):
                self._schedule.done_run(run)
            else:
                self._schedule.done(done)
            self._observer.settled(self._consumer, Outcome.ACK.value, len(done))
            self._count(-len(done))
            if len(done) == len(messages):
                return []
        if verdicts is None:
            verdicts = [DONE] * len(messages)
        both = zip(messages, verdicts, strict=True)
        return [(message, verdict) for message, verdict in both if message in unsettled]

    def _hear(self, message: Message) -> None:
        """Settle a message whose handler says so itself, now; from any thread."""
        self._loop.call_soon_threadsafe(self._settle_said, message)

    def _settle_said(self, message: Message) -> None:
        if message in self._unsettled:
            self._spawn(self._carry_out, message, message.said, f"the handler said {message.said}")

    async def _carry_out_all(self, left: list[tuple[Message, Verdict]]) -> None:
        if len(left) == 1:
            await self._carry_out(left[0][0], *left[0][1])
        elif left:
            await asyncio.gather(*(self._carry_out(message, *verdict) for message, verdict in left))

    async def _carry_out(self, message: Message, result: MessageResult | None, why: str) -> None:
        if result is None or message not in self._unsettled:
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
            if message in self._unsettled:
                self._forget(message)
                self._observer.settled(self._consumer, result)
                self._begin()
