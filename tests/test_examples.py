"""The examples do what their heads say: started by the command that stands there, and asked.

The demo, the REST service and the chat have tests of their own: `test_demo.py`, `test_rest_api.py`, and, in a browser,
`integration/test_realtime_browser.py`.
"""

import contextlib
import http.client
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from cello.serve.importing import load_app
from cello.testing import TestClient
from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import PATIENCE_S, Program, free_port, get

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ROOT = EXAMPLES.parent


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    """Let no example find the module `app` of another."""
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_what_is_listed_is_there() -> None:
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", listed)
    assert len(targets) >= 7
    assert all((EXAMPLES / target).exists() for target in targets)


@pytest.mark.parametrize("example", ["demo", "hello", "rest_api", "chat", "upload", "graphql", "mounted_flask"])
def test_it_starts_by_its_command(example: str, tmp_path: Path) -> None:
    if example == "mounted_flask":
        pytest.importorskip("flask")
    command = (str(EXAMPLES / example / "app.py"), "--port", str(free_port()))
    with Program(*command, folder=tmp_path, environment={"UPLOADS": str(tmp_path)}) as program:
        status, _ = get(program.listening(), "/graphql?query={books{title}}" if example == "graphql" else "/")
    assert status in (200, 302, 404 if example == "rest_api" else 200)


