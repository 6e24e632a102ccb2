"""The fast lane and the general lane: the same bytes in, the same bytes out, with clock and date frozen.

Each stream is played to both through real sockets, the client then half-closes and reads to the end. The lane is played
twice: behind cello's own transport, where it writes plain memory, and behind the loop's.
"""

import asyncio
import socket
from importlib import import_module

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cello import App, Response, _speedups
from cello.errors import HTTPError
from cello.gateways.native import Connection, ServerState, choose_tier, make_protocol_factory
from tests.conformance.cuts import CUTS, cut
from tests.conformance.rows import LIMITS, ROWS

pytestmark = pytest.mark.skipif(not _speedups.enabled, reason=f"no compiled modules: {_speedups.reason}")

WAYS = ("general", "lane", "lane on the loop's transport")
ENOUGH_S = 20


def make_app():
    """Return an application whose answers are of every kind."""
    app = App()
    app.set_limits(LIMITS)

    @app.get("/")
    def home(request):
        return "Hello, World!"

    @app.get("/unicode")
    def unicode(request):
        return "Grüße, \N{VIOLIN}"

    @app.get("/surrogate")
    def surrogate(request):
        return "\ud800"

    @app.get("/binary")
    def binary(request):
        return bytes(range(256))

    @app.get("/empty")
    def empty(request):
        return ""

    @app.get("/none")
    def none(request):
        return None

    @app.get("/large")
    def large(request):
        return b"x" * 65_536

    @app.get("/larger")
    def larger(request):
        return "y" * 300_000

    @app.get("/users/{id}")
    def user(request):
        return {"id": request.params["id"], "query": request.query_string}

    @app.get("/users/me")
    def me(request):
        return ["me"]

    @app.get("/numbers/{n:int}")
    def number(request):
        return {"n": request.params["n"]}

    @app.get("/rest/{rest:path}")
    def rest(request):
        return request.params

    @app.get("/async/{id}")
    async def coroutine(request):
        return {"id": request.params["id"]}

    @app.get("/suspend")
    async def suspend(request):
        await asyncio.sleep(0)
        return request.query

    @app.get("/raises")
    def raises(request):
        raise HTTPError(418, "a teapot")

    @app.get("/async-raises")
    async def async_raises(request):
        raise HTTPError(409, "a conflict")

    @app.get("/unknown")
    def unknown(request):
        return object()

    @app.get("/headers")
    def headers(request):
        response = Response.json({"agent": request.user_agent})
        response.headers["X-One"] = "1"
        response.headers.append("Set-Cookie", "a=b")
        return response

    @app.get("/seen")
    def seen(request):
        request.params["mine"] = len(request.params)
        request.context["mine"] = len(request.context)
        about = [request.method, request.path, request.query, request.params, request.context, str(request.route)]
        return [*about, list(request.headers.items()), request.body().decode()]

    @app.get("/created")
    def created(request):
        return {"made": True}, 201

    @app.get("/stream")
    def stream(request):
        return Response.stream(iter([b"one", b"two"]))

    @app.post("/echo")
    def echo(request):
        return request.json()

    @app.put("/users/{id}")
    async def put(request):
        return request.body()

    return app


PATHS = (
    "/", "/unicode", "/surrogate", "/binary", "/empty", "/none", "/large", "/larger", "/users/7", "/users/me",
    "/users/%C3%A9", "/users/%zz", "/users/", "/users", "/numbers/7", "/numbers/x", "/rest/a/b", "/async/1", "/suspend",
    "/raises", "/async-raises", "/unknown", "/headers", "/created", "/stream", "/nowhere", "/echo", "*", "//", "/a#b",
)  # fmt: skip
FIELDS = (
    "Connection: keep-alive", "Connection: close", "connection: Keep-Alive", "Connection: upgrade", "Upgrade: x",
    "User-Agent: test", "Expect: 100-continue", "Accept: */*", "Cookie: a=b", "Host: b", "X: \t y ", "Bad field: x",
    "Content-Length: 2", "Transfer-Encoding: chunked", "Range: bytes=0-1", "X: " + "x" * 900,
)  # fmt: skip


