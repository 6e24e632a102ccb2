"""One table of cases for all runners: whatever the way, the same steps in the same order give the same answer."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cello.errors import HTTPError, NotFound
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import Unfinished
from cello.pipeline.middleware import MiddlewareStack
from tests.pipeline.conftest import Client, document, field, make_dispatcher, make_route, text

Log = list[str]
COLOURS = ["def", "async", "disguised"]


def coloured(colour: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as it is, as `async def`, or as a plain function that hands out a coroutine."""

    async def async_function(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    if colour == "def":
        return function
    return async_function if colour == "async" else lambda *args: async_function(*args)


class Recorder:
    """A middleware that writes down what happens to it, and answers or raises where it is told to."""

    def __init__(self, name: str, log: Log, colour: str, **does: Any) -> None:
        self.name, self.log, self.does = name, log, does
        self.before = coloured(colour, self._before)
        self.after = coloured(colour, self._after)
        self.on_error = coloured(colour, self._on_error)

    def _act(self, hook: str) -> Any:
        self.log.append(f"{self.name}.{hook}")
        action = self.does.get(hook)
        if isinstance(action, Exception):
            raise action
        return action

    def _before(self, request: Request) -> Any:
        return self._act("before")

    def _after(self, request: Request, response: Response) -> Any:
        return self._act("after")

    def _on_error(self, request: Request, error: Exception) -> Any:
        return self._act("on_error")


ALL = ["a.before", "b.before", "handler", "b.after", "a.after"]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Any, tuple[int, str], list[str]]] = {
    # what a does, what b does, what the handler does, status and body, the log
    "the straight way": ({}, {}, "fine", (200, "fine"), ALL),
    "an early answer": ({"before": "early"}, {}, "fine", (200, "early"), ["a.before", "a.after"]),
    "an early answer further in": (
        {}, {"before": ("early", 203)}, "fine", (203, "early"), ["a.before", "b.before", "b.after", "a.after"],
    ),
    "before raises": (
        {}, {"before": NotFound("no")}, "fine", (404, "no"),
        ["a.before", "b.before", "b.on_error", "a.on_error", "b.after", "a.after"],
    ),
    "the outermost before raises": (
        {"before": NotFound("no")}, {}, "fine", (404, "no"), ["a.before", "a.on_error", "a.after"],
    ),
    "the handler raises": (
        {}, {}, NotFound("gone"), (404, "gone"),
        ["a.before", "b.before", "handler", "b.on_error", "a.on_error", "b.after", "a.after"],
    ),
    "on_error answers": (
        {}, {"on_error": "saved"}, NotFound("gone"), (200, "saved"),
        ["a.before", "b.before", "handler", "b.on_error", "b.after", "a.after"],
    ),
    "on_error raises": (
        {}, {"on_error": HTTPError(418, "tea")}, NotFound("gone"), (418, "tea"),
        ["a.before", "b.before", "handler", "b.on_error", "a.on_error", "b.after", "a.after"],
    ),
    "after replaces": ({"after": "outer"}, {"after": "inner"}, "fine", (200, "outer"), ALL),
    "after raises": (
        {}, {"after": HTTPError(418, "tea")}, "fine", (418, "tea"),
        ["a.before", "b.before", "handler", "b.after", "a.on_error", "a.after"],
    ),
    "the outermost after raises": ({"after": HTTPError(418, "tea")}, {}, "fine", (418, "tea"), ALL),
    "every after raises": (
        {"after": HTTPError(418, "tea")}, {"after": NotFound("no")}, "fine", (418, "tea"),
        ["a.before", "b.before", "handler", "b.after", "a.on_error", "a.after"],
    ),
    "a value that is no answer": (
        {}, {}, object(), (500, "Internal Server Error"),
        ["a.before", "b.before", "handler", "b.on_error", "a.on_error", "b.after", "a.after"],
    ),
    "an early value that is no answer": (
        {"before": object()}, {}, "fine", (500, "Internal Server Error"), ["a.before", "a.on_error", "a.after"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("handler_colour", COLOURS)
@pytest.mark.parametrize("outer_colour", COLOURS)
@pytest.mark.parametrize("inner_colour", COLOURS)
@pytest.mark.parametrize("case", CASES)
def test_every_way_takes_the_same_steps(
    client: Client, case: str, inner_colour: str, outer_colour: str, handler_colour: str
) -> None:
    first, second, result, (status, body), steps = CASES[case]
    log: Log = []

    def act(request: Request) -> Any:
        log.append("handler")
        if isinstance(result, Exception):
            raise result
        return result

    stack = MiddlewareStack()
    stack.use(Recorder("a", log, outer_colour, **first))
    stack.use(Recorder("b", log, inner_colour, **second))
    dispatcher = make_dispatcher(make_route("GET", "/", coloured(handler_colour, act)), middleware=stack)

    response = client.ask(dispatcher, Request("GET", "/"))

    assert log == steps
    assert response.status == status
    assert (document(response)["error"] if status >= 400 else text(response)) == body
    assert field(response, "Content-Length") == str(len(response.payload))  # type: ignore[arg-type]  # bytes: it is settled


@pytest.mark.parametrize("colour", COLOURS)
def test_an_answer_is_settled_for_head(client: Client, colour: str) -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", coloured(colour, lambda request: "four")))
    response = client.ask(dispatcher, Request("HEAD", "/"))
    assert response.payload == b""
    assert field(response, "Content-Length") == "4"


def test_a_plain_function_that_hands_out_a_coroutine_is_planned_anew_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: Request) -> str:
        return "awaited"

    def handler(request: Request) -> Any:
        return answer(request)

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    request = Request("GET", "/")
    plan = dispatcher.plan_for(request)
    assert not plan.is_async

    with caplog.at_level(logging.WARNING), pytest.raises(Unfinished) as unfinished:
        dispatcher.answer(plan, request)
    assert text(asyncio.run(unfinished.value.rest)) == "awaited"

    assert plan.is_async
    for _ in range(2):
        assert text(asyncio.run(dispatcher.answer_async(plan, Request("GET", "/")))) == "awaited"
    assert [record.message for record in caplog.records] == [
        f"{__name__}.{handler.__qualname__} is a plain function but returned an awaitable: planned as async"
    ]


def test_a_plain_function_that_hands_out_a_coroutine_now_and_then_keeps_working(client: Client) -> None:
    async def answer() -> str:
        return "awaited"

    def handler(request: Request) -> Any:
        return answer() if request.query.get("slow") else "at once"

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    answers = []
    for path in ("/?slow=1", "/", "/?slow=1"):
        if client.way == "plain" and dispatcher.plan_for(Request("GET", path)).is_async:
            client.way = "loop"
        answers.append(text(client.ask(dispatcher, Request("GET", path))))
    assert answers == ["awaited", "at once", "awaited"]


def test_an_awaitable_inside_an_awaitable_is_an_error(client: Client) -> None:
    async def inner() -> str:
        return "never"

    async def handler(request: Request) -> Any:
        made = inner()
        made.close()
        return made

    assert client.ask(make_dispatcher(make_route("GET", "/", handler)), Request("GET", "/")).status == 500


@pytest.mark.parametrize("outcome", ["kept", "replaced", "raised"])
def test_a_plain_after_hook_that_hands_out_a_coroutine_is_awaited(client: Client, outcome: str) -> None:
    async def amend(response: Response) -> Any:
        response.set_header("X-Inner", "yes")
        if outcome == "raised":
            raise NotFound("gone")
        return "replaced" if outcome == "replaced" else None

    stack = MiddlewareStack()
    stack.after_request(lambda request, response: response.set_header("X-Outer", "yes"))
    stack.after_request(lambda request, response: amend(response))
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: "fine"), middleware=stack)
    for _ in range(2):
        response = client.ask(dispatcher, Request("GET", "/"))
        assert response.status == (404 if outcome == "raised" else 200)
        assert field(response, "X-Outer") == "yes"
        if outcome != "raised":
            assert text(response) == ("replaced" if outcome == "replaced" else "fine")