HOSTS = {
    "gunicorn": ("--chdir", "examples/hello", "--bind", "127.0.0.1:{port}", "app:app"),
    "uvicorn": ("--app-dir", "examples/hello", "--port", "{port}", "app:app"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_hello_runs_under_other_servers(host: str) -> None:
    pytest.importorskip(host)
    port = free_port()
    head = (EXAMPLES / "hello" / "app.py").read_text("utf-8")
    assert f"{host} {' '.join(HOSTS[host][:2])} app:app" in head
    words = [word.format(port=port) for word in HOSTS[host]]
    module = {"gunicorn": "gunicorn.app.wsgiapp"}.get(host, host)
    with Program("-m", module, *words, folder=ROOT) as program:
        program.wait_for("Booting worker|running on")
        for _ in range(PATIENCE_S * 10):
            try:
                assert get(f"http://127.0.0.1:{port}", "/hello/you") == (200, '{"hello":"you"}')
                break
            except ConnectionError:
                threading.Event().wait(0.1)
        else:
            pytest.fail(program.output)


def test_hello_is_the_same_everywhere(gateway: str) -> None:
    with TestClient(load_app(f"{EXAMPLES}/hello/app.py:app"), gateway) as client:
        assert client.get(client.get("/").json()["try"]).json() == {"hello": "you"}


# Uploads


@pytest.fixture
def uploads(tmp_path: Path):
    """The uploads' server, with two workers; its folder."""
    words = (str(EXAMPLES / "upload" / "app.py"), "--port", str(free_port()), "--workers", "2")
    with Program(*words, folder=tmp_path, environment={"UPLOADS": str(tmp_path)}) as program:
        program.site = program.listening()
        program.kept = tmp_path / "cello-uploads"
        yield program


@contextlib.contextmanager
def connect(site: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        yield connection


def next_event(stream: http.client.HTTPResponse) -> tuple[str, dict]:
    name, data = "", {}
    while (line := stream.readline().decode().strip()) or not name:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data = json.loads(value)
    return name, data


def test_an_upload_tells_how_far_it_is_while_it_arrives(uploads: Program) -> None:
    piece, count = b"x" * 300_000, 5
    with connect(uploads.site) as watching, connect(uploads.site) as sending:
        watching.request("GET", "/uploads/one")
        events = watching.getresponse()
        assert next_event(events) == ("ready", {"received": 0})

        sending.putrequest("POST", "/files?name=" + quote("notes & more.txt"))
        sending.putheader("X-Upload-Id", "one")
        sending.putheader("Content-Length", str(len(piece) * count))
        sending.endheaders()
        for number in range(1, count + 1):  # each piece is told of before the next is sent
            sending.send(piece)
            while True:
                name, step = next_event(events)
                assert name == "progress"
                assert step["total"] == len(piece) * count
                if step["received"] > len(piece) * number - 262_144:
                    break
        answer = sending.getresponse()
        assert answer.status == 201
        assert json.loads(answer.read()) == {"name": "notes & more.txt", "bytes": 1_500_000}
        while not step.get("done"):
            _, step = next_event(events)
        assert events.read() == b""

    assert (uploads.kept / "notes & more.txt").stat().st_size == 1_500_000
    status, body = get(uploads.site, answer.getheader("Location") or "")
    assert (status, len(body)) == (200, 1_500_000)


def test_half_an_upload_leaves_nothing(uploads: Program) -> None:
    with connect(uploads.site) as sending:
        sending.putrequest("POST", "/files?name=half.bin")
        sending.putheader("Content-Length", "1000000")
        sending.endheaders()
        sending.send(b"x" * 300_000)
        wait_until(lambda: list(uploads.kept.iterdir()))
    wait_until(lambda: not list(uploads.kept.iterdir()))


def wait_until(holds) -> None:
    for _ in range(PATIENCE_S * 20):
        if holds():
            return
        threading.Event().wait(0.05)
    pytest.fail("it never came about")


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a\\b", "a\nb", ""])
def test_an_upload_stays_in_its_folder(
    name: str, gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load_app(f"{EXAMPLES}/upload/app.py:app")
    monkeypatch.setattr(sys.modules[app.router.routes[0].handler.__module__], "FOLDER", tmp_path / "kept")
    with TestClient(app, gateway) as client:
        answer = client.post("/files", params={"name": name}, content=b"x")
        assert answer.status_code == (422 if name == "" else 400)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_the_page_shows_the_progress(browser, uploads: Program) -> None:
    fill = """
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(3_000_000)], "film <1>.bin"));
        document.querySelector("#choose").files = data.files;
        document.querySelector("#choose").dispatchEvent(new Event("change"));
    """
    for size, width, height, is_phone in (("desktop", 900, 700, False), ("phone", 390, 844, True)):
        with browser.page(width, height, is_phone=is_phone) as page:
            page.open(uploads.site)
            page.evaluate(fill)
            page.until("document.querySelector('#list .facts')?.textContent === '3.0 MB, all of it written'")
            page.screenshot(f"upload-{size}")
            page.check(uploads.site)
            assert page.evaluate("document.querySelector('#list a').textContent") == "film <1>.bin"
    assert (uploads.kept / "film <1>.bin").stat().st_size == 3_000_000


# GraphQL


def test_the_library_answers_adds_and_tells(gateway: str) -> None:
    pytest.importorskip("graphql")
    with TestClient(load_app(f"{EXAMPLES}/graphql/app.py:app"), gateway) as client:

        def ask(query: str) -> dict:
            return client.post("/graphql", json={"query": query}).json()

        found = ask("{ books { title author { name books { title } } } }")["data"]["books"]
        assert found[0] == {
            "title": "Persuasion",
            "author": {"name": "Jane Austen", "books": [{"title": "Persuasion"}]},
        }
        assert ask('{ books(search: "frank") { id } }') == {"data": {"books": [{"id": 2}]}}
        assert ask("{ author(id: 9) { name } }") == {"data": {"author": None}}
        assert "errors" in ask('mutation { add(title: "Emma", author: 9) { id } }')
        if gateway == "wsgi":
            return
        with client.websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as ws:
            ws.send_json({"type": "connection_init"})
            assert ws.receive_json()["type"] == "connection_ack"
            ws.send_json({"type": "subscribe", "id": "1", "payload": {"query": "subscription { added { title } }"}})
            ws.send_json({"type": "ping"})
            assert ws.receive_json()["type"] == "pong"
            wait_until(lambda: client.app.channel("books").listeners)
            assert ask('mutation { add(title: "Emma", author: 1) { title } }')["data"] == {"add": {"title": "Emma"}}
            assert ws.receive_json()["payload"] == {"data": {"added": {"title": "Emma"}}}


# Flask


def test_flask_goes_on_below_its_path(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask")
    monkeypatch.syspath_prepend(str(EXAMPLES / "mounted_flask"))
    with TestClient(load_app(f"{EXAMPLES}/mounted_flask/app.py:app"), gateway, follow_redirects=True) as client:
        assert client.get("/api/prices/tea").json() == {"item": "tea", "price": 300}
        page = client.get("/")  # to /shop/, which is Flask's
        assert page.status_code == 200
        assert 'action="/shop/add"' in page.text
        assert page.headers["x-request-id"]
        page = client.post("/shop/add", data={"item": "tea"})
        assert "<li>tea</li>" in page.text
        assert client.get("/shop/nowhere").status_code == 404


def test_the_listed_commands_are_those_of_the_heads() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for name, command in re.findall(r"^\| \[(\w+)\].*\| `([^`]+)`", listed, re.MULTILINE):
        head = (EXAMPLES / name / "app.py").read_text("utf-8").split('"""')[1]
        assert command in head or command.removeprefix("make ") in targets
