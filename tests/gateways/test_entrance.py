"""An application is WSGI and ASGI at once: what each host looks at before it calls."""

import functools
import inspect
from typing import Any

import pytest

from cello import App
from cello.gateways.entrance import show_by_attribute

asgiref = pytest.importorskip("asgiref.compatibility")
hypercorn_utils = pytest.importorskip("hypercorn.utils")
uvicorn_config = pytest.importorskip("uvicorn.config")


class Sub(App):
    """A user's own subclass."""

    def __call__(self, first: Any, *rest: Any) -> Any:
        return super().__call__(first, *rest)


APPS = {"App": App, "a subclass that overrides __call__": Sub}
FORMS = {
    "app": lambda app: app,
    "app.asgi": lambda app: app.asgi,
}


@pytest.fixture(params=APPS.values(), ids=APPS)
def app(request: pytest.FixtureRequest) -> App:
    made: App = request.param()
    made.get("/")(lambda: "hello")
    return made


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_uvicorn_takes_it_for_asgi_3(app: App, form: Any) -> None:
    config = uvicorn_config.Config(form(app), log_config=None, proxy_headers=False)
    config.load()
    assert config.interface == "asgi3"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_hypercorn_takes_it_for_asgi(app: App, form: Any) -> None:
    assert hypercorn_utils.is_asgi(form(app))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_daphne_takes_it_for_a_single_callable(app: App, form: Any) -> None:
    assert not asgiref.is_double_callable(form(app))


def test_the_wsgi_object_is_not_taken_for_asgi(app: App) -> None:
    assert not hypercorn_utils.is_asgi(app.wsgi)


def test_an_app_called_without_arguments_is_no_factory(app: App) -> None:
    with pytest.raises(TypeError):
        app()  # type: ignore[call-arg]  # uvicorn tries it


def test_marking_leaves_the_class_callable_in_both_ways(app: App) -> None:
    assert inspect.iscoroutinefunction(app.__call__)
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.input": None,
        "wsgi.url_scheme": "http", "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    body = app(environ, lambda status, headers: statuses.append(status))
    assert (statuses, b"".join(body)) == (["200 OK"], b"hello")
    app.wsgi.close()


async def ask(call: Any) -> list[dict[str, Any]]:
    """Send one request to an ASGI callable with (receive, send) left to give; return its messages."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await call(receive, send)
    return messages


SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


async def test_three_arguments_are_asgi_3(app: App) -> None:
    messages = await ask(functools.partial(app, SCOPE))
    assert [message["type"] for message in messages] == ["http.response.start", "http.response.body"]


async def test_one_argument_is_asgi_2(app: App) -> None:
    messages = await ask(app(SCOPE))
    assert messages[0]["status"] == 200


async def test_before_3_12_the_instance_shows_a_coroutine_function_of_its_own(app: App) -> None:
    show_by_attribute(app)
    shown = app.__call__
    assert inspect.isfunction(shown)
    assert inspect.iscoroutinefunction(shown)
    messages = await ask(functools.partial(shown, SCOPE))
    assert messages[0]["status"] == 200
