"""A small load generator: clients on keep-alive connections that account for every request."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What became of the requests of a load.

    Attributes:
        lost: Requests that got no answer, with the reason.
        refused: Requests that were never sent: nobody accepted the connection.
        ends: Connections that the server closed between two requests, as it may (RFC 9112 §9.5); the client then asks
            again on a new one.
    """

    answered: int = 0
    ends: int = 0
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    bodies: dict[bytes, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)


class Load:
    """Clients that ask one after the other, from `start` to `stop`.

    Args:
        port: On 127.0.0.1.
        clients: How many connections at once.
        path: What is asked.
        per_connection: Requests on one connection before the client itself opens a new one.
    """

    def __init__(self, port: int, clients: int = 8, path: str = "/", per_connection: int = 50) -> None:
        self.tally = Tally()
        self._port = port
        self._clients = clients
        self._request = f"GET {path} HTTP/1.1\r\nHost: load\r\n\r\n".encode()
        self._per_connection = per_connection
        self._done = False

    async def __aenter__(self) -> Tally:
        self._tasks = [asyncio.ensure_future(self._client()) for _ in range(self._clients)]
        return self.tally

    async def __aexit__(self, *exc: object) -> None:
        self._done = True
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        while not self._done:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self.tally.refused.append(repr(error))
                await asyncio.sleep(0)
                continue
            try:
                await self._ask(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tally = self.tally
        for number in range(self._per_connection):
            if self._done:
                return
            if number and reader.at_eof():
                tally.ends += 1
                return
            began = time.perf_counter()
            try:
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(size)
            except (OSError, asyncio.IncompleteReadError) as error:
                tally.lost.append(f"request {number} of its connection: {error!r}")
                return
            tally.latencies_s.append(time.perf_counter() - began)
            tally.answered += 1
            if not head.startswith(b"HTTP/1.1 200"):
                tally.lost.append(head.decode())
            tally.bodies[body] = tally.bodies.get(body, 0) + 1
            if b"connection: close" in head.lower():
                return


async def reach(tally: Tally, more: int) -> None:
    """Wait until so many further answers have come."""
    wanted = tally.answered + more
    while tally.answered < wanted:
        await asyncio.sleep(0.005)  # other tasks fetch them; nothing else tells
