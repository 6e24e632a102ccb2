# ruff: noqa: E501  # tables read best on one line
"""The ASGI gateway against the specification: messages in order, the body within limits, disconnects, lifespan."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, BackgroundTasks, ConfigError, LimitsConfig, Request, Response, TimeoutConfig
from cello.gateways.asgi_scope import raw_path_of

Message = dict[str, Any]


class Host:
    """A strict ASGI host for one request: refuses messages out of order, and plays what the client does."""

    def __init__(self, app: Any, **scope: Any) -> None:
        self.app = app
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/", "query_string": b"", "headers": [], "client": ("10.0.0.1", 5), "server": ("me", 80), **scope,
        }  # fmt: skip
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.changed = asyncio.Event()
        self.is_complete = False
        self.received = 0

    def give(self, body: bytes = b"", more: bool = False) -> "Host":
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})
        return self

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        self.received += 1
        return await self.inbox.get()

    async def send(self, message: Message) -> None:
        kind = message["type"]
        assert not self.is_complete, f"{kind} after the end"
        if kind == "http.response.start":
            assert not self.sent, "started twice"
            assert all(name == name.lower() for name, _ in message["headers"])
        else:
            assert self.sent, f"{kind} before the start"
            self.is_complete = not message.get("more_body", False)
        self.sent.append(message)
        self.changed.set()

    async def run(self) -> "Host":
        await self.app.asgi(self.scope, self.receive, self.send)
        return self

    async def wait_for(self, count: int) -> None:
        while len(self.sent) < count:
            self.changed.clear()
            await self.changed.wait()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        assert self.is_complete
        return b"".join(message.get("body", b"") for message in self.sent[1:])


@pytest.fixture
def app() -> App:
    return App()


PATHS: dict[str, tuple[dict[str, Any], str]] = {
    "a plain path": ({"path": "/a/b"}, "/a/b"),
    "no path": ({"path": ""}, "/"),
    "the encoded path is taken": ({"path": "/a/b", "raw_path": b"/a%2Fb"}, "/a%2Fb"),
    "without it the path is encoded": ({"path": "/a b/ü%"}, "/a%20b/%C3%BC%25"),
    "it may be None": ({"path": "/a", "raw_path": None}, "/a"),
    "a query in it is cut off": ({"path": "/a/b", "raw_path": b"/a%2Fb?x"}, "/a%2Fb"),
    "one left behind by middleware is not used": ({"path": "/new", "raw_path": b"/old%20x"}, "/new"),
    "a root path is taken off": ({"path": "/app/a", "raw_path": b"/app/a", "root_path": "/app"}, "/a"),
    "a root path with a slash": ({"path": "/app/a", "raw_path": b"/app/a", "root_path": "/app/"}, "/a"),
    "a root path and an encoded slash": ({"path": "/app/a/b", "raw_path": b"/app/a%2Fb", "root_path": "/app"}, "/a%2Fb"),
    "a root path that is encoded": ({"path": "/ä/a/b", "raw_path": b"/%C3%A4/a%2Fb", "root_path": "/ä"}, "/a%2Fb"),
    "a root path alone": ({"path": "/app", "raw_path": b"/app", "root_path": "/app"}, "/"),
    "a root path that the host took off itself": ({"path": "/a/b", "raw_path": b"/a%2Fb", "root_path": "/app"}, "/a%2Fb"),
    "a root path that begins like the path": ({"path": "/apples", "root_path": "/app"}, "/apples"),
    "bytes that are no utf-8": ({"path": "/\udcff", "raw_path": b"/%FF"}, "/%FF"),
    "bytes that were replaced": ({"path": "/\ufffd", "raw_path": b"/%FF"}, "/%FF"),
}  # fmt: skip


@pytest.mark.parametrize(("scope", "expected"), PATHS.values(), ids=PATHS)
def test_the_encoded_path(scope: dict[str, Any], expected: str) -> None:
    assert raw_path_of(scope) == expected


async def test_headers_may_be_any_iterable_of_pairs(app: App) -> None:
    app.get("/")(lambda request: request.headers["x-a"])
    host = await Host(app, headers=iter([[b"x-a", b"1"], [b"x-a", b"2"]])).give().run()
    assert host.body == b"1, 2"


async def test_optional_keys_may_be_missing(app: App) -> None:
    app.get("/")(
        lambda request: {"ip": request.client_ip + "", "query": request.query_string, "host": request.host + ""}
    )
    host = Host(app).give()
    for key in ("client", "server", "scheme", "http_version", "query_string"):
        del host.scope[key]
    assert (await host.run()).body == b'{"ip":"","query":"","host":""}'


async def test_an_answer_is_two_messages(app: App) -> None:
    app.get("/")(lambda: "hello")
    host = await Host(app).give().run()
    assert [message["type"] for message in host.sent] == ["http.response.start", "http.response.body"]
    assert host.received == 1


async def test_the_body_is_collected(app: App) -> None:
    app.post("/")(lambda request: request.body())
    host = Host(app, method="POST").give(b"a", more=True).give(b"", more=True).give(b"b", more=True).give(b"c")
    assert (await host.run()).body == b"abc"


async def test_a_body_without_a_last_piece_of_its_own(app: App) -> None:
    app.post("/")(lambda request: request.body())
    assert (await Host(app, method="POST").give(b"abc", more=True).give().run()).body == b"abc"


async def test_a_big_body_is_spooled(app: App) -> None:
    app.set_limits(LimitsConfig(max_spool_memory=1000))
    app.post("/")(lambda request: {"size": len(request.body())})
    host = Host(app, method="POST").give(b"x" * 800, more=True).give(b"x" * 800)
    assert (await host.run()).body == b'{"size":1600}'


async def test_an_announced_body_over_the_limit_is_refused_unread(app: App) -> None:
    app.post("/", max_body_size=10)(lambda: "x")
    host = await Host(app, method="POST", headers=[(b"content-length", b"11")]).run()
    assert (host.status, host.received) == (413, 0)


async def test_a_growing_body_over_the_limit_is_refused_at_once(app: App) -> None:
    app.post("/", max_body_size=10)(lambda: "x")
    host = await Host(app, method="POST").give(b"x" * 11, more=True).run()
    assert (host.status, host.received) == (413, 1)


async def test_a_content_length_that_is_no_number_is_refused(app: App) -> None:
    app.post("/")(lambda: "x")
    assert (await Host(app, method="POST", headers=[(b"content-length", b"1x")]).run()).status == 400


async def test_a_client_that_leaves_before_its_body_is_complete_gets_no_answer(app: App) -> None:
    app.post("/")(lambda: pytest.fail("the handler must not run"))
    host = Host(app, method="POST").give(b"a", more=True)
    host.leave()
    assert (await host.run()).sent == []


async def test_a_client_that_leaves_a_spooled_body_gets_no_answer(app: App) -> None:
    app.post("/")(lambda: pytest.fail("the handler must not run"))
    host = Host(app, method="POST").give(b"a", more=True).give(b"b", more=True)
    host.leave()
    assert (await host.run()).sent == []


async def test_a_streamed_body_is_read_only_when_the_handler_asks(app: App) -> None:
    received: list[int] = []
    host = Host(app, method="POST").give(b"a", more=True).give(b"b")

    @app.post("/", stream=True)
    async def handler(request: Request) -> object:
        received.append(host.received)
        parts = [chunk async for chunk in request.stream()]
        return b"|".join(parts)

    assert (await host.run()).body == b"a|b"
    assert received == [0]


async def test_a_plain_handler_reads_a_streamed_body_on_a_thread(app: App) -> None:
    names: list[str] = []

    @app.post("/", stream=True)
    def handler(request: Request) -> object:
        names.append(threading.current_thread().name)
        return b"|".join(request.stream())

    assert (await Host(app, method="POST").give(b"a", more=True).give(b"b").run()).body == b"a|b"
    assert names != [threading.current_thread().name]


async def test_a_streamed_body_over_the_limit_is_413(app: App) -> None:
    @app.post("/", stream=True, max_body_size=3)
    async def handler(request: Request) -> object:
        return b"".join([chunk async for chunk in request.stream()])

    assert (await Host(app, method="POST").give(b"ab", more=True).give(b"cd").run()).status == 413


async def test_disconnected_asks_without_waiting(app: App) -> None:
    answers: list[bool] = []
    host = Host(app).give()

    @app.get("/")
    async def handler(request: Request) -> str:
        answers.append(await request.disconnected())
        host.leave()
        answers.append(await request.disconnected())
        answers.append(await request.disconnected())
        return "x"

    await host.run()
    assert answers[0] is False
    assert answers[-1] is True


async def test_disconnected_takes_nothing_of_an_unread_body(app: App) -> None:
    @app.post("/", stream=True)
    async def handler(request: Request) -> object:
        assert not await request.disconnected()
        return b"".join([chunk async for chunk in request.stream()])

    assert (await Host(app, method="POST").give(b"ab").run()).body == b"ab"


async def test_a_handler_is_not_cancelled_by_default_when_its_client_leaves(app: App) -> None:
    done = []
    host = Host(app).give()

    @app.get("/")
    async def handler() -> str:
        host.leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.append(True)
        return "x"

    await host.run()
    assert done == [True]


async def test_a_handler_that_wants_it_is_cancelled_when_its_client_leaves(app: App) -> None:
    log: list[str] = []
    host = Host(app).give()

    @app.get("/", cancel_on_disconnect=True)
    async def handler() -> str:
        host.leave()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        return "x"

    await host.run()
    assert (log, host.sent) == (["cancelled"], [])


async def test_a_handler_that_wants_it_answers_while_its_client_stays(app: App) -> None:
    @app.get("/", cancel_on_disconnect=True)
    async def handler() -> str:
        await asyncio.sleep(0)
        return "x"

    assert (await Host(app).give().run()).body == b"x"


async def test_a_host_that_cancels_cancels_the_handler(app: App) -> None:
    log: list[str] = []
    started = asyncio.Event()

    @app.get("/", cancel_on_disconnect=True)
    async def handler() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cleaned up")
        return "x"

    task = asyncio.create_task(Host(app).give().run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up"]


STREAMS = ["plain", "async"]


def make_stream(kind: str, log: list[str]) -> Callable[[], Any]:
    def plain() -> Iterator[str]:
        try:
            while True:
                log.append("made")
                yield "x"
        finally:
            log.append("closed")

    async def fancy() -> AsyncIterator[str]:
        try:
            while True:
                log.append("made")
                yield "x"
                await asyncio.sleep(0)
        finally:
            log.append("closed")

    return plain if kind == "plain" else fancy


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_ends_when_the_client_leaves(app: App, kind: str) -> None:
    log: list[str] = []
    app.get("/")(make_stream(kind, log))
    host = Host(app).give()
    task = asyncio.create_task(host.run())
    await host.wait_for(3)
    host.leave()
    await task
    assert log[-1] == "closed"
    assert not host.is_complete


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_ends_when_send_says_that_the_client_has_left(app: App, kind: str) -> None:
    log: list[str] = []
    app.get("/")(make_stream(kind, log))
    host = Host(app).give()

    async def send(message: Message) -> None:
        await host.send(message)
        if len(host.sent) == 3:
            raise OSError

    await app.asgi(host.scope, host.receive, send)
    assert log[-1] == "closed"


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_ends_when_the_host_cancels(app: App, kind: str) -> None:
    log: list[str] = []
    app.get("/")(make_stream(kind, log))
    host = Host(app).give()
    task = asyncio.create_task(host.run())
    await host.wait_for(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log[-1] == "closed"


async def test_an_error_in_a_stream_is_raised_to_the_host(app: App) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise ValueError("spilt")

    app.get("/")(broken)
    host = Host(app).give()
    with pytest.raises(ValueError, match="spilt"):
        await host.run()
    assert not host.is_complete


async def test_an_echo_reads_and_writes_at_the_same_time(app: App) -> None:
    @app.post("/", stream=True)
    async def handler(request: Request) -> Any:
        async for chunk in request.stream():
            yield chunk.upper()

    host = Host(app, method="POST").give(b"a", more=True)
    task = asyncio.create_task(host.run())
    await host.wait_for(2)
    host.give(b"b")
    await task
    assert host.body == b"AB"


async def test_background_work_runs_after_the_last_message(app: App) -> None:
    order: list[str] = []
    host = Host(app).give()

    @app.get("/")
    def handler() -> Response:
        response = Response.text("x")
        response.background = BackgroundTasks()
        response.background.add_task(lambda: order.append(f"task, answer complete: {host.is_complete}"))
        return response

    await host.run()
    assert order == ["task, answer complete: True"]


async def test_background_work_runs_also_when_the_client_has_left(app: App) -> None:
    order: list[str] = []

    @app.get("/")
    def handler() -> Response:
        response = Response.text("x")
        response.background = BackgroundTasks()
        response.background.add_task(order.append, "task")
        return response

    async def send(message: Message) -> None:
        raise ConnectionResetError

    host = Host(app).give()
    await app.asgi(host.scope, host.receive, send)
    assert order == ["task"]


async def test_a_handler_on_a_thread_that_takes_too_long_is_503(app: App) -> None:
    release = threading.Event()
    app.set_timeouts(TimeoutConfig(handler=1))

    @app.get("/", blocking=True, timeout=0.05)
    def handler() -> str:
        release.wait(30)
        return "late"

    host = await Host(app).give().run()
    release.set()
    assert host.status == 503


async def test_what_a_late_thread_opened_is_closed(app: App) -> None:
    from cello import Depends

    release, closed = threading.Event(), threading.Event()

    def resource() -> Iterator[str]:
        try:
            yield "open"
        finally:
            closed.set()

    @app.get("/", blocking=True, timeout=0.05)
    def handler(value: str = Depends(resource)) -> str:
        release.wait(30)
        return value

    host = await Host(app).give().run()
    assert host.status == 503
    assert not closed.is_set()
    release.set()
    assert await asyncio.to_thread(closed.wait, 30)


@pytest.fixture
def letters(app: App, tmp_path: Path) -> Path:
    path = tmp_path / "letters.txt"
    path.write_bytes(b"abcdefghij")
    app.get("/")(lambda: Response.sendfile(path))
    return path


async def test_a_small_file_is_one_message(app: App, letters: Path) -> None:
    host = await Host(app).give().run()
    assert (host.body, len(host.sent)) == (b"abcdefghij", 2)


async def test_a_big_file_is_sent_in_pieces(app: App, letters: Path) -> None:
    letters.write_bytes(b"x" * 1_000_000)
    host = await Host(app).give().run()
    assert len(host.body) == 1_000_000
    assert len(host.sent) > 3


async def test_a_host_that_can_send_paths_gets_the_path(app: App, letters: Path) -> None:
    host = await Host(app, extensions={"http.response.pathsend": {}}).give().run()
    assert host.sent[1] == {"type": "http.response.pathsend", "path": str(letters)}


async def test_but_not_for_a_range(app: App, letters: Path) -> None:
    host = Host(app, extensions={"http.response.pathsend": {}}, headers=[(b"range", b"bytes=2-4")])
    assert (await host.give().run()).body == b"cde"


async def test_a_host_that_can_send_files_gets_the_part(app: App, letters: Path) -> None:
    parts: list[bytes] = []
    host = Host(app, extensions={"http.response.zerocopysend": {}}, headers=[(b"range", b"bytes=2-4")]).give()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.zerocopysend":
            file = message["file"]
            file.seek(message["offset"])
            parts.append(file.read(message["count"]))
        await host.send(message)

    await app.asgi(host.scope, host.receive, send)
    assert parts == [b"cde"]


class LifespanHost:
    """Plays the lifespan protocol."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: asyncio.Queue[Message] = asyncio.Queue()
        self.task: asyncio.Task[None]

    async def start(self) -> Message:
        self.task = asyncio.create_task(self.app.asgi({"type": "lifespan"}, self.inbox.get, self.outbox.put))
        await self.inbox.put({"type": "lifespan.startup"})
        return await self.outbox.get()

    async def stop(self) -> Message:
        await self.inbox.put({"type": "lifespan.shutdown"})
        return await self.outbox.get()


