"""Runs inside a peer's virtualenv: `probe.py SUBJECT SECONDS` prints µs per request of it and of the bare callable.

The callable gets what a server would give it (a fresh environ or scope per request, eight browser header fields) and
its answer is read like a server reads it. Both are timed in alternating slices of one process, in CPU time.
"""

import asyncio
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from subjects import SUBJECTS  # type: ignore[import-not-found, unused-ignore]  # beside this file

_FIELDS = {
    "host": "127.0.0.1",
    "connection": "keep-alive",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-GB,en;q=0.9,de;q=0.8",
    "referer": "http://127.0.0.1/start",
    "cookie": "theme=dark; session=5f2b9c1e8d7a4f60b3c2d1e0f9a8b7c6",
}
_PATH = "/users/4711"
_BODY = b'{"id":"4711"}'
_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": _PATH,
    "RAW_URI": _PATH,
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "40000",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.input": io.BytesIO(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in _FIELDS.items()},
}
_SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": _PATH,
    "raw_path": _PATH.encode(),
    "query_string": b"",
    "root_path": "",
    "client": ("127.0.0.1", 40000),
    "server": ("127.0.0.1", 8000),
    "headers": [(name.encode(), value.encode()) for name, value in _FIELDS.items()],
}
_SLICES = 20


class ProbeError(Exception):
    """The subject gave a wrong answer."""


def run_wsgi(app: Any, count: int) -> float:
    """Return the CPU seconds of `count` requests."""
    seen: list[str] = []

    def start_response(status: str, fields: Any, exc_info: Any = None) -> None:
        seen[:] = [status]

    started = time.process_time()
    for _ in range(count):
        answer = app(_ENVIRON.copy(), start_response)
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
    took = time.process_time() - started
    _check(seen[0][:3], body)
    return took


async def run_asgi(app: Any, count: int) -> float:
    """Return the CPU seconds of `count` requests."""
    events: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: Any) -> None:
        events.append(event)

    started = time.process_time()
    for _ in range(count):
        events.clear()
        await app(_SCOPE.copy(), receive, send)
    took = time.process_time() - started
    _check(str(events[0]["status"]), b"".join(event.get("body", b"") for event in events[1:]))
    return took


def _check(status: str, body: bytes) -> None:
    if status != "200" or json.loads(body) != json.loads(_BODY):
        raise ProbeError(f"status {status}, body {body[:80]!r}")


async def _measure(subject: str, seconds: float) -> tuple[float, float]:
    kind = subject.rpartition("-")[2]
    guest, bare = SUBJECTS[subject](), SUBJECTS[f"bare-{kind}"]()

    async def run(app: Any, count: int) -> float:
        return run_wsgi(app, count) if kind == "wsgi" else await run_asgi(app, count)

    await run(guest, 200)
    count = max(50, int(200 * seconds / _SLICES / 2 / max(await run(guest, 200), 1e-6)))
    guest_s = bare_s = 0.0
    for _ in range(_SLICES):
        guest_s += await run(guest, count)
        bare_s += await run(bare, count)
    return guest_s / _SLICES / count * 1e6, bare_s / _SLICES / count * 1e6


if __name__ == "__main__":
    guest_us, bare_us = asyncio.run(_measure(sys.argv[1], float(sys.argv[2])))
    print(json.dumps({"guest_us": guest_us, "bare_us": bare_us}))
