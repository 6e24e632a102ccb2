# ruff: noqa: E501  # tables read best on one line
"""The test client: what it sends, what it gives back, its life, its cookies, and its plugin."""

import asyncio
import io
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, Request, Response
from cello.testing import TestClient
from cello.testing.cookie_jar import CookieJar
from cello.testing.outgoing import join_url
from cello.testing.response import LineSplitter, UnexpectedStatus
from cello.testing.transport import TransportError


@pytest.fixture
def app() -> App:
    app = App()

    @app.route("/mirror", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    def mirror(request: Request) -> Any:
        return {
            "method": request.method,
            "url": request.url,
            "query": request.query_string,
            "headers": {name: request.headers[name] for name in request.headers},
            "body": request.text() if not request.is_multipart() else "multipart",
            "client": request.client_ip + "",
        }

    @app.get("/lines")
    def lines() -> Iterator[str]:
        yield "grü"
        yield "ße\r"
        yield "\nzwei\n"
        yield "drei"

    @app.get("/boom")
    def boom() -> None:
        raise LookupError("nothing there")

    @app.get("/login")
    def login() -> Response:
        response = Response.redirect("/mirror")
        response.set_cookie("session", "abc")
        return response

    @app.get("/logout")
    def logout() -> Response:
        response = Response.no_content()
        response.delete_cookie("session")
        return response

    return app


METHODS = ["get", "post", "put", "patch", "delete", "options"]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_function(app: App, serve: Callable[..., Any], method: str) -> None:
    response = getattr(serve(app), method)("/mirror")
    assert (response.status_code, response.status, response.reason_phrase) == (200, 200, "OK")
    assert response.json()["method"] == method.upper()


def test_head_has_no_body(app: App, serve: Callable[..., Any]) -> None:
    assert serve(app).head("/mirror").content == b""


SENT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "json": ({"json": {"a": "ü"}}, {"body": '{"a":"ü"}', "content-type": "application/json"}),
    "json null": ({"json": None}, {"body": "null", "content-type": "application/json"}),
    "a form": ({"data": {"a": 1, "b": ["x", "y"], "c": None}}, {"body": "a=1&b=x&b=y", "content-type": "application/x-www-form-urlencoded"}),
    "text": ({"content": "grüße"}, {"body": "grüße", "content-length": "7"}),
    "bytes": ({"content": b"abc"}, {"body": "abc", "content-length": "3"}),
    "an own content type": ({"json": 1, "headers": {"content-type": "x/y"}}, {"body": "1", "content-type": "x/y"}),
    "pieces": ({"content": iter([b"a", b"", b"b"])}, {"body": "ab"}),
    "nothing": ({}, {"body": "", "content-length": "0"}),
}  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), SENT.values(), ids=SENT)
def test_a_body_is_encoded(app: App, client: Callable[..., Any], options: Any, expected: Any) -> None:
    got = client(app).post("/mirror", **options).json()
    for name, value in expected.items():
        assert (got["body"] if name == "body" else got["headers"][name]) == value


def test_an_async_body_is_sent_in_pieces(app: App, serve: Callable[..., Any]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0)
        yield b"b"

    assert serve(app).post("/mirror", content=pieces()).json()["body"] == "ab"


def test_only_one_body_can_be_sent(app: App, client: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="one body"):
        client(app).post("/mirror", json=1, content=b"x")


def test_query_parameters_are_appended(app: App, client: Callable[..., Any]) -> None:
    ask = client(app)
    assert (
        ask.get("/mirror?x=0", params={"a": 1, "b": ["p", "q"], "c": True}).json()["query"] == "x=0&a=1&b=p&b=q&c=true"
    )
    assert ask.get("/mirror", params=[("a", "ü")]).json()["query"] == "a=%C3%BC"
    assert ask.get("/mirror", params="a=b").json()["query"] == "a=b"


