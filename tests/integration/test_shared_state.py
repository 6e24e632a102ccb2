"""One state for all workers: under the own server, gunicorn and uvicorn, and where workers are killed."""

import http.client
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port, until

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked"),
]

LIMIT = 300
BIN = Path(sys.executable).parent
APP = f"""
import os
from cello import App, RateLimitConfig

app = App()
app.enable_rate_limit(RateLimitConfig.token_bucket({LIMIT}, 86_400))
app.enable_circuit_breaker(5, 3_600)

@app.get("/")
def limited(): return os.getpid()

@app.get("/window", rate_limit=RateLimitConfig.sliding_window(50, 3_600))
def window(): return os.getpid()

@app.get("/pid", rate_limit=False)
def pid(): return os.getpid()

@app.get("/fails", rate_limit=False)
def fail(): raise RuntimeError("no")

@app.get("/origin", rate_limit=False)
def origin(): return app._host.shared.origin().how
"""

SERVERS = {
    "own server, 4 workers": ("-m", "cello", "run", "app:app", "--workers", "4", "--no-logs", "--port", "{port}"),
    "gunicorn": ("-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "app:app"),
    "gunicorn, preloaded": ("-m", "gunicorn", "-w", "2", "--preload", "-b", "127.0.0.1:{port}", "app:app"),
    "gunicorn, cello's workers": (
        *("-m", "gunicorn", "-w", "2", "-k", "cello.serve.gunicorn.CelloWorker", "-b", "127.0.0.1:{port}", "app:app"),
    ),
    "uwsgi": (
        *("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", f"{BIN}/pyuwsgi", "--http-socket"),
        *("127.0.0.1:{port}", "--module", "app:app", "--master", "--enable-threads", "--die-on-term", "--lazy-apps"),
        *("--virtualenv", sys.prefix, "--processes", "2", "--disable-logging"),
    ),
    "hypercorn": ("-m", "hypercorn", "-w", "2", "--bind", "127.0.0.1:{port}", "app:app"),
    "granian": ("-m", "granian", "--interface", "asgi", "--workers", "2", "--port", "{port}", "app:app"),
    "uvicorn": ("-m", "uvicorn", "--workers", "2", "--no-access-log", "--port", "{port}", "app:app"),
}


def start(folder: Path, server: str) -> tuple[Program, int]:
    words = SERVERS[server]
    module = {"-c": "pyuwsgi"}.get(words[0], words[1])
    if module != "cello" and find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (folder / "app.py").write_text(APP)
    port = free_port()
    return Program(*(word.format(port=port) for word in words), folder=folder), port


def ask(port: int, path: str, count: int = 1) -> list[int | None]:
    """Ask on connections of their own, one request after the other; None for one that is not answered."""
    found: list[int | None] = []
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        except (OSError, http.client.HTTPException):
            found.append(None)
        finally:
            connection.close()
    return found


def fetch(port: int, path: str) -> object:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def wait_for_workers(port: int, count: int) -> set[int]:
    """Wait until `count` different workers have answered."""
    seen: set[int] = set()

    def look() -> int:
        pid = fetch(port, "/pid")
        if isinstance(pid, int):
            seen.add(pid)
        return len(seen)

    until(look, count)
    return seen


@pytest.mark.parametrize("server", SERVERS)
def test_one_limit_for_all_workers(tmp_path, server):
    program, port = start(tmp_path, server)
    with program:
        wait_for_workers(port, 4 if "4 workers" in server else 2)
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(ask, port, "/", 10) for _ in range(LIMIT // 10 + 12)]
            statuses = [status for each in asked for status in each.result()]
            windows = [threads.submit(ask, port, "/window", 5) for _ in range(16)]
            in_windows = [status for each in windows for status in each.result()]
        assert (statuses.count(200), statuses.count(429)) == (LIMIT, 120)
        assert (in_windows.count(200), in_windows.count(429)) == (50, 30)
        # Whichever worker answers: five failures opened the breaker of all.
        assert [ask(port, "/fails")[0] for _ in range(9)] == [500] * 5 + [503] * 4
        assert "per worker" not in program.output
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_a_file_of_a_foreign_host_is_removed_at_its_end(tmp_path):
    program, port = start(tmp_path, "gunicorn")
    with program:
        wait_for_workers(port, 2)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", "/origin")
        path = Path(connection.getresponse().read().decode().partition(",")[0])
        assert path.stat().st_mode & 0o777 == 0o600
        program.signal(signal.SIGTERM)
        program.wait()
    assert not path.exists()


@pytest.mark.parametrize("server", ["own server, 4 workers", "gunicorn"])
def test_shared_memory_can_be_looked_into(tmp_path, server):
    program, port = start(tmp_path, server)
    with program:
        wait_for_workers(port, 2)
        assert ask(port, "/") == [200]
        with Program("-m", "cello", "shared", folder=tmp_path) as shown:
            assert shown.wait() == 0
        wanted = f"process {program.process.pid}" if "own" in server else f"-{program.process.pid}-"
        [line] = [line for line in shown.lines if wanted in line and "rate_limit buckets" in line]
        assert '{"capacity": 2796202, "width": 1}' in line
        assert "1 of 2,796,208 keys, 0 dropped" in line


def test_a_roll_forgets_nothing(tmp_path):
    program, port = start(tmp_path, "own server, 4 workers")
    with program:
        workers = wait_for_workers(port, 2)
        assert ask(port, "/window", 51) == [200] * 50 + [429]
        program.signal(signal.SIGHUP)
        program.wait_for("the new code is serving")
        until(lambda: fetch(port, "/pid") not in workers, True)
        assert ask(port, "/window", 3) == [429] * 3


def test_workers_that_are_killed_lose_nothing(tmp_path):
    """Answers that came are within the limit, and what is missing was on connections to killed workers."""
    program, port = start(tmp_path, "own server, 4 workers")
    with program:
        workers = wait_for_workers(port, 4)
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(ask, port, "/", 10) for _ in range(LIMIT // 10 + 30)]
            for victim in sorted(workers)[:3]:
                os.kill(victim, signal.SIGKILL)
                program.wait_for(rf"process {victim}\) died: killed by SIGKILL")
            statuses = [status for each in asked for status in each.result()]
            rest = ask(port, "/", 600)
        passed = statuses.count(200) + rest.count(200)
        assert passed <= LIMIT <= passed + statuses.count(None) + rest.count(None)
        assert rest[-1] == 429
        assert sys.platform != "linux" or "per worker" not in program.output
