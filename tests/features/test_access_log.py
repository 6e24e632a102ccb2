"""The access log: one line for every answer, whatever it is, and nothing that waits for it."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time

import pytest

from cello import App, ConfigError, NotFound, Request, Response
from cello.features.access_lines import Lines, shown
from cello.serve.entry import tell_app
from cello.serve.options import resolve
from tests.gateways.native.lines import working

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def lines(caplog):
    """The records of the access log, complete once the client is closed."""

    def read():
        return [record for record in caplog.records if record.name == "cello.access"]

    caplog.set_level(logging.INFO)
    return read


def make_app(coloured, **options):
    app = App()
    app.enable_logging(**options)
    app.get("/users/{id}")(coloured(lambda id: {"id": id}))
    app.post("/users")(coloured(lambda: ("made", 201)))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "never"))
    app.get("/tagged")(coloured(lambda: Response.text("x", headers={"ETag": '"v1"'})))
    app.post("/small", max_body_size=3)(coloured(lambda: "never"))

    @app.get("/streamed")
    @coloured
    def streamed():
        yield b"abc"
        yield b"de"

    @app.get("/missing")
    @coloured
    def missing():
        raise NotFound("not here")

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("secret")

    @app.get("/vanished")
    @coloured
    def vanished():
        response = Response.sendfile(__file__)
        response.payload.path = "/nowhere/at/all"
        return response

    return app


ROWS = {
    "a route": ("GET", "/users/7", {}, 200, 10, "/users/{id}"),
    "another status": ("POST", "/users", {}, 201, 4, "/users"),
    "head sends nothing": ("HEAD", "/users/7", {}, 200, 0, "/users/{id}"),
    "no route": ("GET", "/nowhere", {}, 404, None, "-"),
    "another method": ("DELETE", "/users", {}, 405, None, "-"),
    "automatic options": ("OPTIONS", "/users", {}, 204, 0, "-"),
    "an undecodable path": ("GET", "/users/%FF", {}, 400, None, "-"),
    "an http error": ("GET", "/missing", {}, 404, None, "/missing"),
    "an exception": ("GET", "/broken", {}, 500, None, "/broken"),
    "an early answer": ("GET", "/guarded", {}, 403, None, "/guarded"),
    "what a condition made a 304": ("GET", "/tagged", {"headers": {"If-None-Match": '"v1"'}}, 304, 0, "/tagged"),
    "a stream, with all its bytes": ("GET", "/streamed", {}, 200, 5, "/streamed"),
    "a refusal of the server": ("POST", "/small", {"content": b"hush-hush5"}, 413, None, None),
    "an answer that cannot be sent": ("GET", "/vanished", {}, 500, 0, "/vanished"),
}


@pytest.mark.parametrize(("method", "path", "send", "status", "size", "route"), ROWS.values(), ids=ROWS.keys())
def test_every_answer_is_logged_once(serve, coloured, lines, method, path, send, status, size, route):
    with serve(make_app(coloured)) as client:
        assert client.request(method, path, **send).status == status
    [line] = lines()
    assert (line.method, line.path, line.status) == (method, path, status)
    assert line.bytes == size or size is None
    assert line.route == route or route is None
    assert line.ms >= 0
    assert line.levelno == logging.INFO
    for part in (method, path, str(status), " ms"):
        assert part in line.getMessage()


def test_a_line_says_who_asked_and_when(serve, coloured, lines, gateway):
    with serve(make_app(coloured)) as client:
        client.get("/users/7", headers={"traceparent": TRACEPARENT})
    [line] = lines()
    assert line.client == ("127.0.0.1" if gateway != "native" else "")  # a socketpair has no address
    assert line.trace_id == TRACE
    assert line.request_id == "-"
    assert line.getMessage().startswith(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.created)))


def test_lines_can_be_json(serve, coloured, lines):
    with serve(make_app(coloured, format="json")) as client:
        client.get("/users/7?x=1", headers={"traceparent": TRACEPARENT})
    [line] = lines()
    facts = json.loads(line.getMessage())
    names = ["time", "client", "method", "path", "status", "bytes", "ms", "route", "trace_id"]
    assert list(facts) == names
    assert facts["path"] == "/users/7"
    assert facts["route"] == "/users/{id}"
    assert facts["time"].endswith("Z")


def test_nothing_secret_is_logged(serve, coloured, lines):
    app = make_app(
        coloured, headers=["User-Agent", "Authorization", "cookie", "X-Pin"], query=True, hidden=["X-Pin", "q"]
    )
    sent = {"User-Agent": "me", "Authorization": "Bearer hush-hush", "Cookie": "id=hush-hush", "X-Pin": "hush-hush"}
    with serve(app) as client:
        client.get("/users/7?page=2&access_token=hush-hush&q=hush-hush&API%5FKEY=hush-hush&flag", headers=sent)
    [line] = lines()
    assert "hush-hush" not in line.getMessage() + str(vars(line))
    assert (line.user_agent, line.authorization, line.x_pin) == ("me", "[hidden]", "[hidden]")
    assert line.query == "page=2&access_token=[hidden]&q=[hidden]&API%5FKEY=[hidden]&flag"


def test_neither_query_nor_headers_are_logged_unasked(serve, coloured, lines):
    with serve(make_app(coloured)) as client:
        client.get("/users/7?secret=hush-hush", headers={"User-Agent": "hush-hush"})
    [line] = lines()
    assert "hush-hush" not in line.getMessage() + str(vars(line))


def test_a_line_stays_one_line():
    assert shown("a\r\nb\x1b[31m") == "a\\x0d\\x0ab\\x1b[31m"
    assert shown("x" * 5_000) == "x" * 2_048 + "…"


def test_excluded_paths_are_not_logged_nor_what_is_below(serve, lines):
    app = App()
    app.enable_logging(exclude_paths=["/health/"])
    for path in ("/health", "/health/live", "/healthy"):
        app.get(path)(lambda: "ok")
    with serve(app) as client:
        for path in ("/health", "/health/live", "/healthy"):
            client.get(path)
    assert [line.path for line in lines()] == ["/healthy"]


def test_a_stream_that_nobody_reads_to_its_end_is_logged_as_cut_short(client, lines):
    app = App()
    app.enable_logging()
    released = threading.Event()

    @app.get("/endless")
    async def endless():
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.001)
        finally:
            released.set()

    with client(app, "native") as opened:
        with opened.stream("GET", "/endless") as answer:
            next(answer.iter_bytes())
        assert released.wait(10)
    [line] = lines()
    assert line.cut_short
    assert line.bytes > 0
    assert "cut_short=True" in line.getMessage()


async def test_a_request_whose_client_left_is_logged_too(lines):
    app = App()
    app.enable_logging()

    @app.get("/long")
    async def long():
        await asyncio.Event().wait()

    await app.lifecycle.startup()
    dispatcher = app.freeze()
    request = Request("GET", "/long")
    task = asyncio.create_task(dispatcher.answer_async(dispatcher.plan_for(request), request))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await app.lifecycle.shutdown()
    assert [(line.path, line.status) for line in lines()] == [("/long", 499)]


async def test_bytes_that_are_no_request_are_logged_as_such(lines):
    app = App()
    app.enable_logging()
    await app.lifecycle.startup()
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"rubbish\r\n\r\n")
        assert (await line.answer()).status == 400
    await app.lifecycle.shutdown()
    assert [(line.method, line.path, line.status) for line in lines()] == [("-", "-", 400)]


@pytest.mark.parametrize("via", ["asgi", "native"])
def test_a_handler_that_took_too_long_is_logged_once_as_the_client_saw_it(client, lines, via):
    app = App()
    app.enable_logging()
    release, ended = threading.Event(), threading.Event()

    @app.get("/slow", blocking=True, timeout=0.05)
    def slow():
        assert release.wait(30)
        return "nobody reads this"

    app.after_request(lambda request, response: ended.set() if response.status == 200 else None)
    with client(app, via) as opened:
        assert opened.get("/slow").status == 503
        release.set()
        assert ended.wait(30)
    assert [(line.path, line.status) for line in lines()] == [("/slow", 503)]


class Blocked(logging.Handler):
    """A sink that hangs until it is released."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.lines = []

    def emit(self, record):
        self.entered.set()
        assert self.gate.wait(30)
        self.lines.append(record.getMessage())


