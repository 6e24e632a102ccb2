"""Health endpoints: who is up, on every gateway, and what hangs or fails holds nothing up."""

import asyncio
import signal
import socket
import threading

import pytest

from cello import App, ConfigError, HealthCheckConfig
from cello.extension import HealthCheck
from cello.features.health_checks import Examination
from cello.pipeline.lifecycle import State
from tests.serve.program import Program, free_port, get, until

ENDPOINTS = ("/health", "/health/live", "/health/ready", "/health/startup")


def make_app(config=None):
    app = App()
    app.enable_health_checks(config)
    return app


# -- what they answer --


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_application_without_checks_is_up(serve, path):
    with serve(make_app()) as client:
        answer = client.get(path)
        head = client.head(path)
    assert (answer.status, answer.json()["status"]) == (200, "up")
    assert answer.headers["cache-control"] == "no-store"
    assert (head.status, head.content) == (200, b"")


FAILING = {
    "returns False": (lambda: False, "not healthy"),
    "raises": (lambda: 1 / 0, "ZeroDivisionError"),
}


@pytest.mark.parametrize(("check", "reason"), FAILING.values(), ids=FAILING.keys())
def test_a_critical_check_that_fails_makes_it_not_ready(serve, coloured, check, reason):
    app = make_app()
    app.health_check("store")(coloured(check))
    with serve(app) as client:
        answers = {path: client.get(path) for path in ENDPOINTS}
    assert {path: answer.status for path, answer in answers.items()} == {
        "/health": 503,
        "/health/live": 200,
        "/health/ready": 503,
        "/health/startup": 503,
    }
    shown = answers["/health"].json()
    assert shown["status"] == "down"
    assert (shown["checks"]["store"]["status"], shown["checks"]["store"]["reason"]) == ("down", reason)


def test_a_check_that_is_not_critical_degrades(serve, coloured):
    app = make_app()
    app.health_check("mail", critical=False)(coloured(lambda: False))
    with serve(app) as client:
        answer = client.get("/health/ready")
    assert (answer.status, answer.json()["status"]) == (200, "degraded")


def test_a_mapping_is_shown_as_details(serve, coloured):
    app = make_app()
    app.health_check("disk")(coloured(lambda: {"free_mb": 512}))
    with serve(app) as client:
        check = client.get("/health").json()["checks"]["disk"]
    assert (check["status"], check["details"], check["critical"]) == ("up", {"free_mb": 512}, True)
    assert check["duration_ms"] >= 0


def test_the_text_of_an_error_goes_to_the_log_alone_and_once(serve, coloured, caplog):
    app = make_app()

    @app.health_check("store")
    @coloured
    def store():
        raise ConnectionError("postgres://admin:secret@10.0.0.7")

    with serve(app) as client:
        texts = [client.get("/health").text for _ in range(3)]
    assert all("ConnectionError" in text and "secret" not in text for text in texts)
    assert sum("health check 'store'" in record.message for record in caplog.records) == 1


def test_startup_stays_up_once_it_was(serve, coloured):
    app, healthy = make_app(), [False]
    app.health_check("store")(coloured(lambda: healthy[0]))
    with serve(app) as client:
        assert client.get("/health/startup").status == 503
        healthy[0] = True
        assert client.get("/health/startup").status == 200
        healthy[0] = False
        assert client.get("/health/startup").status == 200
        assert client.get("/health/ready").status == 503


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.STOPPING, State.FAILED])
def test_an_application_that_starts_or_ends_is_alive_and_not_ready(serve, monkeypatch, state):
    app = make_app()
    with serve(app) as client:
        monkeypatch.setattr(app.lifecycle, "_state", state)
        live, ready = client.get("/health/live"), client.get("/health/ready")
        monkeypatch.setattr(app.lifecycle, "_state", State.READY)
    assert live.status == 200
    assert ready.status == 503
    assert ready.json().items() >= {"status": "down", "reason": str(state)}.items()