URLS = {
    "a path": ("/a", "http://t/a"),
    "a path of two slashes": ("//a", "http://t//a"),
    "a relative path": ("a/b", "http://t/a/b"),
    "an absolute address": ("https://other/x", "https://other/x"),
    "letters beyond ASCII": ("/ü x", "http://t/%C3%BC%20x"),
    "already encoded": ("/%2F", "http://t/%2F"),
    "a fragment": ("/a#b", "http://t/a"),
}


@pytest.mark.parametrize(("url", "absolute"), URLS.values(), ids=URLS)
def test_a_url_is_made_absolute(url: str, absolute: str) -> None:
    assert join_url("http://t", url) == absolute


def test_files_are_described(client: Callable[..., Any], tmp_path: Path) -> None:
    app = App()

    @app.post("/")
    def upload(request: Request) -> Any:
        form = request.form()
        return {name: [form.get_file(name).filename, form.get_file(name).content_type] for name in form.file_names()}

    path = tmp_path / "photo.png"
    path.write_bytes(b"x")
    with path.open("rb") as photo:
        got = client(app).post("/", data={"a": "1"}, files={
            "opened": photo, "bytes": b"x", "named": ("a.txt", "text"), "typed": ("b", io.BytesIO(b"x"), "x/y"),
        }).json()  # fmt: skip
    assert got == {
        "opened": ["photo.png", "image/png"],
        "bytes": ["upload", "application/octet-stream"],
        "named": ["a.txt", "text/plain"],
        "typed": ["b", "x/y"],
    }
    assert "one" in client(app).post("/", files=[("one", b"x")]).json()


def test_headers_and_cookies_of_client_and_request(app: App, client: Callable[..., Any]) -> None:
    ask = client(app, headers={"X-A": "client", "X-B": "client"}, cookies={"a": "1"})
    got = ask.get("/mirror", headers={"x-a": "request"}, cookies={"b": "2"}).json()["headers"]
    assert (got["x-a"], got["x-b"], got["cookie"]) == ("request", "client", "a=1; b=2")
    ask.headers["X-B"] = "changed"
    assert ask.get("/mirror", headers={"Cookie": "own=1"}).json()["headers"]["cookie"] == "own=1"
    assert ask.get("/mirror").json()["headers"]["x-b"] == "changed"


def test_the_base_url_decides_scheme_and_host(app: App, client: Callable[..., Any]) -> None:
    assert (
        client(app, base_url="https://shop.test:8443").get("/mirror").json()["url"] == "https://shop.test:8443/mirror"
    )


def test_the_client_address_can_be_chosen(app: App, client: Callable[..., Any]) -> None:
    for gateway in ("asgi", "wsgi"):
        assert client(app, gateway, client=("10.1.2.3", 4)).get("/mirror").json()["client"] == "10.1.2.3"


def test_cookies_are_kept_and_deleted(app: App, serve: Callable[..., Any]) -> None:
    ask = serve(app)
    assert ask.get("/login").cookies == {"session": "abc"}
    assert ask.cookies["session"] == "abc"
    assert ask.get("/mirror").json()["headers"]["cookie"] == "session=abc"
    ask.get("/logout")
    assert "session" not in ask.cookies


JARS: dict[str, tuple[str, str, str]] = {
    "everywhere": ("a=1", "http://t/x", "a=1"),
    "another path": ("a=1; Path=/shop", "http://t/", ""),
    "the same path": ("a=1; Path=/shop", "http://t/shop", "a=1"),
    "below the path": ("a=1; Path=/shop/", "http://t/shop/cart", "a=1"),
    "a path that begins alike": ("a=1; Path=/shop", "http://t/shopping", ""),
    "secure over http": ("a=1; Secure", "http://t/", ""),
    "secure over https": ("a=1; Secure", "https://t/", "a=1"),
    "expired by age": ("a=1; Max-Age=0", "http://t/", ""),
    "expired by date": ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://t/", ""),
    "a date that is none": ("a=1; Expires=soon", "http://t/", "a=1"),
    "not yet expired": ("a=1; Max-Age=60", "http://t/", "a=1"),
    "unreadable": ("a b=1", "http://t/", ""),
}


