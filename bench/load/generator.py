"""The load generator process: `native/load.c`, pinned, fed with one workload's requests."""

import json
import os
import struct
import subprocess
from dataclasses import dataclass
from types import TracebackType

from bench.load.install import program
from bench.load.places import CACHE
from bench.load.workloads import Workload

CONNECTIONS = 64


class LoadError(Exception):
    """A server failed under load; the text is the generator's."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: an exact number of answers, each checked, in so many seconds."""

    requests: int
    seconds: float
    reconnects: int


class Generator:
    """Keep-alive connections to one server; a context manager."""

    def __init__(self, workload: Workload, port: int, core: int, connections: int = CONNECTIONS) -> None:
        self._workload = workload
        self._arguments = [str(port), str(connections), str(workload.pipeline)]
        self._core = core
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Generator":
        path = CACHE / f"{self._workload.name}-{os.getpid()}.requests"
        path.write_bytes(
            b"".join(
                struct.pack("=II", len(exchange.request), len(exchange.needle)) + exchange.request + exchange.needle
                for exchange in self._workload.exchanges
            )
        )
        core = self._core
        upgrade = [self._workload.websocket] if self._workload.websocket else []
        self._process = subprocess.Popen(
            [str(program("load")), *self._arguments, str(path), *upgrade],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            self._read()
        except LoadError:
            self._close()
            raise
        finally:
            path.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def run(self, requests: int) -> Run:
        """Send `requests` requests and read all their answers.

        Raises:
            LoadError: A wrong answer, or none for ten seconds.
        """
        process = self._running()
        if process.stdin is None:
            raise LoadError("the load generator has no input")
        try:
            process.stdin.write(f"{requests}\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise LoadError("the load generator ended") from None
        report = self._read()
        return Run(int(report["requests"]), float(report["seconds"]), int(report["reconnects"]))

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise LoadError("the load generator is not running")
        return self._process

    def _read(self) -> dict[str, float]:
        process = self._running()
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise LoadError(f"the load generator ended with {process.wait()}")
        report: dict[str, float] = json.loads(line)
        if "error" in report:
            raise LoadError(str(report["error"]))
        return report

    def _close(self) -> None:
        process = self._running()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        process.wait()
        self._process = None
