"""`@retry_on_conflict`: a function that begins again when somebody else was faster."""

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from cello.errors import ConfigError
from cello.eventsourcing.errors import ConcurrencyError
from cello.eventsourcing.repository import ATTEMPTS, pause_s
from cello.pipeline.colour import must_be_awaited

F = TypeVar("F", bound=Callable[..., Any])


@overload
def retry_on_conflict(function: F, /) -> F: ...
@overload
def retry_on_conflict(*, attempts: int = ATTEMPTS) -> Callable[[F], F]: ...
def retry_on_conflict(function: Any = None, /, *, attempts: int = ATTEMPTS) -> Any:
    """Run a function, `def` or `async def`, again when it raises `ConcurrencyError`; it must load what it changes.

    Args:
        function: A handler, or any function.
        attempts: How often to run it in all.
    """
    if attempts < 1:
        raise ConfigError(f"@retry_on_conflict: attempts must be at least 1, not {attempts!r:.80}")
    if function is None:
        return lambda decorated: _decorate(decorated, attempts)
    return _decorate(function, attempts)


def _decorate(function: F, attempts: int) -> F:
    if must_be_awaited(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            for attempt in range(1, attempts):
                try:
                    return await function(*args, **named)
                except ConcurrencyError:
                    await asyncio.sleep(pause_s(attempt))
            return await function(*args, **named)

        return cast(F, run_async)

    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        for attempt in range(1, attempts):
            try:
                return function(*args, **named)
            except ConcurrencyError:
                time.sleep(pause_s(attempt))
        return function(*args, **named)

    return cast(F, run)
