"""Every limit and timeout, and where it is obeyed: one table, held against the config classes and the guide.

`obeys` notes which field a test shows, and under which gateways. What only a server can do (heads, connections, idle
time) is shown for cello's own; elsewhere it is the host's.
"""

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cello import App, LimitsConfig, Request, ThreadPoolConfig, TimeoutConfig, WebSocket
from tests.gateways.native.lines import Line, turn, working
from tests.gateways.native.test_websocket import converse
from tests.gateways.native.test_websocket import make_app as make_socket_app
from tests.gateways.test_asgi import Host

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "limits-and-timeouts.md"
EVERYWHERE = ("wsgi", "asgi", "native")
OBEYED: dict[str, set[str]] = {}
"""Field → gateways, as the tests of this file note them."""

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1_048_576
Test = Callable[..., Any]


def obeys(fields: str, *gateways: str) -> Callable[[Test], Test]:
    """Note that a test shows `fields` to be obeyed under `gateways`; run it under those, if it asks which."""

    def note(test: Test) -> Test:
        for field in fields.split():
            OBEYED.setdefault(field, set()).update(gateways)
        names = test.__code__.co_varnames[: test.__code__.co_argcount]
        return pytest.mark.parametrize("gateway", gateways)(test) if {"gateway", "serve"} & set(names) else test

    return note


# -- everywhere --


@obeys("LimitsConfig.max_body_size", *EVERYWHERE)
def test_a_body_over_the_limit_is_413(serve: Test, coloured: Test, gateway: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_body_size=10))
    app.post("/")(coloured(lambda request: len(request.body())))
    app.post("/stream", stream=True)(_sizes)
    app.post("/more", max_body_size=20)(coloured(lambda request: len(request.body())))
    with serve(app) as client:
        for content in (b"x" * 10, [b"x" * 5, b"x" * 5]):
            assert client.post("/", content=content).status == 200
        for content in (b"x" * 11, [b"x" * 5, b"x" * 6]):
            assert client.post("/", content=content).status == 413
            assert client.post("/stream", content=content).status == 413
            assert client.post("/more", content=content).status == 200


def _sizes(request: Request) -> int:
    return sum(map(len, request.stream()))


@obeys("LimitsConfig.max_form_fields", *EVERYWHERE)
def test_a_form_of_too_many_fields_is_413(serve: Test, coloured: Test, gateway: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_form_fields=2))
    app.post("/")(coloured(lambda request: len(request.form())))
    with serve(app) as client:
        assert client.post("/", data={"a": 1, "b": 2}).text == "2"
        assert client.post("/", data={"a": 1, "b": 2, "c": 3}).status == 413
        assert client.post("/", data={"a": 1, "b": 2, "c": 3}, files={"f": b"x"}).status == 413


@obeys("LimitsConfig.max_multipart_parts", *EVERYWHERE)
def test_a_form_of_too_many_parts_is_413(serve: Test, coloured: Test, gateway: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_multipart_parts=2))
    app.post("/")(coloured(lambda request: len(request.files())))
    with serve(app) as client:
        assert client.post("/", files=[("a", b"x"), ("b", b"x")]).text == "2"
        assert client.post("/", files=[("a", b"x"), ("b", b"x"), ("c", b"x")]).status == 413


