"""What a client may send to do harm: each is answered, none is a 500, and none is logged as an error of ours."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from cello import App, Query, Response
from cello.testing import TestClient

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LONG = "9" * 5_000

SENT: dict[str, tuple[str, str, dict[str, Any], set[int]]] = {
    "a number of 5,000 digits in the path": ("GET", f"/typed/{LONG}", {}, {422}),
    "one that a converter would take": ("GET", f"/int/{LONG}", {}, {404}),
    "a number of 5,000 digits in the query": ("GET", f"/query?n={LONG}", {}, {422}),
    "a number that is none": ("GET", "/query?x=nan", {}, {422}),
    "a number without end": ("GET", "/query?x=1e999", {}, {422}),
    "a number with underscores": ("GET", "/query?n=1_0", {}, {422}),
    "digits of another script": ("GET", "/query?n=%D9%A1", {}, {422}),
    "a query of many fields": ("GET", "/query?" + "a&" * 3_000, {}, {200}),
    "a query that is no text": ("GET", "/query?n=%FF", {}, {400}),
    "json without end": ("POST", "/json", {"content": b"[" * 200_000, "headers": JSON}, {400}),
    "json of great depth": ("POST", "/json", {"content": b"[" * 100_000 + b"]" * 100_000, "headers": JSON}, {400}),
    "json of objects of great depth": ("POST", "/json", {"content": b'{"a":' * 100_000, "headers": JSON}, {400}),
    "a number of 5,000 digits in json": ("POST", "/json", {"content": LONG.encode(), "headers": JSON}, {400}),
    "a lone surrogate in json": ("POST", "/json", {"content": b'"\\ud800"', "headers": JSON}, {400}),
    "json that is no text": ("POST", "/json", {"content": b'"\xff"', "headers": JSON}, {400}),
    "json in an unknown charset": (
        "POST",
        "/text",
        {"content": b"x", "headers": {"Content-Type": "text/plain; charset=zlib"}},
        {400},
    ),
    "a form of many fields": ("POST", "/form", {"content": b"a&" * 100_000, "headers": FORM}, {413}),
    "a form that is no text": ("POST", "/form", {"content": b"a=%ff", "headers": FORM}, {400}),
    "a multipart body without a boundary": (
        "POST",
        "/form",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        {400},
    ),
    "a multipart boundary without end": (
        "POST",
        "/form",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=" + "a" * 1_000}},
        {400},
    ),
    "an Accept of commas": ("GET", "/query", {"headers": {"Accept": "," * 3_000}}, {200}),
    "an Accept-Encoding of great weight": ("GET", "/query", {"headers": {"Accept-Encoding": f"gzip;q={LONG}"}}, {200}),
    "cookies without names": ("GET", "/query", {"headers": {"Cookie": "=;" * 3_000}}, {200}),
    "an address without end": ("GET", "/query", {"headers": {"X-Forwarded-For": "a" * 5_000}}, {200}),
    "a quote without end": ("GET", "/query", {"headers": {"Forwarded": 'for="' + "\\" * 3_000}}, {200}),
    "a trace without end": ("GET", "/query", {"headers": {"traceparent": "0" * 5_000}}, {200}),
    "a thousand ranges": ("GET", "/file", {"headers": {"Range": "bytes=" + "0-0," * 1_000}}, {200}),
    "a range beyond all numbers": ("GET", "/file", {"headers": {"Range": f"bytes=0-{LONG}"}}, {200}),
    "tags without end": ("GET", "/file", {"headers": {"If-None-Match": '"' * 5_000}}, {200}),
    "a day that is none": ("GET", "/file", {"headers": {"If-Modified-Since": "Thu, 99 Foo 99999 99:99:99 GMT"}}, {200}),
    "a path of slashes": ("GET", "/" * 3_000, {}, {404}),
    "a path of dots": ("GET", "/" + "../" * 1_000, {}, {404}),
    "a path of NULs": ("GET", "/int/%00%00", {}, {404}),
    "a preflight for many headers": (
        "OPTIONS",
        "/query",
        {
            "headers": {
                "Origin": "https://a.example",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x," * 2_000,
            }
        },
        {204},
    ),
}


@pytest.fixture(scope="module", params=["wsgi", "asgi", "native"])
def target(request: pytest.FixtureRequest) -> Any:
    app = App()
    app.enable_cors(["https://a.example"])
    app.enable_logging()
    app.enable_request_id()
    app.enable_compression()
    app.enable_security_headers()
    app.get("/typed/{id}")(typed)
    app.get("/int/{id:int}")(typed)
    app.get("/query")(query)
    app.post("/json")(lambda request: Response.json(request.json()))
    app.post("/text")(lambda request: request.text())
    app.post("/form")(lambda request: len(request.form()))
    app.get("/file")(lambda: Response.sendfile(__file__))
    with TestClient(app, request.param, raise_server_exceptions=False) as client:
        yield client


def typed(id: int) -> int:
    return id


def query(n: int = Query(0), x: float = Query(0.0)) -> str:
    return f"{n} {x}"


@pytest.mark.parametrize(("method", "path", "send", "statuses"), SENT.values(), ids=SENT)
def test_what_a_client_sends_is_its_own_fault(
    target: TestClient,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    send: dict[str, Any],
    statuses: set[int],
) -> None:
    answer = target.request(method, path, **send)
    assert answer.status in statuses
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


RETURNED: dict[str, Callable[[str], Response]] = {
    "a header": lambda text: Response.text("x", headers={"X-A": text}),
    "a redirect": lambda text: Response.redirect(text),
    "a cookie": lambda text: _with_cookie(text),
    "the name of a download": lambda text: Response.file(__file__, filename=text),
    "a content type": lambda text: Response("x", content_type=text),
}


def _with_cookie(text: str) -> Response:
    response = Response.text("x")
    response.set_cookie("a", text)
    return response


@pytest.mark.parametrize("place", RETURNED)
@pytest.mark.parametrize("text", ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\x00b", "a\r\n\r\n<script>"])
def test_what_a_handler_repeats_never_splits_an_answer(serve: Callable[..., Any], place: str, text: str) -> None:
    app = App()
    app.get("/")(lambda request: RETURNED[place](request.query["text"]))
    with serve(app) as client:
        answer = client.get("/", params={"text": text})
    assert answer.status == 500
    assert "x-injected" not in answer.headers
    assert "<script>" not in answer.text
