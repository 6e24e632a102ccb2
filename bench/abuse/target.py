"""The server under attack: a process of its own, watched from outside."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What a process holds."""

    rss_mb: float
    descriptors: int
    threads: int


class Target:
    """Starts the application on a unix socket or a free port, and speaks to it.

    Args:
        timeouts: Fields of its TimeoutConfig.
        limits: Fields of its LimitsConfig.
        uds: Listen on this unix socket: without ports a client may connect without end.
    """

    def __init__(
        self, timeouts: dict[str, float] | None = None, limits: dict[str, int] | None = None, uds: str | None = None
    ) -> None:
        self._uds = uds
        where = ["--uds", uds] if uds else ["--port", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLO_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cello", "run", "bench/abuse/app.py", "--no-logs", "--no-debug", *where],
            cwd=ROOT,
            env={
                **environment,
                "PYTHONPATH": str(ROOT),
                "ABUSE_TIMEOUTS": json.dumps(timeouts or {}),
                "ABUSE_LIMITS": json.dumps(limits or {}),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = 0

    async def __aenter__(self) -> "Target":
        assert self.process.stderr is not None
        while line := await asyncio.to_thread(self.process.stderr.readline):
            if found := re.search(r"listening on \S+?(?::(\d+))?$", line.strip()):
                self.port = int(found[1] or 0)
                self._drain = asyncio.ensure_future(asyncio.to_thread(self.process.stderr.read))
                await self.ask()
                return self
        raise RuntimeError("the server did not start")

    async def __aexit__(self, *exc: object) -> None:
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, 40)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.output = await self._drain
        assert self.process.stderr is not None
        self.process.stderr.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        if self._uds:
            return await asyncio.open_unix_connection(self._uds)
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self) -> float:
        """Send a plain request on a connection of its own; return how long the answer took, in seconds."""
        began = time.perf_counter()
        answer = await self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return time.perf_counter() - began

    async def exchange(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes, and return everything that comes until the end."""
        reader, writer = await self.connect()
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
                if half_close:
                    writer.write_eof()
            return await read_all(reader)
        finally:
            await hang_up(writer)

    def usage(self) -> Usage:
        """Return what the process holds now."""
        proc = Path(f"/proc/{self.process.pid}")
        return Usage(
            rss_mb=int((proc / "statm").read_text().split()[1]) * PAGE / 2**20,
            descriptors=len(os.listdir(proc / "fd")),
            threads=len(os.listdir(proc / "task")),
        )


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Read to the end; a reset ends too."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            found += piece
    return found


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection whatever its state."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def percentile(times: list[float], part: float) -> float:
    """Return the value below which `part` of the values lie."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]
