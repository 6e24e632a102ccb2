"""`python -m bench.load.crowd`: thousands of open WebSockets and event streams on one worker, all of them in use.

One server process of this checkout holds 1,000 WebSockets of a `def` handler and 10,000 of an `async def` one at once;
each echoes, a plain request is answered meanwhile, and one socket beyond the bound of threads is refused with 503. Then
5,000 event streams hear one message, and end when their clients go. Prints what each weighs in resident memory: bounds
are those of the project's promises, and breaking one is an exit code of 1.
"""

import argparse
import asyncio
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.load.places import CHECKOUT
from bench.load.processes import resident_bytes
from bench.load.server import free_port

THREAD_KB = 64
AT_ONCE = 64
PATIENCE_S = 120
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x81\x85\x00\x00\x00\x00hello"
PONG = b"\x81\x05hello"

APP = """
import sys
from cello import App, LimitsConfig, Response, ThreadPoolConfig

app = App()
app.set_limits(LimitsConfig(max_connections=19_000))
app.set_threadpool(ThreadPoolConfig(max_long=int(sys.argv[2])))
ended = []

app.get("/")(lambda request: "up")
app.get("/ended")(lambda request: {"ended": len(ended)})


@app.post("/say")
def say(request):
    app.channel("news").publish("hello")


@app.websocket("/def")
def plain(ws):
    for message in ws:
        ws.send(message)


@app.websocket("/async")
async def coroutine(ws):
    async for message in ws:
        await ws.send(message)


@app.get("/events")
async def events(request):
    async def listen():
        try:
            async with app.channel("news").subscribe() as subscription:
                yield "listening"
                async for item in subscription:
                    yield item
        finally:
            ended.append(1)

    return Response.sse(listen())


if __name__ == "__main__":
    sys.argv[1:], port = [], int(sys.argv[1])
    app.run(port=port, env="production", workers=1, logs=False)
"""


class Crowd:
    """Many connections to one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def begin(self, count: int, opening: bytes, until: bytes) -> None:
        """Open connections, send the same on each, and read until it answers so."""

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=4096)
            writer.write(opening)
            await reader.readuntil(until)
            self.open.append((reader, writer))

        await in_turns([one] * count)

    async def converse(self, say: bytes, hear: bytes) -> float:
        """Say something on every connection and hear the answer; return how many seconds all took."""
        began = time.perf_counter()
        for _, writer in self.open:
            writer.write(say)
        for reader, _ in self.open:
            answer = await asyncio.wait_for(reader.readuntil(hear), PATIENCE_S)
            if not answer.endswith(hear):
                raise RuntimeError(f"a wrong answer: {answer!r}")
        return time.perf_counter() - began

    def leave(self) -> None:
        """Close all connections."""
        for _, writer in self.open:
            writer.transport.abort()
        self.open.clear()


async def in_turns(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Make all calls, a few at a time."""
    rest = iter(calls)

    async def work() -> None:
        for call in rest:
            await call()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def ask(port: int, opening: str) -> bytes:
    """Return the whole answer to one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(opening.encode())
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


def request(line: str) -> str:
    """Return a request whose connection ends with its answer."""
    return f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def served(threads: int) -> Any:
    """Serve the application on one worker; gives its process and port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "app.py")
        program.write_text(APP)
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        words = (sys.executable, str(program), str(port), str(threads))
        process = await asyncio.create_subprocess_exec(*words, env=environment, stderr=asyncio.subprocess.DEVNULL)
        try:
            while True:
                try:
                    await ask(port, request("GET /"))
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)  # until it listens
            yield process, port
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def measure(plain: int, coroutines: int, streams: int) -> bool:
    """Do what the module says; return whether every bound holds."""
    async with served(plain) as (process, port):
        floor = resident_bytes(process.pid)
        many = Crowd(port)
        await many.begin(coroutines, HANDSHAKE.format(path="/async").encode(), b"\r\n\r\n")
        took = await many.converse(PING, PONG)
        socket_kb = (resident_bytes(process.pid) - floor) / 1024 / coroutines
        say(f"{coroutines:,} async sockets: each answers within {took:.2f} s of all; {socket_kb:.1f} KB each")

        before = resident_bytes(process.pid)
        threads = Crowd(port)
        await threads.begin(plain, HANDSHAKE.format(path="/def").encode(), b"\r\n\r\n")
        took = await threads.converse(PING, PONG)
        thread_kb = (resident_bytes(process.pid) - before) / 1024 / plain
        say(f"{plain:,} def sockets beside them: within {took:.2f} s; {thread_kb:.1f} KB each, socket and thread")
        took = await many.converse(PING, PONG)
        say(f"all {coroutines:,} async ones again: within {took:.2f} s")

        page = await ask(port, request("GET /"))
        beyond = await ask(port, HANDSHAKE.format(path="/def").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        say(f"a request meanwhile: {page[9:12].decode()}; one def socket more: {beyond[9:12].decode()}")
        many.leave()
        threads.leave()

        listening = Crowd(port)
        before = resident_bytes(process.pid)
        await listening.begin(streams, b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"data: listening\n\n")
        stream_kb = (resident_bytes(process.pid) - before) / 1024 / streams
        began = time.perf_counter()
        await ask(port, request("POST /say"))
        await listening.converse(b"", b"data: hello\n\n")
        took = time.perf_counter() - began
        say(
            f"{streams:,} event streams: all hear a message within {took:.2f} s; {max(0.0, stream_kb):.1f} KB each more"
        )
        listening.leave()
        began, gone = time.perf_counter(), 0
        while gone < streams and time.perf_counter() - began < PATIENCE_S:
            found = re.search(rb'"ended":(\d+)', await ask(port, request("GET /ended")))
            gone = int(found[1]) if found else 0
        say(f"{gone:,} of their generators have ended {time.perf_counter() - began:.2f} s after the clients went")
    return thread_kb <= THREAD_KB and b" 200 " in page[:16] and b" 503 " in beyond[:16] and gone == streams


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Return 0 when every bound holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.crowd", description=__doc__)
    parser.add_argument("--def", dest="plain", type=int, default=1000)
    parser.add_argument("--async", dest="coroutines", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=5000)
    options = parser.parse_args(argv)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = options.plain + options.coroutines + 200
    if most < needed:
        say(f"this system allows {most:,} open files to a process, {needed:,} are needed")
        return 1
    return 0 if asyncio.run(measure(options.plain, options.coroutines, options.streams)) else 1


if __name__ == "__main__":
    sys.exit(main())
