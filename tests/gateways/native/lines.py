"""A worker in miniature: an App, a ServerState with a clock in hand, and sockets that are one end of a socketpair."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from cello import App
from cello.gateways.native import Connection, ServerState, Tier, choose_tier, make_protocol_factory
from cello.gateways.native.state import TICK_S

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"


@dataclass
class Answer:
    """One response as a client reads it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def keeps(self) -> bool:
        return self.headers.get("connection") != "close"


class Line:
    """The client's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far_end: Any) -> None:
        self.reader = reader
        self.writer = writer
        self.far_end = far_end
        self._connection = far_end.get_protocol()

    @property
    def connection(self) -> Any:
        """The server's protocol at this moment, or at the last: the general lane, or what stands in front of it."""
        self._connection = self.far_end.get_protocol() or self._connection
        return self._connection

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def half_close(self) -> None:
        self.writer.write_eof()

    def vanish(self) -> None:
        """Go without a word: a reset."""
        self.writer.transport.abort()

    async def head(self) -> Answer:
        """Read one response head; 100 counts."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:-2])
        assert len(headers) == len(lines) - 3, f"a repeated field in {lines}"
        return Answer(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in headers.items()})

    async def answer(self, method: str = "GET") -> Answer:
        """Read one response to its end."""
        answer = await self.head()
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                answer.body += piece
        elif "content-length" in answer.headers:
            answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        else:
            answer.body = await self.reader.read()
        return answer

    async def chunk(self) -> bytes:
        """Read one chunk."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def get(self, target: str = "/", head: str = "") -> Answer:
        """Ask and read the answer."""
        self.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode())
        return await self.answer()

    async def at_end(self) -> bool:
        """Whether the server has closed its side, and said nothing more."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True


class OwnPollerLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but plain connections go through cello's own poller."""

    def __init__(self) -> None:
        super().__init__()
        self.poller = import_module("cello._speedups.transport").Poller(self)

    def close(self) -> None:
        self.poller.close()
        super().close()


class Worker:
    """The state of a worker whose clock moves by hand.

    Attributes:
        in_front: Whether connections go to what stands in front of the general lane, where a test does not say.
    """

    in_front = False

    def __init__(self, app: App, tier: Tier | None = None) -> None:
        self.time_s = 1000.0
        self.dispatcher = app.freeze()
        self.state = ServerState(
            self.dispatcher, asyncio.get_running_loop(), tier or choose_tier(), self.read_time, lambda: 0.0
        )
        self.lines: list[Line] = []

    def read_time(self) -> float:
        return self.time_s

    async def pass_time(self, seconds: float) -> None:
        """Let the clock run, tick by tick, and the loop with it."""
        end = self.time_s + seconds
        while self.time_s < end:
            self.time_s += TICK_S
            self.state.tick()
            await turn()

    def factory(self, in_front: bool) -> Callable[[], Any]:
        """Return what makes the protocol of a new connection."""
        if in_front:
            return make_protocol_factory(self.dispatcher, self.state)
        return lambda: Connection(self.dispatcher, self.state)

    async def connect(self, *, in_front: bool | None = None) -> Line:
        """Open a connection to the general lane, or to whatever stands in front of it."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        make = self.factory(self.in_front if in_front is None else in_front)
        if isinstance(loop, OwnPollerLoop):
            theirs.setblocking(False)
            far_end = loop.poller.adopt(theirs, make())
        else:
            far_end, _ = await loop.connect_accepted_socket(make, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        line = Line(reader, writer, far_end)
        self.lines.append(line)
        return line


async def turn(times: int = 3) -> None:
    """Give the loop some turns, so that what was sent arrives."""
    for _ in range(times):
        await asyncio.sleep(0)


@asynccontextmanager
async def working(app: App, tier: Tier | None = None) -> AsyncIterator[Worker]:
    """Run a worker; at the end nothing may be left of it."""
    worker = Worker(app, tier)
    try:
        yield worker
    finally:
        for line in worker.lines:
            line.writer.transport.abort()
        worker.state.abort()
        async with asyncio.timeout(10):
            await worker.state.wait_empty()
        worker.dispatcher.end_threads()
