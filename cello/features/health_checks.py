"""Health checks: asked all at once, each with a time limit, and never twice at the same time.

Rule 1: a check is healthy unless it raises, returns False, or is not done within its time.
Rule 2: plain functions run on a thread of their own, so that one that hangs holds up neither the loop nor its worker
threads. While it hangs it is not called again: it stays unhealthy at the price of one thread.
Rule 3: whoever asks while the checks run gets the answer of that run; whoever asks within `cache_s` after it, too.
SECURITY: why a check failed goes to the log. A client is told the kind of the error, never its text, which likes to
hold addresses and passwords.
"""

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cello.extension import HealthCheck

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check said.

    Attributes:
        name: Of the check.
        is_up: Whether it is healthy.
        is_critical: Whether the worker is not ready without it.
        duration_ms: How long it took.
        reason: Why it is not healthy, in a few words for everybody.
        details: The mapping that it returned.
    """

    name: str
    is_up: bool
    is_critical: bool
    duration_ms: float
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Examination:
    """All checks of an application.

    Args:
        checks: Returns them.
        timeout_s: For each that does not say its own.
        cache_s: How long an outcome may be reused, in seconds; 0: only by those who ask at the same time.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        checks: Callable[[], Sequence[HealthCheck]],
        *,
        timeout_s: float,
        cache_s: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._timeout_s = timeout_s
        self._cache_s = cache_s
        self._clock = clock
        self._run: asyncio.Task[list[Outcome]] | None = None
        self._latest: tuple[float, list[Outcome]] | None = None
        self._hanging: set[str] = set()
        self._down: set[str] = set()

    async def outcomes(self) -> list[Outcome]:
        """Return what every check says, in order of registration."""
        if self._latest is not None and self._clock() - self._latest[0] < self._cache_s:
            return self._latest[1]
        run = self._run
        if run is None or run.done() or run.get_loop() is not asyncio.get_running_loop():
            run = self._run = asyncio.create_task(self._ask_all())
        return await asyncio.shield(run)  # a client that goes does not end what others wait for

    async def _ask_all(self) -> list[Outcome]:
        outcomes = await asyncio.gather(*map(self._ask, self._checks()))
        self._latest = (self._clock(), outcomes)
        return outcomes

    async def _ask(self, check: HealthCheck) -> Outcome:
        timeout_s = self._timeout_s if check.timeout_s is None else check.timeout_s
        began = self._clock()
        reason = None
        answer: object = None
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._call(check)
            if answer is False:
                reason = "not healthy"
        except TimeoutError as error:
            reason = f"not done within {timeout_s:g} s"
            self._tell(check, reason, error)
        except Exception as error:  # noqa: BLE001  # Rule 1: whatever it raises says that it is not healthy
            reason = type(error).__name__
            self._tell(check, reason, error)
        if reason is None:
            self._down.discard(check.name)
        duration_ms = round((self._clock() - began) * 1000, 3)
        details = answer if isinstance(answer, Mapping) else {}
        return Outcome(check.name, reason is None, check.is_critical, duration_ms, reason, details)

    async def _call(self, check: HealthCheck) -> object:
        if inspect.iscoroutinefunction(check.run):
            return await check.run()
        if check.name in self._hanging:
            raise TimeoutError("the call before this one still hangs")
        answer = await self._call_on_thread(check)
        return await answer if inspect.isawaitable(answer) else answer

    async def _call_on_thread(self, check: HealthCheck) -> object:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[object] = loop.create_future()
        context = contextvars.copy_context()

        def settle(answer: object, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(answer)
            else:
                done.set_exception(error)

        def work() -> None:
            answer, error = None, None
            try:
                answer = context.run(check.run)
            except Exception as raised:  # noqa: BLE001  # handed to who waits
                error = raised
            finally:
                self._hanging.discard(check.name)
            try:
                loop.call_soon_threadsafe(settle, answer, error)
            except RuntimeError:  # the loop has ended meanwhile: nobody waits
                return

        self._hanging.add(check.name)
        threading.Thread(target=work, name=f"cello-check-{check.name}", daemon=True).start()
        return await done

    def _tell(self, check: HealthCheck, reason: str, error: Exception) -> None:
        """Log the first failure of a row; probes come every few seconds."""
        if check.name not in self._down:
            self._down.add(check.name)
            logger.warning("health check %r: %s", check.name, reason, exc_info=error)
