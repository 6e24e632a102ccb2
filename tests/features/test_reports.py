"""Everything that is enabled reports itself: its numbers at /metrics, its state at /health, its time in the trace."""

import threading
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from cello import App, OpenTelemetryConfig, RateLimitConfig, RedisConfig
from cello.features.runtime import Runtime
from cello.testing import TestClient
from tests.features.telemetry.receiver import http_receiver, values
from tests.integration.redis_server import RedisServer, running


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def traced(monkeypatch):
    """Trace an application; yields what arrives."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis,asyncpg")  # the spans here are cello's own

    @contextmanager
    def trace(app):
        with http_receiver() as received:
            app.enable_telemetry(OpenTelemetryConfig("shop", otlp_endpoint=received.endpoint, export_metrics=False))
            yield received

    return trace


def make_app():
    app = App()
    app.enable_prometheus()
    app.enable_health_checks()
    return app


def numbers(client):
    """Return every number of /metrics: by its name without `cello_`, and the values of its labels in order."""
    return {
        (sample.name.removeprefix("cello_"), *sample.labels.values()): sample.value
        for family in parse(client.get("/metrics").text)
        for sample in family.samples
    }


def check(client, name):
    return client.get("/health").json()["checks"][name]


def test_a_worker_shows_its_processor_memory_and_threads(serve, coloured):
    app = make_app()
    app.get("/")(coloured(lambda request: "hi"))
    with serve(app) as client:
        client.get("/")
        found = numbers(client)
        assert check(client, "threads")["status"] == "up"
    assert found["workers",] == 1
    assert found["worker_resident_bytes",] > 1_000_000
    assert found["worker_processor_seconds_total",] > 0
    assert found["worker_threads_max",] == 64
    assert found["worker_threads", "busy"] + found["worker_threads", "idle"] <= 64
    assert found["worker_calls_waiting",] == 0


@pytest.mark.parametrize("gateway", ["asgi", "native"])
def test_threads_that_are_all_busy_degrade_it(client, gateway):
    from cello import ThreadPoolConfig

    app, stop, running_now = make_app(), threading.Event(), threading.Semaphore(0)
    app.set_threadpool(ThreadPoolConfig(size=1))

    def wait():
        running_now.release()
        stop.wait(30)

    app.get("/")(lambda request: "hi")
    with client(app, gateway) as opened:
        opened.get("/")
        threads = app.dispatcher.threads
        futures = [threads.submit(wait) for _ in range(4)]
        assert running_now.acquire(timeout=30)
        try:
            assert check(opened, "threads")["reason"] == "AllThreadsBusy"
            answer = opened.get("/health")
            assert (answer.status, answer.json()["status"]) == (200, "degraded")
            found = numbers(opened)
            assert (found["worker_threads", "busy"], found["worker_calls_waiting",]) == (1, 3)
        finally:
            stop.set()
        for future in futures:
            future.result(30)
        assert numbers(opened)["worker_calls_waiting",] == 0


def test_a_route_that_moved_to_the_threads_is_counted(client):
    app = make_app()
    app.get("/slow")(lambda request: "hi")
    with client(app, "native") as opened:
        opened.get("/slow")
        [route] = [route for route in app.router.routes if route.template == "/slow"]
        app.dispatcher.plan_of(route).offload.block()
        assert numbers(opened)["route_moved_to_threads_total", "GET /slow"] == 1


def test_shared_memory_says_how_full_it_is(serve):
    app = make_app()
    app.enable_rate_limit(RateLimitConfig.token_bucket(5, 60))
    app.get("/")(lambda request: "hi")
    with serve(app) as client:
        client.get("/")
        found = numbers(client)
        details = check(client, "shared_memory")["details"]
    regions = {key[1] for key in found if key[0] == "shared_memory_bytes"}
    limits = {name for name in regions if name.startswith("rate_limit")}
    assert "metrics" in regions
    assert limits
    assert limits <= details.keys()
    for name in limits:
        assert 0 < found["shared_memory_used_ratio", name] < 0.01
        assert found["shared_memory_evicted_total", name] == 0


def test_a_meter_without_room_degrades_it(serve):
    app = make_app()
    with serve(app) as client:
        app._host.meter.is_full = True
        assert check(client, "shared_memory")["reason"] == "NumbersFull"


def test_a_database_shows_its_pools(serve, colour):
    app = make_app()
    app.enable_database("sqlite://:memory:")
    if colour == "def":
        app.get("/")(lambda request: request.database.fetch_val("SELECT 1"))
    else:

        @app.get("/")
        async def ask(request):
            return await request.database.fetch_val("SELECT 1")

    with serve(app) as client:
        client.get("/")
        found = numbers(client)
        assert check(client, "database")["status"] == "up"
    assert found["database_connections", "idle"] >= 1
    assert found["database_connections", "in_use"] == 0
    assert found["database_connections_max",] in (10, 20)
    assert found["database_waiting",] == 0
    assert found["database_connections_opened_total",] >= 1
    assert found["database_query_duration_seconds_count", "sqlite", "SELECT", "ok"] >= 1


def test_redis_shows_its_commands(serve, colour, redis_url, traced):
    app = make_app()
    app.enable_redis(RedisConfig(url=redis_url, key_prefix="reports:"))
    if colour == "def":

        @app.get("/")
        def ask(request):
            request.redis.set("secret", "hidden", ttl=60)
            pipe = request.redis.pipeline()
            pipe.get("secret").ttl("secret")
            return pipe.execute()[0]

        @app.get("/wrong")
        def wrong(request):
            return request.redis.command("LPUSH", "reports:secret", "x")

    else:

        @app.get("/")
        async def ask(request):
            await request.redis.set("secret", "hidden", ttl=60)
            pipe = request.redis.pipeline()
            pipe.get("secret").ttl("secret")
            return (await pipe.execute())[0]

        @app.get("/wrong")
        async def wrong(request):
            return await request.redis.command("LPUSH", "reports:secret", "x")

    with traced(app) as received:
        with serve(app) as client:
            assert client.get("/").text == "hidden"
            assert client.get("/wrong").status == 500
            found = numbers(client)
            assert check(client, "redis")["status"] == "up"
        assert found["redis_command_duration_seconds_count", "SET", "ok"] == 1
        assert found["redis_command_duration_seconds_count", "PIPELINE", "ok"] == 1
        assert found["redis_command_duration_seconds_count", "LPUSH", "error"] == 1
        assert found["redis_commands_running",] == 0
        [request] = [span for span in received.server_spans() if span.name == "GET /"]
        spans = [span for span in received.spans if span.parent_span_id == request.span_id]
        assert [span.name for span in spans] == ["SET", "PIPELINE"]
        assert values(spans[0].attributes) == {"db.system.name": "redis", "db.operation.name": "SET"}
        assert "secret" not in str(spans)


def test_graphql_shows_its_operations(serve, traced):
    from cello import GraphQLConfig

    app = make_app()
    app.enable_graphql(GraphQLConfig(tracing=True))

    @app.graphql.query
    def hello(info) -> str:
        return "hi"

    @app.graphql.query
    def wrong(info) -> str:
        raise LookupError

    with traced(app) as received:
        with serve(app) as client:
            for query in ("{ hello }", "query Mine { hello }", "{ wrong }", "{ nothing }", "{"):
                client.post("/graphql", json={"query": query})
            found = numbers(client)
            assert check(client, "graphql")["details"]["types"] > 0
        assert found["graphql_operation_duration_seconds_count", "query", "ok"] == 2
        assert found["graphql_operation_duration_seconds_count", "query", "error"] == 1
        assert found["graphql_refused_total",] == 2
        assert [span.name for span in received.spans if span.kind == span.SPAN_KIND_INTERNAL] == [
            "query",
            "query Mine",
            "query",
        ]


def test_graphql_that_is_to_be_traced_by_nobody_says_so(caplog):
    from cello import GraphQLConfig

    app = App()
    app.enable_graphql(GraphQLConfig(tracing=True))

    @app.graphql.query
    def hello(info) -> str:
        return "hi"

    with TestClient(app):
        assert "app.enable_telemetry()" in caplog.text


def test_a_subscription_is_counted_while_it_runs(client):
    app = make_app()
    app.enable_graphql()

    @app.graphql.query
    def hello(info) -> str:
        return "hi"

    @app.graphql.subscription
    async def ticks(info) -> int:
        yield 1
        yield 2

    with client(app, "native") as opened:
        answer = opened.post(
            "/graphql", json={"query": "subscription { ticks }"}, headers={"accept": "text/event-stream"}
        )
        assert answer.text.count("event: next") == 2
        found = numbers(opened)
    assert found["graphql_events_total", "ok"] == 2
    assert found["graphql_subscriptions",] == 0


def test_a_circuit_breaker_shows_the_state_of_each_route(serve, coloured, traced):
    app = make_app()
    app.enable_circuit_breaker(failure_threshold=1)

    @app.get("/broken")
    @coloured
    def broken(request):
        raise LookupError

    app.get("/fine")(coloured(lambda request: "hi"))
    with traced(app) as received:
        with serve(app) as client:
            assert [client.get("/broken").status, client.get("/broken").status] == [500, 503]
            client.get("/fine")
            found = numbers(client)
            assert check(client, "circuit_breaker")["details"] == {"GET /broken": "open"}
        states = {key[1:]: value for key, value in found.items() if key[0] == "circuit_breaker_state"}
        assert states["GET /broken", "open"] == states["GET /fine", "closed"] == 1
        assert states["GET /broken", "closed"] == states["GET /fine", "open"] == 0
        assert found["circuit_breaker_refused_total", "GET /broken"] == 1
        noted = [values(span.attributes).get("cello.circuit_breaker") for span in received.server_spans()]
        assert noted[:3] == [None, "open", None]


def test_a_limit_shows_what_it_allows_and_refuses(serve, coloured, traced):
    app = make_app()
    app.enable_rate_limit(RateLimitConfig.token_bucket(1, 60))
    app.get("/")(coloured(lambda request: "hi"))
    with traced(app) as received:
        with serve(app) as client:
            assert [client.get("/").status, client.get("/").status] == [200, 429]
            found = numbers(client)
        assert found["rate_limit_capacity", "default"] == 1
        assert found["rate_limit_refused_total", "default"] == 1
        noted = [values(span.attributes).get("cello.rate_limit") for span in received.server_spans()]
        assert noted[:2] == [None, "default"]


@pytest.mark.parametrize(("on_failure", "status"), [("open", 200), ("closed", 503)])
def test_a_limit_in_redis_is_as_healthy_as_its_redis(client, tmp_path, on_failure, status):
    with RedisServer(tmp_path) as server:
        app = make_app()
        app.enable_rate_limit(RateLimitConfig.token_bucket(9, 60), redis=server.url, on_redis_failure=on_failure)
        with client(app, "native") as opened:
            assert check(opened, "rate_limit")["status"] == "up"
            server.kill()
            assert check(opened, "rate_limit")["status"] == "down"
            assert opened.get("/health/ready").status == status


@pytest.mark.parametrize(("fail", "status"), [("open", 200), ("closed", 503)])
def test_a_cache_in_redis_is_as_healthy_as_its_redis(client, tmp_path, fail, status):
    with RedisServer(tmp_path) as server:
        app = make_app()
        app.enable_caching(store=server.url, fail=fail)
        app.get("/")(lambda request: "hi")
        with client(app, "native") as opened:
            assert check(opened, "caching")["status"] == "up"
            server.kill()
            assert check(opened, "caching")["status"] == "down"
            assert opened.get("/health/ready").status == status
            opened.get("/")
            assert numbers(opened)["cache_failures_total",] >= 1


def test_a_cache_shows_what_it_holds(serve, coloured, traced):
    app = make_app()
    app.enable_caching(60)
    app.get("/")(coloured(lambda request: "hi"))
    with traced(app) as received:
        with serve(app) as client:
            client.get("/")
            client.get("/")
            found = numbers(client)
        assert found["cache_requests_total", "hit"] == found["cache_requests_total", "miss"] == 1
        assert found["cache_entries",] == 1
        assert found["cache_entry_bytes",] > 0
        noted = [values(span.attributes).get("cello.cache") for span in received.server_spans()]
        assert noted[:2] == ["miss", "hit"]


def test_telemetry_counts_its_spans(serve, traced):
    app = make_app()
    app.get("/")(lambda request: "hi")
    with traced(app), serve(app) as client:
        client.get("/")
        app.feature("telemetry").flush()
        assert numbers(client)["telemetry_spans_total", "exported"] == 1


def test_what_nobody_asks_for_is_not_looked_up(serve, monkeypatch):
    def forbidden(self, host):
        raise AssertionError("nobody shows numbers or health")

    monkeypatch.setattr(Runtime, "__init__", forbidden)
    app = App()
    app.enable_database("sqlite://:memory:")
    app.enable_caching(60)
    app.get("/")(lambda request: "hi")
    asked = []
    app._host.on_collect(lambda: asked.append(1))
    with serve(app) as client:
        client.get("/")
    assert asked == []
