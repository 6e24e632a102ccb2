"""The task that an `async def` handler finds itself in is an ordinary one, whether or not the handler ever waits."""

import asyncio
import contextvars
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cello import App
from tests.gateways.native.lines import working

Handler = Callable[[], Awaitable[Any]]


def mine() -> "asyncio.Task[Any]":
    """Return the current task."""
    task = asyncio.current_task()
    assert isinstance(task, asyncio.Task)
    return task


async def tell_its_name() -> str:
    name = mine().get_name()
    return f"{name.startswith('Task-')} {mine().get_name() == name}"


async def rename_it() -> str:
    mine().set_name("mine")
    await asyncio.sleep(0)
    return mine().get_name()


async def tell_its_loop() -> bool:
    return mine().get_loop() is asyncio.get_running_loop()


async def look_at_it() -> str:
    task = mine()
    return f"{asyncio.iscoroutine(task.get_coro())} {'pending' in repr(task)} {task.done()} {task.cancelled()}"


async def look_at_it_after_a_wait() -> str:
    task = mine()
    await asyncio.sleep(0)
    return f"{task is mine()} {task in asyncio.all_tasks()} {bool(task.get_stack())} {task.cancelling()}"


async def cancel_it_and_wait() -> str:
    mine().cancel("enough")
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError as error:
        return f"{error.args} {mine().uncancel()}"
    return "not cancelled"


async def cancel_it_and_wait_for_a_child() -> str:
    child = asyncio.get_running_loop().create_task(asyncio.sleep(10))
    mine().cancel()
    try:
        await child
    except asyncio.CancelledError:
        mine().uncancel()
    return f"child cancelled: {child.cancelled()}"


async def be_cancelled_by_a_child() -> str:
    parent = mine()

    async def strike() -> None:
        parent.cancel()

    striking = asyncio.get_running_loop().create_task(strike())
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return f"{striking.done()} {parent.uncancel()}"
    return "not cancelled"


async def run_out_of_time() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)
    except TimeoutError:
        return f"too late, {mine().cancelling()}"
    return "in time"


async def fail_in_a_group() -> str:
    async def fail() -> None:
        raise LookupError("child")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(10)
    except ExceptionGroup as group_error:
        return str(group_error.exceptions[0])
    return "no failure"


async def wait_for_a_future_that_fails() -> str:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, LookupError("late"))
    try:
        await future
    except LookupError as error:
        return str(error)
    return "no failure"


async def wait_for_itself() -> str:
    try:
        await mine()
    except RuntimeError as error:
        return str(error)[:27]
    return "no error"


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def keep_a_variable_over_a_wait() -> str:
    before = variable.get()
    variable.set("set")
    await asyncio.sleep(0)
    return f"{before} {variable.get()}"


async def return_an_awaitable() -> Any:
    return asyncio.sleep(0, "awaited")


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (tell_its_name, "True True"),
        (rename_it, "mine"),
        (tell_its_loop, "true"),
        (look_at_it, "True True False False"),
        (look_at_it_after_a_wait, "True True True 0"),
        (cancel_it_and_wait, "('enough',) 0"),
        (cancel_it_and_wait_for_a_child, "child cancelled: True"),
        (be_cancelled_by_a_child, "True 0"),
        (run_out_of_time, "too late, 0"),
        (fail_in_a_group, "child"),
        (wait_for_a_future_that_fails, "late"),
        (wait_for_itself, "Task cannot await on itself"),
        (keep_a_variable_over_a_wait, "unset set"),
        (return_an_awaitable, "awaited"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_handler_in_its_task(handler: Handler, answer: str) -> None:
    app = App()
    app.add_route("/", handler)
    async with working(app) as worker:
        line = await worker.connect()
        for _ in range(3):
            assert (await line.get()).body == answer.encode()
        line.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        for _ in range(3):
            assert (await line.answer()).body == answer.encode()


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("asks", [False, True], ids=["kept", "asked"])
async def test_a_task_that_somebody_keeps_ends(waits: bool, fails: bool, asks: bool) -> None:
    app = App()
    kept: list[asyncio.Task[Any]] = []
    called: list[asyncio.Task[Any]] = []

    @app.get("/")
    async def index() -> str:
        kept.append(mine())
        if asks:
            mine().add_done_callback(called.append)
        if waits:
            await asyncio.sleep(0)
        if fails:
            raise LookupError("no")
        return "yes"

    async with working(app) as worker:
        line = await worker.connect()
        statuses = {(await line.get()).status for _ in range(3)}
        assert statuses == {500 if fails else 200}
    await asyncio.sleep(0)
    assert len(set(kept)) == 3 if asks or not waits else kept
    assert all(task.done() and not task.cancelled() for task in kept)
    assert called == (kept if asks else [])


async def test_a_task_is_nobody_elses() -> None:
    app = App()
    states: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()

    @app.get("/")
    async def index() -> str:
        seen = states.get(mine(), "new")
        states[mine()] = "old"
        return f"{seen} {hasattr(mine(), 'mark')}" if not setattr(mine(), "mark", 1) else ""

    async with working(app) as worker:
        lines = [await worker.connect() for _ in range(2)]
        assert {(await line.get()).body for line in lines} == {b"new True"}


async def test_a_child_may_wait_for_the_handler_that_made_it() -> None:
    app = App()
    heard: list[bool] = []

    async def listen(parent: "asyncio.Task[Any]") -> None:
        await asyncio.wait([parent])
        heard.append(parent.done())

    @app.get("/")
    async def index() -> str:
        children.append(asyncio.get_running_loop().create_task(listen(mine())))
        if sys.version_info >= (3, 12):
            eager = asyncio.Task(listen(mine()), loop=asyncio.get_running_loop(), eager_start=True)
            children.append(eager)
        return "hi"

    children: list[asyncio.Task[None]] = []
    async with working(app) as worker:
        assert (await (await worker.connect()).get()).body == b"hi"
    await asyncio.gather(*children)
    assert heard == [True] * len(children)


async def test_a_handler_that_asks_for_its_task_may_fail() -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        raise LookupError(mine().get_name())

    async with working(app) as worker:
        line = await worker.connect()
        assert (await line.get()).status == 500
        assert (await line.get()).status == 500
