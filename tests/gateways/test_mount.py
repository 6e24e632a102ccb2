# ruff: noqa: E501  # tables read best on one line
"""Other applications beside cello's routes, WSGI and ASGI, through every gateway."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from cello import App, ConfigError
from cello.gateways.mount import Mount, MountTable, check_prefix, detect_interface
from cello.gateways.mount_wsgi import BodyInput


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Tell what arrived; POST echoes."""
    if environ["REQUEST_METHOD"] == "POST":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return iter(functools.partial(environ["wsgi.input"].read, 1000), b"")
    told = [
        environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"],
        environ.get("HTTP_X_TEST", "-"),
    ]  # fmt: skip
    body = "|".join(told).encode("latin-1")
    start_response(
        "207 Many", [("Content-Type", "text/x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", str(len(body)))]
    )  # fmt: skip
    return [body] if environ["REQUEST_METHOD"] != "HEAD" else []


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    """Tell what arrived; POST echoes."""
    if scope["type"] != "http":
        raise NotImplementedError
    headers = dict(scope["headers"])
    if scope["method"] == "POST":
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/octet-stream")]}
        )
        while True:
            message = await receive()
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
            if not message["more_body"]:
                return await send({"type": "http.response.body", "body": b""})
    path = scope["path"].removeprefix(scope["root_path"])
    told = [
        scope["method"],
        scope["root_path"],
        path,
        scope["query_string"].decode(),
        headers.get(b"x-test", b"-").decode("latin-1"),
    ]
    body = "|".join(told).encode("utf-8")
    await send({
        "type": "http.response.start", "status": 207,
        "headers": [(b"content-type", b"text/x"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"%d" % len(body))],
    })  # fmt: skip
    return await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


FOREIGN = {"wsgi": wsgi_app, "asgi": asgi_app}


@pytest.fixture(params=FOREIGN)
def mounted(request: pytest.FixtureRequest) -> App:
    """An application with a foreign one at /old, beside routes of its own."""
    app = App()
    app.mount("/old", FOREIGN[request.param])
    app.get("/old/mine")(lambda: "never reached")
    app.get("/older")(lambda: "a route beside the mount")
    app.get("/")(lambda: "root")
    return app


TOLD = {
    "below the prefix": ("/old/a/b?x=1", "GET|/old|/a/b|x=1|-"),
    "the prefix itself": ("/old", "GET|/old|||-"),
    "the prefix with a slash": ("/old/", "GET|/old|/||-"),
    "before a route": ("/old/mine", "GET|/old|/mine||-"),
    "encoded": ("/old/a%20b", "GET|/old|/a b||-"),
    "an encoded prefix": ("/%6Fld/a", "GET|/old|/a||-"),
}


@pytest.mark.parametrize(("url", "told"), TOLD.values(), ids=TOLD)
def test_a_mount_answers_everything_below_its_prefix(
    mounted: App, serve: Callable[..., Any], url: str, told: str
) -> None:
    response = serve(mounted).get(url)
    assert (response.status_code, response.text) == (207, told)
    assert response.headers["content-length"] == str(len(told))
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_what_is_not_below_the_prefix_is_left_to_the_routes(mounted: App, serve: Callable[..., Any]) -> None:
    client = serve(mounted)
    assert client.get("/older").text == "a route beside the mount"
    assert client.get("/").text == "root"
    assert client.get("/olds").status_code == 404


def test_headers_and_methods_pass(mounted: App, serve: Callable[..., Any]) -> None:
    client = serve(mounted)
    assert client.request("PATCH", "/old/x", headers={"X-Test": "yes"}).text == "PATCH|/old|/x||yes"
    head = client.head("/old/x")
    assert (head.status_code, head.content, head.headers["content-length"]) == (207, b"", "15")


BODIES = {"a body": b"abc" * 1000, "a big body": b"x" * 3_000_000, "no body": b"", "chunks": [b"abc", b"def"]}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
def test_bodies_stream_both_ways(mounted: App, serve: Callable[..., Any], content: Any) -> None:
    response = serve(mounted).post("/old/echo", content=content)
    assert response.content == (content if isinstance(content, bytes) else b"".join(content))


