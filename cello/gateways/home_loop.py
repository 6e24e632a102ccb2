"""The event loop that an application's async parts live on, for plain functions that have to wait for them.

Pools and connections belong to the loop they were opened on. So what a `def` handler asks of an async part of the
application runs there, while the handler's own thread waits; where no application has started there is a loop in a
thread of its own.

Rule: who waits must not hold what it waits for. A plain function that is called on an event loop cannot wait for
another one; and plain functions that call each other by way of the loop have threads of their own for each level.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from cello.errors import CelloError
from cello.gateways.portal import Portal
from cello.pipeline.long_threads import LongThreads
from cello.pipeline.threads import is_on_loop

T = TypeVar("T")

HOME = "cello.home_loop"
"""What the home loop of an application is provided as."""
DEEPEST = 16
THREADS = 256

_level: ContextVar[int] = ContextVar("cello_nested_level", default=0)


class HomeLoop:
    """Where async parts run: the application's loop once it has started, else one of its own."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._portal = Portal()

    @classmethod
    def install_once(cls, host: Any) -> "HomeLoop":
        """Return the one of an application, seen as its `Host`; `def` handlers run on threads from now on."""
        home: HomeLoop | None = host.resource(HOME)
        if home is None:
            home = cls()
            host.provide(HOME, home)
            host.keep_loop_free()
            host.on_start(home.settle, band=0)
            host.on_stop(home.leave, band=0)
        return home

    def settle(self) -> None:
        """Take the running loop for home; a start-up hook."""
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()

    def leave(self) -> None:
        """Have no home any more; a shutdown hook."""
        self._loop = None
        self._portal.close()

    def run(self, coroutine: Coroutine[Any, Any, T], what: str) -> T:
        """Run `coroutine` at home, in the caller's context, and wait for its result.

        Args:
            coroutine: What to run; closed where it cannot be.
            what: What an error calls it.

        Raises:
            CelloError: The caller is on an event loop, which would stand still.
        """
        if is_on_loop():
            coroutine.close()
            raise CelloError(
                f"{what} was called by a plain function on an event loop, which cannot wait for it: make the handler, "
                "or the dependency, guard or hook, async def and await the call"
            )
        loop = self._loop if self._pid == os.getpid() else None
        if loop is None or loop.is_closed():
            return self._portal.run(coroutine)
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # of no use to one that has ended; a thread that is interrupted takes its task with it
            raise


class NestedThreads:
    """Threads for plain functions that may wait for others of their kind, a pool for each level of nesting."""

    def __init__(self, size: int = THREADS) -> None:
        self._size = size
        self._pools: dict[int, LongThreads] = {}

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Call on a thread, in a copy of the caller's context.

        Raises:
            CelloError: Calls are nested deeper than `DEEPEST`, so they probably go in a circle.
        """
        level = _level.get()
        if level >= DEEPEST:
            raise CelloError(f"plain functions call each other {DEEPEST} levels deep: do they go in a circle?")
        pool = self._pools.get(level) or self._pools.setdefault(level, LongThreads(self._size))
        token = _level.set(level + 1)
        try:
            return await pool.run(call, *args)
        finally:
            _level.reset(token)
