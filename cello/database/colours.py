"""Which colour the caller has: may it await, or must it be given the result?

Strategy: walk up the stack to whoever decided. A coroutine's frame says "async". A frame of cello's own rooms that call
handlers says "def": what they called is a plain function, be it inline on the loop or on a thread. Neither is plain
code outside of any request. A handler is one or two frames away, so the walk costs less than a microsecond, and it is
right for helpers, decorators and dependencies alike, however they were called.
"""

import sys
from collections.abc import Callable
from functools import wraps
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE
from typing import Any, Generic, TypeVar, cast

from cello.database.errors import WrongColour
from cello.pipeline.threads import is_on_loop

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A")
B = TypeVar("B")

_AWAITS = CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE
_ROOMS = ("_speedups", "features", "gateways", "graphql", "grpc", "pipeline", "serve", "testing")
_CALLERS_OF_HANDLERS = tuple(f"cello.{room}." for room in _ROOMS)


def colour_of_caller(depth: int = 1) -> str:
    """Return "async", "def", or "" where no handler is on the stack.

    Args:
        depth: How many frames above this function to begin.
    """
    frame = sys._getframe(depth)
    while frame is not None:
        is_ours = frame.f_globals.get("__name__", "").startswith(_CALLERS_OF_HANDLERS)
        if is_ours:
            return "def"
        if frame.f_code.co_flags & _AWAITS:
            return "async"
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return ""


def awaited(method: F) -> F:
    """Have an async method refuse to be called in a `def` handler, where nobody would await it.

    Raises:
        WrongColour: By the call; the message names `.blocking`.
    """

    @wraps(method)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        if colour_of_caller(2) == "def":
            kind, name = type(self).__name__, method.__name__
            raise WrongColour(
                f"{kind}.{name}() was called in a def handler, which cannot await it: "
                f"use .blocking.{name}() there, or make the handler async def"
            )
        return method(self, *args, **named)

    return cast(F, call)


class Both(Generic[A, B]):
    """A resource for handlers of both colours: its methods return results in `def`, awaitables in `async def`.

    Attributes:
        aio: The one for `async def`, whoever calls.
        blocking: The one for `def`, whoever calls.
    """

    __slots__ = ("aio", "blocking")

    def __init__(self, aio: A, blocking: B) -> None:
        self.aio = aio
        self.blocking = blocking

    def __getattr__(self, name: str) -> Any:
        colour = colour_of_caller(2) or ("async" if is_on_loop() else "def")
        return getattr(self.aio if colour == "async" else self.blocking, name)

    def __repr__(self) -> str:
        return f"<{self.aio!r} for handlers of both colours>"