def test_a_flask_app_is_mounted(serve: Callable[..., Any]) -> None:
    flask = pytest.importorskip("flask")
    old = flask.Flask("old")

    @old.post("/users/<name>")
    def user(name: str) -> Any:
        return {"name": name, "form": flask.request.form["a"], "url": flask.url_for("user", name="x")}

    app = App()
    app.mount("/old", old)
    response = serve(app).post("/old/users/ada", data={"a": "1"})
    assert response.json() == {"name": "ada", "form": "1", "url": "/old/users/x"}


def test_another_cello_app_is_mounted_with_its_life(serve: Callable[..., Any]) -> None:
    log: list[str] = []
    inner, outer = App(), App()
    inner.on_event("startup")(lambda: log.append("inner starts"))
    inner.on_event("shutdown")(lambda: log.append("inner stops"))
    inner.get("/hello/{name}")(lambda request: f"hello {request.params['name']}")
    outer.mount("/inner", inner)
    client = serve(outer)
    assert client.get("/inner/hello/ada").text == "hello ada"
    client.close()
    assert log == ["inner starts", "inner stops"]


def test_a_failing_lifespan_of_a_mount_fails_the_start() -> None:
    inner, outer = App(), App()

    @inner.on_event("startup")
    def fail() -> None:
        raise ConnectionError("no database")

    outer.mount("/inner", inner)
    with pytest.raises(Exception, match="no database"):
        asyncio.run(outer.lifecycle.startup())


def raising_wsgi(environ: Any, start_response: Any) -> Any:
    raise ValueError("spilt")


def silent_wsgi(environ: Any, start_response: Any) -> Any:
    return []


