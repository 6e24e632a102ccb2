"""The runners: one request through one plan, in three ways that must never differ but in who waits.

`run_sync` and `run_async` are written out for the straight way, because two small runners cost a quarter of one clever
one. Whatever leaves that way — errors, plain functions that hand out awaitables — goes on as a course (`course.py`).
`run_portal` (WSGI with async steps) drives the whole way as a course. One table of cases holds the three equal.

Rule 1: a runner returns a settled Response; only what is no `Exception` (cancellation, KeyboardInterrupt) gets out.
Rule 2: a request that `run_sync` began and that turns out to need a loop raises `Unfinished`, with the rest to await.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from typing import Any

from cello.errors import ServiceUnavailable
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.afterwork import cleaning_up
from cello.pipeline.colour import describe
from cello.pipeline.course import HERE, TOOK_TOO_LONG, Course, PortalLike, drive_async, drive_portal, drive_sync
from cello.pipeline.middleware import Handler
from cello.pipeline.plan import Plan
from cello.pipeline.result import ReturnedAwaitable, to_response

logger = logging.getLogger("cello.pipeline")


def run_sync(plan: Plan, request: Request) -> Response:
    """Run a plan without async steps on the calling thread.

    Raises:
        Unfinished: A step handed out an awaitable after all.
    """
    step = None
    depth = plan.depth
    try:
        for depth, step, _ in plan.before:  # noqa: B007  # how far it came counts after the loop
            value = step(request)
            if value is not None:
                break
        else:
            step = None
            depth = plan.depth
            value = plan.handler(request)
        response = value if value.__class__ is Response else to_response(value)
    except ReturnedAwaitable as found:
        return drive_sync(resuming(plan, request, found.awaitable, depth, step))
    except Exception as error:  # noqa: BLE001  # every exception becomes an answer
        return drive_sync(recovering(plan, request, error, depth))
    for level, leave, _ in plan.after[depth]:
        try:
            value = leave(request, response)
            if value is not None:
                response = value if value.__class__ is Response else to_response(value)
        except ReturnedAwaitable as found:
            return drive_sync(amending(plan, request, response, found.awaitable, level, leave))
        except Exception as error:  # noqa: BLE001  # every exception becomes an answer
            return drive_sync(recovering(plan, request, error, level))
    try:
        response.settle(request)
    except Exception as error:  # noqa: BLE001  # every exception becomes an answer
        return unsendable(plan, request, error)
    return response


async def run_async(plan: Plan, request: Request) -> Response:
    """Run any plan on the running loop, in a task of its own, within the time it may take.

    Cancelled from outside, it tells the `on_error` hooks, runs the clean-ups of dependencies, and stays cancelled.
    """
    step = None
    depth = plan.depth
    task = asyncio.current_task()
    watch = None
    if plan.timeout_s is not None and task is not None:
        watch = plan.deadlines.watch()
        watch.add(task, plan.timeout_s)
    try:
        try:
            for depth, step, awaits in plan.before:  # noqa: B007  # how far it came counts after the loop
                value = await step(request) if awaits else step(request)
                if value is not None:
                    break
            else:
                step = None
                depth = plan.depth
                value = await plan.loop_handler(request) if plan.loop_awaits else plan.loop_handler(request)
            response = value if value.__class__ is Response else to_response(value)
        except ReturnedAwaitable as found:
            return await drive_async(resuming(plan, request, found.awaitable, depth, step))
        except Exception as error:  # noqa: BLE001  # every exception becomes an answer
            return await drive_async(recovering(plan, request, error, depth))
        for level, leave, awaits in plan.after[depth]:
            try:
                value = await leave(request, response) if awaits else leave(request, response)
                if value is not None:
                    response = value if value.__class__ is Response else to_response(value)
            except ReturnedAwaitable as found:
                return await drive_async(amending(plan, request, response, found.awaitable, level, leave))
            except Exception as error:  # noqa: BLE001  # every exception becomes an answer
                return await drive_async(recovering(plan, request, error, level))
        try:
            response.settle(request)
        except Exception as error:  # noqa: BLE001  # every exception becomes an answer
            return unsendable(plan, request, error)
        return response
    except asyncio.CancelledError as cancelled:
        if watch is None or task is None or not watch.remove(task):
            await drive_async(abandoning(plan, request, cancelled, depth))
            raise
        task.uncancel()
        return await drive_async(recovering(plan, request, ServiceUnavailable(TOOK_TOO_LONG), depth))
    finally:
        if watch is not None and task is not None and watch.remove(task):
            task.uncancel()  # the handler kept its cancellation to itself and answered


async def run_rest(plan: Plan, request: Request, rest: Course[Response]) -> Response:
    """Go on where a handler without hooks, in a task of its own, left the straight way; its time starts anew.

    For a gateway that makes the handler itself a task, and so comes to see only what that task came to.
    """
    task = asyncio.current_task()
    watch = None
    if plan.timeout_s is not None and task is not None:
        watch = plan.deadlines.watch()
        watch.add(task, plan.timeout_s)
    try:
        return await drive_async(rest)
    except asyncio.CancelledError as cancelled:
        if watch is None or task is None or not watch.remove(task):
            await drive_async(abandoning(plan, request, cancelled, plan.depth))
            raise
        task.uncancel()
        return await drive_async(recovering(plan, request, ServiceUnavailable(TOOK_TOO_LONG), plan.depth))
    finally:
        if watch is not None and task is not None and watch.remove(task):
            task.uncancel()


def run_portal(plan: Plan, request: Request, portal: PortalLike) -> Response:
    """Run any plan for a thread without a loop: plain steps on this thread, async ones through `portal`."""
    return drive_portal(travelling(plan, request), portal, plan.timeout_s)


def travelling(plan: Plan, request: Request) -> Course[Response]:
    """Go the whole way: before, handler, after."""
    return (yield from entering(plan, request, None, 0))


def resuming(plan: Plan, request: Request, pending: Awaitable[Any], depth: int, step: Any) -> Course[Response]:
    """Go on where the plain `step` at `depth` (None: the handler) handed out `pending`."""
    notice(plan, step)
    return (yield from entering(plan, request, pending, plan.depth + 1 if step is None else depth))


def entering(plan: Plan, request: Request, pending: Awaitable[Any] | None, position: int) -> Course[Response]:
    """Run all `before` steps deeper than `position` and the handler, then the way out.

    Args:
        plan: The plan.
        request: The request.
        pending: What the step at `position` wants awaited first, if anything.
        position: The depth already reached; one more than the deepest when the handler was called already.
    """
    value = None
    depth = min(position, plan.depth)
    try:
        if pending is not None:
            value = yield pending
        if value is None and position <= plan.depth:
            for depth, step, awaits in plan.before:
                if depth > position:
                    value = yield from _performing(step, awaits, request)
                    if value is not None:
                        break
            else:
                depth = plan.depth
                value = yield from _performing(plan.handler, plan.awaits, request)
        response = to_response(value)
    except Exception as error:  # noqa: BLE001  # every exception becomes an answer
        return (yield from recovering(plan, request, error, depth))
    return (yield from leaving(plan, request, response, depth))


def leaving(plan: Plan, request: Request, response: Response, depth: int) -> Course[Response]:
    """Run the `after` steps from `depth` outwards and settle the response."""
    for level, step, awaits in plan.after[depth]:
        try:
            value = yield from _performing(step, awaits, request, response)
            if value is not None:
                response = to_response(value)
        except Exception as error:  # noqa: BLE001  # every exception becomes an answer
            response = yield from failing(plan, request, error, level)
    yield HERE
    return settled(plan, request, response)


def amending(
    plan: Plan, request: Request, response: Response, pending: Awaitable[Any], level: int, step: Any
) -> Course[Response]:
    """Go on leaving where the plain `after` step of layer `level` handed out `pending`."""
    notice(plan, step)
    try:
        value = yield pending
        if value is not None:
            response = to_response(value)
    except Exception as error:  # noqa: BLE001  # every exception becomes an answer
        return (yield from recovering(plan, request, error, level))
    return (yield from leaving(plan, request, response, level))


def recovering(plan: Plan, request: Request, error: Exception, depth: int) -> Course[Response]:
    """Turn `error`, raised at `depth`, into a response and take it the way out."""
    response = yield from failing(plan, request, error, depth)
    return (yield from leaving(plan, request, response, depth))


def failing(plan: Plan, request: Request, error: Exception, depth: int) -> Course[Response]:
    """Show `error` to the `on_error` hooks from `depth` outwards until one answers; else the exception handlers do."""
    work = request._afterwork
    if work is not None:
        work.error = error
    for _, step, awaits in plan.on_error[depth]:
        try:
            value = yield from _performing(step, awaits, request, error)
            if value is not None:
                return to_response(value)
        except Exception as second:  # noqa: BLE001  # a hook that raises goes on with its own error
            error = second
    return (yield from plan.faults.answering(request, error))


def abandoning(plan: Plan, request: Request, error: BaseException, depth: int) -> Course[None]:
    """Tell the `on_error` hooks that the request was cancelled, and clean up; there is nobody to answer."""
    for _, step, awaits in plan.on_error[depth]:
        try:
            yield from _performing(step, awaits, request, error)
        except Exception:
            logger.exception("on_error of a cancelled request raised")
    work = request._afterwork
    if work is not None:
        work.error = error
        yield from cleaning_up(request)


def _performing(step: Handler, awaits: bool, *args: Any) -> Course[Any]:
    """Call `step`, on the thread it belongs to, and await what it hands out."""
    if not awaits:
        yield HERE
    value = step(*args)
    if awaits or inspect.isawaitable(value):
        value = yield value
    return value


def settled(plan: Plan, request: Request, response: Response) -> Response:
    """Return `response` with its head decided; one that cannot be sent becomes the answer to its error."""
    try:
        response.settle(request)
    except Exception as error:  # noqa: BLE001  # every exception becomes an answer
        return unsendable(plan, request, error)
    return response


def unsendable(plan: Plan, request: Request, error: Exception) -> Response:
    """Return the settled answer to a response that could not be settled."""
    response = plan.faults.default_answer(request, error)
    response.settle(request)
    return response


def notice(plan: Plan, step: Any) -> None:
    """Plan for what was just seen: the plain `step` (None: the handler) hands out awaitables. Warns once."""
    if getattr(getattr(step, "__self__", None), "may_wait", False):
        return
    if step is None and not plan.awaits:
        handler = plan.handler

        async def finish(request: Request) -> Any:
            value = handler(request)
            return await value if inspect.isawaitable(value) else value

        plan.handler, plan.awaits = plan.loop_handler, plan.loop_awaits = finish, True
    elif plan.is_async:
        return
    plan.is_async = True
    function = plan.route.handler if step is None and plan.route is not None else step
    logger.warning("%s is a plain function but returned an awaitable: planned as async", describe(function))
