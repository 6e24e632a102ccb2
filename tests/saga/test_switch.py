"""enable_saga: the orchestrator in handlers of both colours on every gateway, in several processes, and by command."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, Depends, SagaConfig
from cello.review import Deployment
from cello.saga import Saga, SagaError, SagaOrchestrator, SagaStep, WaitForEvent
from cello.testing import TestClient
from tests.integration.hosts import ROOT, Host, running
from tests.saga import test_saga

Test = Callable[..., Any]
OBEYED: set[str] = set()


def obeys(*fields: str) -> Callable[[Test], Test]:
    """Note which fields a test shows to be obeyed."""
    OBEYED.update(fields)
    return lambda test: test


def order_saga(app: App, steps_are: str) -> None:
    """Register a saga whose steps use what the application has."""
    if steps_are == "def":

        def reserve(context: dict[str, Any]) -> None:
            context["answer"] = app.database.fetch_val("SELECT 41 + 1")

    else:

        async def reserve(context: dict[str, Any]) -> None:  # type: ignore[misc]
            context["answer"] = await app.database.fetch_val("SELECT 41 + 1")

    async def charge(context: dict[str, Any]) -> None:
        if context.get("bad"):
            raise SagaError("charge", ValueError("no funds"))

    saga = Saga("Order")
    saga.add_step(SagaStep("reserve", reserve, lambda context: None))
    saga.add_step(SagaStep("charge", charge))
    app.sagas.register(saga)


def make_app(colour: str, steps_are: str, tmp_path: Path) -> App:
    app = App()
    assert app.enable_saga(SagaConfig(retry_delay_ms=1, poll_interval_ms=20)) is app
    app.enable_database(f"sqlite:///{tmp_path}/a.db")
    order_saga(app, steps_are)
    waiting = Saga("Waiting")
    waiting.add_step(WaitForEvent("paid"))
    app.sagas.register(waiting)

    if colour == "def":

        @app.post("/orders")
        def post(request: Any, sagas: Any = Depends("sagas")) -> Any:
            try:
                return sagas.execute("Order", request.json()).context
            except SagaError as error:
                return {"failed": error.step_name, "status": error.execution.get_status()["status"]}  # type: ignore[union-attr]

        @app.post("/waiting")
        def wait(request: Any) -> Any:
            begun = request.app.sagas.start("Waiting")
            assert request.app.sagas.signal(begun.id, "paid", 5)
            assert request.app.sagas.wait(begun.id, 30, until_end=True).context == {"paid": 5}
            assert [each.id for each in app.sagas.list_executions("Waiting")] == [begun.id]
            assert not app.sagas.cancel(begun.id)
            return app.sagas.get_execution(begun.id).get_status()["status"]

    else:

        @app.post("/orders")
        async def post(request: Any, sagas: Any = Depends("sagas")) -> Any:
            try:
                return (await sagas.execute("Order", request.json())).context
            except SagaError as error:
                return {"failed": error.step_name, "status": error.execution.get_status()["status"]}  # type: ignore[union-attr]

        @app.post("/waiting")
        async def wait(request: Any) -> Any:
            begun = await request.app.sagas.start("Waiting")
            assert await request.app.sagas.signal(begun.id, "paid", 5)
            assert (await request.app.sagas.wait(begun.id, 30, until_end=True)).context == {"paid": 5}
            assert [each.id for each in await app.sagas.list_executions("Waiting")] == [begun.id]
            assert not await app.sagas.cancel(begun.id)
            return (await app.sagas.get_execution(begun.id)).get_status()["status"]

    return app


@pytest.mark.parametrize("steps_are", ["def", "async"])
def test_handlers_of_both_colours_run_steps_of_both(serve: Test, colour: str, steps_are: str, tmp_path: Path) -> None:
    client = serve(make_app(colour, steps_are, tmp_path))
    for _ in range(2):
        assert client.post("/orders", json={"number": 1}).json() == {"number": 1, "answer": 42}
        assert client.post("/orders", json={"bad": True}).json() == {"failed": "charge", "status": "failed"}


def test_events_reach_what_waits(serve: Test, colour: str, tmp_path: Path) -> None:
    assert serve(make_app(colour, "async", tmp_path)).post("/waiting").text == "completed"


def test_executions_are_counted_and_the_log_is_watched(serve: Test, tmp_path: Path) -> None:
    app = make_app("async", "async", tmp_path)
    app.enable_prometheus()
    app.enable_health_checks()
    client = serve(app)
    client.post("/orders", json={})
    client.post("/orders", json={"bad": True})
    text = client.get("/metrics").text
    for status in ("completed", "failed"):
        assert f'saga_duration_seconds_count{{saga="Order",status="{status}"}} 1' in text
    assert client.get("/health").json()["checks"]["sagas"]["status"] == "up"


@obeys("store")
def test_what_a_stopped_application_has_left_the_next_one_goes_on_with(url: str) -> None:
    done: list[str] = []

    def make() -> App:
        app = App().enable_saga(SagaConfig(store=url, poll_interval_ms=20))
        saga = Saga("Left")
        saga.add_step(SagaStep("first", lambda context: done.append("first")))
        saga.add_step(WaitForEvent("go"))
        saga.add_step(SagaStep("last", lambda context: done.append("last")))
        app.sagas.register(saga)

        @app.post("/")
        async def begin(request: Any) -> str:
            return str((await app.sagas.execute("Left")).id)

        @app.post("/go/{id}")
        async def go(id: str) -> bool:
            return bool(await app.sagas.signal(id, "go"))

        @app.get("/{id}")
        async def look(id: str) -> Any:
            return (await app.sagas.get_execution(id)).get_status()

        return app

    with TestClient(make()) as client:
        execution_id = client.post("/").text
    with TestClient(make()) as client:
        assert client.get(f"/{execution_id}").json()["status"] == "waiting"
        assert client.post(f"/go/{execution_id}").json() is True
        deadline = time.monotonic() + 30
        while client.get(f"/{execution_id}").json()["status"] != "completed":
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert done == ["first", "last"]


@obeys("store")
def test_the_store_may_be_the_applications_database(tmp_path: Path) -> None:
    app = make_app("async", "async", tmp_path)
    other = App().enable_saga(SagaConfig(store="database"))
    other.enable_database(f"sqlite:///{tmp_path}/b.db")
    order_saga(other, "async")

    @other.get("/")
    async def run() -> Any:
        await other.sagas.execute("Order")
        return await other.database.fetch_val("SELECT count(*) FROM cello_sagas")

    with TestClient(other) as client:
        assert client.get("/").json() == 1
    lonely = App().enable_saga(SagaConfig(store="database"))
    with pytest.raises(ConfigError, match=r'SagaConfig\(store="database"\) needs app.enable_database'):
        TestClient(lonely).__enter__()
    assert app.feature("saga").orchestrator.config.is_memory


def test_a_store_that_cannot_be_reached_ends_the_start() -> None:
    from cello.database import OperationalError

    app = App().enable_saga(SagaConfig(store="postgresql://nobody@127.0.0.1:1/x"))
    with pytest.raises(OperationalError):
        TestClient(app).__enter__()


@obeys("lease_secs", "poll_interval_ms")
async def test_a_lease_ends_and_another_takes_over(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/a.db"
    taken: list[str] = []

    def make(who: str, **config: Any) -> SagaOrchestrator:
        saga = Saga("Leased")
        saga.add_step(SagaStep("act", lambda context: taken.append(who)))
        made = SagaOrchestrator(SagaConfig(store=store, **config))
        made.register(saga)
        return made

    dead = make("dead", lease_secs=0.5)
    log = (await dead._ready()).log
    from cello.saga.state import Record, StepState

    record = await log.create(Record("left", "Leased", [StepState("act")], {}, {}, 60_000))
    assert record is not None
    eager = make("eager")
    assert await eager.resume() == [], "it is leased still"
    began_s = time.monotonic()
    async with make("next", poll_interval_ms=20) as following:
        while (await following.get_execution("left")).is_open:  # type: ignore[union-attr]
            assert time.monotonic() - began_s < 30
            await asyncio.sleep(0.01)
    assert taken == ["next"]
    await dead.close()
    await eager.close()


def test_memory_of_one_worker_is_warned_of(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text("from cello import App\napp = App().enable_saga()\napp.get('/')(lambda: 'here')\n")
    command = ("{bin}/python", "-m", "cello", "run", f"{program}:app", "--port", "{port}", "--workers", "2")
    with running(Host("cello", "cello", command, is_asgi=True), tmp_path) as server:
        assert server.request("GET", "/").text == "here"
        server.stop()
        assert "sagas are kept in the memory of this worker alone" in server.output()
    caplog.set_level(logging.WARNING)
    with TestClient(App().enable_saga()):
        pass
    assert "memory" not in caplog.text


def command(*arguments: str, options: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cello", "sagas", *arguments, "tests.saga.host_app:app", *options],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_the_command_lists_shows_signals_cancels_and_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_STORE", f"sqlite:///{tmp_path}/sagas.db")
    target = "tests.saga.host_app:app"
    serving = ("{bin}/python", "-m", "cello", "run", target, "--port", "{port}", "--workers", "2")
    with running(Host("cello", "cello", serving, is_asgi=True), tmp_path) as server:
        first, second = (server.request("POST", "/orders").json()["id"] for _ in range(2))

        def until(execution_id: str, status: str) -> Any:
            deadline = time.monotonic() + 30
            while (found := server.request("GET", f"/orders/{execution_id}").json())["status"] != status:
                assert time.monotonic() < deadline, found
                time.sleep(0.05)
            return found

        listed = command("list", options=["--status", "waiting"])
        assert listed.returncode == 0, listed.stderr
        assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [second, first]
        shown = json.loads(command("show", first).stdout)
        assert (shown["status"], shown["context"]) == ("waiting", {"number": 1, "reserved": True})
        assert "was told" in command("signal", first, "paid", options=["--data", "false"]).stdout
        assert until(first, "failed")["error"] == "ValueError: not paid"
        assert "will be compensated" in command("cancel", second, options=["--reason", "by test"]).stdout
        assert until(second, "cancelled")["error"] == "by test"
        assert "will take it up" in command("retry", first).stdout
        assert until(first, "failed")["error"] == "ValueError: not paid"
        assert json.loads(command("show", first).stdout)["context"]["paid"] is False
        wrong = command("show", "nobody")
        assert (wrong.returncode, "there is no execution 'nobody'" in wrong.stderr) == (1, True)
        assert command("signal", first, "paid", options=["--data", "{"]).returncode == 1
        assert server.stop() == 0
        assert "Traceback" not in server.output()


def test_the_command_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_STORE", "memory")
    refused = command("list")
    assert (refused.returncode, "these sagas are kept in memory" in refused.stderr) == (1, True)


REVIEWED: dict[str, tuple[SagaConfig, Deployment, list[tuple[str, str]]]] = {
    "memory, one worker, in development": (SagaConfig(), Deployment("development"), []),
    "memory in production": (SagaConfig(), Deployment(), [("warning", "sagas-memory")]),
    "memory of several": (SagaConfig(), Deployment(workers=2), [("error", "sagas-memory")]),
    "a file, one machine": (SagaConfig(store="sqlite://a.db"), Deployment(workers=2), []),
    "a file, two machines": (SagaConfig(store="sqlite://a.db"), Deployment(machines=2), [("error", "sagas-file")]),
}


@pytest.mark.parametrize(("config", "deployment", "found"), REVIEWED.values(), ids=REVIEWED.keys())
def test_cello_check_finds_logs_that_do_not_reach(
    config: SagaConfig, deployment: Deployment, found: list[tuple[str, str]]
) -> None:
    feature = App().enable_saga(config).feature("saga")
    assert [(each.level, each.code) for each in feature.review(deployment)] == found


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a SagaConfig"):
        App().enable_saga({"max_retries": 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"enable_saga\(\)"):
        _ = App().sagas


def test_every_field_is_obeyed_somewhere() -> None:
    import dataclasses

    fields = {field.name for field in dataclasses.fields(SagaConfig)}  # type: ignore[arg-type]  # it is one
    assert fields == OBEYED | test_saga.OBEYED
