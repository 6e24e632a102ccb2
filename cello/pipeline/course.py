"""Courses: work written once for both colours, as generators, with one small driver per colour.

A course yields `HERE` before each plain step and an awaitable at each step to be awaited, and gets its result sent back
(or its exception raised at the yield). What the course returns is the driver's result. Courses serve everything off the
hot path: errors, unwinding, clean-ups, and whole requests under WSGI.
"""

import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

from cello.errors import ServiceUnavailable

T = TypeVar("T")
Course = Generator[Any, Any, T]

TOOK_TOO_LONG = "The handler took too long."
ABANDONED = "cello.abandoned"
"""What is in `request.context` once the client was told so and the handler, on its thread, works for nobody.

Observers have seen the answer that the client got, and leave out the one that the handler still comes to.
"""


def abandon(request: Any, listeners: Iterable[Callable[[Any], object]]) -> None:
    """Note that the client of `request` was told so, and tell `listeners`: nothing waits for the handler any more."""
    request.context[ABANDONED] = True
    for listen in listeners:
        listen(request)


class _Here:
    """The type of `HERE`."""

    def __repr__(self) -> str:
        return "HERE"


HERE = _Here()
"""Yielded before a plain `def` step: it belongs on the thread the request came in on."""


class PortalLike(Protocol):
    """What runs awaitables for a thread without a loop."""

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run `awaitable` on a loop and wait for its result."""


class Unfinished(Exception):  # a signal to the gateway, not an error
    """Work begun without a loop turned out to need one: await `rest` there for its result."""

    def __init__(self, rest: Coroutine[Any, Any, Any]) -> None:
        super().__init__("this must be finished on a loop: await .rest")
        self.rest = rest


async def adopting(context: Context, rest: Coroutine[Any, Any, T]) -> T:
    """Await `rest` with the context variables of where it began."""
    for variable, value in context.items():
        variable.set(value)
    return await rest


def drive_sync(course: Course[T]) -> T:
    """Run `course` on the calling thread.

    Raises:
        Unfinished: It came to something that must be awaited.
    """
    try:
        pending = next(course)
        while pending is HERE:
            pending = course.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # a course of T returns T
    raise Unfinished(drive_async(course, pending))


def drive_refusing(course: Course[T], error: Exception) -> T:
    """Run `course` where there is no loop and never will be: raise `error` in it at whatever must be awaited."""
    try:
        pending = next(course)
        while True:
            if pending is HERE:
                pending = course.send(None)
            else:
                if inspect.iscoroutine(pending):
                    pending.close()
                pending = course.throw(error)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # a course of T returns T


async def drive_async(course: Course[T], pending: Any = HERE) -> T:
    """Run `course`, or the rest of one that stands at `pending`, on the running loop."""
    try:
        if pending is HERE:
            pending = course.send(None)
        while True:
            if pending is HERE:
                pending = course.send(None)
                continue
            try:
                value = await pending
            except Exception as error:  # noqa: BLE001  # raised where it belongs: in the course
                pending = course.throw(error)
            else:
                pending = course.send(value)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # a course of T returns T


def drive_portal(course: Course[T], portal: PortalLike, timeout_s: float | None = None) -> T:
    """Run `course` with its plain steps on the calling thread and adjacent async steps in one trip to the loop."""
    due = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        pending = next(course)
        while True:
            if pending is HERE:
                pending = course.send(None)
                continue
            pending = portal.run(_ahead(course, pending, due))
            if isinstance(pending, _End):
                return pending.value  # type: ignore[no-any-return]  # a course of T returns T
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # a course of T returns T


class _End(Generic[T]):
    """The result of a course that ended on the loop; a coroutine cannot raise StopIteration."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


async def _ahead(course: Course[Any], pending: Any, due: float | None) -> Any:
    """Go on with `course` while its steps must be awaited; return `HERE`, or its end."""
    import asyncio  # there already, as this runs on its loop

    try:
        while pending is not HERE:
            limit = asyncio.timeout(None if due is None else max(0.0, due - time.monotonic()))
            try:
                async with limit:
                    value = await pending
            except Exception as error:  # noqa: BLE001  # raised where it belongs: in the course
                pending = course.throw(ServiceUnavailable(TOOK_TOO_LONG) if limit.expired() else error)
            else:
                pending = course.send(value)
    except StopIteration as done:
        return _End(done.value)
    return HERE
