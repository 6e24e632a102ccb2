"""A real Redis for tests: one that answers, or one of the test's own, to be killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.missing import missing
from tests.serve.program import free_port

PATIENCE_S = 20
DEFAULT_URL = "redis://127.0.0.1:6379"


class RedisServer:
    """A redis-server on a free port, without a file of its data.

    Args:
        folder: Where it runs.

    Attributes:
        url: Where it answers.
    """

    def __init__(self, folder: Path) -> None:
        self._command = shutil.which("redis-server")
        if self._command is None:
            missing("redis-server is not installed")
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [str(self._command), *words], cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1) as sock:
                    sock.sendall(b"PING\r\n")
                    if sock.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            self._process = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()


def answers(url: str) -> bool:
    """Whether a Redis is there."""
    with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
        try:
            return bool(client.ping())
        except (redis.RedisError, OSError):
            return False


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Give the URL of a Redis that answers: `CELLO_TEST_REDIS`, the usual port, or one started in `folder`."""
    url = os.environ.get("CELLO_TEST_REDIS", DEFAULT_URL)
    if answers(url):
        yield url
        return
    with RedisServer(folder) as server:
        yield server.url
