"""Server-sent events through the own server: the worker's clock keeps them alive, and its end ends them."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cello import App, Response, SseStream
from tests.gateways.native.lines import turn, working

COMMENT = b":\n\n"


def make_app(stream: SseStream, keep_alive: float | None = 15.0) -> App:
    app = App()
    app.get("/events")(lambda request: Response.sse(stream, keep_alive=keep_alive))
    return app


async def test_silence_is_broken_by_the_clock() -> None:
    stream = SseStream(live=True)
    async with working(make_app(stream)) as worker:
        line = await worker.connect()
        line.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        await worker.pass_time(16)
        assert await line.chunk() == COMMENT
        stream.add("x")
        assert await line.chunk() == b"data: x\n\n"
        await worker.pass_time(14)
        stream.add("y")
        assert await line.chunk() == b"data: y\n\n", "what was said broke the silence"
        await worker.pass_time(40)
        assert [await line.chunk(), await line.chunk()] == [COMMENT, COMMENT]
        stream.close()
        assert await line.chunk() == b""
        assert (await line.get("/nothing")).status == 404, "the connection lives on"


async def test_a_stream_may_stay_silent() -> None:
    stream = SseStream(live=True)
    async with working(make_app(stream, keep_alive=None)) as worker:
        line = await worker.connect()
        line.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        await worker.pass_time(600)
        stream.add("x")
        assert await line.chunk() == b"data: x\n\n"


async def test_http_1_0_gets_comments_without_chunks() -> None:
    stream = SseStream(live=True)
    async with working(make_app(stream)) as worker:
        line = await worker.connect()
        line.send(b"GET /events HTTP/1.0\r\n\r\n")
        await line.head()
        await worker.pass_time(16)
        stream.close()
        assert await line.reader.read() == COMMENT


@pytest.mark.parametrize("in_front", [False, True], ids=["general lane", "whatever is in front"])
async def test_a_worker_that_ends_sends_its_listeners_away(in_front: bool) -> None:
    ended = []

    async def for_ever() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick"
                await asyncio.Event().wait()
        finally:
            ended.append(True)

    app = App()
    app.get("/events")(lambda request: Response.sse(for_ever()))
    async with working(app) as worker:
        line = await worker.connect(in_front=in_front)
        line.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        assert await line.chunk() == b"data: tick\n\n"
        worker.state.drain()
        await worker.pass_time(0.5)
        assert await line.chunk() == b"", "a proper end"
        assert await line.at_end()
        assert ended


async def test_plain_generators_take_no_thread_from_handlers() -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def waiting() -> Iterator[str]:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)
        yield "x"

    app = App()
    app.get("/events")(lambda request: Response.sse(waiting()))
    async with working(app) as worker:
        lines = [await worker.connect() for _ in range(100)]
        for line in lines:
            line.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            await line.head()
        await turn()
        assert worker.dispatcher.threads.pending == 0
        gate.set()
        for line in lines:
            assert await line.chunk() == b"data: x\n\n"
