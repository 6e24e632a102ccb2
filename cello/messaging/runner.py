"""Runs one consumer in one process: fetches, has messages handled in order and in parallel, settles, starts over.

What it does with one subscription is `work.py`.

Rule 1: a message is acknowledged only after its handler has returned, or was told so by `message.ack()`.
Rule 2: at most `prefetch` messages are in hand: fetched and not settled.
Rule 3: a message that fails is handled again after a pause, `retries` times; then it is dead-lettered with the error.
One with an order key waits here, and what is behind it with it (`in_order`); others go back to the broker meanwhile.
Rule 4: nothing ends the runner but `stop`: when the connection breaks, or anything else goes wrong, it subscribes anew
after a pause. What it had in hand is then delivered again.
Rule 5: `stop` takes in nothing more, gives back what has not begun, lets handlers end within the bound, and closes.
What was cut off is not settled, so it is delivered again.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cello.messaging.binding import Binding
from cello.messaging.broker import Broker, Subscription
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.errors import BrokerUnavailable
from cello.messaging.observer import Observer, Silent
from cello.messaging.work import Work

logger = logging.getLogger("cello.messaging")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Runner:
    """One consumer at work.

    Args:
        broker: Where it subscribes.
        consumer: What it is; `prefetch` is set.
        binding: Its handler.
        observer: Who is told.

    Attributes:
        problem: Why there is no subscription at the moment, or None.
    """

    def __init__(
        self, broker: Broker, consumer: DeclaredConsumer, binding: Binding, observer: Observer | None = None
    ) -> None:
        self.consumer = consumer
        self.problem: str | None = "it has not started"
        self._broker = broker
        self._binding = binding
        self._observer: Observer = observer or Silent()
        self._prefetch = max(consumer.prefetch or 10, consumer.batch_size or 1)
        self._main: asyncio.Task[None] | None = None
        self._work: Work | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Subscribe, and begin to work in the background.

        Raises:
            ConfigError: The declaration does not fit what is there.
            BrokerUnavailable: Not now; calling it again is fine.
        """
        self._is_stopping = False
        subscription = await self._broker.subscribe(self.consumer)
        self.problem = None
        self._main = asyncio.create_task(self._keep_working(subscription), context=contextvars.Context())

    def start_later(self) -> None:
        """Begin in the background, as soon as the broker is there."""
        self._is_stopping = False
        self._main = asyncio.create_task(self._keep_working(None), context=contextvars.Context())

    def stop_fetching(self) -> None:
        """Take in nothing more; what has not begun is given back."""
        self._is_stopping = True
        if self._work is not None:
            self._work.stop_fetching()
        elif self._main is not None:
            self._main.cancel()  # it waits to subscribe: there is nothing in hand

    async def stop(self, timeout_s: float) -> None:
        """End: let handlers end for so long, then cut them off; give back what is not settled."""
        self.stop_fetching()
        main, self._main = self._main, None
        if main is None:
            return
        await asyncio.wait({main}, timeout=timeout_s)
        if not main.done():
            logger.warning(
                "consumer %s: cut off %d messages in hand after %g s; they will be delivered again",
                self.consumer.name, 0 if self._work is None else self._work.in_hand, timeout_s,
            )  # fmt: skip
            main.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await main
        self.problem = "it was stopped"

    async def _keep_working(self, subscription: Subscription | None) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._is_stopping:
            try:
                if subscription is None:
                    subscription = await self._broker.subscribe(self.consumer)
                    if self.problem is not None:
                        logger.info("consumer %s is at work again", self.consumer.name)
                    self.problem = None
                self._work = Work(self.consumer, subscription, self._binding, self._observer, self._prefetch)
                pause_s = FIRST_PAUSE_S
                await self._work.run()
            except BrokerUnavailable as error:
                self._note(str(error))
            except Exception as error:
                logger.exception("consumer %s: unexpected", self.consumer.name)
                self.problem = f"{type(error).__name__}: {error}"
            finally:
                self._work = None
                if subscription is not None:
                    await self._close(subscription)
                    subscription = None
            if not self._is_stopping:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("consumer %s: %s; trying again", self.consumer.name, problem)
        self.problem = problem

    async def _close(self, subscription: Subscription) -> None:
        try:
            await subscription.close()
        except Exception:
            logger.exception("consumer %s: closing its subscription", self.consumer.name)


def make_runner_check(runners: Sequence[Runner], check: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
    """Return a health check: the broker answers, and every consumer is at work."""

    async def ask() -> Any:
        found = await check()
        down = [f"{runner.consumer.name}: {runner.problem}" for runner in runners if runner.problem is not None]
        if down:
            raise BrokerUnavailable(f"consumers are not at work: {'; '.join(down)}")
        return found

    return ask
