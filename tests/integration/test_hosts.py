# ruff: noqa: E501  # a command line reads best on one line
"""One application under every server: the shared table gives the same answers everywhere."""

import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cello.testing import WebSocketDenied
from tests.gateways.test_same_everywhere import ROWS, UNSET, Row
from tests.integration.hosts import Host, RunningHost, running

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(sys.platform == "win32", reason="POSIX servers")]

GUNICORN = ("{bin}/gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "--log-level", "warning")

NO_TARGET = "this host tells the decoded path alone"

HOSTS = [
    Host("own server", "cello", (sys.executable, "-m", "cello", "run", "{app}", "--port", "{port}", "--env", "production", "--workers", "1"), True),
    Host("gunicorn sync", "gunicorn", (*GUNICORN, "-k", "sync", "{app}"), False),
    Host("gunicorn gthread", "gunicorn", (*GUNICORN, "-k", "gthread", "--threads", "4", "{app}"), False),
    Host("gunicorn cello", "gunicorn", (*GUNICORN, "-k", "cello.serve.gunicorn.CelloWorker", "{app}"), True),
    Host("waitress", "waitress", ("{bin}/waitress-serve", "--listen=127.0.0.1:{port}", "{app}"), False, stop_signal=signal.SIGINT),
    Host("uwsgi", "pyuwsgi", ("{bin}/pyuwsgi", "--http-socket", "127.0.0.1:{port}", "--chunked-input-limit", "4194304", "--module", "{app}", "--master", "--enable-threads",
        "--need-app", "--die-on-term", "--lazy-apps", "--virtualenv", sys.prefix, "--threads", "4"), False,
        logged_when_idle="GET /life"),
    Host("uvicorn httptools", "uvicorn", ("{bin}/uvicorn", "--port", "{port}", "--http", "httptools", "--log-level", "warning", "{app}"), True,
        differs={"an unknown method is 405": "llhttp knows a fixed list of methods"}),
    Host("uvicorn h11", "uvicorn", ("{bin}/uvicorn", "--port", "{port}", "--http", "h11", "--log-level", "warning", "{app}"), True),
    Host("hypercorn", "hypercorn", ("{bin}/hypercorn", "--bind", "127.0.0.1:{port}", "{app}"), True),
    Host("daphne", "daphne", ("{bin}/daphne", "-b", "127.0.0.1", "-p", "{port}", "{app}"), True),
    Host("granian asgi", "granian", ("{bin}/granian", "--interface", "asgi", "--port", "{port}", "{app}"), True),
    Host("granian wsgi", "granian", ("{bin}/granian", "--interface", "wsgi", "--port", "{port}", "{app}"), False,
        differs={"an encoded slash stays in its segment": NO_TARGET, "the request line": NO_TARGET}),
]  # fmt: skip


@pytest.fixture(scope="module", params=HOSTS, ids=lambda host: host.id)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """One host, running."""
    with running(request.param, tmp_path_factory.mktemp("host")) as server:
        yield server


def differences(server: RunningHost, row: Row) -> Iterator[str]:
    """Yield in words how an answer differs from what the table says."""
    response: Any = server.request(row.method, row.url, **row.send)
    if response.status_code != row.status:
        yield f"status {response.status_code}, not {row.status}"
    if row.exactly is not None and response.content != row.exactly:
        yield f"body {response.content[:100]!r}, not {row.exactly[:100]!r}"
    if row.json is not UNSET and response.json() != expected_json(server, row):
        yield f"json {response.json()!r}, not {row.json!r}"
    for name, value in row.headers.items():
        if response.headers.get(name) != value:
            yield f"{name}: {response.headers.get(name)!r}, not {value!r}"


def expected_json(server: RunningHost, row: Row) -> Any:
    """Return the row's body with the address of this server in place of the test client's."""
    if isinstance(row.json, dict) and row.json.get("host") == "testserver":
        return {**row.json, "host": f"127.0.0.1:{server.port}"}
    return row.json


def test_every_row_of_the_table(server: RunningHost) -> None:
    wrong = []
    for row in ROWS:
        if row.id in server.host.differs:
            continue
        try:
            found = [*differences(server, row)]
        except Exception as error:  # noqa: BLE001  # a broken connection is a difference too, and the next row may work
            found = [f"{type(error).__name__}: {error}"]
        wrong += [f"{row.id}: {'; '.join(found)}"] if found else []
    assert not wrong, f"{server.host.id}:\n" + "\n".join(wrong) + "\n" + server.output()[-3000:]


def test_a_mounted_flask_app(server: RunningHost) -> None:
    assert server.request("GET", "/old/").text == "old root at /old"
    assert server.request("POST", "/old/echo", content=b"abc" * 1000).content == b"abc" * 1000


def test_each_answer_has_one_date(server: RunningHost) -> None:
    assert len(server.request("GET", "/value/dict").headers.get_all("date")) <= 1


@pytest.mark.parametrize("url", ["/endless", "/endless-async"])
def test_a_stream_whose_client_has_gone_is_closed(server: RunningHost, url: str) -> None:
    before = len(server.lines("left.txt"))
    server.leave_in_the_middle(url)
    server.wait_for_lines("left.txt", before + 1)


@pytest.mark.parametrize("url", ["/ws/def", "/ws/async"])
def test_a_websocket_works_where_it_can(server: RunningHost, url: str) -> None:
    messages: list[str | bytes] = ["hello", "grüße 🎻", b"\x00\xff", "x" * 100_000, b"y" * 100_000]
    if server.host.id != "daphne":  # it sends no empty message
        messages.append("")
    if server.host.is_asgi:
        before = len(server.lines("left.txt"))
        assert server.converse(url, messages, "other", "chat") == ["chat", *messages]
        server.wait_for_lines("left.txt", before + 1)
    else:
        with pytest.raises(WebSocketDenied) as denied:
            server.converse(url, messages)
        assert denied.value.response.status_code in (426, 501), "not every host passes an Upgrade on"


def test_a_refused_websocket_says_so(server: RunningHost) -> None:
    if server.host.is_asgi:
        with pytest.raises(WebSocketDenied) as denied:
            server.converse("/ws/async?deny=1", [])
        assert denied.value.response.status_code == 403


def test_the_application_starts_once_and_is_shut_down(server: RunningHost) -> None:
    assert server.request("GET", "/life").json()["started"] == 1
    assert len(server.lines("started.txt")) == 1
    server.wait_for_log(server.host.logged_when_idle)
    server.stop()
    assert server.lines("stopped.txt") == server.lines("started.txt"), server.output()[-3000:]
