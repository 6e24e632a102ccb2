"""Plain handlers among async hooks: what blocks, or reads the body itself, never runs on the loop."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from cello import App, Middleware, Request, Response
from cello.pipeline.middleware import OBSERVE


class Observer(Middleware):
    """Makes every plan async."""

    band = OBSERVE

    async def after(self, request: Request, response: Response) -> None:
        await asyncio.sleep(0)
        response.set_header("X-Observed", "yes")


def is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def app() -> App:
    app = App()
    app.use(Observer())
    return app


def test_a_blocking_handler_among_async_hooks_is_not_on_the_loop(app: App, serve: Callable[..., Any]) -> None:
    app.get("/", blocking=True)(lambda: {"on_loop": is_on_loop()})
    response = serve(app).get("/")
    assert (response.json(), response.headers["x-observed"]) == ({"on_loop": False}, "yes")


def test_a_handler_that_reads_its_body_among_async_hooks(app: App, serve: Callable[..., Any]) -> None:
    app.post("/", stream=True)(lambda request: {"size": sum(map(len, request.stream()))})
    assert serve(app).post("/", content=[b"abc", b"def"]).json() == {"size": 6}


def test_a_quick_handler_among_async_hooks_stays_where_it_is(app: App, serve: Callable[..., Any], gateway: str) -> None:
    app.get("/", blocking=False)(lambda: {"on_loop": is_on_loop()})
    assert serve(app).get("/").json() == {"on_loop": gateway != "wsgi"}


def test_an_error_on_the_thread_is_answered(app: App, serve: Callable[..., Any]) -> None:
    @app.get("/", blocking=True)
    def handler() -> None:
        raise LookupError("not here")

    app.exception_handler(LookupError)(lambda request, error: (str(error), 404))
    response = serve(app).get("/")
    assert (response.status_code, response.text, response.headers["x-observed"]) == (404, "not here", "yes")


def test_a_blocking_handler_that_hands_out_a_coroutine(app: App, serve: Callable[..., Any]) -> None:
    async def inner() -> str:
        return threading.current_thread().name

    app.get("/", blocking=True)(lambda: inner())
    client = serve(app)
    assert client.get("/").status_code == client.get("/").status_code == 200


def test_a_wsgi_mount_among_async_hooks(app: App, serve: Callable[..., Any]) -> None:
    def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]

    app.mount("/old", echo)
    response = serve(app).post("/old", content=b"abc")
    assert (response.content, response.headers["x-observed"]) == (b"abc", "yes")