@obeys("LimitsConfig.max_spool_memory", *EVERYWHERE)
def test_beyond_its_memory_a_body_is_on_disk(serve: Test, coloured: Test, gateway: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_spool_memory=MIB))

    @app.post("/")
    @coloured
    def where(request: Request) -> dict[str, Any]:
        return {"on_disk": not isinstance(request._body, bytes), "size": len(request.body())}

    @app.post("/upload")
    @coloured
    def upload(request: Request) -> dict[str, Any]:
        file = request.form().get_file("f")
        return {"on_disk": file._spool.is_on_disk, "size": file.size()}

    with serve(app) as client:
        for size in (MIB, MIB + 1):
            expected = {"on_disk": size > MIB, "size": size}
            assert client.post("/", content=[b"x" * (MIB // 2), b"x" * (size - MIB // 2)]).json() == expected
            assert client.post("/upload", files={"f": b"x" * size}).json() == expected


@obeys("TimeoutConfig.handler", *EVERYWHERE)
def test_an_async_handler_that_takes_too_long_is_cancelled_and_503(serve: Test, gateway: str) -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(handler=0.05))
    cancelled = threading.Event()

    @app.get("/")
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    app.get("/quick")(_quick)
    with serve(app) as client:
        assert client.get("/").status == 503
        assert cancelled.wait(30)
        assert client.get("/quick").status == 200


async def _quick() -> str:
    return "quick"


@obeys("TimeoutConfig.handler", "asgi", "native")
def test_a_handler_on_a_thread_that_takes_too_long_is_503(serve: Test, gateway: str) -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(handler=0.05))
    release = threading.Event()
    app.get("/", blocking=True)(lambda: str(release.wait(30)))
    with serve(app) as client:
        assert client.get("/").status == 503
        release.set()


@obeys("TimeoutConfig.handler", *EVERYWHERE)
def test_a_handler_that_cannot_be_interrupted_is_logged(
    serve: Test, gateway: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(handler=1e-9))

    @app.get("/", blocking=False)
    def slow() -> str:
        return str(sum(range(200_000)))  # some ms of holding the thread

    with serve(app) as client:
        assert client.get("/").status == 200
    (record,) = [record for record in caplog.records if record.name == "cello.threads"]
    assert "slow" in record.getMessage()
    assert "1e-09 s are allowed" in record.getMessage()


@obeys("ThreadPoolConfig.size", "asgi", "native")
def test_so_many_handlers_run_at_once_and_no_more(serve: Test, gateway: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    app = App()
    app.set_threadpool(ThreadPoolConfig(size=2))
    both = threading.Barrier(2)
    lock, running, most = threading.Lock(), [0], [0]

    @app.get("/", blocking=True)
    def handler() -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        both.wait(30)  # two at once there are
        with lock:
            running[0] -= 1
        return "done"

    with serve(app) as client, ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(client.get, ["/"] * 6))
    assert [answer.status for answer in answers] == [200] * 6
    assert most == [2]


@obeys("ThreadPoolConfig.offload_threshold_ms ThreadPoolConfig.adaptive", "asgi", "native")
@pytest.mark.parametrize(
    ("config", "moves"),
    [
        (ThreadPoolConfig(offload_threshold_ms=0.001), True),
        (ThreadPoolConfig(offload_threshold_ms=100_000), False),
        (ThreadPoolConfig(offload_threshold_ms=0.001, adaptive=False), False),
    ],
    ids=["low threshold", "high threshold", "not adaptive"],
)
def test_a_handler_that_holds_the_loop_moves_to_the_threads(
    serve: Test, gateway: str, config: ThreadPoolConfig, moves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELLO_OFFLOAD", raising=False)
    app = App()
    app.set_threadpool(config)
    app.get("/")(lambda: f"{sum(range(1000))} {threading.get_ident()}")
    with serve(app) as client:
        idents = {client.get("/").text for _ in range(60)}
    assert (len(idents) > 1) is moves


@obeys("ThreadPoolConfig.max_long", *EVERYWHERE)
def test_so_many_streams_of_events_have_threads_and_no_more(gateway: str) -> None:
    app = App()
    app.set_threadpool(ThreadPoolConfig(max_long=7))
    assert app.freeze().long_threads.size == 7  # whose bound tests/pipeline/test_long_threads.py shows


# -- under ASGI: what the host leaves to the application --


@obeys("TimeoutConfig.read_body", "asgi")
@pytest.mark.parametrize("stream", [False, True], ids=["at once", "as a stream"])
@pytest.mark.parametrize("first", [[], [b"some"]], ids=["nothing", "a part"])
async def test_a_body_that_does_not_come_is_408_under_asgi(stream: bool, first: list[bytes]) -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(read_body=0.02, handler=30))

    @app.post("/", stream=stream)
    async def handler(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()]) if stream else len(request.body())

    host = Host(app, method="POST")
    for piece in first:
        host.give(piece, more=True)
    await host.run()
    assert host.status == 408


@obeys("TimeoutConfig.read_body", "asgi")
async def test_a_plain_handler_that_waits_for_its_body_under_asgi() -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(read_body=0.02))
    app.post("/", stream=True)(lambda request: sum(map(len, request.stream())))
    assert (await Host(app, method="POST").run()).status == 408


