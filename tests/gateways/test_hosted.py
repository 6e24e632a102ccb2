"""Start-up and shutdown under hosts that announce neither: once per process, in one task, also after a fork."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from cello import App, ConfigError, Depends

SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


def make_app(log: list[Any]) -> App:
    app = App()

    @app.lifespan
    async def life(app: App) -> Any:
        log.append("start")
        task = asyncio.current_task()
        yield
        log.append("stop" if asyncio.current_task() is task else "stop in another task")

    app.get("/")(lambda: "x")
    return app


async def ask(app: App) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    await app(SCOPE, receive, send)
    return statuses[0]


def test_asgi_without_lifespan_starts_with_the_first_request_and_stops_with_the_loop() -> None:
    log: list[Any] = []
    app = make_app(log)

    async def serve() -> None:
        assert await asyncio.gather(*(ask(app) for _ in range(8))) == [200] * 8
        assert log == ["start"]

    asyncio.run(serve())
    assert log == ["start", "stop"]
    asyncio.run(serve_again(app))
    assert log == ["start", "stop"] * 2


async def serve_again(app: App) -> None:
    assert await ask(app) == 200


def test_a_first_request_that_is_cancelled_does_not_cancel_the_start() -> None:
    log: list[Any] = []
    app = App()

    async def serve() -> None:
        going_on = asyncio.Event()

        @app.on_event("startup")
        async def start() -> None:
            await going_on.wait()
            log.append("started")

        app.get("/")(lambda: "x")
        first = asyncio.create_task(ask(app))
        second = asyncio.create_task(ask(app))
        await asyncio.sleep(0)
        first.cancel()
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == 200

    asyncio.run(serve())
    assert log == ["started"]


def test_a_failing_start_fails_every_request_that_waits_for_it() -> None:
    app = App()

    @app.on_event("startup")
    def start() -> None:
        raise ConnectionError("no database")

    async def serve() -> None:
        found = await asyncio.gather(ask(app), ask(app), return_exceptions=True)
        assert [str(error) for error in found] == ["no database"] * 2

    asyncio.run(serve())


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stderr == ""
    return done.stdout


WSGI_PROGRAM = """
    import faulthandler, os, sys, warnings
    from cello import App
    warnings.simplefilter("ignore", DeprecationWarning)
    app = App()

    @app.on_event("startup")
    async def start():
        print("start", "parent" if os.getpid() == parent else "child", flush=True)

    @app.on_event("shutdown")
    async def stop():
        print("stop", "parent" if os.getpid() == parent else "child", flush=True)

    @app.get("/")
    async def hello():
        return "hello"

    parent = os.getpid()
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.input": None,
        "wsgi.url_scheme": "http", "SERVER_PROTOCOL": "HTTP/1.1",
    }

    def ask():
        return b"".join(app(dict(environ), lambda status, headers: None))
"""


def test_a_wsgi_process_stops_the_application_when_it_exits() -> None:
    assert run(WSGI_PROGRAM + "    assert ask() == b'hello'\n") == "start parent\nstop parent\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_each_forked_worker_lives_its_own_life() -> None:
    program = """
    assert ask() == b"hello"
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(30, exit=True)  # should it ever hang, it says where
        assert ask() == b"hello"
        sys.exit()
    os.waitpid(child, 0)
    assert ask() == b"hello"
    """
    assert run(WSGI_PROGRAM + program) == "start parent\nstart child\nstop child\nstop parent\n"


def test_an_asgi_host_that_abandons_its_loop_still_stops_the_application_at_exit() -> None:
    program = """
    import asyncio
    async def ask_asgi():
        async def receive():
            return {"type": "http.request"}
        async def send(message):
            pass
        await app({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}, receive, send)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask_asgi())
    """
    assert run(WSGI_PROGRAM + program) == "start parent\nstop parent\n"


def test_a_route_that_cannot_be_compiled_undoes_the_start() -> None:
    log: list[str] = []
    app = App()
    app.on_event("startup")(lambda: log.append("start"))
    app.on_event("shutdown")(lambda: log.append("stop"))
    app.get("/")(lambda value=Depends("missing"): value)

    async def serve() -> None:
        with pytest.raises(ConfigError, match="missing"):
            await ask(app)

    asyncio.run(serve())
    assert log == ["start", "stop"]


def test_a_failing_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_event("shutdown")
    def stop() -> None:
        raise ConnectionError("cannot flush")

    app.get("/")(lambda: "x")
    app.wsgi.open()
    app.wsgi.close()
    assert "a shutdown hook failed" in caplog.text


def test_a_loop_that_was_closed_without_cancelling_is_no_obstacle() -> None:
    log: list[Any] = []
    app = App()
    app.on_event("shutdown")(lambda: log.append("stop"))
    app.get("/")(lambda: "x")
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(ask(app)) == 200
    loop.close()
    app.asgi.close()
    assert log == ["stop"]


def test_a_loop_in_another_thread_runs_the_shutdown_itself() -> None:
    log: list[Any] = []
    app = make_app(log)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert asyncio.run_coroutine_threadsafe(ask(app), loop).result(30) == 200
    app.asgi.close()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert log == ["start", "stop"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_child_of_multiprocessing_stops_the_application_too() -> None:
    program = """
    import multiprocessing
    def serve():
        assert ask() == b"hello"
    child = multiprocessing.get_context("fork").Process(target=serve)
    child.start()
    child.join()
    """
    assert run(WSGI_PROGRAM + program) == "start child\nstop child\n"
