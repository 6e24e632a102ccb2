"""What is done after the answer was sent: the clean-ups of dependencies, then background tasks.

Clean-ups run in reverse order, in the context (contextvars) their dependency started in. An exception of the handler
is raised at the dependency's `yield`, as in a context manager. One failing clean-up or task is logged and does not
keep the others from running.
"""

import contextvars
import inspect
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.course import HERE, Course

if TYPE_CHECKING:
    from cello.pipeline.threads import Offload, WorkerThreads

logger = logging.getLogger("cello.pipeline")

YIELD_ONCE = "a generator used as a dependency must yield exactly once"


class Afterwork:
    """The dependencies of one request that must be cleaned up.

    Attributes:
        exits: The generators, in the order they were entered.
        error: What the request ended with, or None.
        context: The context they were entered in, where that is not the current one any more.
        offload: How the route's plain functions are run, or None: on the calling thread.
    """

    __slots__ = ("context", "error", "exits", "offload")

    def __init__(self) -> None:
        self.exits: list[Generator[Any, None, None] | AsyncGenerator[Any, None]] = []
        self.error: BaseException | None = None
        self.context: contextvars.Context | None = None
        self.offload: Offload | None = None


def register(request: Request, generator: Generator[Any, None, None] | AsyncGenerator[Any, None]) -> None:
    """Have `generator`, which has yielded its value, resumed when `request` is finished."""
    work = request._afterwork
    if work is None:
        work = request._afterwork = Afterwork()
    work.exits.append(generator)


def finishing(request: Request, response: Response | None, threads: "WorkerThreads | None") -> Course[None]:
    """Do all that was left for after the answer.

    Args:
        request: The request.
        response: Its answer, or None when there was none.
        threads: Where plain functions that may block are run; None runs them on the calling thread.
    """
    yield from cleaning_up(request, threads)
    tasks = None if response is None else response.background
    if tasks is None:
        return
    for function, args, kwargs, context in tasks.take():
        try:
            yield from _running(partial(function, *args, **kwargs), must_be_awaited(function), context, threads)
        except Exception:  # noqa: BLE001  # logged on the next line, in the request's context
            context.run(logger.exception, "background task %s raised", describe(function))


def _running(
    call: Callable[[], Any], awaits: bool, context: contextvars.Context, threads: "WorkerThreads | None"
) -> Course[None]:
    if awaits:
        yield _awaited_in(context, call)
        return
    if threads is None:
        yield HERE
        value = context.run(call)
    else:
        value = yield threads.run(context.run, call)
    if inspect.isawaitable(value):
        yield _awaited_in(context, lambda: value)


async def _awaited_in(context: contextvars.Context, call: Callable[[], Awaitable[Any]]) -> None:
    """Await what `call` returns, all of it in `context`: only a task can."""
    import asyncio  # an application that is only imported needs none

    async def work() -> None:
        await call()

    await asyncio.create_task(work(), context=context)


def cleaning_up(request: Request, threads: "WorkerThreads | None" = None) -> Course[None]:
    """Resume the dependencies' generators, last first."""
    work = request._afterwork
    if work is None:
        return
    request._afterwork = None
    for generator in reversed(work.exits):
        try:
            if isinstance(generator, AsyncGenerator):
                yield leave_async(generator, work.error)
            elif threads is not None and work.offload is not None and work.offload.on_thread:
                yield threads.run(_in(work.context), generator, work.error)
            else:
                yield HERE
                started_s = time.perf_counter()
                _in(work.context)(generator, work.error)
                if work.offload is not None:
                    work.offload.held(time.perf_counter() - started_s)
        except Exception:
            logger.exception("the clean-up of dependency %s raised", generator.__qualname__)


def _in(context: contextvars.Context | None) -> Callable[..., None]:
    """Return `leave`, to be run in `context`."""
    if context is None:
        return leave
    return lambda generator, error: context.run(leave, generator, error)


def leave(generator: Generator[Any, None, None], error: BaseException | None) -> None:
    """Resume `generator` for the last time, with `error` raised at its `yield` if there is one."""
    try:
        if error is None:
            next(generator)
        else:
            generator.throw(error)
    except StopIteration:
        return
    except BaseException as raised:
        if raised is not error:
            raise
        return
    generator.close()
    raise RuntimeError(YIELD_ONCE)


async def leave_async(generator: AsyncGenerator[Any, None], error: BaseException | None) -> None:
    """Resume `generator` for the last time, with `error` raised at its `yield` if there is one."""
    try:
        if error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except StopAsyncIteration:
        return
    except BaseException as raised:
        if raised is not error:
            raise
        return
    await generator.aclose()
    raise RuntimeError(YIELD_ONCE)