async def raising_asgi(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("spilt")


async def silent_asgi(scope: Any, receive: Any, send: Any) -> None:
    return None


@pytest.mark.parametrize("broken", [raising_wsgi, silent_wsgi, raising_asgi, silent_asgi])
def test_a_broken_mount_is_500(broken: Any, serve: Callable[..., Any]) -> None:
    app = App()
    app.mount("/old", broken)
    client = serve(app)
    assert client.get("/old/").status_code == 500
    assert client.get("/").status_code == 404


def test_a_wsgi_answer_may_start_late_and_use_write(serve: Callable[..., Any]) -> None:
    closed: list[str] = []

    class Body:
        def __init__(self, start_response: Any) -> None:
            self.start_response = start_response

        def __iter__(self) -> Iterator[bytes]:
            write = self.start_response("200 OK", [("Content-Type", "text/plain")])
            write(b"written ")
            yield b""
            yield b"yielded"

        def close(self) -> None:
            closed.append("closed")

    app = App()
    app.mount("/old", lambda environ, start_response: Body(start_response))
    client = serve(app)
    assert client.get("/old").text == "written yielded"
    client.close()
    assert closed == ["closed"]


def test_an_answer_replaced_before_its_body_began(serve: Callable[..., Any]) -> None:
    import sys

    def app_with_second_thoughts(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError("changed my mind")
        except ValueError:
            start_response("503 Busy", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"busy"]

    app = App()
    app.mount("/old", app_with_second_thoughts)
    response = serve(app).get("/old")
    assert (response.status_code, response.text) == (503, "busy")


def test_a_field_with_an_underscore_is_not_passed_to_wsgi(serve: Callable[..., Any]) -> None:
    app = App()
    app.mount("/old", wsgi_app)
    assert serve(app).get("/old", headers={"X_Test": "forged"}).text.endswith("|-")


PREFIXES = {
    "the root": "/", "nothing": "", "no slash": "old", "a parameter": "/{id}", "a wildcard": "/*x", "encoded": "/a%20b",
    "a query": "/a?b", "a double slash": "/a//b", "a blank": "/a b", "no text": None, "letters beyond ASCII": "/ä",
}  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_prefix_that_cannot_work_is_refused(prefix: Any) -> None:
    with pytest.raises(ConfigError):
        App().mount(prefix, wsgi_app)


def test_a_slash_at_the_end_of_a_prefix_means_nothing() -> None:
    assert check_prefix("/old/") == "/old"


def test_a_prefix_can_be_taken_only_once() -> None:
    app = App()
    app.mount("/old", wsgi_app)
    with pytest.raises(ConfigError, match="'/old' already"):
        app.mount("/old/", asgi_app)


def test_the_longest_prefix_wins(serve: Callable[..., Any]) -> None:
    app = App()
    app.mount("/a", wsgi_app)
    app.mount("/a/b", asgi_app)
    assert serve(app).get("/a/b/c").text == "GET|/a/b|/c||-"
    table = MountTable()
    table.add("/x", wsgi_app)
    table.add("/x/y", wsgi_app)
    assert ([mount.prefix for mount in table], len(table)) == (["/x/y", "/x"], 2)


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class Open:
    def __call__(self, *args: Any) -> Any: ...


DETECTED: dict[str, tuple[Any, str]] = {
    "a wsgi function": (wsgi_app, "wsgi"),
    "an asgi function": (asgi_app, "asgi"),
    "a wsgi object": (WsgiObject(), "wsgi"),
    "an asgi object": (AsgiObject(), "asgi"),
    "a partial": (functools.partial(asgi_app), "asgi"),
    "a bound method": (WsgiObject().__call__, "wsgi"),
    "three arguments": (lambda scope, receive, send: None, "asgi"),
    "a cello app": (App(), "asgi"),
}
UNCLEAR: dict[str, Any] = {
    "no callable": 3,
    "a class": AsgiObject,
    "any arguments": Open(),
    "one argument": lambda scope: None,
}


@pytest.mark.parametrize(("other", "interface"), DETECTED.values(), ids=DETECTED)
def test_the_interface_is_found_out(other: Any, interface: str) -> None:
    assert detect_interface(other) == interface


@pytest.mark.parametrize("other", UNCLEAR.values(), ids=UNCLEAR)
def test_what_cannot_be_told_is_refused(other: Any) -> None:
    with pytest.raises(ConfigError):
        App().mount("/old", other)


def test_the_interface_can_be_said() -> None:
    assert Mount("/old", Open(), "wsgi").interface == "wsgi"
    with pytest.raises(ConfigError, match="interface"):
        Mount("/old", wsgi_app, "cgi")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ConfigError, match="3"):
        Mount("/old", 3, "wsgi")


def test_the_wsgi_input_is_a_file() -> None:
    def source() -> BodyInput:
        return BodyInput(iter([b"one\ntw", b"o\nthr", b"ee"]))

    assert source().read() == b"one\ntwo\nthree"
    assert source().read(5) == b"one\nt"
    assert list(source()) == [b"one\n", b"two\n", b"three"]
    assert source().readlines() == [b"one\n", b"two\n", b"three"]
    assert source().readlines(4) == [b"one\n"]
    assert source().readline(2) == b"on"
    body = source()
    assert (body.readline(), body.read(2), body.read()) == (b"one\n", b"tw", b"o\nthree")
    assert body.read(10) == b""


def make_nested_app() -> App:
    inner, outer = App(), App()

    @inner.get("/where/{name}")
    def where(request: Any) -> Any:
        return {"url": request.url, "root": request.root_path, "link": request.url_for("where", name="b c")}

    outer.mount("/inner", inner)
    inner.mount("/old", wsgi_app)
    inner.mount("/new", asgi_app)
    return outer


def test_an_application_in_another_knows_where_it_is(serve: Callable[..., Any]) -> None:
    client = serve(make_nested_app())
    assert client.get("/inner/where/a%2Fb").json() == {
        "url": "http://testserver/inner/where/a%2Fb", "root": "/inner", "link": "/inner/where/b%20c",
    }  # fmt: skip


def test_mounts_in_mounts_are_told_the_whole_prefix(serve: Callable[..., Any]) -> None:
    client = serve(make_nested_app())
    assert client.get("/inner/old/a").text == "GET|/inner/old|/a||-"
    assert client.get("/inner/new/a").text == "GET|/inner/new|/a||-"


async def test_a_prefix_of_the_host_is_known() -> None:
    outer = make_nested_app()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/p q/inner/where/x", "raw_path": b"/p%20q/inner/where/x", "root_path": "/p q",
        "query_string": b"", "headers": [(b"host", b"h")],
    }  # fmt: skip
    await outer(scope, receive, send)
    assert b'"link":"/p%20q/inner/where/b%20c"' in b"".join(message.get("body", b"") for message in sent)


