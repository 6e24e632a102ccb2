"""The general lane: what a request costs from bytes to bytes, by head scanner, and what its shortcuts save."""

import asyncio

import pytest

from cello import App
from cello.errors import ConfigError
from cello.gateways.native import Connection, ServerState, choose_tier
from cello.gateways.native.tasks import start_task

HEAD = (
    b"GET %b HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n"
)


class Nowhere:
    """A transport that takes everything."""

    def write(self, data):
        pass

    def get_extra_info(self, name):
        return None


def make_app():
    app = App()

    @app.get("/def")
    def plain(request):
        return {"hello": "world"}

    @app.get("/async")
    async def coroutine(request):
        return {"hello": "world"}

    return app


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


def on_loop(loop, call):
    """Return `call` as something that runs inside the loop, as eager tasks must."""

    async def inside():
        for _ in range(100):
            call()

    return lambda: loop.run_until_complete(inside())


@pytest.mark.parametrize("target", [b"/def", b"/async"], ids=["def", "async"])
@pytest.mark.parametrize("scanner", ["compiled", "httptools", "h11"])
def test_a_hundred_requests(benchmark, loop, scanner, target):
    try:
        tier = choose_tier(scanner)
    except ConfigError as error:
        pytest.skip(str(error))
    dispatcher = make_app().freeze()
    connection = Connection(dispatcher, ServerState(dispatcher, loop, tier))
    connection.connection_made(Nowhere())
    data = HEAD % target

    def answer():
        connection._served = 0
        connection.data_received(data)

    benchmark.group = "a hundred requests through the general lane"
    benchmark(on_loop(loop, answer))


async def nothing():
    """Never wait."""


@pytest.mark.parametrize("way", ["eager", "plain"])
def test_a_hundred_tasks(benchmark, loop, way):
    def start():
        if way == "eager":
            start_task(nothing(), loop)
        else:
            loop.create_task(nothing())

    benchmark.group = "a hundred tasks that never wait, from start to end"
    benchmark(on_loop(loop, start))


@pytest.mark.parametrize("pieces", [2, 16], ids=lambda pieces: f"{pieces} pieces")
@pytest.mark.parametrize("way", ["joined", "apart"])
def test_writing_queued_pieces(benchmark, way, pieces):
    import socket

    ours, theirs = socket.socketpair()
    queued = [b"x" * 200] * pieces

    def write():
        if way == "joined":
            ours.send(b"".join(queued))
        else:
            for piece in queued:
                ours.send(piece)
        theirs.recv(65_536)

    with ours, theirs:
        benchmark.group = f"{pieces} queued pieces of 200 bytes"
        benchmark(write)
