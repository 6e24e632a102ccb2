"""Connections of one database, kept open on one event loop and lent one at a time.

Rule 1: there are never more than `size`, counting those being opened. Who comes when all are lent waits in line, first
come first served, for `connect_timeout_s` at most.
Rule 2: the connection used last is lent first, so that the others grow old unused and are closed, down to `min_idle`.
Rule 3: a connection that broke takes the trust in all others with it: those that were idle then are asked (`ping`)
before they are lent, as are those that nobody used for `PING_AFTER_S`. So a restart of the server costs one failed
statement per connection in use at most.
Rule 4: a connection whose statement was cancelled is mended in the background: the server is told to stop, the
transaction is rolled back. Its place is taken until then; whoever was cancelled does not wait for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from cello.database.errors import DatabaseError, OperationalError, PoolTimeout
from cello.database.sql.driver import Driver

logger = logging.getLogger("cello.database")

PING_AFTER_S = 5.0
MEND_TIMEOUT_S = 5.0


class Lent:
    """One connection and what the pool knows of it."""

    __slots__ = ("opened_s", "raw", "trust", "used_s")

    def __init__(self, raw: Any, now_s: float, trust: int) -> None:
        self.raw = raw
        self.opened_s = now_s
        self.used_s = now_s
        self.trust = trust


class Pool:
    """See the module.

    Args:
        driver: Opens, closes and asks connections.
        size: Most connections.
        min_idle: Connections kept although idle.
        max_lifetime_s: Age at which one is replaced.
        idle_timeout_s: Idle time after which one is closed.
        connect_timeout_s: For opening one, and for waiting in line.
        clock: Seconds, for tests.

    Attributes:
        opened: Connections opened so far.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        size: int,
        min_idle: int,
        max_lifetime_s: float,
        idle_timeout_s: float,
        connect_timeout_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.size = size
        self.opened = 0
        self._driver = driver
        self._min_idle = min_idle
        self._max_lifetime_s = max_lifetime_s
        self._idle_timeout_s = idle_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock
        self._idle: deque[Lent] = deque()
        self._line: deque[asyncio.Future[Lent | None]] = deque()
        self._places = 0
        self._trust = 0
        self._is_closed = False
        self._is_down = False
        self._chores: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def idle(self) -> int:
        """Connections that nobody has."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Connections that are lent, being opened, or being mended."""
        return self._places - len(self._idle)

    @property
    def waiting(self) -> int:
        """How many wait in line."""
        return len(self._line)

    async def open(self) -> None:
        """Open the first `min_idle` connections, at least one, and keep house from now on.

        Raises:
            OperationalError: The database cannot be reached.
        """
        self.release(await self.acquire())
        self.start_keeping()
        await self.keep()

    def start_keeping(self) -> None:
        """Look after idle connections from now on."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep_house())

    async def acquire(self) -> Lent:
        """Borrow a connection; give it back by `release` or `discard`.

        Raises:
            PoolTimeout: None came free in time.
            OperationalError: A new one could not be opened.
        """
        while True:
            if self._is_closed:
                raise OperationalError("the database was closed")
            lent = await self._take_idle()
            if lent is not None:
                return lent
            if self._places < self.size:
                self._places += 1
                return await self._open_one()
            lent = await self._stand_in_line()
            if lent is not None:
                if await self._is_good(lent):
                    return lent
                continue
            return await self._open_one()

    def release(self, lent: Lent) -> None:
        """Give back a connection that is as it was lent."""
        now_s = lent.used_s = self._clock()
        if self._is_closed or self._is_spent(lent, now_s):
            self._do(self._replace(lent))
        else:
            self._hand_on(lent)

    def discard(self, lent: Lent, *, is_outage: bool) -> None:
        """Give back a connection that is broken; its place is free at once."""
        self._driver.terminate(lent.raw)
        if is_outage:
            self._trust += 1
            self._say_down("a connection broke")
        self._free_place()

    def mend(self, lent: Lent) -> None:
        """Give back a connection whose statement was cancelled, once it is usable again."""
        self._do(self._mend(lent))

    async def close(self) -> None:
        """Close idle connections now and the others as they come back; whoever waits in line is told."""
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        while self._line:
            waiter = self._line.popleft()
            if not waiter.done():
                waiter.set_exception(OperationalError("the database was closed"))
        while self._idle:
            self._places -= 1
            await self._close(self._idle.popleft())
        if self._chores:
            await asyncio.wait(self._chores)

    async def keep(self) -> None:
        """Close what is idle or old beyond its time, and open what `min_idle` lacks."""
        now_s = self._clock()
        for lent in list(self._idle):
            is_superfluous = now_s - lent.used_s > self._idle_timeout_s and len(self._idle) > self._min_idle
            if (is_superfluous or self._is_spent(lent, now_s)) and lent in self._idle:
                self._idle.remove(lent)
                await self._replace(lent)
        while len(self._idle) < self._min_idle and self._places < self.size and not self._is_closed:
            self._places += 1
            self.release(await self._open_one())

    # Inside

    def _do(self, chore: Coroutine[Any, Any, None]) -> None:
        """Have something done in the background."""
        task = asyncio.get_running_loop().create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _replace(self, lent: Lent) -> None:
        await self._close(lent)
        self._free_place()

    async def _keep_house(self) -> None:
        pause_s = max(0.05, min(self._idle_timeout_s, self._max_lifetime_s, 60.0) / 2)
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self.keep()
            except DatabaseError:
                continue  # `_open_one` has said so; the next round tries again

    async def _take_idle(self) -> Lent | None:
        while self._idle:
            lent = self._idle.pop()
            if await self._is_good(lent):
                return lent
        return None

    async def _is_good(self, lent: Lent) -> bool:
        """Whether a connection may be lent; one that may not is closed and its place freed."""
        now_s = self._clock()
        if not self._is_spent(lent, now_s):
            if lent.trust == self._trust and now_s - lent.used_s < PING_AFTER_S:
                return True
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    await self._driver.ping(lent.raw)
            except asyncio.CancelledError:
                self.mend(lent)
                raise
            except Exception:  # noqa: BLE001  # why it died does not matter: it is replaced
                self._driver.terminate(lent.raw)
            else:
                lent.trust = self._trust
                return True
        else:
            await self._close(lent)
        self._free_place()
        return False

    def _is_spent(self, lent: Lent, now_s: float) -> bool:
        return now_s - lent.opened_s > self._max_lifetime_s or self._driver.is_closed(lent.raw)

    async def _open_one(self) -> Lent:
        """Open a connection into a place that is counted already."""
        trust = self._trust
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                raw = await self._driver.connect()
        except BaseException as error:
            self._free_place()
            if not isinstance(error, Exception):
                raise
            found = self._driver.translate(error)
            if isinstance(error, TimeoutError):
                found = OperationalError(f"the database did not answer within {self._connect_timeout_s:g} s")
            if found is None:
                raise
            self._say_down(str(found))
            raise found from error
        if self._is_down:
            self._is_down = False
            logger.warning("the database %s answers again", self._driver.where)
        self.opened += 1
        return Lent(raw, self._clock(), trust)

    def _say_down(self, why: str) -> None:
        if not self._is_down and not self._is_closed:
            self._is_down = True
            logger.warning("the database %s is not available: %s", self._driver.where, why)

    async def _stand_in_line(self) -> Lent | None:
        """Wait for a connection, or for None: a free place to open one in."""
        waiter: asyncio.Future[Lent | None] = asyncio.get_running_loop().create_future()
        self._line.append(waiter)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())  # it came in the moment that we gave up
            elif waiter in self._line:
                self._line.remove(waiter)
            if isinstance(error, TimeoutError):
                raise PoolTimeout(
                    f"no connection came free within {self._connect_timeout_s:g} s: all {self.size} of the pool are in "
                    "use (DatabaseConfig.pool_size, connection_timeout_secs)"
                ) from None
            raise

    def _hand_on(self, lent: Lent) -> None:
        while self._line:
            waiter = self._line.popleft()
            if not waiter.done():
                waiter.set_result(lent)
                return
        self._idle.append(lent)

    def _free_place(self) -> None:
        while self._line and not self._is_closed:
            waiter = self._line.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._places -= 1

    def _pass_on(self, lent: Lent | None) -> None:
        if lent is None:
            self._free_place()
        else:
            self._hand_on(lent)

    async def _mend(self, lent: Lent) -> None:
        try:
            async with asyncio.timeout(MEND_TIMEOUT_S):
                is_mended = await self._driver.mend(lent.raw)
        except Exception:  # noqa: BLE001  # what cannot be mended is replaced
            is_mended = False
        if is_mended:
            self.release(lent)
        else:
            self.discard(lent, is_outage=False)

    async def _close(self, lent: Lent) -> None:
        try:
            async with asyncio.timeout(MEND_TIMEOUT_S):
                await self._driver.close(lent.raw)
        except Exception:  # noqa: BLE001  # the other side may be gone already
            self._driver.terminate(lent.raw)
