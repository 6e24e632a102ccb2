"""The event store in real servers with several workers: all append, one projects, kill -9 changes neither."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cello.database import Database
from cello.eventsourcing import EventSourcingConfig
from tests.database.servers import parent_of
from tests.integration.hosts import Host, running

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(sys.platform == "win32", reason="these servers need POSIX")]

APP = "tests.eventsourcing.host_app:app"
GUNICORN = ("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--preload", "-k", "gthread", "--threads", "8", APP)
CELLO = ("{bin}/python", "-m", "cello", "run", APP, "--port", "{port}", "--workers", "2")
HOSTS = [Host("gunicorn gthread", "gunicorn", GUNICORN, is_asgi=False), Host("cello", "cello", CELLO, is_asgi=True)]
ROUNDS, EACH = 3, 20
PATIENCE_S = 60


@pytest.mark.parametrize("store_type", ["sqlite", "postgresql"])
@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.id)
def test_workers_share_a_store_and_one_projects(
    host: Host, make_config: Callable[..., EventSourcingConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(lease_secs=1)
    monkeypatch.setenv("CELLO_TEST_EVENTS", json.dumps(asdict(config)))  # type: ignore[call-overload]
    table = f"{config.table_prefix}seen"
    database = Database(config.connection_url).blocking
    database.execute(f"CREATE TABLE {table} (position BIGINT, process BIGINT)")
    with running(host, tmp_path) as server, ThreadPoolExecutor(8) as threads:

        def ask(path: str) -> Any:
            answer = server.request("POST", path)
            assert answer.status_code in (200, 201), (path, answer.text, server.output()[-2000:])
            return answer.json()

        total = 0
        for _ in range(ROUNDS):
            paths = [f"/{colour}/c{number % 4}" for number in range(EACH) for colour in ("def", "async")]
            list(threads.map(ask, paths))
            total += len(paths)
            deadline_s = time.monotonic() + PATIENCE_S
            rows: list[Any] = []
            while len(rows) < total and time.monotonic() < deadline_s:
                rows = database.fetch_all(f"SELECT position, process FROM {table} ORDER BY position")
                time.sleep(0.02)
            assert [row["position"] for row in rows] == list(range(1, total + 1)), server.output()[-2000:]
            victim = rows[-1]["process"]
            os.kill(victim, signal.SIGKILL)
            while parent_of(victim) is not None:  # while it takes connections, one may be lost with it
                time.sleep(0.02)
        assert len({row["process"] for row in rows}) == ROUNDS
    database.execute(f"DROP TABLE {table}")
    database.close()
