"""cello's worker class inside a real gunicorn: reload, crash, drain, a start that fails."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.hosts import ANSWER_TIMEOUT_S, Host, RunningHost, running

pytest.importorskip("gunicorn")
pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs POSIX")]

COMMAND = (
    "{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "-k", "cello.serve.gunicorn.CelloWorker",
    "--graceful-timeout", "20", "--log-level", "info", "{app}",
)  # fmt: skip
WORKERS = Host("gunicorn, two cello workers", "gunicorn", COMMAND, is_asgi=True)


def pids(server: RunningHost, count: int, without: set[int]) -> set[int]:
    """Ask until `count` workers beyond those named have answered; return their process ids."""
    found: set[int] = set()
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while len(found - without) < count:
        if time.monotonic() > deadline:
            pytest.fail(f"only {found} answered:\n{server.output()[-3000:]}")
        found.add(server.request("GET", "/life").json()["pid"])
    return found - without


def test_it_serves_reloads_survives_a_crash_and_drains(tmp_path: Path) -> None:
    with running(WORKERS, tmp_path) as server:
        first = pids(server, 2, set())
        server.process.send_signal(signal.SIGHUP)
        second = pids(server, 2, first)
        server.wait_for_lines("stopped.txt", 2)
        victim = min(second)
        os.kill(victim, signal.SIGKILL)
        third = pids(server, 1, first | second)
        assert third
        with ThreadPoolExecutor(1) as threads:
            open_request = threads.submit(server.request, "GET", "/wait-for-file")
            server.wait_for_lines("waiting.txt", 1)
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_log("Handling signal: term")
            (tmp_path / "go.txt").touch()
            assert open_request.result(ANSWER_TIMEOUT_S).status_code == 200
        assert server.process.wait(ANSWER_TIMEOUT_S) == 0
        assert "Traceback" not in server.output()
        assert "cello" in server.output()


def test_an_application_that_does_not_start_stops_gunicorn(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text(
        textwrap.dedent(
            """
            from cello import App
            app = App()

            @app.on_event("startup")
            def start():
                raise ConnectionError("no database")
            """
        )
    )
    # One worker: two that fail at once can trip gunicorn over its own halt.
    command = (*COMMAND[:-1], "-w", "1", "--chdir", str(tmp_path), "broken_app:app")
    host = Host("gunicorn, a broken app", "gunicorn", command, is_asgi=True)
    with running(host, tmp_path) as server:
        assert server.process.wait(ANSWER_TIMEOUT_S) == 3
        assert "no database" in server.output()


def test_a_worker_is_replaced_after_its_requests(tmp_path: Path) -> None:
    host = Host("gunicorn, few requests", "gunicorn", (*COMMAND[:-1], "--max-requests", "5", "{app}"), True)
    with running(host, tmp_path) as server:
        first = pids(server, 2, set())
        pids(server, 1, first)
        assert server.stop() == 0


def test_many_requests_over_a_reload_are_all_answered(tmp_path: Path) -> None:
    with running(WORKERS, tmp_path) as server:
        first = pids(server, 2, set())

        async def ask() -> int:
            request = server.session.make("GET", "/life")
            return (await server.session.request(request, follow_redirects=False)).status_code

        async def ask_many() -> list[int]:
            return [status for _ in range(10) for status in await asyncio.gather(*(ask() for _ in range(10)))]

        server.process.send_signal(signal.SIGHUP)
        assert asyncio.run(ask_many()) == [200] * 100
        pids(server, 2, first)
