"""Which colour a callable has: whether calling it gives a value, or something that must be awaited.

Decided once, when a plan is compiled. What it cannot see — a plain function that hands out a coroutine — the runners
notice when it happens.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any


def must_be_awaited(function: Callable[..., Any]) -> bool:
    """Return whether calling `function` gives an awaitable: `async def`, in a partial, or as an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    return not inspect.isclass(function) and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # its colour, not its presence


def describe(function: object) -> str:
    """Return the name that tells the developer which function is meant: `module.qualname`."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', repr(function))}"
