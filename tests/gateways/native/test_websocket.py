"""WebSocket on the own server: handshakes, keep-alive, slow peers, and every way in which a connection can end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cello import App, ClientDisconnected, Depends, LimitsConfig, Request, TimeoutConfig, WebSocket, _speedups
from cello.gateways.native import upgrade
from cello.gateways.native.socket_link import PureSocketLink
from cello.gateways.native.socket_task import PureTaskPort
from cello.gateways.native.talker import HELD_MESSAGES
from cello.wire.tiers import choose_tier
from tests.conformance.ws_rows import binary, close, compressed, frame, text
from tests.gateways.native.lines import PROBE, Answer, Line, Worker, turn, working

pytestmark = pytest.mark.asyncio

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = ("Host: a", "Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13")


def handshake(path: str = "/ws", *fields: str, without: str = "-", line: str = "GET {} HTTP/1.1") -> bytes:
    """Return a handshake, with more fields or without one."""
    kept = [field for field in FIELDS if not field.startswith(without)]
    return "\r\n".join([line.format(path), *kept, *fields, "", ""]).encode()


class Peer:
    """The client's side of a conversation: frames by hand."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.send = line.send

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame of the server's: its first byte and its payload."""
        async with asyncio.timeout(10):
            first, size = await self.line.reader.readexactly(2)
            assert size < 128, "a server masks nothing (RFC 6455 §5.1)"
            if size == 126:
                size = int.from_bytes(await self.line.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.line.reader.readexactly(8), "big")
            return first, await self.line.reader.readexactly(size)

    async def text(self) -> str:
        first, payload = await self.frame()
        assert first == 0x81
        return payload.decode()

    async def closed(self) -> int:
        """Read a close frame and the end behind it; return its code."""
        first, payload = await self.frame()
        assert first == 0x88
        return int.from_bytes(payload[:2], "big")

    async def at_end(self) -> bool:
        async with asyncio.timeout(10):
            return await self.line.at_end()


