"""The same over TLS, where there is no half of a connection and no sendfile."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cello import App, Request, Response
from tests.gateways.native.lines import Line, Worker, turn, working

pytestmark = pytest.mark.asyncio
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def contexts(
    tmp_path_factory: pytest.TempPathFactory, make_certificate: Callable[[Path, str], tuple[Path, Path]]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of server and client."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"), "server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(certificate)
    return server, client


@pytest.fixture
def app(tmp_path: Path) -> App:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 1_000_000)
    app = App()
    app.add_route("/", lambda request: request.scheme)
    app.add_route("/file", lambda request: Response.sendfile(path))

    @app.get("/stream")
    def stream(request: Request) -> Iterator[str]:
        yield "a"
        yield "b"

    return app


async def connect(worker: Worker, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Line:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    accepting = loop.create_task(loop.connect_accepted_socket(worker.factory(worker.in_front), theirs, ssl=contexts[0]))
    reader, writer = await asyncio.open_connection(sock=ours, ssl=contexts[1], server_hostname="localhost")
    far_end, _ = await accepting
    line = Line(reader, writer, far_end)
    worker.lines.append(line)
    return line


async def test_requests_are_answered_and_know_that_they_are_secure(
    app: App, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with working(app) as worker:
        line = await connect(worker, contexts)
        line.send(GET % b"/" * 3)
        assert [(await line.answer()).body for _ in range(3)] == [b"https"] * 3
        assert (await line.get("/stream")).body == b"ab"
        assert (await line.get("/file")).body == b"x" * 1_000_000
        assert (await line.get("/", "Connection: close\r\n")).body == b"https"
        assert await line.at_end()


async def test_a_refusal_can_be_read(app: App, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with working(app) as worker:
        line = await connect(worker, contexts)
        line.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await line.answer()).status == 400
        line.send(b"more")
        await turn(10)
        await worker.pass_time(7)
        assert await line.at_end()


async def test_a_client_that_closes_in_the_middle_is_gone(
    app: App, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @app.get("/slow", cancel_on_disconnect=True)
    async def slow() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    async with working(app) as worker:
        line = await connect(worker, contexts)
        line.send(GET % b"/slow")
        await begun.wait()
        line.writer.close()
        await cancelled.wait()
        await worker.state.wait_empty()