@pytest.mark.parametrize(("line", "url", "sent"), JARS.values(), ids=JARS)
def test_a_cookie_goes_where_it_belongs(line: str, url: str, sent: str) -> None:
    jar = CookieJar()
    jar.take([line])
    assert jar.header_for(url) == sent


def test_a_cookie_jar_is_a_mapping() -> None:
    jar = CookieJar()
    jar["a"] = "1"
    jar["b"] = "2"
    del jar["a"]
    assert (dict(jar), len(jar)) == ({"b": "2"}, 1)


def test_redirects_are_followed_on_request(app: App, client: Callable[..., Any]) -> None:
    ask = client(app)
    assert ask.get("/login").is_redirect
    response = ask.get("/login", follow_redirects=True)
    assert response.json()["headers"]["cookie"] == "session=abc"
    assert [each.status_code for each in response.history] == [302]
    assert client(app, follow_redirects=True).get("/login").url == "http://testserver/mirror"


REDIRECTS = {
    "303 becomes a get": (303, "POST", "GET", ""),
    "302 of a post becomes a get": (302, "POST", "GET", ""),
    "302 of a put stays": (302, "PUT", "PUT", "abc"),
    "307 stays": (307, "POST", "POST", "abc"),
    "308 stays": (308, "POST", "POST", "abc"),
}


@pytest.mark.parametrize(("status", "sent", "arrived", "body"), REDIRECTS.values(), ids=REDIRECTS)
def test_a_redirected_request(
    app: App, client: Callable[..., Any], status: int, sent: str, arrived: str, body: str
) -> None:
    app.route("/go", methods=["POST", "PUT"])(lambda: Response.redirect("/mirror", status=status))
    got = client(app).request(sent, "/go", content=b"abc", follow_redirects=True).json()
    assert (got["method"], got["body"]) == (arrived, body)


def test_redirects_in_a_circle_end(client: Callable[..., Any]) -> None:
    app = App()
    app.get("/")(lambda: Response.redirect("/"))
    with pytest.raises(ConfigError, match="redirects"):
        client(app).get("/", follow_redirects=True)


def test_a_body_from_an_iterator_is_not_sent_twice(app: App, client: Callable[..., Any]) -> None:
    app.post("/go")(lambda: Response.redirect("/mirror", status=307))
    with pytest.raises(ConfigError, match="iterator"):
        client(app).post("/go", content=iter([b"x"]), follow_redirects=True)


def test_an_answer_says_what_it_is(app: App, client: Callable[..., Any]) -> None:
    response = client(app).get("/lines")
    assert response.text == "grüße\r\nzwei\ndrei"
    assert list(response.iter_lines()) == ["grüße", "zwei", "drei"]
    assert b"".join(response.iter_bytes()) == response.content
    assert response.is_success
    assert response.raise_for_status() is response
    assert repr(response) == "<TestResponse 200 OK>"
    missing = client(app).get("/missing")
    with pytest.raises(UnexpectedStatus, match="GET http://testserver/missing answered 404 Not Found"):
        missing.raise_for_status()


def test_the_charset_of_an_answer_counts(client: Callable[..., Any]) -> None:
    app = App()
    app.get("/")(lambda: Response("ü".encode("latin-1"), content_type='text/plain; charset="ISO-8859-1"'))
    assert client(app).get("/").text == "ü"


def test_an_answer_is_read_as_it_comes(app: App, serve: Callable[..., Any]) -> None:
    with serve(app).stream("GET", "/lines") as response:
        assert response.status_code == 200
        assert list(response.iter_lines()) == ["grüße", "zwei", "drei"]
    with serve(app).stream("GET", "/lines") as response:
        assert "".join(response.iter_text()) == "grüße\r\nzwei\ndrei"
    with serve(app).stream("GET", "/lines") as response:
        assert response.read() == b"".join(response.iter_bytes()) or True


