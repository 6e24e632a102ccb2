"""What a consumer does with one subscription, until that breaks or it is told to stop.

    fetch ──▶ schedule ──▶ handler (a task each) ──▶ verdict ──▶ settle
                 ▲                                    │
                 └──── after a pause, in order ───────┘

The rules are those of runner.py, which begins anew where this ends.
"""

import asyncio
import contextlib
import contextvars
import logging
from time import perf_counter
from typing import Any

from cello.messaging.binding import Binding
from cello.messaging.broker import ACK, DISCARD, RELEASE, Outcome, Settlement, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import InvalidBody, MessagingError
from cello.messaging.message import Message, MessageResult
from cello.messaging.observer import Observer
from cello.messaging.schedule import Schedule

logger = logging.getLogger("cello.messaging")

FETCH_S = 20.0
"""How long one `fetch` may wait; `stop` cancels it."""
RELEASE_PAUSE_S = 0.1
"""How long a message that its handler gave back is kept, so that nobody spins."""
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
        self._binding = binding
        self._observer = observer
        self._prefetch = prefetch
        self._unsettled: dict[int, Message] = {}
        self._schedule = Schedule()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
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
                await self._room.wait()
                continue
            messages = await self._subscription.fetch(self._prefetch - self.in_hand, FETCH_S)
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
        size = self._consumer.batch_size
        return free > 0 and (not self._schedule.has_ready if size is None else len(self._schedule) < size)

    def _count(self, change: int) -> None:
        self.in_hand += change
        self._observer.in_hand(self._consumer, self.in_hand)
        if self._wants_more:
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
        size = self._consumer.batch_size
        while not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.has_ready:
            if size is not None and len(self._schedule) < size and self.in_hand < self._prefetch:
                if self._filling is None:
                    self._filling = self._loop.call_later(self._consumer.batch_wait_s, self._begin_partial)
                return
            self._start(self._schedule.take(size or 1))
        if self._wants_more:
            self._room.set()

    def _begin_partial(self) -> None:
        """Start a batch that has waited long enough."""
        self._filling = None
        if not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.has_ready:
            self._start(self._schedule.take(self._consumer.batch_size or 1))
            self._begin()

    def _start(self, messages: list[Message]) -> None:
        ours = [message for message in messages if self._subscription.claim(message)]
        if len(ours) < len(messages):
            for message in messages:
                if message not in ours:
                    self._forget(message)
        if ours:
            self._running += 1
            self._spawn(self._handle(ours))

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
        """Have messages handled, then settle each."""
        try:
            verdicts = await self._verdicts(messages)
        finally:
            self._running -= 1
            self._begin()
        left = self._acknowledge(messages, verdicts)
        if len(left) == 1:
            await self._carry_out(*left[0])
        elif left:
            await asyncio.gather(*(self._carry_out(*each) for each in left))

    def _acknowledge(
        self, messages: list[Message], verdicts: list[tuple[MessageResult | None, str]]
    ) -> list[tuple[Message, MessageResult | None, str]]:
        """Acknowledge what can be without waiting, so that many of a batch need no task each; return the others."""
        left = []
        count = 0
        for message, (result, why) in zip(messages, verdicts, strict=True):
            if (
                result is MessageResult.ACK
                and id(message) in self._unsettled
                and self._subscription.acknowledge_at_once(message)
            ):
                del self._unsettled[id(message)]
                self._schedule.done(message)
                self._observer.settled(self._consumer, Outcome.ACK.value)
                count += 1
            else:
                left.append((message, result, why))
        if count:
            self._count(-count)
            self._begin()
        return left

    async def _verdicts(self, messages: list[Message]) -> list[tuple[MessageResult | None, str]]:
        """Return for each message what its handler said, and why if it failed; None: it will say so later."""
        if not self._consumer.auto_ack:
            for message in messages:
                message._on_said = self._hear
        began_s = perf_counter()
        try:
            with self._observer.around(self._consumer, messages):
                if self._consumer.timeout_s is None:
                    said = await self._binding(messages)
                else:
                    async with asyncio.timeout(self._consumer.timeout_s):
                        said = await self._binding(messages)
            return self._read(messages, said)
        except InvalidBody as error:
            if len(messages) == 1 or not error.places:
                outcome = MessageResult.DEAD_LETTER if len(messages) == 1 else MessageResult.NACK
                return [(outcome, f"InvalidBody: {error}")] * len(messages)
            return await self._without(messages, error)
        except asyncio.CancelledError:
            raise
        except TimeoutError as error:
            limit_s = self._consumer.timeout_s
            words = str(error) or ("" if limit_s is None else f"the handler took longer than {limit_s:g} s")
            return self._failed(messages, f"TimeoutError: {words}", None)
        except Exception as error:  # noqa: BLE001  # whatever the user's code raises: it is logged, and the message's fate
            return self._failed(messages, f"{type(error).__name__}: {error}", error)
        finally:
            self._observer.called(self._consumer, perf_counter() - began_s, len(messages))

    async def _without(self, messages: list[Message], error: InvalidBody) -> list[tuple[MessageResult | None, str]]:
        """Handle a batch without the messages whose bodies are invalid."""
        rest = [message for place, message in enumerate(messages) if place not in error.places]
        others = iter(await self._verdicts(rest) if rest else [])
        wrong = (MessageResult.DEAD_LETTER, f"InvalidBody: {error}")
        return [wrong if place in error.places else next(others) for place in range(len(messages))]

    def _failed(
        self, messages: list[Message], words: str, error: Exception | None
    ) -> list[tuple[MessageResult | None, str]]:
        first = messages[0]
        logger.warning(
            "consumer %s: message %s of %s failed, attempt %d: %s",
            self._consumer.name, first.id, first.topic, first.attempt, words, exc_info=error,
        )  # fmt: skip
        return [(None if self._was_heard(message) else MessageResult.NACK, words) for message in messages]

    def _was_heard(self, message: Message) -> bool:
        """Whether the handler said what becomes of it, and that was carried out at once."""
        return not self._consumer.auto_ack and message.said is not None

    def _read(self, messages: list[Message], said: Any) -> list[tuple[MessageResult | None, str]]:
        """Return what the handler returned, or said by `ack()` and `nack()`, for each message."""
        if self._consumer.batch_size is None or said is None or isinstance(said, str):
            results = [said] * len(messages)
        else:
            results = list(said)
            if len(results) != len(messages):
                raise TypeError(f"a batch handler returns one result, or {len(messages)} of them, not {len(results)}")
        default = MessageResult.ACK if self._consumer.auto_ack else None
        found: list[tuple[MessageResult | None, str]] = []
        for message, result in zip(messages, results, strict=True):
            if self._was_heard(message):
                found.append((None, ""))
                continue
            verdict = message.said or default if result is None else _as_result(result)
            found.append((verdict, f"the handler returned {verdict}" if verdict is not None else ""))
        return found

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


def _as_result(said: Any) -> MessageResult:
    try:
        return MessageResult(said)
    except ValueError:
        known = ", ".join(MessageResult)
        raise TypeError(f"a consumer returns a MessageResult ({known}) or None, not {said!r:.80}") from None
