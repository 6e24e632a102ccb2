"""Databases and Redis in real servers: gunicorn's processes and threads, uvicorn, cello's own workers."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hosts import Host, running

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform == "win32", reason="these servers need POSIX")]

APP = "tests.database.host_app:app"
GUNICORN = ("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--preload")
CELLO = ("{bin}/python", "-m", "cello", "run", APP, "--port", "{port}", "--workers", "2")
HOSTS = [
    Host("gunicorn sync", "gunicorn", (*GUNICORN, "-k", "sync", APP), is_asgi=False),
    Host("gunicorn gthread", "gunicorn", (*GUNICORN, "-k", "gthread", "--threads", "20", APP), is_asgi=False),
    Host("uvicorn", "uvicorn", ("{bin}/uvicorn", "--port", "{port}", "--log-level", "warning", APP), is_asgi=True),
    Host("cello", "cello", CELLO, is_asgi=True),
]  # fmt: skip


ROWS = [*((host, "postgresql") for host in HOSTS), (HOSTS[1], "sqlite")]


@pytest.mark.parametrize(("host", "kind"), ROWS, ids=lambda part: getattr(part, "id", part))
def test_a_host_serves_the_database_from_all_its_workers(
    host: Host, url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLO_TEST_DATABASE_URL", url)
    monkeypatch.setenv("CELLO_TEST_REDIS_URL", redis_url)
    with running(host, tmp_path) as server:

        def ask(path: str) -> Any:
            answer = server.request("GET", path)
            assert answer.status_code == 200, (path, answer.text, server.output()[-2000:])
            return answer.json()

        with ThreadPoolExecutor(40) as threads:
            found = list(threads.map(ask, ["/def", "/async"] * 40))
        assert {(each["sum"], each["redis"]) for each in found} == {(2, True)}
        for _ in range(4):
            stats = ask("/stats")
            for pool in (stats["pool"], stats["blocking_pool"]):
                assert pool is None or (pool["opened"] <= 5 and pool["in_use"] == 0)
        assert server.stop() in (0, -signal.SIGTERM)  # uvicorn passes the signal on to itself
        assert "Traceback" not in server.output()
        assert "was never" not in server.output()