@pytest.fixture(params=["compiled", "wsproto", "wsproto on pure classes", "compiled on pure classes"])
def talking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Open a worker and one conversation: on either codec, with either twin of the link and the port above it."""
    codec, _, pure = request.param.partition(" on ")
    if codec == "compiled" and not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    if pure:
        monkeypatch.setattr(upgrade, "SocketLink", PureSocketLink)
        monkeypatch.setattr(upgrade, "TaskPort", PureTaskPort)
    tier = choose_tier("compiled" if codec == "compiled" else "h11")

    @asynccontextmanager
    async def open_worker(app: App, path: str = "/ws", *fields: str) -> AsyncIterator[tuple[Worker, Peer]]:
        async with working(app, tier) as worker:
            yield worker, await converse(worker, path, *fields)

    return open_worker


async def converse(worker: Worker, path: str = "/ws", *fields: str) -> Peer:
    line = await worker.connect(in_front=True)
    line.send(handshake(path, *fields))
    answer = await line.head()
    assert answer.status == 101, answer
    return Peer(line)


def make_app(colour: str = "async", **options: Any) -> App:
    """Return an application that echoes."""
    app = App()

    def plain(ws: WebSocket) -> None:
        for message in ws:
            ws.send(message)

    async def coroutine(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    app.websocket("/ws", **options)(plain if colour == "def" else coroutine)
    app.get("/probe")(lambda request: "probed")
    return app


# -- the handshake --


async def test_a_handshake_is_accepted_as_the_rfc_says() -> None:
    async with working(make_app()) as worker:
        line = await worker.connect()
        line.send(handshake())
        answer = await line.head()
        assert answer.status == 101
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["connection"] == "Upgrade"
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert "content-length" not in answer.headers
        assert "sec-websocket-extensions" not in answer.headers
        assert "sec-websocket-protocol" not in answer.headers


ACCEPTED = {
    "names in any case": handshake("/ws", "UPGRADE: WebSocket", "CONNECTION: keep-alive, upgrade", without="Upgrade"),
    "an upgrade among others": handshake("/ws", "Upgrade: h2c, websocket", without="Upgrade"),
    "a query": handshake("/ws?a=1"),
    "Content-Length: 0": handshake("/ws", "Content-Length: 0"),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_a_handshake_may_have(data: bytes) -> None:
    async with working(make_app()) as worker:
        line = await worker.connect(in_front=True)
        line.send(data)
        assert (await line.head()).status == 101


REFUSED = {
    "no host": (handshake(without="Host"), 400),
    "no upgrade": (handshake(without="Upgrade"), 426),
    "another upgrade": (handshake("/ws", "Upgrade: h2c", without="Upgrade"), 426),
    "no connection": (handshake(without="Connection"), 426),
    "another connection": (handshake("/ws", "Connection: keep-alive", without="Connection"), 426),
    "no key": (handshake(without="Sec-WebSocket-Key"), 400),
    "two keys": (handshake("/ws", KEY), 400),
    "a short key": (handshake("/ws", "Sec-WebSocket-Key: dGhl", without="Sec-WebSocket-Key"), 400),
    "no version": (handshake(without="Sec-WebSocket-Version"), 400),
    "an older version": (handshake("/ws", "Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"), 426),
    "HTTP/1.0": (handshake(line="GET {} HTTP/1.0"), 426),
    "POST": (handshake(line="POST {} HTTP/1.1"), 405),
    "HEAD": (handshake(line="HEAD {} HTTP/1.1"), 426),
    "a body": (handshake("/ws", "Content-Length: 5") + b"hello", 400),
    "a chunked body": (handshake("/ws", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "an unknown path": (handshake("/nowhere"), 404),
    "an undecodable path": (handshake("/%ff"), 400),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_wrong_handshake_is_refused(data: bytes, status: int) -> None:
    async with working(make_app()) as worker:
        line = await worker.connect(in_front=True)
        line.send(data)
        answer = await line.answer("HEAD" if data.startswith(b"HEAD") else "GET")
        assert answer.status == status
        if status == 426:
            assert answer.headers["sec-websocket-version"] == "13"
            assert answer.headers["upgrade"] == "websocket"


async def test_an_upgrade_of_a_page_is_ignored() -> None:
    async with working(make_app()) as worker:
        line = await worker.connect(in_front=True)
        line.send(handshake("/probe"))
        assert (await line.answer()).body == b"probed"


async def test_requests_may_go_before_it_and_behind_one_that_is_refused() -> None:
    app = make_app(guards=[lambda request: request.query.get("key") == "1"])
    async with working(app) as worker:
        line = await worker.connect(in_front=True)
        line.send(PROBE + handshake("/ws") + PROBE + handshake("/ws?key=1") + text("early"))
        answers: list[Answer] = [await line.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 403, 200]
        assert (await line.head()).status == 101
        assert await Peer(line).text() == "early"


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_frames_may_come_with_the_handshake(colour: str) -> None:
    async with working(make_app(colour)) as worker:
        line = await worker.connect(in_front=True)
        line.send(handshake() + text("one") + text("two") + close(1000))
        assert (await line.head()).status == 101
        peer = Peer(line)
        if colour == "async":
            assert [await peer.text(), await peer.text()] == ["one", "two"]
            assert await peer.closed() == 1000
        assert await peer.line.reader.read() is not None


# -- compression --


async def test_compression_is_agreed_on(talking: Callable[..., Any]) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    async with talking(make_app(), "/ws", offer) as (_, peer):
        peer.send(text(compressed(b"words " * 100), rsv=4))
        first, payload = await peer.frame()
        assert first == 0xC1
        assert len(payload) < 100
        peer.send(text("short"))
        assert await peer.text() == "short"


async def test_a_route_may_decline_compression(talking: Callable[..., Any]) -> None:
    async with talking(make_app(compress=False), "/ws", "Sec-WebSocket-Extensions: permessage-deflate") as (_, peer):
        peer.send(text(compressed(b"x"), rsv=4))
        assert await peer.closed() == 1002


# -- control frames --


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_pings_are_answered_whatever_the_handler_does(talking: Callable[..., Any], colour: str) -> None:
    app = App()
    gate = threading.Event()

    def plain(ws: WebSocket) -> None:
        gate.wait(30)

    async def coroutine(ws: WebSocket) -> None:
        await asyncio.to_thread(gate.wait, 30)

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    async with talking(app) as (_, peer):
        peer.send(frame(9, b"are you there?") + frame(10, b"unasked"))
        assert await peer.frame() == (0x8A, b"are you there?")
        gate.set()
        assert await peer.closed() == 1000


async def test_a_handler_may_ping() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        await ws.ping(b"p")
        with pytest.raises(ValueError, match="125"):
            await ws.ping(b"x" * 126)
        await ws.recv()

    async with working(app) as worker:
        peer = await converse(worker)
        assert await peer.frame() == (0x89, b"p")


async def test_a_silent_client_is_pinged_and_dropped_when_it_stays_silent(talking: Callable[..., Any]) -> None:
    codes: list[Any] = []
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        codes.append(await ws.recv())
        codes.append(ws.close_code)

    async with talking(app) as (worker, peer):
        await worker.pass_time(19)
        peer.send(frame(10))
        await turn()
        await worker.pass_time(19)
        peer.send(frame(10))
        await turn()
        await worker.pass_time(21.5)
        assert await peer.frame() == (0x89, b""), "nothing came for 20 s"
        peer.send(frame(10))
        await turn()
        await worker.pass_time(41)
        assert await peer.frame() == (0x89, b"")
        await worker.pass_time(21.5)
        assert await peer.at_end()
        await turn()
        assert codes == [None, 1006]


async def test_pings_may_be_switched_off() -> None:
    app = make_app()
    app.set_limits(LimitsConfig(ws_ping_interval=0))
    async with working(app) as worker:
        peer = await converse(worker)
        await worker.pass_time(600)
        peer.send(text("still here"))
        assert await peer.text() == "still here"


async def test_a_slow_handler_is_not_held_against_its_client() -> None:
    app = App()
    gate = asyncio.Event()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        await gate.wait()
        async for message in ws:
            await ws.send(message)

    async with working(app) as worker:
        peer = await converse(worker)
        count = HELD_MESSAGES + 50
        peer.send(b"".join(text(str(number)) for number in range(count)))
        await turn(10)
        [link] = worker.state.connections
        assert not link.is_reading  # type: ignore[attr-defined]  # it is a SocketLink
        await worker.pass_time(120)
        gate.set()
        assert [await peer.text() for _ in range(count)] == [str(number) for number in range(count)]
        peer.send(text("and on"))
        assert await peer.text() == "and on"


async def test_a_slow_thread_is_not_flooded() -> None:
    app = App()
    gate = threading.Event()

    @app.websocket("/ws")
    def handler(ws: WebSocket) -> None:
        gate.wait(30)
        for message in ws:
            ws.send(message)

    async with working(app) as worker:
        peer = await converse(worker)
        count = HELD_MESSAGES + 50
        peer.send(b"".join(text(str(number)) for number in range(count)))
        await turn(10)
        [link] = worker.state.connections
        assert not link.is_reading  # type: ignore[attr-defined]  # it is a SocketLink
        gate.set()
        assert [await peer.text() for _ in range(count)] == [str(number) for number in range(count)]
        peer.send(text("and on"))
        assert await peer.text() == "and on"


# -- slow readers --


def make_talkative_app(colour: str, sent: list[int], ended: threading.Event) -> App:
    app = App()

    def plain(ws: WebSocket) -> None:
        try:
            for number in range(1000):
                ws.send_binary(bytes(100_000))
                sent.append(number)
        finally:
            ended.set()

    async def coroutine(ws: WebSocket) -> None:
        try:
            for number in range(1000):
                await ws.send_binary(bytes(100_000))
                sent.append(number)
        finally:
            ended.set()

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    return app


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_who_sends_more_than_its_client_takes_waits(colour: str) -> None:
    sent: list[int] = []
    ended = threading.Event()
    async with working(make_talkative_app(colour, sent, ended)) as worker:
        peer = await converse(worker)
        peer.line.reader._limit = 1  # type: ignore[attr-defined]  # the client's own buffer takes nothing
        before = -1
        while len(sent) != before:
            before = len(sent)
            await asyncio.sleep(0.02)
        assert len(sent) < 200, "the socket's buffers, and no more"
        for _ in range(1000):
            first, payload = await peer.frame()
            assert (first, len(payload)) == (0x82, 100_000)
        assert await peer.closed() == 1000
    assert ended.is_set()


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_a_client_that_takes_nothing_is_dropped(colour: str) -> None:
    sent: list[int] = []
    ended = threading.Event()
    app = make_talkative_app(colour, sent, ended)
    app.set_timeouts(TimeoutConfig(write=5))
    async with working(app) as worker:
        peer = await converse(worker)
        peer.line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's can
        before = -1
        while len(sent) != before:
            before = len(sent)
            await asyncio.sleep(0.02)
        await worker.pass_time(6)
        while not ended.is_set():
            await asyncio.sleep(0.001)
    assert len(sent) < 1000


async def test_who_never_waits_for_its_client_loses_it() -> None:
    app = App()
    raised = []

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        try:
            for _ in range(10_000):
                waiting = ws.send_binary(bytes(100_000))
                if asyncio.iscoroutine(waiting):
                    waiting.close()  # and so never waited for
        except ClientDisconnected as error:
            raised.append(str(error))

    async with working(app) as worker:
        peer = await converse(worker)
        while not raised:
            await turn()
        assert "unread" in raised[0]
        assert peer.line.connection is not None


async def test_of_pings_that_cannot_be_answered_the_last_is() -> None:
    app = App()
    gate = asyncio.Event()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        await ws.send_binary(bytes(5_000_000))
        await gate.wait()

    async with working(app) as worker:
        peer = await converse(worker)
        await turn()
        [link] = worker.state.connections
        assert not link.can_write  # type: ignore[attr-defined]  # it is a SocketLink
        peer.send(b"".join(frame(9, b"%d" % number) for number in range(1000)))
        await turn(20)
        assert (await peer.frame())[0] == 0x82
        assert await peer.frame() == (0x8A, b"999")
        gate.set()
        assert await peer.closed() == 1000


# -- the end --


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_a_client_that_closes_gets_its_code_back_and_the_end(talking: Callable[..., Any], colour: str) -> None:
    async with talking(make_app(colour)) as (worker, peer):
        peer.send(close(4001, b"bye"))
        assert await peer.closed() == 4001
        assert await peer.at_end()
        await turn()
        assert worker.state.connections == set()


async def test_a_close_without_a_code_is_answered_without_one(talking: Callable[..., Any]) -> None:
    async with talking(make_app()) as (_, peer):
        peer.send(close())
        assert await peer.frame() == (0x88, b"")
        assert await peer.at_end()


async def test_a_client_that_does_not_answer_our_close_is_dropped(talking: Callable[..., Any]) -> None:
    app = App()
    app.websocket("/ws")(lambda ws: None)
    async with talking(app) as (worker, peer):
        assert await peer.closed() == 1000
        peer.send(text("what?"))
        await turn()
        await worker.pass_time(9)
        assert worker.state.connections
        await worker.pass_time(2)
        assert await peer.at_end()


FAULTS = {
    "an unmasked frame": (b"\x81\x01x", 1002),
    "text that is not UTF-8": (text(b"\xff"), 1007),
    "too much": (b"\x82\xff\x01" + bytes(11), 1009),
}


@pytest.mark.parametrize(("data", "code"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_is_told_and_ends_it(talking: Callable[..., Any], data: bytes, code: int) -> None:
    seen: list[Any] = []
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        seen.append(await ws.recv())
        seen.append(await ws.recv())
        seen.append(ws.close_code)

    async with talking(app) as (worker, peer):
        peer.send(text("fine") + data + text("never seen") * 1000)
        assert await peer.closed() == code
        assert await peer.at_end()
        peer.send(text("still talking"))
        await turn()
        peer.line.writer.close()
        while worker.state.connections:
            await turn()
        assert [seen[0].text, *seen[1:]] == ["fine", None, code]


async def test_a_fault_of_a_client_that_never_ends_has_an_end(talking: Callable[..., Any]) -> None:
    async with talking(make_app()) as (worker, peer):
        peer.send(frame(3))
        assert await peer.closed() == 1002
        await worker.pass_time(11)
        await turn()
        assert worker.state.connections == set()


@pytest.mark.parametrize("how", ["vanish", "half_close"])
@pytest.mark.parametrize("colour", ["def", "async"])
async def test_a_client_that_just_goes_is_told_to_the_handler(
    talking: Callable[..., Any], colour: str, how: str
) -> None:
    seen: list[Any] = []
    ended = threading.Event()
    app = App()

    def plain(ws: WebSocket) -> None:
        seen.extend([ws.recv().text, ws.recv(), ws.close_code])
        ended.set()

    async def coroutine(ws: WebSocket) -> None:
        seen.extend([(await ws.recv()).text, await ws.recv(), ws.close_code])
        ended.set()

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    async with talking(app) as (worker, peer):
        peer.send(text("last words"))
        await turn()
        getattr(peer.line, how)()
        while not ended.is_set() or worker.state.connections:
            await turn()
    assert seen == ["last words", None, 1006]


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_a_worker_that_ends_says_so(talking: Callable[..., Any], colour: str) -> None:
    async with talking(make_app(colour)) as (worker, peer):
        refused = await worker.connect(in_front=True)
        worker.state.drain()
        refused.send(handshake())
        assert (await refused.answer()).status == 503
        refused.writer.close()
        await worker.pass_time(0.5)
        assert await peer.closed() == 1001
        peer.send(close(1001))
        assert await peer.at_end()
        async with asyncio.timeout(10):
            await worker.state.wait_empty()


async def test_a_worker_that_ends_at_once_cancels_its_handlers() -> None:
    app = App()
    ended: list[str] = []

    def resource(request: Request) -> Any:
        yield "x"
        ended.append("cleaned up")

    @app.websocket("/ws")
    async def handler(ws: WebSocket, made: str = Depends(resource)) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with working(app) as worker:
        await converse(worker)
        worker.state.abort()
        async with asyncio.timeout(10):
            await worker.state.wait_empty()
        assert ended == ["cancelled", "cleaned up"]


# -- tasks --


async def test_only_one_task_receives() -> None:
    app = App()
    raised = []

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        first = asyncio.create_task(ws.arecv())
        await asyncio.sleep(0)
        try:
            await ws.recv()
        except RuntimeError as error:
            raised.append(str(error))
        first.cancel()

    async with working(app) as worker:
        peer = await converse(worker)
        assert await peer.closed() == 1000
    assert raised == ["two tasks wait for the messages of one WebSocket"]


async def test_receiving_may_be_cancelled_without_losing_a_message() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        for _ in range(3):
            try:
                await asyncio.wait_for(ws.recv(), 0.001)
            except TimeoutError:
                await ws.send_text("waiting")
        message = await ws.recv()
        await ws.send_text(f"got {message.text}")
        done, _ = await asyncio.wait({asyncio.ensure_future(ws.recv()), asyncio.ensure_future(asyncio.sleep(30))},
                                     return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        await ws.send_text(done.pop().result().text)

    async with working(app) as worker:
        peer = await converse(worker)
        assert [await peer.text() for _ in range(3)] == ["waiting"] * 3
        peer.send(text("one"))
        assert await peer.text() == "got one"
        peer.send(text("two"))
        assert await peer.text() == "two"


async def test_a_task_of_its_own_may_send() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        async def tick() -> None:
            for number in range(3):
                await asyncio.sleep(0)
                await ws.send_text(str(number))

        async with asyncio.TaskGroup() as group:
            group.create_task(tick())
            group.create_task(echo(ws))

    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async with working(app) as worker:
        peer = await converse(worker)
        assert [await peer.text() for _ in range(3)] == ["0", "1", "2"]
        peer.send(text("x"))
        assert await peer.text() == "x"


# -- many --


async def test_a_thousand_plain_handlers_at_once() -> None:
    app = make_app("def")
    async with working(app) as worker:
        peers = [await converse(worker) for _ in range(1000)]
        for number, peer in enumerate(peers):
            peer.send(text(str(number)))
        assert [await peer.text() for peer in peers] == [str(number) for number in range(1000)]
        assert worker.dispatcher.threads.pending == 0
        assert (await (await worker.connect()).get("/probe")).body == b"probed"
        for peer in peers:
            peer.send(close(1000))
        for peer in peers:
            assert await peer.closed() == 1000


@pytest.mark.parametrize("colour", ["def", "async"])
async def test_long_messages_come_back_whole(talking: Callable[..., Any], colour: str) -> None:
    async with talking(make_app(colour)) as (_, peer):
        for size in (65_535, 65_536, 1_000_000):
            payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
            peer.send(binary(payload))
            first, answer = await peer.frame()
            assert (first, answer == payload) == (0x82, True)
