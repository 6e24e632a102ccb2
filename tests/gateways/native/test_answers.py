"""Answers that take longer than one write: iterators, files, slow clients, and clients that leave."""

import asyncio
import errno
import math
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cello import App, BackgroundTasks, Depends, Request, Response
from cello.config import TimeoutConfig
from cello.gateways.native import link
from cello.http.peer import Peer
from tests.gateways.native.lines import PROBE, Line, Worker, turn, working

pytestmark = pytest.mark.asyncio
OLD = b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


class Streams:
    """An application that streams in a colour, and what became of its generators."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.app = App()
        self.app.set_timeouts(TimeoutConfig(write=5, idle=10))
        self.loop = asyncio.get_running_loop()
        self.begun, self.closed = asyncio.Event(), asyncio.Event()
        self.goes = asyncio.Event()
        self.goes_blocking = threading.Event()
        self.app.add_route("/three", self.stream("three"))
        self.app.add_route("/waiting", self.stream("waiting"))
        self.app.add_route("/endless", self.stream("endless"))
        self.app.add_route("/breaking", self.stream("breaking"))
        self.app.add_route("/short", self.stream("three", "6"))
        self.app.add_route("/long", self.stream("three", "4"))
        self.app.add_route("/exact", self.stream("three", "5"))
        self.app.add_route("/probe", lambda request: "fine")

    def stream(self, kind: str, length: str | None = None) -> object:
        headers = None if length is None else {"Content-Length": length}

        def handler(request: Request) -> Response:
            pieces = self.pieces_async(kind) if self.colour == "async" else self.pieces(kind)
            return Response.stream(pieces, headers=headers)

        return handler

    def go(self) -> None:
        self.goes.set()
        self.goes_blocking.set()

    def pieces(self, kind: str) -> Iterator[bytes]:
        self.loop.call_soon_threadsafe(self.begun.set)
        try:
            if kind == "three":
                yield from (b"ab", b"", b"cde")
            elif kind == "waiting":
                yield b"first"
                self.goes_blocking.wait(10)
                yield b"second"
            elif kind == "endless":
                while True:
                    yield b"x" * 50_000
            else:
                yield b"first"
                raise RuntimeError("in the middle")
        finally:
            self.loop.call_soon_threadsafe(self.closed.set)

    async def pieces_async(self, kind: str) -> AsyncIterator[bytes]:
        self.begun.set()
        try:
            if kind == "three":
                for piece in (b"ab", b"", b"cde"):
                    yield piece
            elif kind == "waiting":
                yield b"first"
                await self.goes.wait()
                yield b"second"
            elif kind == "endless":
                while True:
                    yield b"x" * 50_000
            else:
                yield b"first"
                raise RuntimeError("in the middle")
        finally:
            self.closed.set()


@pytest.fixture
async def streams(colour: str) -> Streams:
    return Streams(colour)


async def test_a_stream_is_chunked_and_keeps_the_connection(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        answer = await line.get("/three")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert (answer.body, answer.keeps) == (b"abcde", True)
        assert "content-length" not in answer.headers
        line.send(PROBE)
        assert (await line.answer()).body == b"fine"
        await streams.closed.wait()


async def test_an_empty_piece_does_not_end_the_body(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        assert [await line.chunk(), await line.chunk(), await line.chunk()] == [b"ab", b"cde", b""]


async def test_a_stream_to_http_1_0_ends_with_the_connection(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(OLD % b"/three")
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"abcde", False)
        assert "transfer-encoding" not in answer.headers


async def test_a_stream_of_announced_length_is_sent_as_it_is(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(OLD % b"/exact")
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"abcde", True)
        assert answer.headers["content-length"] == "5"
        assert (await line.get("/exact")).body == b"abcde"


@pytest.mark.parametrize("target", ["/short", "/long"])
async def test_a_stream_of_another_length_than_announced_breaks_the_connection(
    streams: Streams, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + PROBE)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await both_answers(line)
        await streams.closed.wait()
    assert "Content-Length" in caplog.text


async def both_answers(line: Line) -> None:
    await line.answer()
    await line.answer()


async def test_the_first_piece_is_sent_before_the_second_is_made(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        assert await line.chunk() == b"first"
        streams.go()
        assert await line.chunk() == b"second"
        assert await line.chunk() == b""


async def test_a_stream_that_breaks_is_not_ended_properly(streams: Streams, caplog: pytest.LogCaptureFixture) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await line.get("/breaking")
        await streams.closed.wait()
    assert "in the middle" in caplog.text


async def test_head_of_a_stream_has_no_body(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"HEAD /three HTTP/1.1\r\nHost: a\r\n\r\n" + PROBE)
        assert (await line.answer("HEAD")).status == 200
        assert (await line.answer()).body == b"fine"


async def test_a_generator_is_closed_when_its_client_resets(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.writer.transport.pause_reading()  # what is not read when it goes makes its end a reset
        line.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        await streams.begun.wait()
        await turn(10)
        line.vanish()
        await turn(10)
        streams.goes_blocking.set()  # a thread cannot be cancelled: the generator is closed at its next yield
        await streams.closed.wait()
        await worker.state.wait_empty()


async def test_a_slow_client_holds_the_generator_back_and_a_stalled_one_is_dropped(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        await until_stalled(line)
        for _ in range(4):  # a client that reads now and then is kept
            await worker.pass_time(4)
            await read_much(line)
            await until_stalled(line)
        assert not streams.closed.is_set()
        await worker.pass_time(7)
        await streams.closed.wait()
        await worker.state.wait_empty()


async def until_stalled(line: Line) -> None:
    """Wait until the server does not write any more because nobody reads."""
    line.writer.transport.pause_reading()
    async with asyncio.timeout(10):
        while line.connection.can_write:
            await asyncio.sleep(0.001)


async def read_much(line: Line) -> None:
    line.writer.transport.resume_reading()
    async with asyncio.timeout(10):
        while not line.connection.can_write:
            await line.reader.read(1_000_000)


async def test_a_silent_stream_to_a_half_closed_client_is_given_up_in_the_end(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        assert await line.chunk() == b"first"
        line.half_close()
        await turn(10)
        await worker.pass_time(8)
        assert not streams.closed.is_set()
        await worker.pass_time(5)
        streams.goes_blocking.set()
        await streams.closed.wait()


async def test_a_half_closed_client_gets_its_stream(streams: Streams) -> None:
    async with working(streams.app) as worker:
        line = await worker.connect()
        line.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n")
        line.half_close()
        await turn(10)
        streams.go()
        answer = await line.answer()
        assert answer.body == b"firstsecond"
        assert await line.at_end()


async def test_an_endless_stream_lets_others_be_answered(streams: Streams) -> None:
    async with working(streams.app) as worker:
        greedy = await worker.connect()
        greedy.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await greedy.head()
        other = await worker.connect()
        assert (await other.get("/probe")).body == b"fine"


# -- files --


@pytest.fixture(params=[0, 10, 65_536, 65_537, 3_000_000])
def content(request: pytest.FixtureRequest) -> bytes:
    return bytes(range(256)) * (request.param // 256) + b"x" * (request.param % 256)


def file_app(path: Path) -> App:
    app = App()
    app.add_route("/file", lambda request: Response.sendfile(path))
    app.add_route("/file-async", answer_async(path))
    app.add_route("/probe", lambda request: "fine")
    return app


def answer_async(path: Path) -> object:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response.sendfile(path)

    return handler


@pytest.mark.parametrize("target", ["/file", "/file-async"])
@pytest.mark.parametrize("with_kernel", [True, False], ids=["by the kernel", "in pieces"])
async def test_a_file_of_any_size_arrives_whole(
    tmp_path: Path, content: bytes, target: str, with_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    if not with_kernel:
        monkeypatch.setattr(link, "peer_of", lambda *of: (Peer(), True))  # TLS; nothing else differs
    async with working(file_app(path)) as worker:
        line = await worker.connect()
        line.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + PROBE)
        answer = await line.answer()
        assert answer.body == content
        assert answer.headers["content-length"] == str(len(content))
        assert (await line.answer()).body == b"fine"


async def test_a_file_arrives_where_the_kernel_cannot_send_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 2000)

    def sendfile(*args: int) -> int:
        raise OSError(errno.EINVAL, "this file system has no such thing")

    monkeypatch.setattr(os, "sendfile", sendfile)
    async with working(file_app(path)) as worker:
        line = await worker.connect()
        answer = await line.get("/file", "Range: bytes=100-300099\r\n")
        assert answer.body == (bytes(range(256)) * 2000)[100:300_100]
        line.send(PROBE)
        assert (await line.answer()).body == b"fine"


async def test_a_range_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 2000)
    async with working(file_app(path)) as worker:
        line = await worker.connect()
        answer = await line.get("/file", "Range: bytes=100-200099\r\n")
        assert answer.status == 206
        assert answer.body == (bytes(range(256)) * 2000)[100:200_100]
        line.send(b"HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n" + PROBE)
        assert (await line.answer("HEAD")).headers["content-length"] == "512000"
        assert (await line.answer()).body == b"fine"


@pytest.mark.parametrize("size", [1000, 400_000])
async def test_a_file_that_shrinks_is_never_padded(
    tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * size)
    app = file_app(path)

    def shrunk(request: Request) -> Response:
        response = Response.sendfile(path)
        response.settle(request)
        os.truncate(path, size // 2)
        return response

    app.add_route("/shrunk", shrunk)
    async with working(app) as worker:
        line = await worker.connect()
        if size > 65_536:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await line.get("/shrunk")
        else:
            assert (await line.get("/shrunk")).status == 500
    assert "ended" in caplog.text


async def test_a_client_that_stalls_in_a_file_is_dropped_and_one_that_leaves_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 20_000_000)
    app = file_app(path)
    app.set_timeouts(TimeoutConfig(write=5))
    async with working(app) as worker:
        stalling, leaving = await worker.connect(), await worker.connect()
        for line in (stalling, leaving):
            line.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            await line.head()
            line.writer.transport.pause_reading()
        async with asyncio.timeout(10):
            while not all(line.connection.deadline < math.inf for line in (stalling, leaving)):
                await asyncio.sleep(0.001)  # until the kernel takes no more
        leaving.vanish()
        await turn(10)
        await worker.pass_time(8)
        await worker.state.wait_empty()


# -- what is done afterwards --


async def test_background_tasks_run_after_the_answer_and_do_not_hold_the_connection(colour: str) -> None:
    app = App()
    release = threading.Event()
    done: list[str] = []

    def work() -> None:
        release.wait(10)
        done.append("work")

    def respond() -> Response:
        response = Response("answered")
        response.background = BackgroundTasks()
        response.background.add_task(work)
        return response

    async def respond_async() -> Response:
        return respond()

    app.add_route("/", respond if colour == "def" else respond_async)
    app.add_route("/probe", lambda request: "fine")
    async with working(app) as worker:
        line = await worker.connect()
        assert (await line.get()).body == b"answered"
        line.send(PROBE)
        assert (await line.answer()).body == b"fine"
        assert done == []
        release.set()
        line.vanish()
        await worker.state.wait_empty()
        assert done == ["work"]


async def test_dependencies_are_cleaned_up_after_the_answer_and_when_the_client_has_left(colour: str) -> None:
    app = App()
    events: list[str] = []
    begun, release = asyncio.Event(), asyncio.Event()

    def resource() -> Iterator[str]:
        events.append("open")
        yield "resource"
        events.append("closed")

    def plain(value: str = Depends(resource)) -> str:
        return value

    async def coroutine(value: str = Depends(resource)) -> str:
        begun.set()
        await release.wait()
        return value

    app.add_route("/", plain if colour == "def" else coroutine)
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if colour == "async":
            await begun.wait()
            line.vanish()
            await turn(10)
            release.set()
        else:
            assert (await line.answer()).body == b"resource"
            line.vanish()
        await worker.state.wait_empty()
    assert events == ["open", "closed"]


async def test_a_worker_that_ends_waits_for_work_behind_the_last_answer() -> None:
    app = App()
    release = threading.Event()

    def respond() -> Response:
        response = Response("answered")
        response.background = BackgroundTasks()
        response.background.add_task(release.wait, 10)
        return response

    app.add_route("/", respond)
    async with working(app) as worker:
        line = await worker.connect()
        await line.get("/", "Connection: close\r\n")
        assert await line.at_end()
        waiting = asyncio.ensure_future(worker.state.wait_empty())
        await turn(10)
        assert not waiting.done()
        release.set()
        await waiting


async def test_a_connection_may_be_aborted_in_the_middle_of_everything(streams: Streams) -> None:
    async with working(streams.app) as worker:
        for target in ("/waiting", "/endless", "/three"):
            line = await worker.connect()
            line.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await turn(5)
        await abort(worker)
        streams.goes_blocking.set()
        await worker.state.wait_empty()


async def abort(worker: Worker) -> None:
    worker.state.abort()
    await turn(5)
