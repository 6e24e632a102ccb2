"""Bands, hooks and wraps: the order things happen in, and what costs nothing."""

import inspect
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import (
    CORS,
    GUARDS,
    IDENTIFY,
    OBSERVE,
    PROTECT,
    QUOTA,
    SHAPE,
    SHORTCUT,
    USER,
    Middleware,
    MiddlewareStack,
)
from cello.routing.route import Route
from tests.pipeline.conftest import Client, field, make_dispatcher, make_route, text

BANDS = [OBSERVE, CORS, PROTECT, IDENTIFY, GUARDS, QUOTA, SHORTCUT, SHAPE, USER]


class Trail(Middleware):
    def __init__(self, trail: list[str], name: str, band: int = USER) -> None:
        self.trail, self.name, self.band = trail, name, band

    def before(self, request: Request) -> None:
        self.trail.append(f"+{self.name}")

    def after(self, request: Request, response: Response) -> None:
        self.trail.append(f"-{self.name}")


def test_the_order_follows_from_the_bands_not_from_the_calls(client: Client) -> None:
    trail: list[str] = []
    stack = MiddlewareStack()
    for band in reversed(BANDS):
        stack.use(Trail(trail, str(band), band))
    stack.use(Trail(trail, "second user"))
    stack.use(Trail(trail, "moved"), band=CORS)
    client.ask(make_dispatcher(make_route("GET", "/", lambda request: "fine"), middleware=stack), Request("GET", "/"))
    inwards = ["10", "15", "moved", "20", "30", "35", "38", "40", "45", "50", "second user"]
    assert trail == [f"+{name}" for name in inwards] + [f"-{name}" for name in reversed(inwards)]


def test_guards_come_after_identification_and_before_quota(client: Client) -> None:
    trail: list[str] = []
    stack = MiddlewareStack()
    for band in (QUOTA, IDENTIFY):
        stack.use(Trail(trail, str(band), band))

    def guard(request: Request) -> None:
        trail.append("guard")

    route = make_route("GET", "/", lambda request: "fine", guards=[guard])
    client.ask(make_dispatcher(route, middleware=stack), Request("GET", "/"))
    assert trail == ["+30", "guard", "+38", "-38", "-30"]


@pytest.mark.parametrize(("path", "method"), [("/unknown", "GET"), ("/", "PUT"), ("/", "OPTIONS"), ("/%ff", "GET")])
def test_what_has_no_route_is_surrounded_by_all_but_what_belongs_to_routes(
    client: Client, path: str, method: str
) -> None:
    trail: list[str] = []
    stack = MiddlewareStack()
    for band in BANDS:
        stack.use(Trail(trail, str(band), band))
    client.ask(make_dispatcher(make_route("GET", "/", lambda r: ""), middleware=stack), Request(method, path))
    assert [step for step in trail if step[0] == "+"] == ["+10", "+15", "+20", "+30", "+45", "+50"]


def test_a_middleware_may_choose_its_routes(client: Client) -> None:
    asked: list[Any] = []

    class Choosy(Trail):
        def applies_to(self, route: Route | None) -> bool:
            asked.append(route)
            return route is not None and route.options.summary == "yes"

    trail: list[str] = []
    stack = MiddlewareStack()
    stack.use(Choosy(trail, "it", OBSERVE))
    routes = [make_route("GET", "/a", lambda r: "", summary="yes"), make_route("GET", "/b", lambda r: "")]
    dispatcher = make_dispatcher(*routes, middleware=stack)
    for path in ("/a", "/b", "/c"):
        client.ask(dispatcher, Request("GET", path))
    assert trail == ["+it", "-it"]
    assert asked[:2] == routes
    assert set(asked[2:]) == {None}


def test_hooks_that_are_not_overridden_are_not_in_the_plan() -> None:
    class Idle(Middleware):
        pass

    class OnlyBefore(Middleware):
        def before(self, request: Request) -> None: ...

    stack = MiddlewareStack()
    stack.use(Idle())
    stack.use(OnlyBefore())
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: ""), middleware=stack)
    plan = dispatcher.plan_for(Request("GET", "/"))
    assert len(plan.before) == 1
    assert plan.after == ((), (), ())
    assert plan.on_error == ((), (), ())
    assert not plan.is_async


def test_the_base_hooks_do_nothing() -> None:
    middleware, request = Middleware(), Request("GET", "/")
    assert middleware.applies_to(None)
    assert middleware.before(request) is None
    assert middleware.after(request, Response()) is None
    assert middleware.on_error(request, ValueError()) is None
    assert middleware.wrap(print) is print


def test_wraps_surround_the_handler_in_band_order_and_see_responses(client: Client, colour: str) -> None:
    trail: list[str] = []

    class Wrap(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def wrap(self, handler: Any) -> Any:
            trail.append(f"compiled {self.name}")
            if inspect.iscoroutinefunction(handler):

                async def around_async(request: Request) -> Response:
                    response: Response = await handler(request)
                    response.append_header("X-Trail", self.name)
                    return response

                return around_async

            def around(request: Request) -> Response:
                response: Response = handler(request)
                response.append_header("X-Trail", self.name)
                return response

            return around

    def handler(request: Request) -> str:
        return "fine"

    async def async_handler(request: Request) -> str:
        return "fine"

    stack = MiddlewareStack()
    stack.use(Wrap("outer"))
    stack.use(Wrap("inner"))
    route = make_route("GET", "/", handler if colour == "def" else async_handler)
    dispatcher = make_dispatcher(route, middleware=stack)
    assert trail[:2] == ["compiled inner", "compiled outer"]
    trail.clear()
    response = client.ask(dispatcher, Request("GET", "/"))
    assert (text(response), field(response, "X-Trail")) == ("fine", "inner, outer")
    assert trail == []


def test_a_wrap_that_returns_no_handler_is_refused() -> None:
    class Broken(Middleware):
        def wrap(self, handler: Any) -> Any:
            return None

    stack = MiddlewareStack()
    stack.use(Broken())
    with pytest.raises(ConfigError, match=r"Broken.wrap must return a handler, not None"):
        make_dispatcher(make_route("GET", "/", lambda request: ""), middleware=stack)


def test_functions_serve_as_hooks(client: Client) -> None:
    stack = MiddlewareStack()

    def refuse(request: Request) -> Any:
        return ("stop", 403) if request.query.get("stop") else None

    async def stamp(request: Request, response: Response) -> None:
        response.set_header("X-Stamp", "yes")

    stack.before_request(refuse)
    stack.after_request(stamp)
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: "fine"), middleware=stack)
    for path, status in (("/", 200), ("/?stop=1", 403)):
        response = client.ask(dispatcher, Request("GET", path))
        assert (response.status, field(response, "X-Stamp")) == (status, "yes")


@pytest.mark.parametrize(
    ("middleware", "words"),
    [
        (Trail, r"must be an instance: Trail\(…\), not the class itself"),
        (object(), "is no middleware: it has none of before, after, on_error, wrap"),
        ("text", "'text' is no middleware"),
    ],
)
def test_what_is_no_middleware_is_refused(middleware: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MiddlewareStack().use(middleware)


def test_a_hook_that_cannot_be_called_is_refused() -> None:
    stack = MiddlewareStack()
    for register in (stack.before_request, stack.after_request):
        with pytest.raises(ConfigError, match="a hook must be callable, not 'text'"):
            register("text")  # type: ignore[arg-type]  # that is the point
