"""The servers that host an application, as subprocesses on free ports, and a client that speaks to them.

A host that is not installed skips its tests; see tests/missing.py for where that is a failure.
"""

import asyncio
import contextlib
import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cello.testing.native import Wire, WireExchange
from cello.testing.native_websocket import NativeSocket
from cello.testing.outgoing import Outgoing
from cello.testing.session import Session
from cello.testing.transport import Incoming

ROOT = Path(__file__).parents[2]
APP = "tests.integration.host_app:app"
START_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Host:
    """One server: what must be installed, and how it is started and stopped.

    Attributes:
        command: The command line; `{port}`, `{app}` and `{bin}` are filled in.
        differs: Rows of the table that this server cannot answer like the others, and why.
        stop_signal: What ends it in an orderly way.
        logged_when_idle: What its log says once the worker is done with GET /life.
    """

    id: str
    module: str
    command: tuple[str, ...]
    is_asgi: bool
    differs: dict[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    logged_when_idle: str = ""

    def argv(self, port: int) -> list[str]:
        """Return the command line."""
        return [part.format(port=port, app=APP, bin=Path(sys.executable).parent) for part in self.command]


def free_port() -> int:
    """Return a free port below the ephemeral range, which clients draw from."""
    for _ in range(200):
        port = random.randint(20_000, 31_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port below 32000")


class RunningHost:
    """A started server and the requests to it."""

    def __init__(self, host: Host, port: int, folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.host = host
        self.port = port
        self.folder = folder
        self.process = process
        self.log = log
        self.session = Session(TcpTransport(port), f"http://127.0.0.1:{port}", None, None)

    def request(self, method: str, url: str, **options: object) -> Any:
        """Send one request on a connection of its own."""
        request = self.session.make(method, url, **options)  # type: ignore[arg-type]  # as the table's rows have them
        return asyncio.run(asyncio.wait_for(self.session.request(request, follow_redirects=False), ANSWER_TIMEOUT_S))

    def converse(self, url: str, messages: Sequence[str | bytes], *subprotocols: str) -> list[Any]:
        """Send messages by WebSocket, one after the answer to the other; return the answers, the subprotocol first."""

        async def talk() -> list[Any]:
            socket = await self.session.connect(url, subprotocols)
            answers: list[Any] = [socket.subprotocol]
            try:
                for message in messages:
                    await socket.send(message)
                    answer = await socket.recv(ANSWER_TIMEOUT_S)
                    answers.append(None if answer is None else answer.content)
            finally:
                await socket.close()
            return answers

        return asyncio.run(asyncio.wait_for(talk(), ANSWER_TIMEOUT_S))

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that the application writes; none when it is not there."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def wait_for_lines(self, name: str, count: int) -> list[str]:
        """Wait until the application has written so many lines."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while len(lines := self.lines(name)) < count:
            if time.monotonic() > deadline:
                pytest.fail(f"{self.host.id}: {name} has {len(lines)} lines, not {count}:\n{self.output()[-3000:]}")
            time.sleep(0.02)  # a file in another process: nothing else tells
        return lines

    def wait_for_log(self, text: str) -> None:
        """Wait until the server has said something."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while text not in self.output():
            if time.monotonic() > deadline:
                pytest.fail(f"{self.host.id} never said {text!r}:\n{self.output()[-3000:]}")
            time.sleep(0.02)  # a file in another process: nothing else tells

    def leave_in_the_middle(self, url: str) -> None:
        """Read the beginning of an answer and go away."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIMEOUT_S) as client:
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            taken = 0
            while taken < 200_000:
                taken += len(client.recv(65_536))

    def output(self) -> str:
        """What the server has said."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Ask the server to end, and wait for it; return its exit code.

        Asked twice if need be: a KeyboardInterrupt that Python raises inside a callback, where it cannot be passed on,
        is lost on hosts that know no other way.
        """
        self.process.send_signal(self.host.stop_signal)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(20)
            self.process.send_signal(self.host.stop_signal)
            return self.process.wait(20)
        finally:
            kill_group(self.process)


class TcpTransport:
    """Sends requests over TCP, one connection each; h11 reads the answers."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request."""
        request.headers.append(("Connection", "close"))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        exchange = WireExchange(Wire(reader, writer), request, lambda wire: wire.close())
        await exchange.begin()
        return Incoming(exchange.status, exchange.fields, exchange.read(), exchange.leave)

    async def connect(self, request: Outgoing) -> NativeSocket:
        """Open a WebSocket; wsproto makes and reads the frames."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        return await NativeSocket(reader, writer).begin(request)

    async def settle(self) -> None:
        """Nothing to wait for that could be seen from here."""


@contextlib.contextmanager
def running(host: Host, folder: Path, colour: str = "mixed") -> Iterator[RunningHost]:
    """Start a host, wait until it answers, and end it."""
    if importlib.util.find_spec(host.module) is None:
        pytest.skip(f"{host.module} is not installed")
    port = free_port()
    environment = {
        **os.environ, "CELLO_TEST_FOLDER": str(folder), "CELLO_TEST_COLOUR": colour, "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default",
    }  # fmt: skip
    log = folder / "host.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            host.argv(port), cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        server = RunningHost(host, port, folder, process, log)
        wait_until_up(server)
        yield server
    finally:
        kill_group(process)


def wait_until_up(server: RunningHost) -> None:
    """Wait until the server accepts connections; its output is the message when it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # a process of another project says nothing when it is ready: it must be asked
        else:
            return
    pytest.fail(f"{server.host.id} did not start:\n{server.output()[-4000:]}")


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End a server and its workers, whatever state they are in."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