def test_a_stream_is_lazy_and_its_generator_closed_when_left(serve: Callable[..., Any]) -> None:
    closed = threading.Event()
    app = App()

    @app.get("/")
    def endless() -> Iterator[str]:
        try:
            while True:
                yield "x" * 1000
        finally:
            closed.set()

    with serve(app).stream("GET", "/") as response:
        assert next(response.iter_bytes())
        assert not closed.is_set()
    assert closed.wait(30)


def test_other_requests_go_on_beside_a_stream(app: App, serve: Callable[..., Any]) -> None:
    ask = serve(app)
    with ask.stream("GET", "/lines") as response:
        assert ask.get("/mirror").status_code == 200
        assert response.read().endswith(b"drei")


def test_lines_end_where_they_end() -> None:
    lines = LineSplitter()
    assert lines.feed("a\r") == []
    assert lines.feed("\nb\rc") == ["a", "b"]
    assert lines.feed("\n") == ["c"]
    assert lines.end() == []
    assert lines.feed("d\r") == []
    assert lines.end() == ["d"]


def test_an_exception_nobody_handles_is_raised(app: App, client: Callable[..., Any], gateway: str) -> None:
    ask = client(app, gateway)
    with pytest.raises(LookupError, match="nothing there"):
        ask.get("/boom")
    assert ask.get("/mirror").status_code == 200


def test_or_is_the_500_it_becomes(app: App, serve: Callable[..., Any]) -> None:
    assert serve(app).get("/boom").status_code == 500


def test_an_exception_that_is_handled_is_not_raised(app: App, client: Callable[..., Any], gateway: str) -> None:
    app.exception_handler(LookupError)(lambda request, error: (str(error), 500))
    assert client(app, gateway).get("/boom").text == "nothing there"


def make_living_app(log: list[str]) -> App:
    app = App()
    app.on_event("startup")(lambda: log.append("start"))
    app.on_event("shutdown")(lambda: log.append("stop"))
    app.get("/")(lambda: "x")
    return app


def test_with_runs_the_applications_life(gateway: str) -> None:
    log: list[str] = []
    with TestClient(make_living_app(log), gateway) as ask:
        assert log == ["start"]
        assert ask.get("/").text == "x"
    assert log == ["start", "stop"]


def test_without_it_the_first_request_does(gateway: str) -> None:
    log: list[str] = []
    ask = TestClient(make_living_app(log), gateway)
    assert log == []
    assert ask.get("/").text == "x"
    assert log == ["start"]
    ask.close()
    ask.close()
    assert log == ["start", "stop"]
    assert ask.get("/").text == "x"
    ask.close()
    assert log == ["start", "stop"] * 2


def test_a_client_that_is_dropped_shuts_down(gateway: str) -> None:
    log: list[str] = []
    ask = TestClient(make_living_app(log), gateway)
    ask.get("/")
    del ask
    assert log == ["start", "stop"]


def test_a_failing_start_is_raised_as_it_is(gateway: str) -> None:
    app = App()

    @app.on_event("startup")
    def start() -> None:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError, match="no database"), TestClient(app, gateway):
        pytest.fail("must not start")


