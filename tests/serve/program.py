"""Programs under test: started as processes of their own, spoken to over sockets, ended with the test."""

import contextlib
import http.client
import os
import queue
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE_S = 30
ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """Return a port that nobody uses, below the range from which the system takes outgoing ones."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Program:
    """A running command whose lines of output can be waited for.

    Args:
        words: The command behind the interpreter, such as "-m", "cello", "run", "app.py".
        folder: Where it runs.
        environment: Variables beside those of the test.
    """

    def __init__(self, *words: str, folder: Path, environment: dict[str, str] | None = None, **popen) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CELLO_")}
        kept = {name: os.environ[name] for name in ("CELLO_SPEEDUPS", "CELLO_OFFLOAD") if name in os.environ}
        path = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env={**clean, **kept, **path, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **popen,
        )
        self.lines: list[str] = []
        self._unread: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._unread.put(line.rstrip("\n"))
        self._unread.put(None)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def output(self) -> str:
        """Everything read so far."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> str:
        """Read on until a line matches; return what the pattern's first group (or all of it) matched."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                line = self._unread.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line matches {pattern!r}:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"the program ended before a line matched {pattern!r}:\n{self.output}")
            self.lines.append(line)
            found = re.search(pattern, line)
            if found:
                return found[1] if found.re.groups else found[0]

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        while (line := self._unread.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program's first process."""
        os.kill(self.process.pid, number)

    def listening(self) -> str:
        """Wait for the banner; return the address of its first listener."""
        return self.wait_for(r"listening on (\S+)")


def get(url: str, path: str = "/", *, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Return status and body of a GET on a connection of its own."""
    if url.startswith("unix:"):
        connection: http.client.HTTPConnection = http.client.HTTPConnection("localhost", timeout=PATIENCE_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_S)
        connection.sock.connect(url.removeprefix("unix:"))
    elif url.startswith("https:"):
        connection = http.client.HTTPSConnection(url.removeprefix("https://"), timeout=PATIENCE_S, context=context)
    else:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode()


def until(question, wanted=True):
    """Ask until the answer is `wanted`; each question does its own waiting (a request, a line)."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := question()) != wanted:
        assert time.monotonic() < deadline, f"still {answer!r}, not {wanted!r}"
    return answer


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
