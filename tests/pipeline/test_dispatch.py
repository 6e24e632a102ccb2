"""The dispatcher: from a request to its plan, and the answers that need no route."""

import asyncio
import threading
from typing import Any

import pytest

from cello.config import LimitsConfig, ThreadPoolConfig, TimeoutConfig
from cello.errors import BadRequest, ConfigError, HTTPError, ProtocolError, RouteError
from cello.http.background import BackgroundTasks
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import Unfinished
from cello.pipeline.middleware import CORS, OBSERVE, PROTECT, Middleware, MiddlewareStack
from cello.pipeline.params import Depends
from tests.pipeline.conftest import Client, document, field, make_dispatcher, make_route, text


def echo(request: Request) -> dict[str, Any]:
    return {"method": request.method, "params": request.params, "route": request.route and request.route.template}


def test_a_request_learns_its_app_route_and_parameters(client: Client) -> None:
    app = object()
    seen: list[Any] = []

    def handler(request: Request) -> dict[str, Any]:
        seen.append(request.app)
        return echo(request)

    dispatcher = make_dispatcher(make_route("GET", "/users/{id}", handler), app=app)
    answer = document(client.ask(dispatcher, Request("GET", "/users/a%2Fb")))
    assert answer == {"method": "GET", "params": {"id": "a/b"}, "route": "/users/{id}"}
    assert seen == [app]


ROUTELESS = [
    ("GET", "/unknown", 404, None),
    ("GET", "/users/", 404, None),
    ("POST", "/users", 405, "GET, HEAD, OPTIONS"),
    ("BREW", "/users", 405, "GET, HEAD, OPTIONS"),
    ("GET", "/only-post", 405, "OPTIONS, POST"),
    ("OPTIONS", "/users", 204, "GET, HEAD, OPTIONS"),
    ("OPTIONS", "/only-post", 204, "OPTIONS, POST"),
    ("OPTIONS", "/unknown", 404, None),
    ("OPTIONS", "*", 204, "GET, HEAD, OPTIONS, POST"),
    ("GET", "/%ff", 400, None),
    ("GET", "/%zz", 400, None),
    ("HEAD", "/users", 200, None),
]