def test_a_blocked_log_stalls_nobody_and_what_it_loses_is_counted(serve, coloured):
    sink = Blocked()
    logger = logging.getLogger("cello.access")
    logger.addHandler(sink)
    app = make_app(coloured, max_queued=5)
    try:
        with serve(app) as client:
            client.get("/users/first")
            assert sink.entered.wait(10)
            for _ in range(20):
                assert client.get("/users/7").status == 200
            assert app.feature("logging").dropped == 15
            sink.gate.set()
    finally:
        logger.removeHandler(sink)
    assert len([line for line in sink.lines if "GET" in line]) == 6
    assert [line for line in sink.lines if "GET" not in line] == [
        "15 requests were not logged: the log could not keep up, or failed"
    ]


def test_a_log_that_stays_blocked_does_not_keep_the_process(serve, monkeypatch):
    monkeypatch.setattr("cello.features.access_writer.PATIENCE_S", 0.01)
    sink = Blocked()
    logger = logging.getLogger("cello.access")
    logger.addHandler(sink)
    app = App()
    app.enable_logging()
    try:
        with serve(app) as client:
            client.get("/")
    finally:
        logger.removeHandler(sink)
        sink.gate.set()


class Broken(logging.Handler):
    """A sink that fails, until it is repaired."""

    def __init__(self):
        super().__init__()
        self.is_broken = True
        self.lines = []

    def emit(self, record):
        if self.is_broken:
            raise RuntimeError("disk full")
        self.lines.append(record.getMessage())


