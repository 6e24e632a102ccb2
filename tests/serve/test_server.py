"""One serving process, from its start to its end, as its users meet it."""

import contextlib
import functools
import os
import signal
import socket
import ssl
import tempfile

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port, get, until

APP = """
import asyncio, os, sys
from cello import App
app = App()

@app.on_event("startup")
def start(): print("hook: start", app.urls, app.env, app.debug, flush=True)

@app.on_event("shutdown")
async def stop(): print("hook: stop", flush=True)

@app.get("/")
def index(): return {"pid": os.getpid()}

@app.get("/slow")
async def slow():
    print("slow: begun", flush=True)
    await asyncio.sleep(float(os.environ.get("SLOW", "1")))
    return "slow: done"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def serving(folder, *words, port=None, **kwargs):
    port = port or free_port()
    with Program("-m", "cello", "run", "app.py", "--port", str(port), *words, folder=folder, **kwargs) as program:
        yield program, program.listening()


LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(os.name == "nt", reason="no uvloop on Windows"))]


@pytest.fixture(params=LOOPS)
def loop(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return request.param


def test_a_server_starts_answers_and_ends_in_order(folder, loop):
    with serving(folder, "--loop", loop, "--env", "production", "--workers", "1") as (program, url):
        assert get(url)[0] == 200
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    order = [line for line in program.lines if line.startswith(("hook", "listening", "cello"))]
    assert [line.split()[0] for line in order] == ["hook:", "cello", "listening", "hook:"]
    assert order[0] == f"hook: start ['{url}'] production False"


def test_the_banner_in_a_pipe_is_plain_and_says_what_runs(folder):
    with serving(folder, "--loop", "asyncio", "--http", "h11", "--name", "shop") as (program, url):
        banner = program.output
    assert "\x1b" not in banner
    for fact in ("Python 3.", "asyncio", "h11 parser", "shop: development, debug", url):
        assert fact in banner


@pytest.mark.parametrize("parser", ["compiled", "httptools", "h11"])
def test_every_parser_that_is_present_serves(folder, parser):
    if parser == "httptools":
        pytest.importorskip("httptools")
    if parser == "compiled":
        from cello import _speedups

        if not _speedups.enabled:
            pytest.skip(_speedups.reason)
    with serving(folder, "--http", parser) as (program, url):
        assert get(url)[0] == 200
        assert f"{parser} parser" in program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_before_the_end(folder, loop, number):
    with serving(folder, "--loop", loop) as (program, url):
        with socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            program.wait_for("slow: begun")
            program.signal(number)
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"onnection: close" in answer
        assert answer.endswith(b"slow: done")
        assert program.wait() == 0


def test_a_second_signal_ends_at_once(folder, loop):
    with serving(folder, "--loop", loop, environment={"SLOW": "1000"}) as (program, url):
        with socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            program.wait_for("slow: begun")
            program.signal(signal.SIGTERM)
            program.signal(signal.SIGINT)
            assert program.wait() == 0
        assert "1 open connections dropped: second signal" in program.output
        assert "hook: stop" in program.output


def test_the_shutdown_timeout_bounds_the_drain(folder):
    with serving(folder, "--shutdown-timeout", "0.2", environment={"SLOW": "1000"}) as (program, url):
        with socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            program.wait_for("slow: begun")
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        assert "not done after 0.2 s" in program.output


def test_an_idle_connection_does_not_hold_up_the_end(folder, loop):
    with serving(folder, "--loop", loop) as (program, url):
        with socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            program.signal(signal.SIGTERM)
            assert client.recv(1) == b""
        assert program.wait() == 0
        assert "dropped" not in program.output


def test_a_port_in_use_is_one_clear_line_and_exit_1(folder):
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with Program("-m", "cello", "run", "--port", str(port), folder=folder) as program:
            assert program.wait() == 1
    words = f"error: 127.0.0.1:{port} is in use by another program; stop it or choose another --port"
    assert program.lines == [words]


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        pytest.param(
            '@app.on_event("startup")\nasync def fail(): raise OSError("no cellar")',
            "error: the application did not start: OSError: no cellar",
            id="start-up hook",
        ),
        pytest.param(
            'from cello import Depends\n@app.get("/x")\ndef x(a=Depends("nobody")): ...', "'nobody'", id="freeze"
        ),
        pytest.param("import nothing_like_this", "could not be imported: ModuleNotFoundError", id="import"),
    ],
)
def test_a_start_that_fails_says_why_and_exits_1(folder, addition, words):
    (folder / "app.py").write_text(APP + addition)
    with Program("-m", "cello", "run", "--port", str(free_port()), folder=folder) as program:
        assert program.wait() == 1
    assert words in program.output
    assert "listening" not in program.output


def test_a_failing_shutdown_hook_is_said_and_exits_1(folder):
    (folder / "app.py").write_text(APP + '@app.on_event("shutdown")\ndef fail(): raise OSError("no cellar")')
    with serving(folder) as (program, _):
        program.signal(signal.SIGTERM)
        assert program.wait() == 1
    assert "a shutdown hook failed" in program.output
    assert "no cellar" in program.output


def test_a_signal_during_start_up_cancels_it(folder):
    hook = (
        '@app.on_event("startup")\nasync def wait():\n    print("waiting", flush=True)\n    await asyncio.sleep(1000)'
    )
    (folder / "app.py").write_text(APP + hook)
    with Program("-m", "cello", "run", "--port", str(free_port()), folder=folder) as program:
        program.wait_for("waiting")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert "stopped during start-up" in program.output


def test_a_unix_socket_is_served_and_removed(folder, loop):
    with tempfile.TemporaryDirectory(prefix="c") as short:
        path = f"{short}/s"
        with Program("-m", "cello", "run", "--uds", path, "--loop", loop, folder=folder) as program:
            assert program.listening() == f"unix:{path}"
            assert get(f"unix:{path}")[0] == 200
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        assert not os.path.exists(path)


def test_an_inherited_descriptor_is_served(folder, loop):
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        fd = given.fileno()
        words = ("-m", "cello", "run", "--fd", str(fd), "--loop", loop)
        with Program(*words, folder=folder, pass_fds=[fd]) as program:
            assert get(program.listening())[0] == 200


def test_tls_is_terminated(folder, loop, make_certificate):
    make_certificate(folder, "own")
    with serving(folder, "--certfile", "own.crt", "--keyfile", "own.key", "--loop", loop) as (program, url):
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(folder / "own.crt"))
        assert get(url, context=context)[0] == 200
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_logs_are_one_line_per_request_and_can_be_json(folder):
    with serving(folder, "--log-format", "json") as (program, url):
        get(url, "/nowhere?x=1")
        line = program.wait_for(r"\{.*\}")
    for part in ('"method":"GET"', '"path":"/nowhere"', '"status":404', '"client":"127.0.0.1"'):
        assert part in line
    with serving(folder, "--no-logs") as (program, url):
        get(url)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert "GET /" not in program.output


def test_descriptors_are_raised_to_the_hard_limit(folder):
    show = "\nimport resource\n@app.get('/limit')\ndef limit(): return list(resource.getrlimit(resource.RLIMIT_NOFILE))"
    (folder / "app.py").write_text(APP + show)

    def lower():
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, min(hard, 4096)))

    with serving(folder, preexec_fn=lower) as (_, url):
        soft, hard = eval(get(url, "/limit")[1])
        assert soft == hard


def answers(url):
    """Whether a new connection is served; while it has no descriptors, uvloop resets them."""
    try:
        return get(url)[0] == 200
    except OSError:
        return False


def test_without_descriptors_accepting_pauses_and_open_connections_are_served(folder, loop):
    def lower():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with serving(folder, "--loop", loop, preexec_fn=lower) as (program, url), contextlib.ExitStack() as clients:
        address = tuple(url.removeprefix("http://").split(":"))
        connect = functools.partial(socket.create_connection, address, timeout=PATIENCE_S)
        first, *others = [clients.enter_context(connect()) for _ in range(80)]
        first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert first.recv(65536).startswith(b"HTTP/1.1 200")
        for client in (first, *others):
            client.close()
        until(lambda: answers(url))
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert program.output.count("no new connections") <= 1
    assert "Traceback" not in program.output
