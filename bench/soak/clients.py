"""The clients of the soak. Each asks without end, and tells the ledger what it asked and what came."""

import asyncio
import contextlib
import os
import struct
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE_S = 30.0


class Ledger:
    """What was asked and what became of it."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self.is_over = False
        self.rolls = 0


class Soaker:
    """All clients of one port."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._port = port
        self._ledger = ledger

    def kinds(self) -> list[tuple[Callable[[], Coroutine[Any, Any, None]], int]]:
        """Return each client with how many of it run at once."""
        return [(self.http, 6), (self.upload, 2), (self.events, 4), (self.websocket, 4), (self.rude, 2)]

    async def run(self) -> None:
        """Run every client until the ledger is over."""
        await asyncio.gather(*(self._again(kind) for kind, count in self.kinds() for _ in range(count)))

    async def _again(self, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._ledger.is_over:
            try:
                await once()
            except (OSError, EOFError, AssertionError, TimeoutError) as error:
                where = traceback.extract_tb(error.__traceback__)
                line = next((each.lineno for each in reversed(where) if each.filename == __file__), 0)
                self._ledger.lost.append(f"{once.__name__}, line {line}: {error!r:.300}")

    @contextlib.asynccontextmanager
    async def _connection(self) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield Patient(reader), writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def http(self) -> None:
        """Ask for a plain, an async, a threaded, a missing and a failing page, on one connection."""
        wanted = [("/", 200), ("/wait", 200), ("/thread", 200), ("/nowhere", 404), ("/fail", 500)] * 8
        async with self._connection() as (reader, writer):
            for number, (path, status) in enumerate(wanted):
                if number and reader.at_eof():
                    return  # closed between two requests, as a server may
                writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                head, _ = await answer(reader)
                assert head.startswith(f"HTTP/1.1 {status}".encode()), head
                self._ledger.answered["http"] += 1
                if b"connection: close" in head.lower():
                    return

    async def upload(self) -> None:
        """Send a body of some megabytes in chunks."""
        async with self._connection() as (reader, writer):
            writer.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = os.urandom(50_000)
            for _ in range(60):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            head, body = await answer(reader)
            assert body == b'{"size":3000000}', head + body
            self._ledger.answered["upload"] += 1

    async def events(self) -> None:
        """Hear a stream of events to its end."""
        async with self._connection() as (reader, writer):
            writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            heard = await reader.read(-1)
            assert heard.endswith(b"0\r\n\r\n"), heard[-300:]
            # A worker that drains ends its streams of events, properly: their clients come back (EventSource does).
            count = heard.count(b"data: ")
            assert count == 20 or self._ledger.rolls, heard[-300:]
            self._ledger.answered["events" if count == 20 else "events ended by a drain"] += 1

    async def websocket(self) -> None:
        """Talk for a while; a close by the server is an end, anything else a loss."""
        async with self._connection() as (reader, writer):
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 503"):
                return  # this worker is going away, and said so
            assert head.startswith(b"HTTP/1.1 101"), head
            for number in range(100):
                writer.write(frame(0x1, f"message {number}".encode()))
                code, payload = await read_frame(reader)
                if code == 0x8:
                    assert payload[:2] in (struct.pack("!H", 1001), struct.pack("!H", 1012)), payload
                    writer.write(frame(0x8, payload))
                    return
                assert (code, payload) == (0x1, f"message {number}".encode()), payload
                self._ledger.answered["websocket"] += 1
                await asyncio.sleep(0.01)
            writer.write(frame(0x8, struct.pack("!H", 1000)))
            while (await read_frame(reader))[0] != 0x8:
                pass

    async def rude(self) -> None:
        """Send nonsense, leave in the middle, or hang up at once."""
        async with self._connection() as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n")
            head, _ = await answer(reader)
            assert head.startswith(b"HTTP/1.1 400"), head
        async with self._connection() as (_, writer):
            writer.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
            await writer.drain()
            writer.transport.abort()
        async with self._connection() as (reader, writer):
            writer.write(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"data: ")
            writer.transport.abort()
        self._ledger.answered["rude"] += 1
        await asyncio.sleep(0.02)


class Patient:
    """A reader that waits so long for each piece, and no longer: a lost answer is found, a slow machine forgiven."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.at_eof = reader.at_eof
        self._reader = reader

    async def readuntil(self, end: bytes) -> bytes:
        """Read up to `end`."""
        return await asyncio.wait_for(self._reader.readuntil(end), PATIENCE_S)

    async def readexactly(self, size: int) -> bytes:
        """Read so many bytes."""
        return await asyncio.wait_for(self._reader.readexactly(size), PATIENCE_S)

    async def read(self, size: int) -> bytes:
        """Read what comes; all of it for -1."""
        return await asyncio.wait_for(self._reader.read(size), PATIENCE_S)


async def answer(reader: Patient | asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one answer of known length."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return head, await reader.readexactly(size)


def frame(code: int, payload: bytes) -> bytes:
    """Return a short masked frame."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | code, 0x80 | len(payload)]) + mask + masked


async def read_frame(reader: Patient) -> tuple[int, bytes]:
    """Read one short frame."""
    first, size = await reader.readexactly(2)
    assert size < 126
    return first & 0xF, await reader.readexactly(size)
