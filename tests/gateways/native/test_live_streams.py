"""Live streams whose client says half a goodbye: one that has gone ends its generator, one that listens on does not."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from cello import App, Response
from tests.gateways.native.lines import Line, turn, working

pytestmark = pytest.mark.asyncio


class Live:
    """An application with an endless stream that says one thing more when told."""

    def __init__(self) -> None:
        self.app = App()
        self.ended = asyncio.Event()
        self.more = asyncio.Event()
        self.app.enable_compression(min_size=0)
        self.app.get("/live")(self.live)

    async def live(self) -> Response:
        return Response.sse(self.events())

    async def events(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await self.more.wait()
            yield "second"
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def begin(line: Line, *fields: str) -> None:
    line.send("\r\n".join(["GET /live HTTP/1.1", "Host: a", *fields, "", ""]).encode())
    await line.head()
    assert await line.chunk()


@pytest.mark.parametrize("fields", [(), ("Accept-Encoding: gzip",)], ids=["plain", "compressed"])
@pytest.mark.parametrize("go", [lambda line: line.writer.close(), lambda line: line.vanish()], ids=["closed", "reset"])
async def test_a_client_that_has_gone_ends_the_generator(fields: tuple[str, ...], go: Callable[[Line], None]) -> None:
    live = Live()
    async with working(live.app) as worker:
        line = await worker.connect()
        await begin(line, *fields)
        go(line)
        for _ in range(3):  # seconds; far less than the comments that keep a stream alive wait for
            await turn(10)
            await worker.pass_time(1)
        async with asyncio.timeout(10):
            await live.ended.wait()


async def test_a_client_that_only_sends_no_more_still_hears_events() -> None:
    live = Live()
    async with working(live.app) as worker:
        line = await worker.connect()
        await begin(line)
        line.half_close()
        for _ in range(4):
            await turn(10)
            await worker.pass_time(1)
        assert [await line.chunk(), await line.chunk()] == [b":\n\n", b":\n\n"], "is anybody there?"
        live.more.set()
        assert await line.chunk() == b"data: second\n\n"
        assert not live.ended.is_set()
