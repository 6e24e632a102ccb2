"""Every way in which a connection can end, and every limit of time; the clock is moved by hand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from cello import App, Depends, Request
from cello.config import LimitsConfig, TimeoutConfig
from tests.gateways.native.lines import PROBE, turn, working

pytestmark = pytest.mark.asyncio
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def app() -> App:
    app = App()
    app.set_timeouts(TimeoutConfig(read_header=5, read_body=10, write=5, idle=20, handler=3))
    app.add_route("/", lambda request: "hi")
    app.add_route("/post", lambda request: "hi", methods=["POST"])
    app.add_route("/probe", lambda request: "fine")
    app.add_route("/large", lambda request: b"x" * 30_000_000)
    return app


# -- time --


async def test_a_connection_that_says_nothing_is_closed_after_the_idle_timeout(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        await worker.pass_time(19)
        assert len(worker.state.connections) == 1
        await worker.pass_time(3)
        assert await line.at_end()


async def test_an_idle_connection_is_closed_and_each_request_renews_it(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        for _ in range(3):
            await worker.pass_time(15)
            assert (await line.get()).body == b"hi"
        await worker.pass_time(22)
        assert await line.at_end()


async def test_a_head_that_does_not_come_to_its_end_is_408(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        await worker.pass_time(10)
        for byte in GET[:12]:
            line.send(bytes([byte]))
            await turn(5)
            await worker.pass_time(0.5)
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (408, False)
        assert await line.at_end()


async def test_half_of_the_next_request_has_its_own_time(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET[:10])
        await turn(5)
        await worker.pass_time(4)
        line.send(GET[10:] + GET[:10])
        assert (await line.answer()).body == b"hi"
        await worker.pass_time(4)
        line.send(GET[10:])
        assert (await line.answer()).body == b"hi"


async def test_a_body_without_a_byte_is_408(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        await turn(5)
        await worker.pass_time(9)
        line.send(b"c")
        await turn(5)
        await worker.pass_time(9)
        assert line.connection._exchange is not None
        await worker.pass_time(3)
        assert (await line.answer()).status == 408
        assert await line.at_end()


async def test_a_body_that_trickles_is_408(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
        for _ in range(60):
            line.send(b"x" * 100)
            await turn(5)
            await worker.pass_time(0.5)
        assert (await line.answer()).status == 408


async def test_a_slow_but_steady_body_is_taken(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 15000\r\n\r\n")
        for _ in range(100):
            line.send(b"x" * 150)
            await turn(5)
            await worker.pass_time(0.5)
        assert (await line.answer()).status == 200


async def test_a_client_that_does_not_read_its_answer_is_dropped(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.writer.transport.pause_reading()
        line.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        await until(lambda: not line.connection.can_write)
        await worker.pass_time(4)
        assert len(worker.state.connections) == 1
        await worker.pass_time(4)
        await worker.state.wait_empty()


async def test_a_client_that_reads_slowly_gets_everything(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.writer.transport.pause_reading()
        line.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until(lambda: not line.connection.can_write)
        line.writer.transport.resume_reading()
        received = 0
        while chunk := await line.reader.read(1_000_000):
            received += len(chunk)
            await worker.pass_time(1)
        assert received > 30_000_000


@pytest.mark.parametrize("blocking", [False, True], ids=["inline", "on a thread"])
async def test_a_client_that_reads_longer_than_the_idle_timeout_keeps_its_connection(app: App, blocking: bool) -> None:
    app.add_route("/slowly", lambda request: b"x" * 30_000_000, blocking=blocking)
    async with working(app) as worker:
        line = await worker.connect()
        line.writer.transport.pause_reading()
        line.send(b"GET /slowly HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: not line.connection.can_write)
        line.writer.transport.resume_reading()
        await line.head()
        received = 0
        while received < 30_000_000:
            received += len(await line.reader.read(1_000_000))
            await worker.pass_time(1)
        assert worker.time_s > 1020
        assert (await line.get()).body == b"hi"


async def test_the_next_request_waits_until_the_client_has_read_the_answer(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        await until(lambda: not line.connection.can_write)
        assert worker.state.requests == 1
        assert len((await line.answer()).body) == 30_000_000
        assert (await line.answer()).body == b"hi"


async def test_a_threaded_handler_that_takes_too_long_is_503_and_its_answer_is_dropped(app: App) -> None:
    release = threading.Event()
    app.add_route("/slow", lambda request: str(release.wait(10)), blocking=True)
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + PROBE)
        await turn(5)
        await worker.pass_time(5)
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (503, False)
        assert await line.at_end()
        line.vanish()
        release.set()
        await worker.state.wait_empty()
        assert worker.state.abandoned_handlers == 1
        assert worker.state.requests == 1


async def test_an_async_handler_that_takes_too_long_is_503(app: App) -> None:
    cancelled = asyncio.Event()

    @app.get("/slow", timeout=0.01)
    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + PROBE)
        assert (await line.answer()).status == 503
        assert cancelled.is_set()
        assert (await line.answer()).body == b"fine"


async def test_the_rest_of_a_body_that_nobody_wants_must_come_in_time(app: App) -> None:
    app.add_route("/ignore", lambda request: "ignored", methods=["POST"], stream=True)
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        assert (await line.answer()).body == b"ignored"
        for _ in range(9):
            line.send(b"x")
            await turn(5)
            await worker.pass_time(1)
        assert len(worker.state.connections) == 1
        await worker.pass_time(3)
        assert await line.at_end()


# -- limits --


async def test_connections_beyond_the_limit_are_told_503(app: App) -> None:
    app.set_limits(LimitsConfig(max_connections=2))
    async with working(app) as worker:
        lines = [await worker.connect() for _ in range(2)]
        surplus = await worker.connect()
        surplus.send(GET)
        answer = await surplus.answer()
        assert (answer.status, answer.keeps) == (503, False)
        assert await surplus.at_end()
        assert worker.state.refused_connections == 1
        surplus.half_close()
        lines[0].vanish()
        await until(lambda: len(worker.state.connections) == 1)
        assert (await (await worker.connect()).get()).body == b"hi"


async def test_far_too_many_connections_are_dropped(app: App) -> None:
    app.set_limits(LimitsConfig(max_connections=1))
    async with working(app) as worker:
        lines = [await worker.connect() for _ in range(3)]
        assert (await lines[1].answer()).status == 503
        assert await lines[2].at_end()


async def test_a_connection_serves_so_many_requests_and_no_more(app: App) -> None:
    app.set_limits(LimitsConfig(max_requests_per_connection=3))
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET * 4)
        assert [(await line.answer()).keeps for _ in range(3)] == [True, True, False]
        assert await line.at_end()
        assert worker.state.requests == 3


# -- goodbyes --


async def test_a_client_that_half_closes_gets_its_answers(app: App) -> None:
    release = asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        await release.wait()
        return "slow"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET * 30)
        line.half_close()
        await turn(10)
        release.set()
        assert (await line.answer()).body == b"slow"
        for _ in range(30):
            assert (await line.answer()).body == b"hi"
        assert await line.at_end()
        await worker.state.wait_empty()


async def test_half_a_request_and_half_a_close_is_silence(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET[:-2])
        line.half_close()
        assert await line.at_end()


async def test_a_refused_connection_reads_on_for_a_while_and_not_for_ever(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"\x00")
        assert (await line.answer()).status == 400
        assert await line.at_end()
        seconds = 0
        while worker.state.connections:
            if not line.writer.transport.is_closing():
                line.send(b"x" * 1000)
            await turn(5)
            await worker.pass_time(1)
            seconds += 1
        assert 25 < seconds < 40
        await worker.state.wait_empty()


async def test_a_refused_connection_ends_when_the_client_has_read_it(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"\x00")
        assert (await line.answer()).status == 400
        line.half_close()
        await worker.state.wait_empty()


async def waits_for_goodbye(request: Request, seen: list[bool], begun: asyncio.Event) -> str:
    begun.set()
    while not await request.disconnected():
        await asyncio.sleep(0.001)
    seen.append(True)
    return "nobody reads this"


@pytest.mark.parametrize("how", ["vanish", "half_close"])
async def test_a_handler_can_ask_whether_its_client_has_gone(app: App, how: str) -> None:
    seen: list[bool] = []
    begun = asyncio.Event()

    @app.get("/asks")
    async def asks(request: Request) -> str:
        return await waits_for_goodbye(request, seen, begun)

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /asks HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        getattr(line, how)()
        await until(lambda: bool(seen))


@pytest.mark.parametrize("cancels", [False, True], ids=["by default it is not", "when its route says so it is"])
async def test_is_a_handler_cancelled_when_its_client_goes(app: App, cancels: bool) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    events: list[str] = []

    @app.get("/slow", cancel_on_disconnect=cancels)
    async def slow() -> str:
        begun.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        events.append("finished")
        return "slow"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        line.vanish()
        await until(lambda: line.connection.has_eof)
        release.set()
        await worker.state.wait_empty()
        assert events == (["cancelled"] if cancels else ["finished"])


@pytest.mark.parametrize("colour", ["def", "async"])
@pytest.mark.parametrize("cancels", [False, True], ids=["handler goes on", "handler is cancelled"])
async def test_dependencies_are_cleaned_up_when_the_client_goes(app: App, colour: str, cancels: bool) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    events: list[str] = []

    def connection() -> Iterator[str]:
        try:
            yield "open"
        finally:
            events.append("closed")

    async def pool() -> AsyncIterator[str]:
        try:
            yield "open"
        finally:
            events.append("closed")

    @app.get("/slow", cancel_on_disconnect=cancels)
    async def slow(held: str = Depends(connection if colour == "def" else pool)) -> str:
        begun.set()
        await release.wait()
        return held

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        line.vanish()
        await until(lambda: line.connection.has_eof)
        release.set()
        await worker.state.wait_empty()
        assert events == ["closed"]


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_dependencies_are_cleaned_up_when_the_client_leaves_a_stream(app: App, colour: str) -> None:
    events: list[str] = []

    def connection() -> Iterator[str]:
        yield "open"
        events.append("closed")

    if colour == "def":

        @app.get("/endless")
        def endless(held: str = Depends(connection)) -> Iterator[bytes]:
            while True:
                yield b"x" * 65536
    else:

        @app.get("/endless")
        async def endless_async(held: str = Depends(connection)) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b"x" * 65536

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await line.head()
        assert events == []
        line.vanish()
        await until(lambda: bool(events))
        assert events == ["closed"]


# -- draining --


async def test_a_draining_worker_answers_with_close_and_half_closes_the_idle(app: App) -> None:
    async with working(app) as worker:
        idle, busy = await worker.connect(), await worker.connect()
        assert (await idle.get()).keeps
        assert (await busy.get()).keeps
        await worker.pass_time(2)
        worker.state.drain()
        busy.send(GET)
        answer = await busy.answer()
        assert (answer.body, answer.keeps) == (b"hi", False)
        assert await busy.at_end()
        await worker.pass_time(1)
        assert await idle.at_end()
        idle.half_close()
        await worker.state.wait_empty()


async def test_a_request_that_meets_a_drain_halfway_is_answered(app: App) -> None:
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET[:10])
        await turn(5)
        worker.state.drain()
        await worker.pass_time(3)
        line.send(GET[10:])
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"hi", False)


async def test_the_timer_runs_until_it_is_stopped(app: App) -> None:
    async with working(app) as worker:
        worker.state.start()
        line = await worker.connect()
        worker.time_s += 100
        assert await line.at_end()
        worker.state.stop()
        worker.state.stop()


async def until(happens: Callable[[], bool]) -> None:
    """Wait for something that the loop brings about."""
    async with asyncio.timeout(10):
        while not happens():
            await asyncio.sleep(0.001)