def test_every_request_has_a_context_of_its_own(client: Client) -> None:
    seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")

    def before(request: Request) -> None:
        request.context["found"] = seen.get()
        seen.set("something")

    def handler(request: Request) -> list[str]:
        return [request.context["found"], seen.get()]

    stack = MiddlewareStack()
    stack.before_request(before)
    dispatcher = make_dispatcher(make_route("GET", "/", handler), middleware=stack)
    for _ in range(2):
        assert document(client.ask(dispatcher, Request("GET", "/"))) == ["nothing", "something"]


def test_what_was_set_before_a_surprise_is_still_set_behind_it(client: Client) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    async def answer() -> str:
        return user.get()

    stack = MiddlewareStack()
    stack.before_request(lambda request: user.set("ada") and None)
    stack.after_request(lambda request, response: response.set_header("X-User", user.get()))
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: answer()), middleware=stack)
    response = client.ask(dispatcher, Request("GET", "/"))
    assert (text(response), field(response, "X-User")) == ("ada", "ada")


def test_an_async_handler_finds_its_task_and_sees_what_a_plain_hook_set(client: Client) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    async def handler(request: Request) -> list[Any]:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return [user.get(), asyncio.current_task() is not None]

    def after(request: Request, response: Response) -> None:
        response.set_header("X-User", user.get())

    stack = MiddlewareStack()
    stack.before_request(lambda request: user.set("ada") and None)
    stack.after_request(after)
    dispatcher = make_dispatcher(make_route("GET", "/", handler), middleware=stack)
    response = client.ask(dispatcher, Request("GET", "/"))
    assert document(response) == ["ada", True]
    assert field(response, "X-User") == "ada"


