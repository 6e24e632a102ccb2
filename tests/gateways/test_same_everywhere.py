# ruff: noqa: E501  # a row of the table reads best on one line
"""The shared table: one application, every gateway, either colour, the same answers.

A row is a request and what must come back; it says nothing of gateways. `exactly` compares the whole body, `json` the
parsed one; `headers` lists what must be there (None: must not be there).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cello.testing import TestClient
from tests.conftest import COLOURS, GATEWAYS
from tests.gateways.everything import FILE_BYTES, make_app

PROBLEM = "application/problem+json"
UNSET = object()


@dataclass
class Row:
    """One request and its answer."""

    id: str
    method: str
    url: str
    status: int = 200
    exactly: bytes | None = None
    json: Any = UNSET
    headers: dict[str, str | None] = field(default_factory=dict)
    send: dict[str, Any] = field(default_factory=dict)


def get(id: str, url: str, status: int = 200, **rest: Any) -> Row:
    return Row(id, "GET", url, status, **rest)


def post(id: str, url: str, status: int = 200, **rest: Any) -> Row:
    return Row(id, "POST", url, status, **rest)


LETTERS = b"abcdefghijklmnopqrstuvwxyz"

VALUES = [
    get("a dict is json", "/value/dict", json={"a": 1, "ü": "é"}, headers={"content-type": "application/json"}),
    get("json is compact utf-8", "/value/dict", exactly='{"a":1,"ü":"é"}'.encode(), headers={"content-length": "17"}),
    get("a list is json", "/value/list", exactly=b"[1,2,3]"),
    get("a number is json", "/value/number", exactly=b"42"),
    get("a truth value is json", "/value/truth", exactly=b"true"),
    get("a str is text", "/value/text", exactly="plain ünïcode".encode(),
        headers={"content-type": "text/plain; charset=utf-8"}),
    get("bytes are octets", "/value/bytes", exactly=b"\x00\xff", headers={"content-type": "application/octet-stream"}),
    get("none is 204", "/value/none", 204, exactly=b"", headers={"content-length": None, "content-type": None}),
    get("a tuple sets the status", "/value/created", 201, json={"id": 7}),
    get("a tuple sets headers", "/value/headed", exactly=b"x", headers={"x-one": "1"}),
    get("a response comes as it is", "/value/response", 202, json={"ok": True}, headers={"x-custom": "yes"}),
    get("a repeated header is sent twice", "/value/response", 202, headers={"x-many": "1, 2"}),
    get("an empty answer has length 0", "/value/empty", exactly=b"", headers={"content-length": "0"}),
    get("no content has no length", "/value/no-content", 204, exactly=b"", headers={"content-length": None}),
    get("304 has no body", "/value/not-modified", 304, exactly=b"", headers={"etag": '"v1"'}),
    get("a redirect", "/value/redirect", 302, headers={"location": "/value/dict"}),
    get("a permanent redirect", "/value/permanent", 308, headers={"location": "/value/dict"}),
]  # fmt: skip

ROUTING = [
    get("a parameter", "/users/7", json={"path": "/users/7", "id": "7"}),
    get("a static segment wins", "/users/me", exactly=b"it is me"),
    get("a converter matches", "/users/7/posts", json={"path": "/users/7/posts", "id": "7"}),
    get("a converter that does not match is 404", "/users/x/posts", 404),
    get("the rest of a path", "/files/a/b/c.txt", json={"path": "/files/a/b/c.txt", "rest": "a/b/c.txt"}),
    get("an encoded slash stays in its segment", "/users/a%2Fb", json={"path": "/users/a/b", "id": "a/b"}),
    get("a space is decoded", "/users/a%20b", json={"path": "/users/a b", "id": "a b"}),
    get("utf-8 is decoded", "/users/%C3%BC", json={"path": "/users/ü", "id": "ü"}),
    get("a percent sign is decoded once", "/users/100%2525", json={"path": "/users/100%25", "id": "100%25"}),
    get("an undecodable path is 400", "/users/%FF", 400, headers={"content-type": PROBLEM}),
    get("a trailing slash is another path", "/users/7/", 404),
    get("a path with a trailing slash", "/trailing/", json={"path": "/trailing/"}),
    get("a static segment after a parameter", "/mixed/x/end", json={"path": "/mixed/x/end", "kind": "x"}),
    get("an unknown path is 404", "/nowhere", 404, headers={"content-type": PROBLEM}),
    get("a converted parameter", "/typed/5?limit=3", json={"id": 5, "limit": 3}),
    get("a bad parameter is 422", "/typed/five", 422, headers={"content-type": PROBLEM}),
    get("the query", "/queried?a=1&b=%20x&a=2", json={"last": {"a": "2", "b": " x"}, "all": ["1", "2"], "raw": "a=1&b=%20x&a=2"}),
    get("a plus in the query is a space", "/queried?b=x+y", json={"last": {"b": "x y"}, "all": [], "raw": "b=x+y"}),
    get("an empty query", "/queried", json={"last": {}, "all": [], "raw": ""}),
    get("a bound query and header", "/bound?page=4", json={"page": 4, "token": "t"}, send={"headers": {"X-Token": "t"}}),
    get("a bound query out of range is 422", "/bound?page=0", 422),
    get("headers in any case", "/headers", send={"headers": {"User-Agent": "me", "x-Test": "ok"}},
        json={"agent": "me", "X-TEST": "ok", "missing": None, "host": "testserver", "is_there": True}),
    get("a header of one blank", "/headers", send={"headers": {"User-Agent": "me", "X-Test": ""}},
        json={"agent": "me", "X-TEST": "", "missing": None, "host": "testserver", "is_there": True}),
    get("cookies come in", "/cookies", json={"a": "1", "b": "two"}, send={"headers": {"Cookie": "a=1; b=two"}}),
    get("the request line", "/line/a%2Fb/c?x=1", json={"method": "GET", "path": "/line/a/b/c", "raw_path": "/line/a%2Fb/c",
        "scheme": "http", "version": "1.1"}),
    Row("put", "PUT", "/line/x", json={"method": "PUT", "path": "/line/x", "raw_path": "/line/x", "scheme": "http", "version": "1.1"}),
    Row("delete", "DELETE", "/line/x", json={"method": "DELETE", "path": "/line/x", "raw_path": "/line/x", "scheme": "http", "version": "1.1"}),
    Row("any method token", "PROPFIND", "/line/x", json={"method": "PROPFIND", "path": "/line/x", "raw_path": "/line/x", "scheme": "http", "version": "1.1"}),
    Row("head follows get", "HEAD", "/value/dict", exactly=b"", headers={"content-length": "17", "content-type": "application/json"}),
    Row("an own head wins", "HEAD", "/own-head", exactly=b"", headers={"x-head": "own"}),
    get("the get beside an own head", "/own-head", exactly=b"got"),
    Row("head of an unknown path", "HEAD", "/nowhere", 404, exactly=b""),
    Row("automatic options", "OPTIONS", "/only-post", 204, exactly=b"", headers={"allow": "OPTIONS, POST"}),
    Row("automatic options of a get", "OPTIONS", "/users/me", 204, headers={"allow": "GET, HEAD, OPTIONS"}),
    Row("an own options wins", "OPTIONS", "/own-options", exactly=b"mine"),
    get("another method is 405", "/only-post", 405, headers={"allow": "OPTIONS, POST", "content-type": PROBLEM}),
    Row("an unknown method is 405", "BREW", "/only-post", 405, headers={"allow": "OPTIONS, POST"}),
]  # fmt: skip

MIB = b"0123456789abcdef" * 65_536
MULTIPART = {"data": {"title": "ein Bild"}, "files": {"file": ("ü.png", b"\x89PNG", "image/png")}}

BODIES = [
    post("a body", "/body/size", json={"size": 3, "sum": 294}, send={"content": b"abc"}),
    post("an empty body", "/body/size", json={"size": 0, "sum": 0}),
    post("a body of a mebibyte and more", "/body/size", json={"size": 3 * len(MIB), "sum": 3 * sum(MIB)}, send={"content": 3 * MIB}),
    post("a chunked body", "/body/size", json={"size": 6, "sum": 597}, send={"content": [b"abc", b"def"]}),
    post("a big chunked body", "/body/size", json={"size": 2 * len(MIB), "sum": 2 * sum(MIB)}, send={"content": [MIB, MIB]}),
    post("bytes come back", "/body/echo", exactly=bytes(range(256)), send={"content": bytes(range(256))}),
    post("json", "/body/json", json={"got": {"a": [1, "ü"]}}, send={"json": {"a": [1, "ü"]}}),
    post("malformed json is 400", "/body/json", 400, headers={"content-type": PROBLEM},
         send={"content": b'{"a":', "headers": {"Content-Type": "application/json"}}),
    post("text", "/body/text", exactly="grüße".encode(), send={"content": "grüße"}),
    post("a form", "/body/form", json={"a": "1", "b": "x y"}, send={"data": {"a": 1, "b": "x y"}}),
    post("an upload", "/body/upload", send=MULTIPART,
         json={"title": "ein Bild", "name": "ü.png", "type": "image/png", "size": 4, "sum": sum(b"\x89PNG")}),
    post("a big upload", "/body/upload", send={"data": {"title": "big"}, "files": {"file": ("b.bin", MIB + MIB)}},
         json={"title": "big", "name": "b.bin", "type": "application/octet-stream", "size": 2 * len(MIB), "sum": 2 * sum(MIB)}),
    post("a broken upload is 400", "/body/upload", 400,
         send={"content": b"--x\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}),
    post("a body at the limit", "/body/small", json={"size": 10}, send={"content": b"x" * 10}),
    post("a body over the limit is 413", "/body/small", 413, headers={"content-type": PROBLEM}, send={"content": b"x" * 11}),
    post("a chunked body over the limit is 413", "/body/small", 413, send={"content": [b"x" * 6, b"x" * 6]}),
    get("a body that nobody reads", "/body/unread", exactly=b"unread", send={"content": b"abc"}),
]  # fmt: skip

FAULTS = [
    get("an http error", "/fault/teapot", 418, headers={"content-type": PROBLEM, "x-tea": "green"}),
    get("an exception is 500", "/fault/unwell", 500, headers={"content-type": PROBLEM}),
    get("an exception handler answers", "/fault/spilt", 409, json={"spilt": "milk"}),
    get("a value that is no answer is 500", "/fault/bad-value", 500),
    get("an injected header is 500", "/fault/bad-header", 500, headers={"b": None, "x-bad": None}),
]

PAYLOADS = [
    get("a file", "/file/letters", exactly=LETTERS, headers={"content-length": "26", "accept-ranges": "bytes"}),
    get("a big file", "/file/big", exactly=FILE_BYTES, headers={"content-length": str(len(FILE_BYTES))}),
    get("an empty file", "/file/empty", exactly=b"", headers={"content-length": "0"}),
    get("a static file", "/shared/letters.txt", exactly=LETTERS, send={"headers": {"Accept-Encoding": "br"}},
        headers={"content-length": "26", "vary": "Accept-Encoding", "content-type": "text/plain; charset=utf-8"}),
    get("a big static file", "/shared/big.bin", exactly=FILE_BYTES, headers={"content-length": str(len(FILE_BYTES))}),
    get("a range of a static file", "/shared/letters.txt", 206, exactly=b"cdef", send={"headers": {"Range": "bytes=2-5", "Accept-Encoding": "br"}},
        headers={"content-range": "bytes 2-5/26"}),
    Row("head of a static file", "HEAD", "/shared/letters.txt", exactly=b"", send={"headers": {"Accept-Encoding": "br"}}, headers={"content-length": "26"}),
    Row("head of a compressed sibling", "HEAD", "/shared/letters.txt", exactly=b"", send={"headers": {"Accept-Encoding": "gzip"}},
        headers={"content-length": "17", "content-encoding": "gzip", "content-type": "text/plain; charset=utf-8"}),
    get("a static folder", "/shared/below/", exactly=b"<h1>below</h1>"),
    get("a static folder without its slash", "/shared/below?x=1", 308, headers={"location": "/shared/below/?x=1"}),
    get("a static path that leads elsewhere", "/shared/..%2Fletters.txt", 404),
    get("a static path with dots in disguise", "/shared/%2E%2E/letters.txt", 404),
    post("a static file is only read", "/shared/letters.txt", 405, headers={"allow": "GET, HEAD, OPTIONS"}),
    get("an attached file", "/file/attached", exactly=LETTERS, headers={"content-disposition": 'attachment; filename="abc.txt"'}),
    get("a range", "/file/letters", 206, exactly=b"cdef", send={"headers": {"Range": "bytes=2-5"}},
        headers={"content-range": "bytes 2-5/26", "content-length": "4"}),
    get("a range to the end", "/file/letters", 206, exactly=b"xyz", send={"headers": {"Range": "bytes=-3"}},
        headers={"content-range": "bytes 23-25/26"}),
    get("a range of a big file", "/file/big", 206, exactly=FILE_BYTES[1000:300_000], send={"headers": {"Range": "bytes=1000-299999"}}),
    get("a range beyond the end is 416", "/file/letters", 416, send={"headers": {"Range": "bytes=100-"}},
        headers={"content-range": "bytes */26"}),
    Row("head of a file", "HEAD", "/file/big", exactly=b"", headers={"content-length": str(len(FILE_BYTES))}),
    get("a stream", "/stream/counted", exactly=b"line 0\nline 1\nline 2\n", headers={"content-length": None}),
    get("a stream with a type", "/stream/response", exactly=b"ab", headers={"content-type": "text/x-ab"}),
    Row("head of a stream", "HEAD", "/stream/counted", exactly=b""),
    post("a body read by the handler", "/stream/echo", json={"size": 3}, send={"content": b"abc"}),
    post("an empty body read by the handler", "/stream/echo", json={"size": 0}),
    post("a big body read by the handler", "/stream/echo", json={"size": 4 * len(MIB)}, send={"content": 4 * MIB}),
    post("a chunked body read by the handler", "/stream/echo", json={"size": 6}, send={"content": [b"abc", b"def"]}),
    post("a body over the limit, announced", "/stream/small", 413, send={"content": b"x" * 11}),
    post("a body over the limit, found out", "/stream/small", 413, send={"content": [b"x" * 6, b"x" * 6]}),
    post("a body that the handler leaves unread", "/stream/early", exactly=b"not interested", send={"content": b"abc"}),
]  # fmt: skip

SURROUNDINGS = [
    get("dependencies", "/depending", json={"value": "connected", "name": "cello"}),
    get("after hooks see every answer", "/value/text", headers={"x-stamp": "GET"}),
    get("a before hook may answer", "/value/text", 403, exactly=b"stopped", send={"headers": {"X-Stop": "1"}}),
    get("a guard lets nobody in", "/guarded", 401, headers={"content-type": PROBLEM}),
    get("a guard lets somebody in", "/guarded", json={"name": "ada"}, send={"headers": {"Authorization": "Bearer ok"}}),
    get("a guard function that says no", "/denied", 403),
    get("a blueprint in a blueprint", "/outer/inner/3", json={"inner": "3"}),
    get("a blueprint's own root", "/outer/", exactly=b"outer"),
]

ROWS = VALUES + ROUTING + BODIES + FAULTS + PAYLOADS + SURROUNDINGS


@pytest.fixture(scope="module", params=[f"{gateway}-{colour}" for gateway in GATEWAYS for colour in COLOURS])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application in one colour, open through one gateway, for all rows."""
    gateway, colour = request.param.split("-")
    app = make_app(colour, tmp_path_factory.mktemp("files"))
    with TestClient(app, gateway, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_answer_is_the_same_everywhere(client: TestClient, row: Row) -> None:
    response = client.request(row.method, row.url, **row.send)
    assert response.status_code == row.status, response.text
    if row.exactly is not None:
        assert response.content == row.exactly
    if row.json is not UNSET:
        assert response.json() == row.json
    for name, value in row.headers.items():
        assert response.headers.get(name) == value, name
    check_every_answer(row, response)


def check_every_answer(row: Row, response: Any) -> None:
    """Hold what is true of every answer."""
    length = response.headers.get("content-length")
    if row.method != "HEAD" and length is not None:
        assert int(length) == len(response.content)
    if response.headers.get("content-type") == PROBLEM and row.method != "HEAD":
        problem = response.json()
        assert problem["status"] == row.status
        assert problem["error"]
        assert "secret details" not in response.text
    assert len(response.headers.get_all("content-length")) <= 1


def test_a_cookie_is_set_and_another_deleted(client: TestClient) -> None:
    response = client.get("/cookies", headers={"Cookie": "old=1"})
    lines = response.headers.get_all("set-cookie")
    assert any(line.startswith("seen=yes") and "HttpOnly" in line for line in lines)
    assert any(line.startswith("old=") and "max-age=0" in line.lower() for line in lines)
    client.cookies.clear()


def test_background_work_runs_after_the_answer(client: TestClient) -> None:
    assert client.get("/later").text == "accepted"
    client.wait_for_background()
    assert "done later" in client.get("/log").json()


def test_a_dependency_is_closed_after_the_answer(client: TestClient) -> None:
    client.app.state.log.clear()
    client.get("/depending")
    client.wait_for_background()
    assert json.loads(client.get("/log").text) == ["open", "close"]


def test_a_head_and_a_get_have_the_same_fields(client: TestClient) -> None:
    for path in ("/value/dict", "/file/letters", "/value/redirect", "/users/7"):
        head, got = client.head(path), client.get(path)
        assert set(head.headers) == set(got.headers), path
        assert head.content == b""


def test_many_requests_at_once_get_their_own_answers(client: TestClient) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: client.get(f"/users/{number}").json()["id"], range(64)))
    assert answers == [str(number) for number in range(64)]


def test_the_table_is_wide(tmp_path: Path) -> None:
    assert len(ROWS) >= 90
    assert len({row.id for row in ROWS}) == len(ROWS)
