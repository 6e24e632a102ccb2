"""Messages in real servers: gunicorn's processes and threads, uvicorn, cello's own workers."""

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hosts import Host, running
from tests.messaging.rigs import RabbitMQRig

pytestmark = [pytest.mark.timeout(120), pytest.mark.skipif(sys.platform == "win32", reason="these servers need POSIX")]

APP = "tests.messaging.host_app:app"
GUNICORN = ("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--preload")
CELLO = ("{bin}/python", "-m", "cello", "run", APP, "--port", "{port}", "--workers", "2")
HOSTS = [
    Host("gunicorn sync", "gunicorn", (*GUNICORN, "-k", "sync", APP), is_asgi=False),
    Host("gunicorn gthread", "gunicorn", (*GUNICORN, "-k", "gthread", "--threads", "8", APP), is_asgi=False),
    Host("uvicorn", "uvicorn", ("{bin}/uvicorn", "--port", "{port}", "--log-level", "warning", APP), is_asgi=True),
    Host("cello", "cello", CELLO, is_asgi=True),
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.id)
async def test_a_host_sends_and_consumes_in_all_its_workers(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = RabbitMQRig()
    await rig.open()
    queue, back = await rig.topic(), await rig.topic()
    for name, value in {"URL": rig.url, "QUEUE": queue, "BACK": back}.items():
        monkeypatch.setenv(f"CELLO_TEST_{name}", value)

    def drive() -> None:
        with running(host, tmp_path) as server:

            def ask(path: str) -> Any:
                answer = server.request("POST", path)
                assert answer.status_code == 200, (path, answer.text, server.output()[-2000:])
                return answer.json()

            with ThreadPoolExecutor(8) as threads:
                paths = [f"/{colour}/{number}" for number in range(20) for colour in ("def", "async")]
                assert len({each["id"] for each in threads.map(ask, paths)}) == 40
            assert server.stop() in (0, -signal.SIGTERM)  # uvicorn passes the signal on to itself
            assert "Traceback" not in server.output(), server.output()[-3000:]
            assert "was never" not in server.output()

    await asyncio.to_thread(drive)
    # What the consumers had not begun when they were told to end waits in the queue still.
    left = await rig.left(queue)
    found = await rig.take(back, 40 - left)
    rest = await rig.take(queue, left) if left else []
    await rig.close()
    numbers = sorted((message.key or "", message.text) for message in (*found, *rest))
    assert numbers == sorted((colour, str(number)) for number in range(20) for colour in ("def", "async"))
