"""One running peer: started pinned to its processor, waited for, measured, stopped."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from bench.load import client, processes
from bench.load.peers import Peer
from bench.load.places import APPS, LOGS

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0


class ServerError(Exception):
    """A server did not start or did not live; the text says why."""


class Server:
    """A peer's processes, from start to stop; a context manager.

    Attributes:
        port: Where it listens on loopback.
        first_answer_ms: From starting the process to the first 200, in milliseconds.
    """

    def __init__(self, peer: Peer, executable: Path, core: int, *, middleware: bool = False) -> None:
        self.peer = peer
        self.port = free_port()
        self.first_answer_ms = 0.0
        self._executable = executable
        self._core = core
        self._middleware = middleware
        self._log = LOGS / f"{peer.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        LOGS.mkdir(parents=True, exist_ok=True)
        command = [str(self._executable), str(APPS / self.peer.app) if self.peer.app else str(self.port)]
        variables = {"BENCH_PORT": str(self.port), "BENCH_MIDDLEWARE": "1" if self._middleware else "0"}
        core = self._core
        started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=APPS,
                env=_clean_environment() | variables | dict(self.peer.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        try:
            self._wait_for_first_answer(started)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The first process' id."""
        if self._process is None:
            raise ServerError(f"{self.peer.name} is not running")
        return self._process.pid

    def cpu_ns(self) -> int:
        """Return the CPU time its processes have used so far, in nanoseconds.

        Raises:
            ServerError: It has ended.
        """
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"the server ended: {self.last_words()}")
        return processes.cpu_ns(self.pid)

    def last_words(self) -> str:
        """Return the last line that it printed."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[-200:] if lines else "it printed nothing"

    def stop(self) -> None:
        """End all its processes, kindly first."""
        if self._process is None:
            return
        members = processes.tree(self.pid) if self._process.poll() is None else []
        _signal(members, signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Children that a dying parent left behind.
        _signal([member for member in members if Path(f"/proc/{member}").exists()], signal.SIGKILL)
        self._process = None

    def _wait_for_first_answer(self, started: float) -> None:
        while time.perf_counter() - started < START_LIMIT_S:
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"the server ended at start: {self.last_words()}")
            try:
                status = client.get_status(self.port, "/")
            except OSError:
                time.sleep(0.002)
                continue
            if status != 200:
                raise ServerError(f"GET / is answered with {status}")
            self.first_answer_ms = (time.perf_counter() - started) * 1000
            return
        raise ServerError(f"no answer within {START_LIMIT_S:.0f} s: {self.last_words()}")


def free_port() -> int:
    """Return a port below the ephemeral range that nothing listens on."""
    for port in range(18000 + os.getpid() % 997, 32000, 7):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError("no free port between 18000 and 32000")


def _clean_environment() -> dict[str, str]:
    """Leave out what would reach into the peers: Python's and cello's own switches."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CELLO_", "BENCH_"))}


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
