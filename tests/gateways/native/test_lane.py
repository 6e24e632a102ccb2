"""The seam to a lane in front: it hands over bytes or an answer, and gets the connection back at the next rest."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from cello import App, Request, Response
from cello.gateways.native.adopted import AdoptedConnection
from cello.gateways.native.link import RETURNING
from cello.http.peer import Peer
from tests.gateways.native.lines import Line, Worker, turn, working

pytestmark = pytest.mark.asyncio
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


class FakeLane(asyncio.Protocol):
    """Answers `GET /plain` itself and hands over everything else."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.served = 0
        self.returns: list[bytes] = []
        self.general = AdoptedConnection(worker.dispatcher, worker.state)
        self.deadline = float("inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.worker.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.state.connection_lost(self)

    def abort(self) -> None:
        self.transport.abort()

    def retire(self) -> None:
        raise AssertionError("no test drains it")

    def on_deadline(self) -> None:
        raise AssertionError("it has no deadline")

    def data_received(self, data: bytes) -> None:
        plain = GET % b"/plain"
        file = GET % b"/file"
        while data.startswith(plain):
            self.served += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlane")
            data = data[len(plain) :]
        if not data:
            return
        self.worker.state.connections.discard(self)
        if data.startswith(file):
            request = Request.incoming("GET", "/file", "", Request("GET", "/")._head, Peer())
            plan = self.worker.dispatcher.plan_for(request)
            response = self.worker.dispatcher.answer(plan, request)
            self.general.adopt_answer(
                self.transport, self, (request, plan, response), keep_alive=True, rest=data[len(file) :]
            )
        else:
            self.general.adopt(self.transport, self, data, self.served)

    def take_back(self, rest: bytes, can_write: bool) -> None:
        self.worker.state.connections.add(self)
        self.returns.append(rest)
        if rest:
            self.data_received(rest)


async def connect(worker: Worker) -> tuple[Line, FakeLane]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    far_end, lane = await loop.connect_accepted_socket(lambda: FakeLane(worker), theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    line = Line(reader, writer, far_end)
    worker.lines.append(line)
    return line, lane


@pytest.fixture(autouse=True)
def lane() -> str:
    """Not one of the real ones."""
    return "fake"


@pytest.fixture
def app(tmp_path: Path) -> App:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 500_000)
    app = App()
    app.add_route("/awkward", lambda request: Response(request.body()), methods=["GET", "POST"])
    app.add_route("/file", lambda request: Response.sendfile(path))

    @app.get("/async")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "async"

    return app


async def test_the_connection_comes_back_after_each_awkward_message(app: App) -> None:
    async with working(app) as worker:
        line, lane = await connect(worker)
        for count in range(1, 4):
            line.send(GET % b"/plain")
            assert (await line.answer()).body == b"lane"
            line.send(b"POST /awkward HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await turn(10)
            line.send(b"0\r\n\r\n")
            assert (await line.answer()).body == b"abc"
            assert lane.served == count
            assert worker.state.connections == {lane}


@pytest.mark.parametrize(
    ("target", "body"),
    [(b"/awkward", b""), (b"/async", b"async"), (b"/file", b"x" * 500_000)],
    ids=["at once", "in a task", "a file"],
)
async def test_bytes_behind_an_awkward_message_go_back_with_the_connection(
    app: App, target: bytes, body: bytes
) -> None:
    async with working(app) as worker:
        line, lane = await connect(worker)
        line.send(GET % b"/plain" + GET % target + GET % b"/plain" + GET % target)
        for expected in (b"lane", body, b"lane", body):
            assert (await line.answer()).body == expected
        await turn(5)
        assert lane.served == 2
        assert lane.returns[0] == GET % b"/plain" + GET % target
        assert worker.state.connections == {lane}


async def test_a_connection_that_ends_is_not_given_back(app: App) -> None:
    async with working(app) as worker:
        line, lane = await connect(worker)
        line.send(b"GET /awkward HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert not (await line.answer()).keeps
        assert await line.at_end()
        assert lane.returns == []
        await worker.state.wait_empty()


async def after_answer(lane: FakeLane) -> None:
    """Wait for the moment between an answer from a task and the return of its connection."""
    async with asyncio.timeout(10):
        while lane.general._phase != RETURNING:
            await asyncio.sleep(0)


@pytest.mark.parametrize("with_eof", [False, True], ids=["and stays", "and half-closes"])
async def test_a_client_that_sends_while_its_connection_goes_back_is_heard(app: App, with_eof: bool) -> None:
    async with working(app) as worker:
        line, lane = await connect(worker)
        general = lane.general
        line.send(GET % b"/async")
        await after_answer(lane)
        general.data_received(GET % b"/plain" if not with_eof else GET % b"/awkward")
        if with_eof:
            assert general.eof_received()
        assert (await line.answer()).body == b"async"
        assert (await line.answer()).body == (b"" if with_eof else b"lane")
        if with_eof:
            assert await line.at_end()
