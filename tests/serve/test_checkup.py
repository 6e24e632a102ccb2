"""`cello check`: each finding is provoked by an application that deserves it, and is absent where it is put right."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cello import _speedups
from cello.cli import main
from cello.review import Finding
from cello.serve import checkup

STRONG = "r3Fq0ZJm8Vt1XwKb6Ls9Yd2Ng5Hc7PaUeTiMoRz4BvQ"
CROSS_SITE_WITH_CSRF = (
    f"app.enable_csrf({STRONG!r})\napp.enable_session(SessionConfig(auth_keys={STRONG!r}, cookie_same_site='None'))"
)
HEAD = "import re\nfrom cello import *\nfrom cello import App\napp = App()\n"

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run `cello check` on a module; return what it found, as JSON has it, and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(source: str, *arguments: str) -> dict[str, Any]:
        (tmp_path / "checked.py").write_text(HEAD + source)
        code = main(["check", "checked.py", "--format", "json", *arguments])
        sys.modules.pop("checked", None)
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert told["passed"] is (code == 0)
        return told

    return run


# Code, level, what provokes it, what does not; each with the arguments of the command.
CASES: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "debug said in production": ("debug", "error", ("app.run(debug=True)",), ("app.run()",)),
    "debug on a public address": (
        "debug-public",
        "warning",
        ("app.run(host='0.0.0.0')", "--env", "development"),
        ("app.run(host='127.0.0.1')", "--env", "development"),
    ),
    "reload in production": (
        "reload",
        "error",
        ("app.run(reload=True)",),
        ("app.run(reload=True)", "--env", "development"),
    ),
    "stuck workers stay": (
        "worker-timeout",
        "warning",
        ("app.run(worker_timeout=0)",),
        ("app.run(worker_timeout=30)",),
    ),
    "restarts cut off": ("shutdown", "warning", ("app.run(graceful_shutdown=False)",), ("app.run()",)),
    "any origin": ("cors-any-origin", "note", ("app.enable_cors()",), ("app.enable_cors(['https://a.example'])",)),
    "a pattern for any origin with credentials": (
        "cors-credentials",
        "error",
        ("app.enable_cors([re.compile(r'https://.*')], credentials=True)",),
        ("app.enable_cors([re.compile(r'https://[a-z]+\\.a\\.example')], credentials=True)",),
    ),
    "pages of localhost": (
        "cors-localhost",
        "warning",
        ("app.enable_cors(['http://localhost:*'])",),
        ("app.enable_cors(['http://localhost:*'])", "--env", "development"),
    ),
    "a session in the clear": (
        "session-cookie",
        "error",
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}, cookie_secure=False))",),
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}))",),
    ),
    "a session for every site": (
        "session-csrf",
        "error",
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}, cookie_same_site='None'))",),
        (CROSS_SITE_WITH_CSRF,),
    ),
    "sessions of one process": (
        "session-store",
        "error",
        ("app.enable_session(SessionConfig(store='memory'))", "--workers", "2"),
        ("app.enable_session(SessionConfig(store='memory'))", "--workers", "1"),
    ),
    "sessions of one machine": (
        "session-store",
        "error",
        ("app.enable_session(SessionConfig(store='shared'))", "--machines", "2"),
        ("app.enable_session(SessionConfig(store='shared'))", "--workers", "2"),
    ),
    "sessions that end with the process": (
        "session-keys",
        "error",
        ("app.enable_session()",),
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}))",),
    ),
    "a session's secret": (
        "weak-secret",
        "error",
        ("app.enable_session(SessionConfig(auth_keys='my-very-secret-key'))",),
        (f"app.enable_session(SessionConfig(auth_keys=[{STRONG!r}]))",),
    ),
    "a session without CSRF": (
        "csrf",
        "warning",
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}))\napp.post('/buy')(lambda: 1)",),
        (f"app.enable_session(SessionConfig(auth_keys={STRONG!r}))\napp.get('/look')(lambda: 1)",),
    ),
    "CSRF that ends with the process": (
        "csrf-secret",
        "error",
        ("app.enable_csrf()",),
        (f"app.enable_csrf({STRONG!r})",),
    ),
    "a secret of CSRF": ("weak-secret", "error", ("app.enable_csrf('a' * 40)",), (f"app.enable_csrf({STRONG!r})",)),
    "CSRF in the clear": (
        "csrf-cookie",
        "error",
        (f"app.enable_csrf({STRONG!r}, cookie_secure=False)",),
        (f"app.enable_csrf({STRONG!r})",),
    ),
    "a token's secret": (
        "weak-secret",
        "error",
        ("app.enable_jwt(JwtConfig('password' * 4))",),
        (f"app.enable_jwt(JwtConfig({STRONG!r}))",),
    ),
    "a token's secret too short for its algorithm": (
        "weak-secret",
        "error",
        (f"app.enable_jwt(JwtConfig({STRONG!r}, algorithm='HS512'))",),
        (f"app.enable_jwt(JwtConfig({STRONG + STRONG!r}, algorithm='HS512'))",),
    ),
    "tokens for ever": (
        "jwt-expiry",
        "warning",
        (f"app.enable_jwt(JwtConfig({STRONG!r}, require=[]))",),
        (f"app.enable_jwt(JwtConfig({STRONG!r}))",),
    ),
    "a key of programs": (
        "weak-secret",
        "error",
        ("app.enable_api_key(['letmein'])",),
        (f"app.enable_api_key([{STRONG!r}])",),
    ),
    "passwords in the clear": (
        "basic-auth-http",
        "error",
        ("app.enable_basic_auth(lambda name, password: None)",),
        ("app.set_trusted_proxies(['10.0.0.1'])\napp.enable_basic_auth(lambda name, password: None)",),
    ),
    "passwords in the program": (
        "plain-password",
        "warning",
        ("app.enable_basic_auth({'ann': 'correct horse'})",),
        ("app.enable_basic_auth(lambda name, password: None)",),
    ),
    "a database in memory": (
        "database-memory",
        "error",
        ("app.enable_database('sqlite://:memory:')", "--workers", "2"),
        ("app.enable_database('sqlite://:memory:')", "--workers", "1"),
    ),
    "a database in a file": (
        "database-file",
        "error",
        ("app.enable_database('sqlite://app.db')", "--machines", "2"),
        ("app.enable_database('sqlite://app.db')", "--workers", "2"),
    ),
    "many connections": (
        "database-connections",
        "warning",
        ("app.enable_database('postgresql://a@b/c')", "--workers", "16"),
        ("app.enable_database('postgresql://a@b/c')", "--workers", "4"),
    ),
    "everybody a proxy": (
        "trusted-proxies",
        "error",
        ("app.set_trusted_proxies(['0.0.0.0/0'])",),
        ("app.set_trusted_proxies(['10.0.0.0/8'])",),
    ),
    "hosts from anybody": (
        "forwarded-host",
        "warning",
        ("app.set_trusted_proxies(['10.0.0.1'], host=True)",),
        ("app.enable_trusted_hosts(['a.example'])\napp.set_trusted_proxies(['10.0.0.1'], host=True)",),
    ),
    "the program as files": (
        "static-source",
        "error",
        ("open('app.py', 'w').close()\napp.enable_static_files(StaticFilesConfig('.'))",),
        ("import os\nos.makedirs('public', exist_ok=True)\napp.enable_static_files(StaticFilesConfig('public'))",),
    ),
    "a folder's listing": (
        "static-listing",
        "note",
        ("app.enable_static_files(StaticFilesConfig('.', directory_listing=True))",),
        ("app.enable_static_files(StaticFilesConfig('.'))",),
    ),
    "events in memory": (
        "events-memory",
        "error",
        ("app.enable_event_sourcing()", "--workers", "2"),
        ("app.enable_event_sourcing(EventSourcingConfig(store_type='sqlite'))", "--workers", "2"),
    ),
    "events in a file": (
        "events-file",
        "error",
        ("app.enable_event_sourcing(EventSourcingConfig(store_type='sqlite'))", "--machines", "2"),
        ("app.enable_event_sourcing(EventSourcingConfig.postgresql('postgresql://a@b/c'))", "--machines", "2"),
    ),
    "sagas in memory": (
        "sagas-memory",
        "error",
        ("app.enable_saga()", "--workers", "2"),
        ("app.enable_saga(SagaConfig(store='sqlite://sagas.db'))", "--workers", "2"),
    ),
    "sagas in a file": (
        "sagas-file",
        "error",
        ("app.enable_saga(SagaConfig(store='sqlite://sagas.db'))", "--machines", "2"),
        ("app.enable_saga(SagaConfig(store='postgresql://a@b/c'))", "--machines", "2"),
    ),
    "limits of each machine": (
        "rate-limit-machines",
        "warning",
        ("app.enable_rate_limit('10/minute')", "--machines", "3"),
        ("app.enable_rate_limit('10/minute', redis='redis://b')", "--machines", "3"),
    ),
    "caches of each machine": (
        "cache-machines",
        "warning",
        ("app.enable_caching()", "--machines", "3"),
        ("app.enable_caching(store='redis://b')", "--machines", "3"),
    ),
    "channels of each machine": (
        "channels-machines",
        "error",
        ("app.channel('a')", "--machines", "3"),
        ("app.enable_channels('redis://b')", "--machines", "3"),
    ),
    "public documentation": (
        "openapi-public",
        "note",
        ("app.enable_openapi()",),
        ("app.enable_openapi(guards=[Authenticated()])",),
    ),
    "public numbers": (
        "metrics-public",
        "note",
        ("app.enable_prometheus()",),
        ("app.enable_prometheus(guards=[Authenticated()])",),
    ),
    "public health": (
        "health-system-info",
        "warning",
        ("app.enable_health_checks(HealthCheckConfig.detailed())",),
        ("app.enable_health_checks()",),
    ),
    "a public schema": (
        "graphql-development",
        "warning",
        ("app.enable_graphql(GraphQLConfig.development())\napp.graphql.query(lambda info: 1)",),
        ("app.enable_graphql()",),
    ),
    "bodies of any size": (
        "unbounded",
        "warning",
        ("app.set_limits(LimitsConfig(max_body_size=1 << 40))",),
        ("app.set_limits(LimitsConfig(max_body_size=1 << 20))",),
    ),
    "a route's bodies of any size": (
        "unbounded",
        "warning",
        ("app.post('/', max_body_size=1 << 40)(lambda: 1)",),
        ("app.post('/', max_body_size=1 << 40, stream=True)(lambda request: 1)",),
    ),
    "waiting for ever": (
        "unbounded",
        "warning",
        ("app.set_timeouts(TimeoutConfig(handler=float('inf')))",),
        ("app.set_timeouts(TimeoutConfig(handler=60))",),
    ),
    "sockets that are never missed": (
        "unbounded",
        "warning",
        ("app.set_limits(LimitsConfig(ws_ping_interval=0))\napp.websocket('/ws')(lambda ws: None)",),
        ("app.set_limits(LimitsConfig(ws_ping_interval=0))",),
    ),
    "WebSocket": ("wsgi-websocket", "note", ("app.websocket('/ws')(lambda ws: None)",), ("app.get('/')(lambda: 1)",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_misconfiguration_is_found_and_its_correction_is_not(check: Check, case: str) -> None:
    code, level, (bad, *bad_arguments), (good, *good_arguments) = CASES[case]
    found = [finding for finding in check(bad, *bad_arguments)["findings"] if finding["code"] == code]
    assert [finding["level"] for finding in found] == [level]
    assert len(found[0]["text"]) > 40
    assert code not in [finding["code"] for finding in check(good, *good_arguments)["findings"]]


def codes() -> set[str]:
    """Return the codes that stand in the package."""
    sources = [path.read_text("utf-8") for path in Path(_speedups.__file__).parents[1].rglob("*.py")]
    written = re.compile(r'Finding\(\s*(?:"\w+"|level|"error" if [^\n]+),\s*"([\w-]+)"')
    return {code for text in sources for code in written.findall(text)}


def test_every_finding_has_a_case_here_or_where_its_switch_is_tested() -> None:
    assert len(codes()) > 25
    here = {case[0] for case in CASES.values()}
    tests = [path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")]
    assert [code for code in codes() - here if not any(f'"{code}"' in text for text in tests)] == []


def test_every_finding_stands_in_the_guide() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "guide" / "check.md"
    told = set(re.findall(r"`([\w-]+)`", page.read_text("utf-8").partition("## What it finds")[2]))
    assert {case[0] for case in CASES.values()} | {"option", "shared-memory", "cello-framework"} <= told


def test_an_app_without_faults_passes_strictly(check: Check) -> None:
    told = check("app.get('/')(lambda: 1)", "--strict")
    assert told == {"passed": True, "routes": 1, "findings": []}


def test_warnings_fail_only_when_asked_to(check: Check) -> None:
    source = "app.run(worker_timeout=0)"
    assert check(source)["passed"]
    assert not check(source, "--strict")["passed"]
    assert check(source, "--strict", "--ignore", "worker-timeout")["passed"]


def test_errors_fail(check: Check) -> None:
    assert not check("app.run(debug=True)")["passed"]
    assert check("app.run(debug=True)", "--ignore", "debug")["passed"]
    assert check("app.run(debug=True)", "--env", "development")["passed"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(
            "app.enable_cors(credentials=True)", "credentials need a list of origins", id="wildcard with credentials"
        ),
        pytest.param("app.set_tls(TlsConfig('none.pem', 'none.key'))", "none.pem", id="no certificate"),
        pytest.param(
            "app.get('/', rate_limit='1/s')(lambda: 1)", "enable_rate_limit() was not called", id="a mark unmet"
        ),
    ],
)
def test_what_cannot_even_start_is_an_error_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "checked.py").write_text(HEAD + source)
    try:
        assert main(["check", "checked.py"]) == 1
    finally:
        sys.modules.pop("checked", None)
    assert words in capsys.readouterr().err


def test_a_missing_driver_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # what an import of a missing package meets
    (tmp_path / "checked.py").write_text(HEAD + "app.enable_database('postgresql://a@b/c')")
    try:
        assert main(["check", "checked.py"]) == 1
    finally:
        sys.modules.pop("checked", None)
    assert "pip install 'cello[postgres]'" in capsys.readouterr().err


def test_the_environment_counts_as_it_does_for_run(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLO_DEBUG", "1")
    [finding] = [one for one in check("")["findings"] if one["code"] == "debug"]
    assert "CELLO_DEBUG" in finding["text"]
    monkeypatch.setenv("CELLO_DEBUG", "0")
    monkeypatch.setenv("CELLO_PORT", "tcp://10.0.0.1:80")
    assert [one["code"] for one in check("")["findings"]] == ["option"]


class Terminal:
    def isatty(self) -> bool:
        return True


class Pipe:
    def isatty(self) -> bool:
        return False


FOUND = [Finding("error", "debug", "word " * 40), Finding("note", "a-note", "short")]


def test_in_a_pipe_each_finding_is_one_line() -> None:
    first, second, last = checkup.as_text(FOUND, 2, Pipe(), passed=False).splitlines()
    assert first.split()[:3] == ["error", "debug", "word"]
    assert second.split() == ["note", "a-note", "short"]
    assert last == "failed: 2 routes; 1 error, 1 note"


def test_on_a_terminal_they_are_wrapped_to_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = checkup.as_text(FOUND, 2, Terminal(), passed=False).splitlines()
    assert len(lines) > 4
    assert max(map(len, lines)) <= 72
    assert lines[1].startswith(" " * 10)


@pytest.mark.parametrize("argument", ["0", "x", "-1"])
def test_counts_are_counts(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--machines", argument])
    assert "from 1 on" in capsys.readouterr().err


def test_what_is_wrong_with_this_machine_is_found(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "app.enable_rate_limit('10/minute')"
    assert check(source)["findings"] == []
    monkeypatch.setenv("CELLO_SHARED_DIR", str(tmp_path / "nowhere"))
    (tmp_path / "cello_framework-1.4.1.dist-info").mkdir()
    assert [finding["code"] for finding in check(source)["findings"]] == ["shared-memory", "cello-framework"]
