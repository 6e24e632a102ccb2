"""A Redis server of the tests' own: one that may be stopped and started again."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.hosts import free_port
from tests.missing import missing


class RedisServer:
    """A `redis-server` on a free port, which keeps nothing."""

    def __init__(self, command: str, folder: Path) -> None:
        self._command = command
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [self._command, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)  # a process of another project says nothing when it is ready: it must be asked
            else:
                return
        pytest.fail((self._folder / "redis.log").read_text())

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server; a test that stops it starts it again."""
    pytest.importorskip("redis")
    command = shutil.which("redis-server")
    if command is None:
        missing("redis-server is not installed")
    server = RedisServer(command, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
