"""What a consumer does with one subscription, until that breaks or it is told to stop.

    fetch ──▶ schedule ──▶ handler ──▶ verdict ──▶ settle
                 ▲                        │
                 └─ after a pause, in order

The rules are those of runner.py, which begins anew where this ends.

PERF: there is a task for each handler that may run at the same time, not for each message: when a message is done with,
its task takes the next one, unless the handler left something in context variables, or cancelled it. What costs more
than the handler's own call is done for many messages at once (`bench.streams`): a task takes a *run*, messages of one
order key that only it could handle now, and handles them one by one; what is done with is acknowledged at the end of
the run, or `ACKNOWLEDGE_S` later, where the broker need not be asked. A run is left as soon as an older message may be
taken, and given back when the consumer stops.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from cello.messaging.binding import Binding
from cello.messaging.broker import RELEASE, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import MessagingError
from cello.messaging.hand import Hand
from cello.messaging.message import Message, MessageResult
from cello.messaging.observer import Observer
from cello.messaging.schedule import Run
from cello.messaging.verdicts import Verdict, Verdicts

logger = logging.getLogger("cello.messaging")

FETCH_S = 20.0
"""How long one `fetch` may wait; `stop` cancels it."""
LONGEST_TURN_S = 0.005
"""How long handlers that never wait keep the event loop to themselves."""
ACKNOWLEDGE_S = 0.005
"""How long a message that is done with may wait for others to be acknowledged with it."""
LEAST_SHARE = 8
REFETCH_S = 0.05
"""While handlers are free, but not for what waits: fetch when an eighth of the prefetch is free, or this often."""
LAG_EVERY_S = 15.0
LINGER_S = 30.0
"""How long handlers may take to end when the connection is lost, before the consumer starts over without them."""


class Work(Hand):
    """What a runner does with one subscription, until that breaks or it is told to stop."""

    def __init__(
        self,
        consumer: DeclaredConsumer,
        subscription: Subscription,
        binding: Binding,
        observer: Observer,
        prefetch: int,
    ) -> None:
        super().__init__(consumer, subscription, observer)
        self._verdicts = Verdicts(consumer, binding, observer, self._hear)
        self._prefetch = prefetch
        self._runs: set[Run] = set()
        self._longest_run = 1  # until the broker is known to be one that need not be asked
        self._took_s: list[float] = []
        self._acknowledging: asyncio.TimerHandle | None = None
        self._running = 0
        self._fetched_s = 0.0
        self._room = asyncio.Event()
        self._fetching: asyncio.Task[None] | None = None
        self._filling: asyncio.TimerHandle | None = None

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
            for timer in (self._filling, self._acknowledging):
                if timer is not None:
                    timer.cancel()
            self._observer.in_hand(self._consumer, 0)

    def stop_fetching(self) -> None:
        """Take in nothing more; `run` ends when what has begun has ended."""
        self._stopping.set()
        for run in self._runs:
            self._put_back(run)
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
            self._unsettled.update(messages)
            self._schedule.add(messages)
            self._count(len(messages))
            del messages  # while this waits, they are kept by who handles them only
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
        return self._running < self._consumer.concurrency and not self._schedule.ready

    def _see_to_room(self) -> None:
        """Wake who fetches, if there is room for more."""
        if not self._room.is_set() and self._wants_more:
            self._room.set()

    async def _finish(self) -> None:
        """Give back what has not begun, and wait for what has."""
        for message in self._schedule.drop_all():
            self._spawn(self._settle, message, RELEASE)
        while self._tasks:
            await asyncio.wait(self._tasks)

    # From the schedule to the handler

    def _begin(self) -> None:
        """Start as many handlers as there may be."""
        if self._consumer.batch_size is None:
            while run := self._next_run():
                context = contextvars.Context()
                self._note(asyncio.create_task(self._handle_run(run, context), context=context))
        else:
            while messages := self._next_batch():
                self._spawn(self._handle_batch, messages)
        self._see_to_room()

    def _next_run(self) -> Run | None:
        """Return messages to be handled one after the other, which count as one that runs from now on; or None."""
        schedule = self._schedule
        while schedule.ready and self._running < self._consumer.concurrency and not self._is_stopping:
            run = schedule.take_run(self._longest_run)
            if ours := self._claimed(run.left):
                if len(ours) < len(run.left):
                    run.left = deque(ours)
                run.generation = self._subscription.generation
                self._running += 1
                self._runs.add(run)
                return run
        return None

    def _put_back(self, run: Run) -> None:
        if run.left:
            self._subscription.give_up(run.left)
            self._schedule.put_back(run)

    def _next_batch(self) -> list[Message]:
        """Return a batch that a handler is to begin with, which counts as running from now on; or nothing."""
        size = self._consumer.batch_size or 1
        while not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.ready:
            if len(self._schedule) < size and self.in_hand < self._prefetch:
                if self._filling is None:
                    self._filling = self._loop.call_later(self._consumer.batch_wait_s, self._begin_partial)
                break
            if ours := self._claimed(self._schedule.take(size)):
                self._running += 1
                return ours
        return []

    def _begin_partial(self) -> None:
        """Start a batch that has waited long enough."""
        self._filling = None
        if not self._is_stopping and self._running < self._consumer.concurrency and self._schedule.ready:
            if ours := self._claimed(self._schedule.take(self._consumer.batch_size or 1)):
                self._running += 1
                self._spawn(self._handle_batch, ours)
            self._begin()

    def _claimed(self, messages: Sequence[Message]) -> list[Message]:
        """Return those that may be handled; forget the others."""
        ours = list(self._subscription.claim(messages))
        if len(ours) < len(messages):
            for message in set(messages).difference(ours):
                self._forget(message)
        return ours

    async def _handle_run(self, run: Run, context: contextvars.Context) -> None:
        """Have the messages of a run handled, then those of the next, while that needs no waiting in between."""
        task = asyncio.current_task()
        assert task is not None
        ready, subscription, call, took_s = self._schedule.ready, self._subscription, self._verdicts.call, self._took_s
        auto_ack = self._consumer.auto_ack
        failed: list[tuple[Message, Verdict]] = []
        turn_s = began_s = perf_counter()
        next_run: Run | None = run
        while next_run is not None:
            run = next_run
            left, handled, generation = run.left, run.handled, run.generation
            try:
                while left and subscription.generation == generation and not (ready and ready[0][0] < left[0]._place):
                    if began_s - turn_s > LONGEST_TURN_S:
                        await asyncio.sleep(0)
                        turn_s = began_s = perf_counter()
                        continue
                    message = left.popleft()
                    try:
                        said = await call(message)
                        is_quiet = said is None and message.said is None and auto_ack
                        found = None if is_quiet else self._verdicts.read([message], said)
                    except Exception as error:  # noqa: BLE001  # whatever the user's code raises: `after` logs it
                        found = await self._verdicts.after([message], error)
                    finally:
                        ended_s = perf_counter()
                        took_s.append(ended_s - began_s)
                        began_s = ended_s
                    if found is not None and found[0][0] is not MessageResult.ACK:
                        failed.append((message, found[0]))
                        break
                    handled.append(message)
                    if len(context) or task.cancelling():
                        break
                    if left and self._acknowledging is None:
                        self._acknowledging = self._loop.call_later(ACKNOWLEDGE_S, self._acknowledge_late)
            except BaseException:
                self._end_run(run)
                self._begin()
                raise
            failed += self._end_run(run)
            next_run = self._next_run() if not failed and not len(context) and not task.cancelling() else None
            if self._running < self._consumer.concurrency:
                self._begin()
            else:
                self._see_to_room()
        await self._carry_out_all(failed)

    def _end_run(self, run: Run) -> list[tuple[Message, Verdict]]:
        """Give back the rest of a run, and acknowledge what is done with; return what cannot be without waiting."""
        self._runs.remove(run)
        self._running -= 1
        self._put_back(run)
        return self._acknowledge_run(run)

    def _acknowledge_run(self, run: Run) -> list[tuple[Message, Verdict]]:
        if self._took_s:
            self._observer.called(self._consumer, self._took_s)
            self._took_s.clear()
        handled = run.handled
        if not handled:
            return []
        left = self._acknowledge(handled, None, run)
        if len(left) < len(handled):
            self._longest_run = max(1, self._prefetch // LEAST_SHARE) if self._consumer.auto_ack else 1
        handled.clear()
        return left

    def _acknowledge_late(self) -> None:
        """Acknowledge in the middle of runs."""
        self._acknowledging = None
        for run in self._runs:
            if left := self._acknowledge_run(run):
                self._spawn(self._carry_out_all, left)
        self._see_to_room()

    async def _handle_batch(self, messages: list[Message]) -> None:
        """Have a batch handled and settled, and then what comes next, while that needs no waiting in between."""
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
            messages = self._next_batch() if not left and _is_as_new() else []
            if self._running < self._consumer.concurrency:
                self._begin()
            else:
                self._see_to_room()
        await self._carry_out_all(left)

    # Beside

    async def _beat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if self._unsettled:
                try:
                    await self._subscription.heartbeat(list(self._unsettled))
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