@pytest.mark.parametrize(("method", "path", "status", "allow"), ROUTELESS)
def test_what_has_no_route_is_answered_by_the_rules(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    dispatcher = make_dispatcher(make_route("GET", "/users", echo), make_route("POST", "/only-post", echo))
    request = Request(method, path)
    request.raw_path = path
    response = client.ask(dispatcher, request)
    assert (response.status, field(response, "Allow")) == (status, allow)
    if status in (400, 404, 405):
        assert document(response)["status"] == status


def test_an_explicit_options_route_wins(client: Client) -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", echo), make_route("OPTIONS", "/", lambda request: "mine"))
    assert text(client.ask(dispatcher, Request("OPTIONS", "/"))) == "mine"


def test_a_plan_carries_the_limits_of_its_route() -> None:
    async def handler(request: Request) -> None: ...

    routes = [
        make_route("GET", "/own", handler, timeout=3, max_body_size=7, stream=True, cancel_on_disconnect=True),
        make_route("GET", "/default", handler),
        make_route("GET", "/stream", handler, stream=True),
    ]
    limits, timeouts = LimitsConfig(max_body_size=99), TimeoutConfig(handler=12)
    dispatcher = make_dispatcher(*routes, limits=limits, timeouts=timeouts)
    own, default, stream = (dispatcher.plan_for(Request("GET", path)) for path in ("/own", "/default", "/stream"))
    assert (own.timeout_s, own.body_limit_bytes, own.streams, own.cancel_on_disconnect) == (3, 7, True, True)
    assert (default.timeout_s, default.body_limit_bytes, default.streams) == (12, 99, False)
    assert (stream.timeout_s, stream.streams) == (None, True)
    assert repr(own).startswith("<Plan (")


@pytest.mark.parametrize("blocking", [True, False])
def test_blocking_decides_where_a_plain_handler_runs(blocking: bool) -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", echo, blocking=blocking), threadpool=ThreadPoolConfig(size=1))
    assert dispatcher.plan_for(Request("GET", "/")).offload.on_thread is blocking
    assert dispatcher.threads.size == 1


def test_blocking_says_nothing_about_an_async_handler() -> None:
    async def handler(request: Request) -> None: ...

    with pytest.raises(ConfigError, match=r"blocking= is for def handlers; .*handler is async"):
        make_dispatcher(make_route("GET", "/", handler, blocking=True))


def test_routes_cannot_be_added_any_more() -> None:
    from cello.pipeline.dispatch import Dispatcher
    from cello.routing.router import Router

    router = Router()
    Dispatcher(app=None, router=router)
    with pytest.raises(RouteError):
        router.add(make_route("GET", "/", echo))


# Refusals ------------------------------------------------------------------------------------------------------------


class Stamp(Middleware):
    def __init__(self, band: int, log: list[str]) -> None:
        self.band, self.log = band, log

    def before(self, request: Request) -> None:
        self.log.append(f"before {self.band}")

    def after(self, request: Request, response: Response) -> None:
        self.log.append(f"after {self.band} {response.status}")
        response.set_header(f"X-{self.band}", "yes")


@pytest.mark.parametrize("request_", [Request("GET", "/"), None], ids=["with a request", "without"])
@pytest.mark.parametrize("error", [ProtocolError("bad", status=431), HTTPError(431, "bad")])
def test_a_refusal_is_seen_by_observers_and_cors_only(error: Any, request_: Request | None) -> None:
    log: list[str] = []
    stack = MiddlewareStack()
    for band in (OBSERVE, CORS, PROTECT):
        stack.use(Stamp(band, log))
    response = make_dispatcher(middleware=stack).refuse(error, request_)
    assert (response.status, document(response)["detail"]) == (431, "bad")
    assert log == ["before 10", "before 15", "after 15 431", "after 10 431"]
    assert field(response, "X-15") == "yes"
    assert field(response, "Content-Length") is not None


def test_a_refusal_can_be_answered_by_the_application() -> None:
    handlers = {HTTPError: lambda request, error: ("mine", error.status)}
    assert text(make_dispatcher(exception_handlers=handlers).refuse(HTTPError(413))) == "mine"


def test_a_refusal_goes_on_without_what_is_async() -> None:
    class Asynchronous(Middleware):
        band = OBSERVE

        async def before(self, request: Request) -> None: ...

        async def after(self, request: Request, response: Response) -> None: ...

    async def handle(request: Request, error: HTTPError) -> str:
        return "never"

    stack = MiddlewareStack()
    stack.use(Asynchronous())
    assert make_dispatcher(middleware=stack).refuse(HTTPError(413)).status == 413
    assert make_dispatcher(exception_handlers={413: handle}).refuse(HTTPError(413)).status == 413


def test_an_observer_that_hands_out_a_coroutine_or_raises_does_not_keep_a_refusal_back() -> None:
    async def later() -> None: ...

    class Disguised(Middleware):
        band = OBSERVE

        def before(self, request: Request) -> Any:
            return later()

    class Broken(Middleware):
        band = OBSERVE

        def before(self, request: Request) -> None:
            raise RuntimeError("broken")

    for middleware, status in ((Disguised(), 413), (Broken(), 500)):
        stack = MiddlewareStack()
        stack.use(middleware)
        assert make_dispatcher(middleware=stack).refuse(HTTPError(413)).status == status


# Mounts --------------------------------------------------------------------------------------------------------------


class Mounted:
    prefix = "/old"

    def __init__(self, colour: str) -> None:
        async def handle_async(request: Request) -> str:
            return "old"

        self.handler = handle_async if colour == "async" else lambda request: "old"

    def matches(self, raw_path: str) -> bool:
        return raw_path.startswith("/old")


def test_a_mount_comes_before_routes_with_observers_and_cors_only(client: Client, colour: str) -> None:
    log: list[str] = []
    stack = MiddlewareStack()
    for band in (OBSERVE, PROTECT):
        stack.use(Stamp(band, log))
    dispatcher = make_dispatcher(
        make_route("GET", "/old/{x}", echo), make_route("GET", "/new", lambda r: "new"),
        middleware=stack, mounts=[Mounted(colour)], guards=[lambda request: False],
    )  # fmt: skip
    request = Request("GET", "/old/x")
    plan = dispatcher.plan_for(request)
    assert (plan.streams, plan.timeout_s, plan.is_async) == (True, None, colour == "async")
    assert plan.offload.on_thread or plan.is_async
    assert text(client.ask(dispatcher, request)) == "old"
    assert log == ["before 10", "after 10 200"]
    assert client.ask(dispatcher, Request("GET", "/new")).status == 403


# Explanations --------------------------------------------------------------------------------------------------------


def test_a_plan_can_be_explained() -> None:
    class Traced(Stamp):
        async def on_error(self, request: Request, error: BaseException) -> None: ...

        def wrap(self, handler: Any) -> Any:
            return handler

    stack = MiddlewareStack()
    stack.use(Traced(OBSERVE, []))
    stack.before_request(echo)
    route = make_route("GET", "/users/{id}", echo, guards=[is_author], timeout=3, max_body_size=10)
    lines = make_dispatcher(route, middleware=stack).explain("GET", "/users/7").splitlines()
    assert lines == [
        "GET /users/7 → GET /users/{id} (test.py:1)",
        "async; body ≤ 10 bytes, time ≤ 3 s",
        "  10  before    test_a_plan_can_be_explained.<locals>.Traced.before",
        "  10  wrap      test_a_plan_can_be_explained.<locals>.Traced.wrap",
        "  35  before    guards: tests.pipeline.test_dispatch.is_author",
        "  50  before    tests.pipeline.test_dispatch.echo",
        "      handler   tests.pipeline.test_dispatch.echo",
        "  10  after     test_a_plan_can_be_explained.<locals>.Traced.after",
        "  10  on_error  test_a_plan_can_be_explained.<locals>.Traced.on_error (async)",
    ]


def is_author(request: Request) -> bool:
    return True


def test_what_has_no_route_can_be_explained_too() -> None:
    dispatcher = make_dispatcher(make_route("GET", "/stream", echo, stream=True, blocking=True))
    assert dispatcher.explain("GET", "/x").splitlines()[0] == "GET /x → no route"
    assert dispatcher.explain("GET", "/stream").splitlines()[1] == "def, on a thread; body ≤ 10485760 bytes, time ≤ ∞ s"


# Afterwards ----------------------------------------------------------------------------------------------------------


def test_background_tasks_run_after_the_answer_and_one_that_fails_does_not_keep_the_others_back(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    def plain(word: str, *, mark: str) -> None:
        log.append(word + mark)

    async def awaited(word: str) -> None:
        await asyncio.sleep(0)
        log.append(word)

    def broken() -> None:
        raise RuntimeError("broken task")

    async def broken_async() -> None:
        raise RuntimeError("broken task")

    def handler(request: Request) -> Response:
        response = Response("fine")
        response.background = BackgroundTasks()
        response.background.add_task(plain, "plain", mark="!")
        response.background.add_task(broken)
        response.background.add_task(awaited, "awaited")
        response.background.add_task(broken_async)
        response.background.add_task(lambda: awaited("disguised"))
        return response

    assert text(client.ask(make_dispatcher(make_route("GET", "/", handler)), Request("GET", "/"))) == "fine"
    assert log == ["plain!", "awaited", "disguised"]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["broken task"] * 2


def test_plain_background_tasks_run_on_worker_threads_of_a_loop() -> None:
    threads: list[int] = []

    def handler(request: Request) -> Response:
        response = Response("fine")
        response.background = BackgroundTasks()
        response.background.add_task(lambda: threads.append(threading.get_ident()))
        return response

    Client("loop", None).ask(make_dispatcher(make_route("GET", "/", handler)), Request("GET", "/"))  # type: ignore[arg-type]  # no portal is needed
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_clean_up_runs_where_its_route_runs(blocking: bool) -> None:
    threads: list[int] = []

    def resource() -> Any:
        yield 1
        threads.append(threading.get_ident())

    def handler(it: int = Depends(resource)) -> int:
        return it

    dispatcher = make_dispatcher(make_route("GET", "/", handler, blocking=blocking))

    async def main() -> None:
        request = Request("GET", "/")
        response = dispatcher.answer(dispatcher.plan_for(request), request)
        await dispatcher.finish_async(request, response)
        dispatcher.threads.shutdown()

    asyncio.run(main())
    assert (threads == [threading.get_ident()]) is not blocking


def test_without_a_response_there_may_still_be_clean_ups() -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", echo))
    request = Request("GET", "/")
    assert not dispatcher.needs_finish(request, None)
    dispatcher.finish(request, None)


def test_finishing_without_a_loop_hands_the_rest_over() -> None:
    async def task() -> None: ...

    response = Response()
    response.background = BackgroundTasks()
    response.background.add_task(task)
    dispatcher = make_dispatcher()
    with pytest.raises(Unfinished) as unfinished:
        dispatcher.finish(Request("GET", "/"), response)
    asyncio.run(unfinished.value.rest)


def test_an_undecodable_path_found_decodable_after_all_is_still_400() -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", echo))
    request = Request("GET", "/%ff")
    plan = dispatcher.plan_for(request)
    request.raw_path = "/"
    assert dispatcher.answer(plan, request).status == BadRequest.status