@st.composite
def requests(draw):
    """Return the bytes of one request, mostly a good one."""
    method = draw(st.sampled_from(["GET"] * 6 + ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"]))
    target = draw(st.sampled_from(PATHS)) + draw(st.sampled_from(["", "", "", "?a=1&b=%20c", "?", "?a=%ff"]))
    version = draw(st.sampled_from(["1.1"] * 8 + ["1.0", "2.0"]))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=3))
    body = (
        draw(st.sampled_from([b"{}", b'{"a":[1,2]}', b"nonsense", b"x" * 1001])) if method in ("POST", "PUT") else b""
    )
    if body:
        fields.append(f"Content-Length: {len(body)}")
    host = draw(st.sampled_from([["Host: a"]] * 6 + [["Host: a:80"], ["Host: [::1]"], ["Host: a b"], []]))
    return "\r\n".join([f"{method} {target} HTTP/{version}", *host, *fields, "", ""]).encode("latin-1") + body


async def play(dispatcher, way, pieces):
    """Return every byte that the client of one connection reads."""
    loop = asyncio.get_running_loop()
    state = ServerState(dispatcher, loop, choose_tier("compiled"), lambda: 1000.0, lambda: 0.0)
    make = (lambda: Connection(dispatcher, state)) if way == "general" else make_protocol_factory(dispatcher, state)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    poller = import_module("cello._speedups.transport").Poller(loop)
    try:
        if way == "lane":
            poller.adopt(theirs, make())
        else:
            await loop.connect_accepted_socket(make, theirs)
        ours.setblocking(False)
        answer = b""
        try:
            for piece in pieces:
                ours.send(piece)
                await asyncio.sleep(0)
            ours.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has closed; what it said before is still there
        try:
            while received := await loop.sock_recv(ours, 262_144):
                answer += received
        except ConnectionResetError:
            pass  # it closed with something unread, as a refusal may
        ours.close()
        await state.wait_empty()
        return answer
    finally:
        poller.close()


def compare(runner, dispatcher, pieces):
    async def all_ways():
        async with asyncio.timeout(ENOUGH_S):
            return [await play(dispatcher, way, pieces) for way in WAYS]

    general, lane, loops = runner.run(all_ways())
    assert lane == general
    assert loops == general
    return general


@pytest.fixture(scope="module")
def dispatcher():
    made = make_app().freeze()
    yield made
    made.end_threads()


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as made:
        yield made


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_of_the_conformance_table_is_answered_alike(runner, dispatcher, row, how):
    compare(runner, dispatcher, list(cut(row.data, how)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_each_kind_of_answer_is_the_same(runner, dispatcher, method, path):
    request = f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert compare(runner, dispatcher, [request * 3]).startswith(b"HTTP/1.1 ")


@settings(max_examples=150, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=6), st.lists(st.integers(1, 400), max_size=4))
@example([b"GET /suspend?a=1 HTTP/1.1\r\nHost: a\r\n\r\n"] * 6, [10])
def test_any_requests_cut_anyhow_are_answered_alike(runner, dispatcher, made, sizes):
    data = b"".join(made)
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    compare(runner, dispatcher, [piece for piece in [*pieces, data] if piece])


SIMILAR = (
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 2\r\n\r\n",
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n",
    b"GET /seen?a=1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 0\r\n\r\n",
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\n\r\n",
    b"HEAD /seen HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /suspend HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /users/7 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /users/8?a=1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /users/9 HTTP/1.0\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"GET /us ers HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    b"PUT /users/7 HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\ncd",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\n{}",
)
"""Heads that come again, and heads that are almost the one before."""


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(SIMILAR), min_size=2, max_size=12), st.lists(st.integers(1, 200), max_size=4))
@example([SIMILAR[0]] * 12, [])
@example([*SIMILAR, *SIMILAR], [])
def test_heads_that_come_again_are_answered_alike(runner, dispatcher, made, sizes):
    data = b"".join(made)
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    answers = compare(runner, dispatcher, [piece for piece in [*pieces, data] if piece])
    assert b"HTTP/1.1 500" not in answers
