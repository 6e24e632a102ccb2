"""The frame codec beside picows': masked bytes in, text or bytes out; `pip install picows==2.3.1` first.

picows has no codec without a transport. So its protocol is fed by its own buffer calls, behind a handshake on a socket
pair, with a listener that takes the payload; what both are timed with is one frame, complete, in one piece.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cello.wire.ws_tiers import choose_ws_tier
from tests.conformance.ws_rows import binary, text

picows = pytest.importorskip("picows", reason="pip install picows==2.3.1")
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAMES = {"32 bytes of text": text("x" * 32), "1 KiB of text": text("x" * 1024), "64 KiB": binary(bytes(65_536))}


@pytest.fixture
def protocol() -> Iterator[Any]:
    """The protocol of picows behind a handshake, with what it took last in `taken`."""

    class Listener(picows.WSListener):  # type: ignore[misc]  # it has no types here
        taken: Any = None
        connection: Any = None

        def on_ws_connected(self, transport: Any) -> None:
            self.connection = transport.underlying_transport

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            is_text = frame.msg_type == picows.WSMsgType.TEXT
            self.taken = frame.get_payload_as_utf8_text() if is_text else frame.get_payload_as_bytes()

    made: list[Any] = []
    loop = asyncio.new_event_loop()

    async def begin() -> Any:
        server = await picows.ws_create_server(lambda request: made.append(Listener()) or made[-1], "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        await loop.sock_sendall(client, HANDSHAKE)
        await loop.sock_recv(client, 4096)
        return server, client

    logging.getLogger("picows").setLevel(logging.ERROR)
    server, client = loop.run_until_complete(begin())
    yield made[0].connection.get_protocol(), made[0]
    client.close()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.benchmark(group="receive")
def test_picows(benchmark: Any, protocol: Any, frame: bytes) -> None:
    wire, listener = protocol
    size = len(frame)

    def receive() -> Any:
        at = 0
        while at < size:
            room = wire.get_buffer(size - at)
            piece = frame[at : at + len(room)]
            room[: len(piece)] = piece
            wire.buffer_updated(len(piece))
            at += len(piece)
        return listener.taken

    assert len(benchmark(receive)) in (32, 1024, 65_536)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
@pytest.mark.benchmark(group="receive")
def test_cello(benchmark: Any, frame: bytes) -> None:
    codec = choose_ws_tier("compiled").make(1 << 24, None)

    def receive() -> Any:
        return codec.receive(frame)[0]

    assert len(benchmark(receive)) in (32, 1024, 65_536)