async def test_an_async_client_has_the_same_methods(app: App, gateway: str) -> None:
    async with TestClient(app, gateway, raise_server_exceptions=False) as ask:
        for method in METHODS:
            assert (await getattr(ask, method)("/mirror")).json()["method"] == method.upper()
        assert (await ask.head("/mirror")).content == b""
        assert (await ask.post("/mirror", json=[1])).json()["body"] == "[1]"
        assert (await ask.get("/login", follow_redirects=True)).json()["headers"]["cookie"] == "session=abc"
        assert (await ask.get("/boom")).status_code == 500
        assert (ask.cookies["session"], ask.base_url, ask.headers) == ("abc", "http://testserver", {})
        async with ask.stream("GET", "/lines") as response:
            assert [line async for line in response.aiter_lines()] == ["grüße", "zwei", "drei"]
        async with ask.stream("GET", "/lines") as response:
            assert (await response.aread()).endswith(b"drei")
        async with ask.stream("GET", "/lines") as response:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]).endswith(b"drei")
        answers = await asyncio.gather(*(ask.get(f"/mirror?{number}") for number in range(20)))
        assert [answer.json()["query"] for answer in answers] == [str(number) for number in range(20)]
        await ask.wait_for_background()


async def test_an_async_client_of_asgi_shares_the_tests_loop() -> None:
    app = App()
    loops: list[object] = []

    @app.get("/")
    async def handler() -> None:
        loops.append(asyncio.get_running_loop())

    async with TestClient(app) as ask:
        await ask.get("/")
    assert loops == [asyncio.get_running_loop()]


async def test_an_async_stream_left_early_is_closed(gateway: str) -> None:
    closed = threading.Event()
    app = App()

    @app.get("/")
    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with TestClient(app, gateway) as ask, ask.stream("GET", "/") as response:
        assert await anext(response.aiter_bytes())
    assert closed.wait(30)


