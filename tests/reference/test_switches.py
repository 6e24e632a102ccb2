"""The reference page: the switches. Each test is named after its section, and sees that it does what is said there."""

import gzip
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest

from cello import App
from cello.testing import TestClient
from tests.database.servers import reachable
from tests.features.telemetry.receiver import grpc_receiver
from tests.reference.page import alternatives, example, run

Serve = Callable[..., TestClient]
EVERYBODY, LISTED = alternatives("app.enable_cors")
BY_DEFAULT, SMALLER = alternatives("app.enable_compression")


def test_app_enable_cors_allows_all_by_default(serve: Serve) -> None:
    answer = serve(run(EVERYBODY)).get("/", headers={"Origin": "https://anywhere.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://example.com", True), ("https://app.example.com", True), ("https://evil.example", False)],
)
def test_app_enable_cors(serve: Serve, origin: str, allowed: bool) -> None:
    answer = serve(run(LISTED)).get("/", headers={"Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert "Origin" in answer.headers["vary"]


def test_app_enable_logging(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = run(example("app.enable_logging"))
    app.get("/seen")(lambda request: "seen")
    with caplog.at_level(logging.INFO):
        client = serve(app)
        client.get("/seen")
        client.close()
    assert any("/seen" in record.getMessage() and "200" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("code", "size", "is_smaller"),
    [
        pytest.param(BY_DEFAULT, 1023, False, id="default, below"),
        pytest.param(BY_DEFAULT, 1024, True, id="default, at the limit"),
        pytest.param(SMALLER, 511, False, id="512, below"),
        pytest.param(SMALLER, 512, True, id="512, at the limit"),
    ],
)
def test_app_enable_compression(serve: Serve, code: str, size: int, is_smaller: bool) -> None:
    app = run(code)
    app.get("/")(lambda request: "a" * size)
    answer = serve(app).get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("content-encoding") == ("gzip" if is_smaller else None)
    content = gzip.decompress(answer.content) if is_smaller else answer.content
    assert content == b"a" * size


def test_app_enable_rate_limit(serve: Serve) -> None:
    app = run(example("app.enable_rate_limit"))
    app.get("/")(lambda request: "in")
    client = serve(app)
    assert [client.get("/").status for _ in range(100)] == [200] * 100
    refused = client.get("/")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "1"  # one more every 0.6 s, in whole seconds


def counting_app(code: str) -> tuple[App, list[str]]:
    """Return an application of an example whose handlers note that they were called."""
    app, calls = run(code), []
    for path in ("/fine", "/api/realtime", "/ws"):
        app.route(path, methods=["GET", "POST"])(lambda request: calls.append(request.path) or {"n": len(calls)})
    return app, calls


@pytest.mark.parametrize("code", alternatives("app.enable_caching"), ids=["default", "custom"])
def test_app_enable_caching(serve: Serve, code: str) -> None:
    app, calls = counting_app(code)
    client = serve(app)
    client.get("/fine")
    assert client.get("/fine").headers["x-cache"].startswith("HIT")
    for _ in range(2):
        client.post("/fine")
    assert calls == ["/fine"] * 3
    excluded = [client.get(path).headers.get("x-cache") for path in ("/api/realtime", "/ws") for _ in range(2)]
    if "exclude_paths" in code:
        assert calls[3:] == ["/api/realtime"] * 2 + ["/ws"] * 2
        assert not any("HIT" in (said or "") for said in excluded)
    else:
        assert calls[3:] == ["/api/realtime", "/ws"]


def test_app_invalidate_cache(serve: Serve) -> None:
    from cello import cache

    app = App()
    app.enable_caching()
    users: list[dict[str, str]] = []

    @app.get("/users")
    @cache(tags=["users"])
    def list_users(request: Any) -> Any:
        return users

    def create_in_db(data: dict[str, str]) -> dict[str, str]:
        users.append(data)
        return data

    client = serve(run(example("app.invalidate_cache"), app, create_in_db=create_in_db))
    assert client.get("/users").json() == []
    assert client.post("/users", json={"name": "Ada"}).json() == {"user": {"name": "Ada"}}
    assert client.get("/users").json() == [{"name": "Ada"}]


@pytest.mark.parametrize("code", alternatives("app.enable_circuit_breaker"), ids=["default", "custom"])
@pytest.mark.parametrize("failure", [500, 502, 503, 504, "raised"])
def test_app_enable_circuit_breaker(serve: Serve, code: str, failure: int | str) -> None:
    app, calls = run(code), []

    @app.get("/fragile")
    def fragile(request: Any) -> Any:
        calls.append(request)
        if failure == "raised":
            raise RuntimeError("gone")
        return "gone", failure

    client = serve(app)
    for _ in range(5):
        client.get("/fragile")
    refused = client.get("/fragile")
    assert len(calls) == 5
    assert refused.status == 503
    assert 0 < int(refused.headers["retry-after"]) <= 30


def test_app_enable_prometheus(serve: Serve) -> None:
    app = run(example("app.enable_prometheus"))
    app.get("/users/{id}")(lambda request: "one")
    client = serve(app)
    client.get("/users/7")
    said = client.get("/metrics").text
    assert 'cello_http_requests_total{method="GET",route="/users/{id}",status="200"} 1' in said


def test_app_enable_openapi(serve: Serve) -> None:
    app = run(example("app.enable_openapi"))
    app.get("/users/{id}")(lambda request: "one")
    client = serve(app)
    document = client.get("/openapi.json").json()
    assert (document["info"]["title"], document["info"]["version"]) == ("My API", "1.0.1")
    assert list(document["paths"]) == ["/users/{id}"]
    for page in ("/docs", "/redoc"):
        assert client.get(page).headers["content-type"].startswith("text/html")


def test_app_enable_database(serve: Serve) -> None:
    with reachable("postgresql") as url:
        app = run(example("app.enable_database"), changed={"postgresql://user:pass@localhost/mydb": url})
        app.get("/def")(lambda request: request.database.fetch_val("SELECT 1 + 1"))

        @app.get("/async")
        async def from_async(request: Any) -> Any:
            return await request.app.database.fetch_val("SELECT 1 + 1")

        client = serve(app)
        assert (client.get("/def").json(), client.get("/async").json()) == (2, 2)
        assert app.database.aio.config.pool_size == 20
        client.close()


def test_app_enable_redis(serve: Serve) -> None:
    key = f"reference:{os.getpid()}"
    with reachable("redis") as url:
        app = run(example("app.enable_redis"), changed={"redis://localhost:6379": url})

        @app.get("/")
        async def count(request: Any) -> Any:
            found = await request.redis.incr(key)
            await request.redis.delete(key)
            return found

        client = serve(app)
        assert client.get("/").json() == 1
        client.close()


def test_app_enable_telemetry(serve: Serve) -> None:
    with grpc_receiver() as collector:
        app = run(example("app.enable_telemetry"), changed={"http://collector:4317": collector.endpoint})
        app.get("/users/{id}")(lambda request: "one")
        client = serve(app)
        sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert client.get("/users/7", headers={"traceparent": sampled}).text == "one"
        for _ in range(200):
            client.get("/users/8")
        client.close()
    names = {resource["service.name"] for resource in collector.resources}
    assert names == {"my-service"}
    assert {span.name for span in collector.server_spans()} == {"GET /users/{id}"}
    assert 1 <= len(collector.server_spans()) < 100  # a tenth of them, and the one whose caller was sampled


def test_app_enable_health_checks(serve: Serve) -> None:
    client = serve(run(example("app.enable_health_checks")))
    for path in ("/health/live", "/health/ready", "/health/startup"):
        assert client.get(path).json()["status"] == "up"
    assert "system" in client.get("/health").json()


def test_app_enable_graphql(serve: Serve) -> None:
    app = run(example("app.enable_graphql"))

    @app.graphql.query
    def hello(info: Any, name: str) -> str:
        return f"Hello {name}"

    client = serve(app)
    assert client.post("/graphql", json={"query": '{ hello(name: "Ada") }'}).json() == {"data": {"hello": "Hello Ada"}}
    asked = client.post("/graphql", json={"query": "{ __schema { queryType { name } } }"})
    assert asked.json() == {"data": {"__schema": {"queryType": {"name": "Query"}}}}
    page = client.get("/graphql", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