def test_a_log_that_fails_loses_lines_and_counts_them(serve):
    sink = Broken()
    logger = logging.getLogger("cello.access")
    logger.addHandler(sink)
    app = App()
    app.enable_logging()
    try:
        for broken in (True, False):
            sink.is_broken = broken
            with serve(app) as client:
                client.get("/nowhere")
    finally:
        logger.removeHandler(sink)
    assert app.feature("logging").dropped == 1
    line, warning = sink.lines
    assert "GET /nowhere 404" in line
    assert warning == "1 requests were not logged: the log could not keep up, or failed"


PROGRAM = """
from cello import App
from cello.testing import TestClient

app = App()
app.enable_logging({options})
for _ in range(2):
    with TestClient(app, "wsgi") as client:
        client.get("/nowhere")
"""


@pytest.mark.parametrize("options", ["", "format='json'"], ids=["text", "json"])
def test_where_logging_is_not_configured_lines_go_to_standard_error(options):
    code = PROGRAM.format(options=options)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    first, second = ran.stderr.splitlines()
    assert "/nowhere" in first
    assert first.startswith("{") is bool(options)
    assert "404" in second


def test_a_closed_standard_error_ends_nothing():
    code = "import sys; sys.stderr.close()\n" + PROGRAM.format(options="")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == ""


def test_status_is_coloured_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = Lines("text", (), query=False, hidden=())
    facts = {"time": 0.0, "client": "", "method": "GET", "path": "/", "status": 404, "bytes": 0, "ms": 1.0}
    assert "\x1b[33m404\x1b[0m" in lines.render(facts)


REFUSED = {
    "an unknown format": ({"format": "xml"}, "'text' or 'json'"),
    "a queue of nothing": ({"max_queued": 0}, "at least 1"),
    "a str of headers": ({"headers": "cookie"}, "list of strings"),
    "a number for a path": ({"exclude_paths": [1]}, "list of strings"),
    "no header name": ({"headers": ["a b"]}, "not a header name"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_logging(**options)


class TestServerOptions:
    """What `app.run()` and the command line say about logs."""

    def told(self, app, *arguments, **given):
        from cello.serve.options import read_arguments

        tell_app(app, resolve(given, arguments=read_arguments(arguments), environment={}, tls=None))
        return app.feature("logging")

    def test_development_logs_by_default(self):
        assert self.told(App()) is not None

    def test_production_does_not(self):
        assert self.told(App(), env="production") is None

    def test_production_does_where_the_program_switched_it_on(self):
        app = App()
        app.enable_logging(format="json")
        log = self.told(app, env="production")
        assert (log._is_on, log._format) == (True, "json")

    def test_the_command_line_goes_before_the_program(self):
        app = App()
        app.enable_logging(format="json")
        log = self.told(app, "--no-logs", "--log-format", "text")
        assert (log._is_on, log._format) == (False, "text")
        assert not log.applies_to(None)
