"""`use`, `before_request`, `after_request` of the application, through every gateway, in both colours."""

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from cello import App, ConfigError, HTTPError, Middleware, Request, Response

Paint = Callable[[Callable[..., Any]], Callable[..., Any]]
Serve = Callable[..., Any]


def make_app(coloured: Paint, trail: list[str]) -> App:
    """Return an application whose hooks leave a trail."""
    app = App()

    class Outer(Middleware):
        @coloured
        def before(self, request: Request) -> Any:
            trail.append("outer before")
            return Response.text("early", 203) if request.query.get("early") == "outer" else None

        @coloured
        def after(self, request: Request, response: Response) -> None:
            trail.append(f"outer after {response.status}")
            response.set_header("X-Outer", request.context.get("seen", "nothing"))

        @coloured
        def on_error(self, request: Request, error: BaseException) -> Any:
            trail.append(f"outer error {type(error).__name__}")
            return Response.text("mended", 207) if isinstance(error, LookupError) else None

    app.use(Outer())

    @app.before_request
    @coloured
    def first(request: Request) -> Any:
        trail.append("first")
        request.context["seen"] = request.raw_path
        return ("early", 203) if request.query.get("early") == "first" else None

    @app.after_request
    @coloured
    def last(request: Request, response: Response) -> Any:
        trail.append(f"last {response.status}")
        return {"replaced": response.status} if "replace" in request.query else None

    @app.get("/")
    @coloured
    def home() -> str:
        trail.append("handler")
        return "home"

    @app.get("/stream")
    @coloured
    def stream() -> Any:
        yield "one"
        yield "two"

    @app.get("/raise/{kind}")
    @coloured
    def fail(kind: str) -> None:
        raise {"http": HTTPError(418, "tea"), "lookup": LookupError("x"), "value": ValueError("x")}[kind]

    return app


CASES = [
    pytest.param("GET", "/", 200, ["outer before", "first", "handler", "outer after 200", "last 200"], id="a route"),
    pytest.param("HEAD", "/", 200, ["outer before", "first", "handler", "outer after 200", "last 200"], id="HEAD"),
    pytest.param(
        "GET",
        "/nowhere",
        404,
        ["outer before", "first", "outer error NotFound", "outer after 404", "last 404"],
        id="404",
    ),
    pytest.param(
        "POST",
        "/",
        405,
        ["outer before", "first", "outer error MethodNotAllowed", "outer after 405", "last 405"],
        id="405",
    ),
    pytest.param("OPTIONS", "/", 204, ["outer before", "first", "outer after 204", "last 204"], id="OPTIONS"),
    pytest.param(
        "GET",
        "/%ff",
        400,
        ["outer before", "first", "outer error BadRequest", "outer after 400", "last 400"],
        id="a path of no text",
    ),
    pytest.param("GET", "/stream", 200, ["outer before", "first", "outer after 200", "last 200"], id="a stream"),
    pytest.param(
        "GET",
        "/raise/http",
        418,
        ["outer before", "first", "outer error HTTPError", "outer after 418", "last 418"],
        id="an HTTP error",
    ),
    pytest.param(
        "GET",
        "/raise/value",
        500,
        ["outer before", "first", "outer error ValueError", "outer after 500", "last 500"],
        id="an unexpected error",
    ),
    pytest.param(
        "GET",
        "/raise/lookup",
        207,
        ["outer before", "first", "outer error LookupError", "outer after 207", "last 207"],
        id="an error that a hook answers",
    ),
    pytest.param(
        "GET", "/?early=outer", 203, ["outer before", "outer after 203", "last 203"], id="an early answer outside"
    ),
    pytest.param(
        "GET", "/?early=first", 203, ["outer before", "first", "outer after 203", "last 203"], id="an early answer"
    ),
    pytest.param(
        "GET", "/nowhere?early=first", 203, ["outer before", "first", "outer after 203", "last 203"], id="for a 404 too"
    ),
]


@pytest.mark.parametrize(("method", "path", "status", "expected"), CASES)
def test_hooks_surround_everything(
    serve: Serve, coloured: Paint, method: str, path: str, status: int, expected: list[str]
) -> None:
    trail: list[str] = []
    with serve(make_app(coloured, trail)) as client:
        answer = client.request(method, path)
    assert answer.status == status
    assert trail == expected