async def test_lifespan_starts_and_stops_the_application(app: App) -> None:
    log: list[str] = []
    app.on_event("startup")(lambda: log.append("start"))
    app.on_event("shutdown")(lambda: log.append("stop"))
    app.get("/")(lambda: "x")
    host = LifespanHost(app)
    assert await host.start() == {"type": "lifespan.startup.complete"}
    assert (await Host(app).give().run()).body == b"x"
    assert await host.stop() == {"type": "lifespan.shutdown.complete"}
    await host.task
    assert log == ["start", "stop"]


async def test_a_failing_start_is_said_and_raised(app: App) -> None:
    @app.on_event("startup")
    def start() -> None:
        raise ConnectionError("no database")

    host = LifespanHost(app)
    assert await host.start() == {"type": "lifespan.startup.failed", "message": "ConnectionError: no database"}
    with pytest.raises(ConnectionError):
        await host.task


async def test_a_route_that_cannot_be_compiled_fails_the_start(app: App) -> None:
    from cello import Depends

    app.get("/")(lambda value=Depends("missing"): value)
    host = LifespanHost(app)
    message = await host.start()
    assert message["type"] == "lifespan.startup.failed"
    assert "missing" in message["message"]
    with pytest.raises(ConfigError):
        await host.task


async def test_a_failing_shutdown_is_said_and_raised(app: App) -> None:
    @app.on_event("shutdown")
    def stop() -> None:
        raise ConnectionError("cannot flush")

    host = LifespanHost(app)
    await host.start()
    message = await host.stop()
    assert message["type"] == "lifespan.shutdown.failed"
    with pytest.raises(ExceptionGroup):
        await host.task