@obeys("TimeoutConfig.write", "asgi")
@pytest.mark.parametrize("kind", ["a stream", "an async stream", "a large body", "a file"])
async def test_a_client_that_takes_nothing_is_given_up_under_asgi(kind: str, tmp_path: Path) -> None:
    closed = threading.Event()
    path = tmp_path / "large"
    path.write_bytes(b"x" * 1_000_000)
    app = App()
    app.set_timeouts(TimeoutConfig(write=0.02))

    @app.get("/a stream")
    def stream() -> Any:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    @app.get("/an async stream")
    async def async_stream() -> Any:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    app.get("/a large body")(lambda: b"x" * 1_000_000)
    app.get("/a file")(lambda: _file(path))
    host = Host(app, path=f"/{kind}").give()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    await app.asgi(host.scope, host.receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    if "stream" in kind:
        assert closed.wait(30)


def _file(path: Path) -> Any:
    from cello import Response

    return Response.sendfile(path)


# -- cello's own server --


async def _ask(config: LimitsConfig | TimeoutConfig, data: bytes, seconds: float = 0) -> tuple[int, bool]:
    """Return the status of the answer to `data` after a while, and whether the connection lives on."""
    app = App()
    (app.set_limits if isinstance(config, LimitsConfig) else app.set_timeouts)(config)  # type: ignore[operator]
    app.add_route("/", lambda request: "hi", methods=["GET", "POST"])
    async with working(app) as worker:
        line: Line = await worker.connect()
        line.send(data)
        await turn(10)
        await worker.pass_time(seconds)
        answer = await line.answer()
        return answer.status, answer.keeps


def _head(fields: int = 0, size: int = 0, target: str = "/") -> bytes:
    lines = "".join(f"X-{number}: 1\r\n" for number in range(fields))
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}X: {'x' * size}\r\n\r\n".encode()


@obeys("LimitsConfig.max_header_size", "native")
async def test_a_head_that_is_too_large_is_431() -> None:
    config = LimitsConfig(max_header_size=1000)
    assert await _ask(config, _head(size=900)) == (200, True)
    assert await _ask(config, _head(size=1000)) == (431, False)


@obeys("LimitsConfig.max_fields", "native")
async def test_too_many_fields_are_431() -> None:
    config = LimitsConfig(max_fields=10)
    assert await _ask(config, _head(fields=8)) == (200, True)
    assert await _ask(config, _head(fields=9)) == (431, False)


@obeys("LimitsConfig.max_request_line", "native")
async def test_a_request_line_that_is_too_long_is_414() -> None:
    config = LimitsConfig(max_request_line=100)
    assert await _ask(config, _head(target="/?" + "x" * 80)) == (200, True)
    assert await _ask(config, _head(target="/?" + "x" * 100)) == (414, False)


@obeys("LimitsConfig.max_connections", "native")
async def test_connections_beyond_the_limit_are_503() -> None:
    app = App()
    app.set_limits(LimitsConfig(max_connections=1))
    app.add_route("/", lambda request: "hi")
    async with working(app) as worker:
        first, second = await worker.connect(), await worker.connect()
        assert ((await second.answer()).status, (await first.get()).status) == (503, 200)


@obeys("LimitsConfig.max_requests_per_connection", "native")
@pytest.mark.parametrize("in_front", [False, True], ids=["the general lane", "what is in front"])
async def test_a_connection_ends_after_so_many_requests(in_front: bool) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_requests_per_connection=2))
    app.add_route("/", lambda request: "hi")
    async with working(app) as worker:
        line = await worker.connect(in_front=in_front)
        assert [(await line.get()).keeps, (await line.get()).keeps] == [True, False]
        assert await line.at_end()


@obeys("LimitsConfig.max_pipelined", "native")
async def test_reading_pauses_behind_so_many_requests() -> None:
    app = App()
    app.set_limits(LimitsConfig(max_pipelined=1))
    release = asyncio.Event()

    @app.get("/")
    async def index() -> str:
        await release.wait()
        return "hi"

    async with working(app) as worker:
        line = await worker.connect()
        for _ in range(4):
            line.send(GET)
            await turn(10)
        assert not line.connection.transport.is_reading()
        release.set()
        assert [(await line.answer()).status for _ in range(4)] == [200] * 4