def test_an_answer_can_be_changed_or_replaced(serve: Serve, coloured: Paint) -> None:
    with serve(make_app(coloured, [])) as client:
        kept, replaced, missing = client.get("/"), client.get("/?replace"), client.get("/nowhere?replace")
    assert (kept.text, kept.headers["x-outer"]) == ("home", "/")
    assert (replaced.status, replaced.json()) == (200, {"replaced": 200})
    assert (missing.status, missing.json()) == (200, {"replaced": 404})


def test_what_surrounds_runs_in_one_context(serve: Serve, coloured: Paint) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    class Around(Middleware):
        def before(self, request: Request) -> None:
            variable.set(request.path)

        def after(self, request: Request, response: Response) -> None:
            response.set_header("X-Variable", variable.get())

    app = App()
    app.use(Around())
    app.get("/{name}")(coloured(lambda name: variable.get()))
    with serve(app) as client:
        for path in ("/a", "/b"):
            answer = client.get(path)
            assert answer.text == answer.headers["x-variable"] == path


def test_a_wrap_truly_surrounds(serve: Serve, coloured: Paint, colour: str) -> None:
    class Doubled(Middleware):
        def wrap(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
            def plain(request: Request) -> Response:
                response: Response = handler(request)
                return Response.text(response.body().decode() * 2)

            async def coroutine(request: Request) -> Response:
                response: Response = await handler(request)
                return Response.text(response.body().decode() * 2)

            return plain if colour == "def" else coroutine

    app = App()
    app.use(Doubled())
    app.get("/")(coloured(lambda: "ab"))
    with serve(app) as client:
        assert client.get("/").text == "abab"


@pytest.mark.parametrize("hook", ["before_request", "after_request"])
def test_a_hook_that_fails_is_a_500_that_tells_nothing(
    serve: Serve, coloured: Paint, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    def fail(request: Request, response: Response | None = None) -> None:
        raise RuntimeError("a secret")

    def fail_before(request: Request) -> None:
        raise RuntimeError("a secret")

    getattr(app, hook)(coloured(fail_before if hook == "before_request" else fail))
    app.get("/")(coloured(lambda: "x"))
    with serve(app) as client:
        for path in ("/", "/nowhere"):
            answer = client.get(path)
            assert (answer.status, "secret" in answer.text) == (500, False)
    assert "a secret" in caplog.text


def test_hooks_stand_in_the_order_of_their_calls(serve: Serve, coloured: Paint) -> None:
    app = App()
    for name in ("a", "b"):

        @app.before_request
        @coloured
        def before(request: Request, name: str = name) -> None:
            request.context.setdefault("trail", []).append(name)

        @app.after_request
        @coloured
        def after(request: Request, response: Response, name: str = name) -> None:
            response.append_header("X-After", name)

    app.get("/")(coloured(lambda request: request.context["trail"]))
    with serve(app) as client:
        answer = client.get("/")
    assert (answer.json(), answer.headers["x-after"]) == (["a", "b"], "b, a")


def test_explain_prints_them_where_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app(lambda function: function, [])
    app.enable_cors()
    plan = app.explain("/")
    assert capsys.readouterr().out == f"{plan}\n"
    names = ["Cors.before", "Outer.before", "first", "home", "Outer.after", "last", "Cors.after"]
    places = [plan.index(name) for name in names]
    assert places == sorted(places)
    assert "first" in app.explain("/nowhere")
    assert "405" in app.explain("/", "POST")


def test_explain_says_what_a_request_meets(colour: str, coloured: Paint) -> None:
    app = App()
    app.add_guard(lambda request: True)
    app.get("/users/{id:int}", timeout=3)(coloured(lambda id: id))
    plan = app.explain("/users/7")
    assert "/users/{id:int}" in plan
    assert ("async" in plan) is (colour == "async")


def test_what_is_no_middleware_is_refused() -> None:
    app = App()
    with pytest.raises(ConfigError, match=r"must be an instance: Middleware\(…\)"):
        app.use(Middleware)
    with pytest.raises(ConfigError, match="is no middleware"):
        app.use(object())
    with pytest.raises(ConfigError, match="must be callable"):
        app.before_request(7)  # type: ignore[type-var]  # on purpose


@pytest.mark.parametrize("call", ["use", "before_request", "after_request"])
def test_too_late_is_said(call: str) -> None:
    app = App()
    app.freeze()
    with pytest.raises(ConfigError, match="comes too late"):
        getattr(app, call)(Middleware())
