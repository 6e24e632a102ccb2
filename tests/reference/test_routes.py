"""The reference page: what answers a request. Each test is named after its section."""

from collections.abc import Callable
from typing import Any

import pytest

from cello import App, ConfigError, Depends, NotFound
from cello.testing import TestClient
from tests.reference.page import example, run

Serve = Callable[..., TestClient]


def test_constructor(serve: Serve) -> None:
    app = run(example("Constructor"))
    assert serve(app).get("/").status == 404
    with pytest.raises(ConfigError, match="takes no arguments"):
        App("a name")


def test_app_get(serve: Serve) -> None:
    client = serve(run(example("app.get")))
    assert client.get("/users").json() == {"users": []}
    assert client.get("/users/7").json() == {"id": "7"}


def test_app_post(serve: Serve) -> None:
    answer = serve(run(example("app.post"))).post("/users", json={"name": "Ada"})
    assert (answer.status, answer.json()) == (201, {"id": 1, "name": "Ada"})


def test_app_put(serve: Serve) -> None:
    answer = serve(run(example("app.put"))).put("/users/7", json={"name": "Ada"})
    assert (answer.status, answer.json()) == (200, {"id": "7", "name": "Ada"})


def test_app_patch(serve: Serve) -> None:
    client = serve(run(example("app.patch")))
    assert client.patch("/users/7", json={"name": "Ada"}).json() == {"updated": True}
    assert client.patch("/users/7", content=b"{").status == 400  # what the handler reads is no JSON


def test_app_delete(serve: Serve) -> None:
    answer = serve(run(example("app.delete"))).delete("/users/7")
    assert (answer.status, answer.content) == (204, b"")


def test_app_options(serve: Serve) -> None:
    answer = serve(run(example("app.options"))).options("/resource")
    assert answer.json() == {"methods": ["GET", "POST", "PUT", "DELETE"]}


def test_app_options_leaves_preflights_to_cors(serve: Serve) -> None:
    app = run(example("app.options"))
    app.enable_cors()
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "PUT"}
    answer = serve(app).options("/resource", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.content == b""


def test_app_head(serve: Serve) -> None:
    answer = serve(run(example("app.head"))).head("/health")
    assert (answer.status, answer.content) == (200, b"")


def test_app_route(serve: Serve) -> None:
    client = serve(run(example("app.route")))
    assert client.get("/resource").json() == {"action": "list"}
    assert client.post("/resource").json() == {"action": "create"}
    assert client.put("/resource").status == 405


def test_app_route_takes_get_where_no_methods_are_named(serve: Serve) -> None:
    app = App()
    app.route("/resource")(lambda request: "here")
    assert serve(app).get("/resource").text == "here"
    assert serve(app).post("/resource").status == 405


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_route_options(serve: Serve, method: str) -> None:
    app = App()
    app.enable_openapi()
    declare = getattr(app, method)
    options = {"tags": ["users"], "summary": "Short.", "description": "Long.", "guards": [lambda request: False]}
    declare("/guarded", **options)(lambda request: "in")
    client = serve(app)
    assert getattr(client, method)("/guarded").status == 403
    said = client.get("/openapi.json").json()["paths"]["/guarded"][method]
    assert (said["tags"], said["summary"], said["description"]) == (["users"], "Short.", "Long.")


@pytest.mark.parametrize("gateway", ["asgi", "native"])  # WSGI has no WebSocket
def test_app_websocket(client: Callable[..., TestClient], gateway: str) -> None:
    app = run(example("app.websocket"))
    with client(app, gateway).websocket_connect("/ws") as ws:
        assert ws.receive_text() == "Connected!"
        ws.send_text("hello")
        assert ws.receive_text() == "Echo: hello"


def test_app_add_guard(serve: Serve) -> None:
    app = run(example("app.add_guard"))
    app.get("/")(lambda request: "in")

    @app.before_request
    def sign_in(request: Any) -> None:
        raise AssertionError("guards come before the application's own middleware")

    assert serve(app).get("/").status == 401


def test_app_add_guard_lets_pass_who_signed_in(serve: Serve) -> None:
    app = run(example("app.add_guard"))
    app.enable_api_key({"secret": "Ada"})
    app.get("/")(lambda request: "in")
    assert serve(app).get("/", headers={"X-API-Key": "secret"}).text == "in"


def test_app_register_singleton(serve: Serve) -> None:
    class DatabaseConnection:
        def query(self, sql: str) -> Any:
            return [{"asked": sql}]

    app = run(example("app.register_singleton"), DatabaseConnection=DatabaseConnection)
    assert serve(app).get("/users").json() == [{"asked": "SELECT * FROM users"}]


def test_app_register_singleton_must_have_happened(serve: Serve) -> None:
    app = App()

    @app.get("/users")
    def get_users(db: Any = Depends("db")) -> Any:
        return db

    with pytest.raises(Exception, match="'db'"):
        app.freeze()


def test_app_register_blueprint(serve: Serve) -> None:
    client = serve(run(example("app.register_blueprint")))
    assert client.get("/api/v1/users").json() == {"users": []}
    assert client.post("/api/v1/users").json() == {"created": True}
    assert client.get("/users").status == 404


def test_app_exception_handler(serve: Serve) -> None:
    app = run(example("app.exception_handler"))

    @app.get("/value")
    def value(request: Any) -> None:
        raise ValueError("a bad value")

    @app.get("/other")
    def other(request: Any) -> None:
        raise LookupError("nothing of this reaches the client")

    client = serve(app)
    refused = client.get("/value")
    assert refused.status == 400
    assert refused.json() == {
        "type": "/errors/validation",
        "title": "Validation Error",
        "status": 400,
        "detail": "a bad value",
    }
    failed = client.get("/other")
    assert (failed.status, failed.json()) == (500, {"error": "Internal server error"})


def test_app_exception_handler_of_all_errors_leaves_http_errors_alone(serve: Serve) -> None:
    app = run(example("app.exception_handler"))

    @app.get("/missing")
    def missing(request: Any) -> None:
        raise NotFound("not here")

    client = serve(app)
    assert client.get("/missing").json()["detail"] == "not here"
    assert client.get("/nowhere").status == 404
