"""What stands around every attempt of a handler: middleware of the user's own, and two kinds that come with cello.

A middleware is an `async def` function of the message and of what comes next:

    async def only_on_weekdays(message, call_next):
        if today() in WEEKEND:
            return CommandResult.rejected("come back on Monday")
        return await call_next(message)
"""

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from cello.cqrs.messages import CommandResult
from cello.errors import ConfigError

CallNext = Callable[[Any], Awaitable[Any]]
DispatchMiddleware = Callable[[Any, CallNext], Awaitable[Any]]

_LOGGER = logging.getLogger("cello.cqrs")


def log_dispatches(logger: logging.Logger | None = None, level: int = logging.INFO) -> DispatchMiddleware:
    """Return a middleware that writes a line for each attempt: the message's class, what became of it, milliseconds."""
    to = logger or _LOGGER

    async def log(message: Any, call_next: CallNext) -> Any:
        began_s = perf_counter()
        outcome = "cancelled"
        try:
            result = await call_next(message)
            outcome = getattr(result, "outcome", "ok")
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            to.log(level, "%s: %s, %.1f ms", type(message).__name__, outcome, (perf_counter() - began_s) * 1000)
        return result

    return log


class Transactions:
    """A middleware that runs every attempt in a transaction, which a result without success rolls back.

    It stands innermost, whatever was added when, and works for handlers of both colours: `def` handlers have the
    blocking transaction.

    Args:
        database: `app.database`, or a `Database`.
    """

    def __init__(self, database: Any) -> None:
        if not (hasattr(database, "blocking") and hasattr(database, "aio")):
            raise ConfigError(f"Transactions takes app.database or a Database, not {database!r:.80}")
        self._database = database

    async def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Call an `async def` handler."""
        try:
            async with self._database.aio.transaction():
                return _committed(await call())
        except _RollBack as over:
            return over.result

    def run_blocking(self, call: Callable[[], Any]) -> Any:
        """Call a `def` handler, on its thread."""
        try:
            with self._database.blocking.transaction():
                return _committed(call())
        except _RollBack as over:
            return over.result


class _RollBack(Exception):  # it leaves this module never
    def __init__(self, result: CommandResult) -> None:
        super().__init__()
        self.result = result


def _committed(result: Any) -> Any:
    if isinstance(result, CommandResult) and not result.success:
        raise _RollBack(result)
    return result