def test_a_prefix_of_a_wsgi_host_is_known() -> None:
    outer = make_nested_app()
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/p q", "PATH_INFO": "/inner/where/x", "SERVER_NAME": "x", "SERVER_PORT": "80",
        "wsgi.input": None, "wsgi.url_scheme": "http", "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    body = outer(environ, lambda status, headers: None)
    assert b'"link":"/p%20q/inner/where/b%20c"' in b"".join(body)
    body.close()
    outer.wsgi.close()


START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


async def raising_after_start(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    raise ValueError("spilt")


async def raising_in_the_middle(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    raise ValueError("spilt")


async def raising_after_the_end(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"x"})
    raise ValueError("spilt late")


async def out_of_order(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"x"})


def open_mount(other: Any, serve: Callable[..., Any]) -> Any:
    app = App()
    app.mount("/new", other)
    return serve(app)


@pytest.mark.parametrize("other", [raising_after_start, out_of_order])
def test_an_error_before_anything_was_sent_is_500(other: Any, serve: Callable[..., Any]) -> None:
    assert open_mount(other, serve).get("/new").status_code == 500


def test_an_error_in_the_middle_breaks_the_answer_off(serve: Callable[..., Any]) -> None:
    client = open_mount(raising_in_the_middle, serve)
    with pytest.raises(Exception, match=r"spilt|broke off"):
        client.get("/new")


def test_an_error_after_the_answer_is_logged(serve: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    client = open_mount(raising_after_the_end, serve)
    assert client.get("/new").text == "x"
    client.close()
    assert "raised after its answer" in caplog.text


@pytest.mark.parametrize("listens", [True, False], ids=["that listens", "that does not"])
def test_an_asgi_mount_learns_that_its_client_has_gone(serve: Callable[..., Any], listens: bool) -> None:
    import threading

    ended = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await receive()
        await send(START)
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        except OSError:
            if listens:
                assert (await receive())["type"] == "http.disconnect"
            raise
        finally:
            ended.set()

    client = open_mount(endless, serve)
    with client.stream("GET", "/new") as response:
        assert next(response.iter_bytes())
    assert ended.wait(30)


def test_an_asgi_mount_may_go_on_after_its_answer(serve: Callable[..., Any]) -> None:
    log: list[str] = []

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
        for _ in range(20):
            await asyncio.sleep(0)
        log.append("done")

    client = open_mount(busy, serve)
    assert client.get("/new").text == "x"
    client.close()
    assert log == ["done"]


def test_a_lifespan_that_ends_by_itself_is_no_lifespan(serve: Callable[..., Any]) -> None:
    async def quiet(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(START)
            await send({"type": "http.response.body", "body": b"x"})

    assert open_mount(quiet, serve).get("/new").text == "x"


def test_a_mount_that_never_ends_is_cancelled_at_shutdown(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cello.gateways.mount_asgi.LINGER_S", 0.01)
    log: list[str] = []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send(START)
        await send({"type": "http.response.body", "body": b"x"})
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    client = open_mount(stubborn, serve)
    assert client.get("/new").text == "x"
    client.close()
    assert log == ["cancelled"]


async def test_a_cancelled_request_cancels_its_mount() -> None:
    started, log = asyncio.Event(), []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    app = App()
    app.mount("/new", slow)
    scope = {"type": "http", "method": "GET", "path": "/new", "query_string": b"", "headers": []}

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None: ...

    task = asyncio.create_task(app.asgi(scope, receive, send))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert log == ["cancelled"]


async def test_a_mount_is_told_when_the_body_breaks_off() -> None:
    seen: list[str] = []

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        seen.extend([(await receive())["type"], (await receive())["type"], (await receive())["type"]])

    app = App()
    app.mount("/new", reading)
    scope = {"type": "http", "method": "POST", "path": "/new", "query_string": b"", "headers": []}
    messages = iter([{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None: ...

    await app.asgi(scope, receive, send)
    assert seen == ["http.request", "http.disconnect", "http.disconnect"]
