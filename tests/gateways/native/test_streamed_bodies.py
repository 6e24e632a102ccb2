"""Routes that read the body themselves: `stream=True`, in both colours."""

import asyncio
import threading

import pytest

from cello import App, Request
from cello.config import LimitsConfig
from cello.errors import ClientDisconnected, HTTPError
from tests.gateways.native.lines import PROBE, Line, turn, working

pytestmark = pytest.mark.asyncio
CHUNKED = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def sized(target: str, size: int, head: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n{head}\r\n".encode()


class Upload:
    """An application that takes uploads in a colour, and what its handler saw."""

    def __init__(self, colour: str) -> None:
        self.app = App()
        self.app.set_limits(LimitsConfig(max_body_size=1_000_000))
        self.pieces: list[bytes] = []
        self.errors: list[Exception] = []
        self.begun = asyncio.Event()
        self.goes = asyncio.Event()
        self.goes_blocking = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.app.add_route("/", self.take_async if colour == "async" else self.take, methods=["POST"], stream=True)
        self.app.add_route("/ignore", lambda request: "ignored", methods=["POST"], stream=True)
        self.app.add_route("/probe", lambda request: "fine")

    def go(self) -> None:
        self.goes.set()
        self.goes_blocking.set()

    async def take_async(self, request: Request) -> str:
        self.begun.set()
        await self.goes.wait()
        try:
            async for piece in request.stream():
                self.pieces.append(piece)
        except (ClientDisconnected, HTTPError) as error:
            self.errors.append(error)
            raise
        return str(sum(map(len, self.pieces)))

    def take(self, request: Request) -> str:
        self.loop.call_soon_threadsafe(self.begun.set)
        assert self.goes_blocking.wait(10)
        try:
            for piece in request.stream():
                self.pieces.append(piece)
        except (ClientDisconnected, HTTPError) as error:
            self.errors.append(error)
            raise
        return str(sum(map(len, self.pieces)))


@pytest.fixture
async def upload(colour: str) -> Upload:
    return Upload(colour)


async def until_error(upload: Upload) -> Exception:
    """Wait for the fault that the handler saw."""
    async with asyncio.timeout(10):
        while not upload.errors:
            await asyncio.sleep(0.001)
    return upload.errors[0]


async def until_awaited(line: Line, upload: Upload, pieces: int) -> None:
    """Wait until the handler has read so many pieces and waits for the next, or has given up."""
    async with asyncio.timeout(10):
        while not upload.errors:
            exchange = getattr(line.connection, "_exchange", None)  # a lane in front has none
            source = None if exchange is None else exchange.source
            if len(upload.pieces) >= pieces and source is not None and source.is_awaited:
                return
            await asyncio.sleep(0.001)


async def test_the_handler_starts_before_the_body_is_there(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/", 6))
        await upload.begun.wait()
        upload.go()
        line.send(b"abc")
        await turn(10)
        line.send(b"def" + PROBE)
        assert (await line.answer()).body == b"6"
        assert b"".join(upload.pieces) == b"abcdef"
        assert (await line.answer()).body == b"fine"


async def test_chunks_are_read_as_they_come(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(CHUNKED % b"/" + b"3\r\nabc\r\n")
        await turn(5)
        line.send(b"2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n" + PROBE)
        assert (await line.answer()).body == b"5"
        assert (await line.answer()).body == b"fine"


async def test_an_empty_body_ends_at_once(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(sized("/", 0) + PROBE)
        assert (await line.answer()).body == b"0"
        assert (await line.answer()).body == b"fine"


async def test_a_handler_that_does_not_read_holds_the_client_back(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/", 900_000))
        await upload.begun.wait()
        line.send(b"x" * 900_000)
        await turn(200)
        assert not line.connection.transport.is_reading()
        assert line.connection.parser.buffered_bytes < 600_000
        upload.go()
        assert (await line.answer()).body == b"900000"
        line.send(PROBE)
        assert (await line.answer()).body == b"fine"


async def test_100_is_sent_at_the_first_read(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/", 3, "Expect: 100-continue\r\n"))
        await upload.begun.wait()
        upload.go()
        assert (await line.answer()).status == 100
        line.send(b"abc")
        assert (await line.answer()).body == b"3"


async def test_a_handler_that_never_reads_ends_a_connection_that_expects_100(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/ignore", 3, "Expect: 100-continue\r\n"))
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"ignored", False)
        assert await line.at_end()


async def test_a_short_unread_body_is_dropped_to_keep_the_connection(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/ignore", 5) + b"ab")
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"ignored", True)
        line.send(b"cde" + PROBE)
        assert (await line.answer()).body == b"fine"


@pytest.mark.parametrize("head", [sized("/ignore", 100_000), CHUNKED % b"/ignore"], ids=["long", "of unknown length"])
async def test_an_unread_body_ends_the_connection(upload: Upload, head: bytes) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(head)
        answer = await line.answer()
        assert (answer.body, answer.keeps) == (b"ignored", False)
        assert await line.at_end()


async def test_a_body_over_the_limit_is_413_in_the_reader(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(CHUNKED % b"/" + b"f4241\r\n" + b"x" * 1_000_001)
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (413, False)
        assert isinstance(upload.errors[0], HTTPError)
        assert await line.at_end()


async def test_an_announced_body_over_the_limit_never_reaches_the_handler(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/", 1_000_001))
        assert (await line.answer()).status == 413
        assert not upload.begun.is_set()


async def test_malformed_chunks_are_400_in_the_reader(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(CHUNKED % b"/" + b"3\r\nabcd\r\n")
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (400, False)
        assert await line.at_end()


@pytest.mark.parametrize("how", ["vanish", "half_close"])
async def test_a_client_that_leaves_is_told_to_the_reader(upload: Upload, how: str) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(sized("/", 10) + b"abc")
        await until_awaited(line, upload, 1)
        getattr(line, how)()
        assert isinstance(await until_error(upload), ClientDisconnected)
        assert b"".join(upload.pieces) == b"abc"


async def test_a_body_without_a_byte_is_408(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(sized("/", 10) + b"abc")
        await until_awaited(line, upload, 1)
        await worker.pass_time(32)
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (408, False)
        assert await line.at_end()


async def test_a_body_that_trickles_is_408(upload: Upload) -> None:
    async with working(upload.app) as worker:
        line = await worker.connect()
        upload.go()
        line.send(sized("/", 100_000))
        for count in range(60):
            await until_awaited(line, upload, count)
            line.send(b"x")
            await worker.pass_time(0.5)
        assert (await line.answer()).status == 408


async def test_a_slow_handler_is_not_held_against_the_client() -> None:
    upload = Upload("async")
    async with working(upload.app) as worker:
        line = await worker.connect()
        line.send(sized("/", 6) + b"abc")
        await upload.begun.wait()
        await worker.pass_time(100)
        upload.go()
        await turn(10)
        await worker.pass_time(5)
        line.send(b"def")
        assert (await line.answer()).body == b"6"


async def test_two_readers_of_one_body_are_told_so() -> None:
    app = App()
    outcomes: list[object] = []

    @app.post("/", stream=True)
    async def index(request: Request) -> str:
        source = request._source
        assert source is not None
        outcomes.extend(await asyncio.gather(source.read(), source.read(), return_exceptions=True))
        return "done"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(sized("/", 3))
        await turn(10)
        line.send(b"abc")
        assert (await line.answer()).body == b"done"
        assert outcomes[0] == b"abc"
        assert isinstance(outcomes[1], RuntimeError)


async def test_a_blocking_read_on_the_loop_raises_instead_of_waiting_for_itself() -> None:
    app = App()

    @app.post("/", stream=True)
    async def index(request: Request) -> str:
        assert request._source is not None
        with pytest.raises(RuntimeError, match="async handler"):
            request._source.read_blocking()
        return "done"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(sized("/", 0))
        assert (await line.answer()).body == b"done"