def test_the_portal_runs_plain_steps_on_the_calling_thread_and_adjacent_async_steps_in_one_trip(portal: Any) -> None:
    trips: list[int] = []
    threads: dict[str, int] = {}

    class Counting:
        def run(self, awaitable: Any) -> Any:
            trips.append(1)
            return portal.run(awaitable)

    def note(name: str) -> None:
        threads[name] = threading.get_ident()

    async def awaited(request: Request) -> None:
        note("before")

    async def handler(request: Request) -> str:
        note("handler")
        return "fine"

    async def amended(request: Request, response: Response) -> None:
        note("after")

    stack = MiddlewareStack()
    stack.before_request(lambda request: note("plain before"))
    stack.before_request(awaited)
    stack.after_request(lambda request, response: note("plain after"))
    stack.after_request(amended)
    dispatcher = make_dispatcher(make_route("GET", "/", handler), middleware=stack)
    request = Request("GET", "/")
    response = dispatcher.answer_portal(dispatcher.plan_for(request), request, Counting())

    assert text(response) == "fine"
    assert len(trips) == 1
    here = threading.get_ident()
    assert {name for name, thread in threads.items() if thread == here} == {"plain before", "plain after"}


def test_a_handler_that_takes_too_long_is_cancelled_and_answered_503(client: Client) -> None:
    ended: list[str] = []

    async def handler(request: Request) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return "never"

    stack = MiddlewareStack()
    stack.after_request(lambda request, response: response.set_header("X-After", "yes"))
    dispatcher = make_dispatcher(make_route("GET", "/", handler, timeout=0.01), middleware=stack)
    response = client.ask(dispatcher, Request("GET", "/"))
    assert response.status == 503
    assert field(response, "X-After") == "yes"
    assert ended == ["cancelled"]


def test_a_handler_that_swallows_its_cancellation_still_answers() -> None:
    async def handler(request: Request) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "never"

    async def main() -> tuple[str, int]:
        dispatcher = make_dispatcher(make_route("GET", "/", handler, timeout=0.01))
        request = Request("GET", "/")
        response = await dispatcher.answer_async(dispatcher.plan_for(request), request)
        task = asyncio.current_task()
        assert task is not None
        return text(response), task.cancelling()

    assert asyncio.run(main()) == ("late", 0)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_cancelled_request_tells_its_hooks_and_cleans_up_and_stays_cancelled(colour: str) -> None:
    from cello.pipeline.params import Depends

    log: list[str] = []
    began = asyncio.Event()

    def resource() -> Any:
        try:
            yield "it"
        except BaseException as error:
            log.append(f"clean-up sees {type(error).__name__}")
            raise

    async def handler(request: Request, it: str = Depends(resource)) -> None:
        began.set()
        await asyncio.Event().wait()

    class Observer:
        def __init__(self) -> None:
            self.on_error = coloured(colour, self._note)

        def _note(self, request: Request, error: BaseException) -> str:
            log.append(f"hook sees {type(error).__name__}")
            return "nobody reads this"

    stack = MiddlewareStack()
    stack.use(Observer())
    dispatcher = make_dispatcher(make_route("GET", "/", handler), middleware=stack)

    async def main() -> None:
        request = Request("GET", "/")
        task = asyncio.create_task(dispatcher.answer_async(dispatcher.plan_for(request), request))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not dispatcher.needs_finish(request, None)

    asyncio.run(main())
    assert log == ["hook sees CancelledError", "clean-up sees CancelledError"]


def test_a_hook_that_raises_for_a_cancelled_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    began = asyncio.Event()

    async def handler(request: Request) -> None:
        began.set()
        await asyncio.Event().wait()

    class Broken:
        def on_error(self, request: Request, error: BaseException) -> None:
            raise RuntimeError("broken hook")

    stack = MiddlewareStack()
    stack.use(Broken())
    dispatcher = make_dispatcher(make_route("GET", "/", handler), middleware=stack)

    async def main() -> None:
        request = Request("GET", "/")
        task = asyncio.create_task(dispatcher.answer_async(dispatcher.plan_for(request), request))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert "on_error of a cancelled request raised" in caplog.text


def test_an_answer_that_cannot_be_settled_becomes_the_answer_to_its_error(client: Client) -> None:
    class Unsendable(Response):
        def settle(self, request: Request) -> None:
            raise ValueError("cannot be sent")

    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: Unsendable("no")))
    assert client.ask(dispatcher, Request("GET", "/")).status == 500


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_no_answer(stop: type[BaseException]) -> None:
    def handler(request: Request) -> None:
        raise stop

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    request = Request("GET", "/")
    with pytest.raises(stop):
        dispatcher.answer(dispatcher.plan_for(request), request)
