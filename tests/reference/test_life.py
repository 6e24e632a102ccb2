"""The reference page: hooks, state, and running. Each test is named after its section."""

import functools
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cello.database import Database, Redis
from cello.testing import TestClient
from tests.database.servers import reachable
from tests.reference.page import EXAMPLES, alternatives, example, name_of, run
from tests.serve.program import PATIENCE_S, Program, free_port, get

Serve = Callable[..., TestClient]
SIMPLE, PRODUCTION = alternatives("app.run")


def test_app_on_event(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # `Database.connect()` without arguments is sqlite://cello.db
    app = run(example("app.on_event"), Database=Database)

    @app.get("/")
    async def ask(request: Any) -> Any:
        return await request.app.state.db.fetch_val("SELECT 1 + 1")

    client = serve(app)
    assert client.get("/").json() == 2
    assert (tmp_path / "cello.db").exists()
    client.close()
    assert capsys.readouterr().out.split("\n")[:2] == ["Starting up...", "Shutting down..."]


def test_app_state(serve: Serve) -> None:
    class UserDatabase:
        """Has the method that the page's handler calls."""

        @classmethod
        async def connect(cls) -> "UserDatabase":
            return cls()

        def get_users(self) -> list[str]:
            return ["Ada"]

    with reachable("redis") as url:

        class NearbyRedis:
            connect = functools.partial(Redis.connect, url)

        app = run(example("app.state"), Database=UserDatabase, Redis=NearbyRedis)

        @app.on_event("shutdown")
        async def stop() -> None:
            await app.state.cache.disconnect()

        client = serve(app)
        assert client.get("/users").json() == {"users": ["Ada"]}
        client.close()
    with pytest.raises(AttributeError, match="missing"):
        _ = app.state.missing


PROGRAM = """
import os
from cello import App

app = App()

@app.get("/")
def index(request):
    return {"pid": os.getpid()}

@app.get("/fails")
def fails(request):
    raise RuntimeError("a secret")

"""


def test_app_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM + SIMPLE)
    port = str(free_port())
    with Program("app.py", folder=tmp_path, environment={"CELLO_PORT": port}) as program:
        address = program.listening()
        assert address == f"http://127.0.0.1:{port}"
        assert get(address)[0] == 200
        assert "a secret" in get(address, "/fails")[1]  # debug is on in development
        program.wait_for("GET /fails 500")  # and so are the logs
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_app_run_in_production(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM + PRODUCTION)
    port = str(free_port())
    # The page's port may be taken here, and nobody else is to reach this; the command line goes first.
    with Program("app.py", "--host", "127.0.0.1", "--port", port, folder=tmp_path) as program:
        address = program.listening()
        pids: set[str] = set()
        deadline = time.monotonic() + PATIENCE_S
        while len(pids) < 4 and time.monotonic() < deadline:
            pids.add(get(address)[1])
        assert len(pids) == 4
        assert "a secret" not in get(address, "/fails")[1]
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert "GET / 200" not in program.output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--no-logs"], lambda output, body: "GET /fails 500" not in output and "a secret" in body),
        (["--env", "production"], lambda output, body: "a secret" not in body),
        (["--env", "production", "--debug"], lambda output, body: "a secret" in body),
        (["--workers", "2"], lambda output, body: "2 workers" in output),
        (["--reload"], lambda output, body: "reload" in output),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_app_run_is_overridden_by_the_command_line(
    tmp_path: Path, words: list[str], wanted: Callable[[str, str], bool]
) -> None:
    (tmp_path / "app.py").write_text(PROGRAM + SIMPLE)
    with Program("app.py", "--port", str(free_port()), *words, folder=tmp_path) as program:
        body = get(program.listening(), "/fails")[1]
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert wanted(program.output, body), program.output


def test_every_section_of_the_page_has_its_test() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert len(EXAMPLES) > 35
    missing = [heading for heading in EXAMPLES if f"def {name_of(heading)}" not in tests]
    assert missing == []