@obeys("TimeoutConfig.read_header", "native")
async def test_a_head_that_does_not_come_is_408() -> None:
    assert await _ask(TimeoutConfig(read_header=3), GET[:-2], 5) == (408, False)


@obeys("TimeoutConfig.read_body", "native")
async def test_a_body_that_does_not_come_is_408() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
    assert await _ask(TimeoutConfig(read_body=3), data, 5) == (408, False)


@obeys("TimeoutConfig.idle", "native")
@pytest.mark.parametrize("in_front", [False, True], ids=["the general lane", "what is in front"])
async def test_an_idle_connection_is_closed(in_front: bool) -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(idle=3))
    app.add_route("/", lambda request: "hi")
    async with working(app) as worker:
        line = await worker.connect(in_front=in_front)
        assert (await line.get()).status == 200
        await worker.pass_time(2)
        assert len(worker.state.connections) == 1
        await worker.pass_time(3)
        assert await line.at_end()


@obeys("TimeoutConfig.write", "native")
async def test_a_client_that_takes_nothing_is_dropped() -> None:
    app = App()
    app.set_timeouts(TimeoutConfig(write=3))
    app.add_route("/", lambda request: b"x" * 30_000_000)
    async with working(app) as worker:
        line = await worker.connect()
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's can
        line.send(GET)
        while line.connection.can_write:
            await turn()
        await worker.pass_time(2)
        assert len(worker.state.connections) == 1
        await worker.pass_time(3)
        await worker.state.wait_empty()


# -- conversations --


@obeys("LimitsConfig.max_ws_message", "asgi", "native")
def test_a_message_beyond_the_limit_closes_1009(serve: Test, coloured: Test, gateway: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_ws_message=100))
    app.websocket("/ws")(_echo)
    with serve(app).websocket_connect("/ws") as ws:
        ws.send_text("x" * 100)
        assert ws.receive_text() == "x" * 100
        ws.send_text("x" * 101)
        assert (ws.recv(), ws.close_code) == (None, 1009)


def _echo(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)


@obeys("LimitsConfig.ws_ping_interval LimitsConfig.ws_ping_timeout", "native")
async def test_a_silent_client_is_asked_and_then_dropped() -> None:
    app = make_socket_app()
    app.set_limits(LimitsConfig(ws_ping_interval=3, ws_ping_timeout=40))
    async with working(app) as worker:
        peer = await converse(worker)
        await worker.pass_time(4)
        assert await peer.frame() == (0x89, b"")
        await worker.pass_time(35)
        assert len(worker.state.connections) == 1
        await worker.pass_time(10)
        assert await peer.at_end()


FIELDS = {
    f"{config.__name__}.{field.name}"
    for config in (LimitsConfig, TimeoutConfig, ThreadPoolConfig)
    for field in dataclasses.fields(config)  # type: ignore[arg-type]  # they are
}


def test_every_field_is_obeyed_somewhere() -> None:
    assert set(OBEYED) >= FIELDS  # tests of other configs may be noted too


def test_the_guide_says_where() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\S*) \| (\S*) \| (\S*) \|$", GUIDE.read_text("utf-8"), re.MULTILINE)
    said = {name: {way for way, mark in zip(EVERYWHERE, marks, strict=True) if mark == "✓"} for name, *marks in rows}
    assert said == {field.partition(".")[2]: OBEYED[field] for field in FIELDS}


@pytest.mark.parametrize(
    ("setter", "config"),
    [("set_limits", LimitsConfig()), ("set_timeouts", TimeoutConfig()), ("set_threadpool", ThreadPoolConfig())],
)
def test_settings_are_of_their_kind_and_in_time(setter: str, config: object) -> None:
    from cello import ConfigError

    app = App()
    with pytest.raises(ConfigError, match=rf"{setter}\(\) takes a {type(config).__name__}, not 5"):
        getattr(app, setter)(5)
    getattr(app, setter)(config)
    app.freeze()
    with pytest.raises(ConfigError, match=rf"{setter}\(\) comes too late"):
        getattr(app, setter)(config)