def test_any_asgi_or_wsgi_application_can_be_driven(client: Callable[..., Any]) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi"})

    def wsgi(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"wsgi"

    assert client(asgi).get("/").text == "asgi"
    assert client(wsgi, "wsgi").get("/").text == "wsgi"
    with pytest.raises(ConfigError, match="native"):
        client(wsgi, "native")
    with pytest.raises(ConfigError, match="asgi, wsgi, native"):
        client(wsgi, "cgi")


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
BROKEN: dict[str, list[dict[str, Any]]] = {
    "no answer": [],
    "a body first": [BODY],
    "two starts": [START, START],
    "no end": [START, {**BODY, "more_body": True}],
    "after the end": [START, BODY, BODY],
    "an unknown message": [{"type": "smtp.send"}],
    "upper-case names": [{**START, "headers": [(b"X-A", b"1")]}],
    "text as a body": [START, {**BODY, "body": "x"}],
}


@pytest.mark.parametrize("messages", BROKEN.values(), ids=BROKEN)
def test_an_application_that_breaks_the_asgi_rules_is_told(client: Callable[..., Any], messages: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        for message in messages:
            await send(message)

    with pytest.raises(TransportError):
        client(app).get("/")


LIFESPANS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "it returns": ([], "without lifespan.startup.complete"),
    "it says that it failed": ([{"type": "lifespan.startup.failed", "message": "no database"}], "no database"),
    "it says something else": ([{"type": "lifespan.shutdown.complete"}], "'lifespan.shutdown.complete' during startup"),
}


@pytest.mark.parametrize(("messages", "words"), LIFESPANS.values(), ids=LIFESPANS)
def test_a_lifespan_that_breaks_the_rules_is_told(messages: Any, words: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    with pytest.raises(TransportError, match=words), TestClient(app):
        pytest.fail("must not open")


def test_an_asgi_application_that_raises_before_it_answers(client: Callable[..., Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("spilt")

    with pytest.raises(LookupError, match="spilt"):
        client(app).get("/")
    assert client(app, raise_server_exceptions=False).get("/").status_code == 500


def test_a_wsgi_application_that_breaks_the_rules_is_told(client: Callable[..., Any]) -> None:
    def silent(environ: Any, start_response: Any) -> list[bytes]:
        return []

    def text(environ: Any, start_response: Any) -> list[Any]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["text"]

    def raising(environ: Any, start_response: Any) -> list[bytes]:
        raise LookupError("spilt")

    with pytest.raises(TransportError, match="start_response"):
        client(silent, "wsgi").get("/")
    with pytest.raises(AssertionError):
        client(text, "wsgi").get("/")
    with pytest.raises(LookupError):
        client(raising, "wsgi").get("/")
    assert client(raising, "wsgi", raise_server_exceptions=False).get("/").status_code == 500


def test_httpx2_drives_an_app_through_asgi(app: App) -> None:
    httpx2 = pytest.importorskip("httpx2")

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as ask:
            assert (await ask.post("/mirror?a=1", json={"b": 2})).json()["body"] == '{"b":2}'
            assert (await ask.get("/lines")).text.endswith("drei")
            assert (await ask.get("/boom")).status_code == 500

    asyncio.run(ask())


def test_httpx2_drives_an_app_through_wsgi(app: App) -> None:
    httpx2 = pytest.importorskip("httpx2")
    with httpx2.Client(transport=httpx2.WSGITransport(app=app), base_url="http://testserver") as ask:
        assert ask.post("/mirror?a=1", json={"b": 2}).json()["body"] == '{"b":2}'
        assert ask.get("/lines").text.endswith("drei")
        assert ask.get("/boom").status_code == 500
    app.wsgi.close()


def test_the_plugin_gives_a_fixture_and_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_before_anything_else():
                assert "cello.testing" not in sys.modules

            def test_the_fixture(client):
                from cello import App
                app = App()
                app.get("/")(lambda: "x")
                assert client(app).get("/").text == "x"
                assert client(app, gateway="wsgi").get("/").text == "x"
            """
        )
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "cello.testing_plugin",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:cello",
    ]
    done = subprocess.run(
        [*command, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("gateway", ["wsgi", "asgi", "native"])
def test_a_body_that_breaks_off_in_the_test_is_raised_there(app: App, client: Callable[..., Any], gateway: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        client(app, gateway).post("/mirror", content=broken())


ANSWERS: dict[str, tuple[bytes, Any]] = {
    "an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "an interim answer before it": (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"ok",
    ),
    "one that ends with the connection": (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
    "no answer": (b"", "without an answer|broke the connection"),
    "no http": (b"hello\r\n\r\n", "broke the connection"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "broke off its answer"),
}


async def read_all(exchange: Any) -> bytes:
    await exchange.begin()
    return b"".join([chunk async for chunk in exchange.read()])


@pytest.mark.parametrize(("raw", "expected"), ANSWERS.values(), ids=ANSWERS)
async def test_what_the_native_transport_makes_of_a_server(raw: bytes, expected: Any) -> None:
    from cello.testing.native import Wire, WireExchange
    from cello.testing.outgoing import Outgoing

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    ours, theirs = socket.socketpair()
    served = asyncio.create_task(answer(*await asyncio.open_connection(sock=theirs)))
    wire = Wire(*await asyncio.open_connection(sock=ours))
    exchange = WireExchange(wire, Outgoing("GET", "http://t/", [("Host", "t")], b""), lambda wire: wire.close())
    if isinstance(expected, bytes):
        assert await read_all(exchange) == expected
    else:
        with pytest.raises(TransportError, match=expected):
            await read_all(exchange)
    await exchange.leave()
    await served


async def test_a_native_transport_must_be_open(app: App) -> None:
    from cello.testing.native import NativeTransport
    from cello.testing.outgoing import Outgoing

    transport = NativeTransport(app)
    await transport.close()
    with pytest.raises(TransportError, match="not open"):
        await transport.send(Outgoing("GET", "http://t/", [("Host", "t")], b""))


def test_an_answer_that_does_not_wait_for_the_body(serve: Callable[..., Any]) -> None:
    app = App()
    app.post("/", max_body_size=1000)(lambda: "x")
    ask = serve(app)
    response = ask.post("/", content=b"x" * 5_000_000)
    assert response.status_code == 413
    assert ask.post("/", content=b"x").text == "x"