SHOP = """
from cello import App, TimeoutConfig

app = App()
app.enable_health_checks()
app.set_timeouts(TimeoutConfig(read_header=60))  # a request is half sent for as long as the test needs
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_drains_is_not_ready(tmp_path, workers):
    (tmp_path / "shop.py").write_text(SHOP)
    port = free_port()
    words = ["-m", "cello", "run", "shop:app", "--port", str(port), "--workers", workers]
    with Program(*words, folder=tmp_path) as program:
        program.wait_for("listening on")
        until(lambda: get(f"http://127.0.0.1:{port}", "/health/ready")[0], 200)
        with socket.create_connection(("127.0.0.1", port), 30) as asked:
            asked.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n")  # begun before the drain …
            until(lambda: get(f"http://127.0.0.1:{port}", "/health/live")[0], 200)
            program.process.send_signal(signal.SIGTERM)
            until(lambda: is_refused(port))
            asked.sendall(b"\r\n")  # … and ended in it
            answer = asked.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"reason":"draining"' in answer


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def test_checks_that_nobody_asks_are_warned_of_by_name(serve, caplog):
    app = App()
    app.health_check("disk")(lambda: True)
    app.enable_database("sqlite://:memory:")  # its own check is no mistake of anybody's
    with serve(app) as client:
        client.get("/")
    assert [record.message for record in caplog.records if "health" in record.message] == [
        "the health check 'disk' is never asked: call app.enable_health_checks()"
    ]


def test_checks_that_are_asked_are_not_warned_of(serve, caplog):
    app = make_app()
    app.health_check("disk")(lambda: True)
    with serve(app) as client:
        client.get("/")
    assert "never asked" not in caplog.text


def test_no_guard_stands_before_them(serve, coloured):
    app = make_app()
    app.add_guard(lambda request: False)
    app.get("/secret")(coloured(lambda: "never"))
    with serve(app) as client:
        assert client.get("/secret").status == 403
        assert [client.get(path).status for path in ENDPOINTS] == [200] * 4


# -- settings --


def test_every_setting_is_obeyed(serve):
    config = HealthCheckConfig(base_path="/state", include_details=False, include_system_info=True, version="1.2")
    app = make_app(config)
    app.health_check("fine")(lambda: None)
    with serve(app) as client:
        shown = client.get("/state").json()
        assert client.get("/health").status == 404
    assert "checks" not in shown
    assert shown["version"] == "1.2"
    assert shown["system"]["process_id"] > 0
    assert shown["uptime_seconds"] >= 0


def test_presets():
    assert HealthCheckConfig.detailed().include_system_info
    assert not HealthCheckConfig.kubernetes().include_details


WRONG = {
    "a path without a slash": ({"base_path": "health"}, "base_path"),
    "a path that ends with one": ({"base_path": "/health/"}, "base_path"),
    "no time": ({"timeout_secs": 0}, "timeout_secs"),
    "a cache of nothing": ({"cache_secs": 0}, "cache_secs"),
    "an unknown field": ({"path": "/health"}, "path"),
}


@pytest.mark.parametrize(("fields", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_refused_by_name(fields, named):
    with pytest.raises(ConfigError, match=named):
        HealthCheckConfig(**fields)


def test_a_check_is_refused_where_it_cannot_be_one():
    app = make_app()
    app.health_check("store")(lambda: None)
    with pytest.raises(ConfigError, match="'store' already"):
        app.health_check("store")(lambda: None)
    with pytest.raises(ConfigError, match="is a function"):
        app.health_check("text")("nothing to call")
    with pytest.raises(ConfigError, match="timeout"):
        app.health_check("never", timeout=0)(lambda: None)
    with pytest.raises(ConfigError, match="name"):
        app.health_check("")(lambda: None)


# -- how checks are run --


def examination(*checks, **options):
    options = {"timeout_s": 30, **options}
    return Examination(lambda: [HealthCheck(f"check{n}", check) for n, check in enumerate(checks)], **options)


@pytest.mark.asyncio
async def test_a_check_that_hangs_is_down_in_time_and_is_not_called_again():
    calls, release = [], threading.Event()

    def hangs():
        calls.append(1)
        release.wait(30)

    examined = examination(hangs, timeout_s=0.02)
    try:
        for _ in range(3):
            [outcome] = await examined.outcomes()
            assert (outcome.is_up, outcome.reason) == (False, "not done within 0.02 s")
        assert len(calls) == 1
    finally:
        release.set()


@pytest.mark.asyncio
async def test_an_async_check_that_hangs_is_cancelled():
    ended = []

    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    [outcome] = await examination(hangs, timeout_s=0.01).outcomes()
    assert not outcome.is_up
    assert ended == [True]


@pytest.mark.asyncio
async def test_checks_run_beside_each_other():
    both = asyncio.Barrier(2)
    outcomes = await examination(both.wait, both.wait).outcomes()
    assert [outcome.is_up for outcome in outcomes] == [True, True]


@pytest.mark.asyncio
async def test_who_asks_meanwhile_gets_the_same_answer():
    calls, release = [], asyncio.Event()

    async def slow():
        calls.append(1)
        await release.wait()

    examined = examination(slow)
    asking = [asyncio.create_task(examined.outcomes()) for _ in range(5)]
    while not calls:
        await asyncio.sleep(0)
    asking[0].cancel()  # a client that goes takes nothing from the others
    release.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert len(calls) == 1
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(answer[0].is_up for answer in answers[1:])


@pytest.mark.asyncio
async def test_an_outcome_is_reused_for_so_long():
    calls, now = [], [0.0]
    examined = examination(lambda: calls.append(1), cache_s=10, clock=lambda: now[0])
    for moment, called in ((0, 1), (9.9, 1), (10, 2)):
        now[0] = moment
        await examined.outcomes()
        assert len(calls) == called


@pytest.mark.asyncio
async def test_a_plain_check_may_return_an_awaitable():
    async def later():
        return False

    [outcome] = await examination(lambda: later()).outcomes()
    assert outcome.reason == "not healthy"