async def test_a_websocket_is_closed_before_it_opens(app: App) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": []}
    await app.asgi(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_websocket_is_denied_with_an_answer_where_the_host_can_carry_one(app: App) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "path": "/ws", "query_string": b"", "headers": [], "scheme": "ws",
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await app.asgi(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 404
    assert b"/ws" in sent[1]["body"]


async def test_an_unknown_scope_is_an_error(app: App) -> None:
    with pytest.raises(ConfigError, match="'smtp'"):
        await app.asgi({"type": "smtp"}, None, None)  # type: ignore[arg-type]  # it is not looked at


async def test_a_plain_function_that_hands_out_a_coroutine_is_finished_on_the_loop(app: App) -> None:
    async def inner() -> str:
        return "finished"

    app.get("/inline", blocking=False)(lambda: inner())
    app.get("/thread", blocking=True)(lambda: inner())
    for path in ("/inline", "/thread"):
        for _ in range(2):
            assert (await Host(app, path=path).give().run()).body == b"finished"


async def test_a_handler_that_cancels_itself_is_cancelled(app: App) -> None:
    @app.get("/", cancel_on_disconnect=True)
    async def handler() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Host(app).give().run()


class SlowThread:
    """A blocking handler with something to clean up, and the events to follow it by."""

    def __init__(self, app: App, *, timeout: float | None = None) -> None:
        from cello import Depends

        self.started, self.release, self.done = threading.Event(), threading.Event(), threading.Event()
        self.log: list[str] = []

        def resource() -> Iterator[str]:
            try:
                yield "open"
            finally:
                self.log.append("closed")

        async def later() -> None:
            self.log.append("async task")
            self.done.set()

        def handler(value: str = Depends(resource)) -> Response:
            self.started.set()
            self.release.wait(30)
            self.log.append("handled")
            response = Response.text(value)
            response.background = BackgroundTasks()
            response.background.add_task(later)
            return response

        app.get("/", blocking=True, timeout=timeout)(handler)

    async def end(self) -> list[str]:
        self.release.set()
        assert await asyncio.to_thread(self.done.wait, 30)
        return self.log


async def test_a_thread_whose_request_was_cancelled_finishes_alone(app: App) -> None:
    slow = SlowThread(app)
    task = asyncio.create_task(Host(app).give().run())
    assert await asyncio.to_thread(slow.started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await slow.end() == ["handled", "closed", "async task"]


async def test_a_thread_that_ran_out_of_time_finishes_alone(app: App) -> None:
    slow = SlowThread(app, timeout=0.05)
    host = await Host(app).give().run()
    assert host.status == 503
    assert await slow.end() == ["handled", "closed", "async task"]


async def test_a_late_coroutine_is_run_to_its_end(app: App) -> None:
    release, done = threading.Event(), asyncio.Event()

    async def late() -> str:
        done.set()
        return "x"

    @app.get("/", blocking=True, timeout=0.05)
    def handler() -> Any:
        release.wait(30)
        return late()

    assert (await Host(app).give().run()).status == 503
    release.set()
    await done.wait()


async def test_an_error_of_the_file_itself_is_raised_to_the_host(app: App, tmp_path: Path) -> None:
    path = tmp_path / "shrinking.bin"
    path.write_bytes(b"x" * 1_000_000)
    app.get("/")(lambda: Response.sendfile(path))
    host = Host(app).give()

    async def send(message: Message) -> None:
        await host.send(message)
        path.write_bytes(b"")

    with pytest.raises(OSError, match="ended"):
        await app.asgi(host.scope, host.receive, send)


async def test_a_host_that_hands_out_requests_without_end_does_not_keep_the_loop(app: App) -> None:
    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield "x"

    host = Host(app)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app.asgi(host.scope, receive, host.send)
    assert host.body == b"xxx"


async def test_a_streamed_body_whose_client_leaves_is_cut_short(app: App) -> None:
    seen: list[str] = []

    @app.post("/", stream=True)
    async def handler(request: Request) -> str:
        try:
            async for chunk in request.stream():
                seen.append(chunk.decode())  # noqa: PERF401  # what came before the error counts
        except Exception as error:
            seen.append(type(error).__name__)
            raise
        return "x"

    host = Host(app, method="POST").give(b"a", more=True)
    host.leave()
    await host.run()
    assert seen == ["a", "ClientDisconnected"]


async def test_a_connection_error_of_the_application_is_not_taken_for_the_clients(app: App) -> None:
    async def stream() -> AsyncIterator[str]:
        yield "x"
        raise ConnectionResetError("the database has gone")

    app.get("/")(stream)
    with pytest.raises(ConnectionResetError, match="database"):
        await Host(app).give().run()
