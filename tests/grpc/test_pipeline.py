"""What stands around requests stands around calls: middleware, identification, limits, logs, handlers of errors."""

import asyncio
import contextlib
import logging
import threading
import time
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from cello import (
    App,
    GrpcConfig,
    JwtConfig,
    NotFound,
    OpenTelemetryConfig,
    RateLimitConfig,
    SessionConfig,
    TimeoutConfig,
)
from cello.grpc import GrpcError, GrpcRequest
from cello.testing import TestClient
from tests.features.telemetry.conftest import collector as collector
from tests.serve.program import PATIENCE_S


class Site:
    """An application with a service, and grpc's own client for it."""

    def __init__(self) -> None:
        self.app = App()
        self.app.enable_grpc(GrpcConfig(address="127.0.0.1:0"))
        self.service = self.app.add_grpc_service("S")

    @contextlib.contextmanager
    def serving(self) -> Any:
        with (
            TestClient(self.app, "native", raise_server_exceptions=False) as self.client,
            grpc.insecure_channel(f"127.0.0.1:{self.app.grpc.port}") as self.channel,
        ):
            yield self

    def call(self, method: str = "Say", metadata: Any = None, **data: Any) -> Any:
        message = Struct()
        message.update(data)
        stub = self.channel.unary_unary(f"/S/{method}", Struct.SerializeToString, Struct.FromString)
        return dict(stub(message, metadata=metadata, timeout=PATIENCE_S).items())

    def stream(self, method: str) -> Any:
        stub = self.channel.unary_stream(f"/S/{method}", Struct.SerializeToString, Struct.FromString)
        return [dict(each.items()) for each in stub(Struct(), timeout=PATIENCE_S)]

    def refused(self, method: str = "Say", metadata: Any = None, **data: Any) -> tuple[str, str, dict[str, Any]]:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, metadata, **data)
        return caught.value.code().name, caught.value.details(), dict(caught.value.trailing_metadata())


@pytest.fixture
def site() -> Site:
    made = Site()

    @made.service.method()
    async def Say(request):
        return {"user": str(request.context.get("user")), "method": request.http.method}

    @made.service.method()
    async def Raise(request):
        raise {"key": KeyError("hunter2"), "404": NotFound("No."), "grpc": GrpcError(GrpcError.ABORTED, "Later.")}[
            request["what"]
        ]

    @made.service.method(stream=True)
    async def Count(request):
        for number in range(3):
            yield {"n": number}

    return made


def test_middleware_surrounds_calls(site: Site) -> None:
    seen = []

    @site.app.before_request
    async def before(request):
        seen.append((request.method, request.path, request.headers.get("x-name"), request.client_ip))
        return None if request.headers.get("x-name") != "nobody" else ({"error": "no"}, 409)

    @site.app.after_request
    def after(request, response):
        seen.append(response.status)

    with site.serving():
        site.call(metadata=[("x-name", "Ada")])
        assert site.refused("Raise", what="404")[:2] == ("NOT_FOUND", "No.")
        assert site.refused(metadata=[("x-name", "nobody")])[0] == "ABORTED"
        assert site.stream("Count") == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert seen == [
        ("POST", "/S/Say", "Ada", "127.0.0.1"),
        200,
        ("POST", "/S/Raise", None, "127.0.0.1"),
        404,
        ("POST", "/S/Say", "nobody", "127.0.0.1"),
        409,
        ("POST", "/S/Count", None, "127.0.0.1"),
        200,
    ]


def test_tokens_identify_and_guards_refuse(site: Site) -> None:
    from joserfc import jwt
    from joserfc.jwk import OctKey

    from cello.guards import Authenticated

    secret = "a secret that is long enough for HS256"
    site.app.enable_jwt(JwtConfig(secret=secret))
    site.app.add_guard(Authenticated())
    token = jwt.encode({"alg": "HS256"}, {"sub": "ada", "exp": int(time.time()) + 600}, OctKey.import_key(secret))
    with site.serving():
        assert site.refused()[0] == "UNAUTHENTICATED"
        assert site.refused(metadata=[("authorization", "Bearer nonsense")])[0] == "UNAUTHENTICATED"
        assert "ada" in site.call(metadata=[("authorization", f"Bearer {token}")])["user"]


def test_limits_refuse_with_their_fields(site: Site) -> None:
    site.app.enable_rate_limit(RateLimitConfig.token_bucket(2, 60))
    with site.serving():
        site.call()
        site.stream("Count")
        code, _, metadata = site.refused()
    assert code == "RESOURCE_EXHAUSTED"
    assert int(metadata["retry-after"]) > 0


def test_rules_about_browsers_are_not_for_grpc(site: Site) -> None:
    site.app.enable_session(SessionConfig(auth_keys="a secret of the application, long enough"))
    site.app.enable_csrf()
    site.app.enable_trusted_hosts(["shop.example"])
    with site.serving():
        assert site.call()["method"] == "POST"
        assert site.client.post("/S/Say", json={}).status_code == 400  # of a host that is not trusted


def test_a_breaker_opens(site: Site) -> None:
    site.app.enable_circuit_breaker(failure_threshold=2, reset_timeout=60)
    with site.serving():
        for _ in range(2):
            assert site.refused("Raise", what="key")[0] == "INTERNAL"
        assert site.refused("Raise", what="key")[0] == "UNAVAILABLE"


def test_handlers_of_errors_decide(site: Site) -> None:
    @site.app.exception_handler(KeyError)
    def missing(request, error):
        raise NotFound("It is not there.")

    with site.serving():
        assert site.refused("Raise", what="key")[:2] == ("NOT_FOUND", "It is not there.")


def test_errors_become_codes_and_leak_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.serving():
        said = [site.refused("Raise", what=what) for what in ("key", "404", "grpc")]
    assert [(code, sentence) for code, sentence, _ in said] == [
        ("INTERNAL", "Internal Server Error"),
        ("NOT_FOUND", "No."),
        ("ABORTED", "Later."),
    ]
    assert "hunter2" not in str(said)
    assert "hunter2" in caplog.text


def test_a_method_that_takes_too_long_exceeds_its_deadline(site: Site) -> None:
    site.app.set_timeouts(TimeoutConfig(handler=0.1))

    @site.service.method()
    async def Sleep(request):
        await asyncio.sleep(30)

    with site.serving():
        assert site.refused("Sleep")[:2] == ("DEADLINE_EXCEEDED", "The handler took too long.")


def test_calls_are_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.app.enable_logging()
    caplog.set_level(logging.INFO, "cello.access")
    with site.serving():
        site.call()
        site.stream("Count")
        site.refused("Raise", what="grpc")
    lines = [record.getMessage() for record in caplog.records if record.name == "cello.access"]
    assert [line.split("POST ")[1].split(" ")[:2] for line in lines] == [
        ["/S/Say", "200"],
        ["/S/Count", "200"],
        ["/S/Raise", "409"],
    ]


def test_a_plain_method_that_holds_the_loop_moves_to_a_thread(site: Site) -> None:
    where = []

    @site.service.method()
    def Hold(request):
        where.append(threading.current_thread().name)
        time.sleep(0.05)
        return {}

    with site.serving():
        for _ in range(8):
            site.call("Hold")
    assert where[-1].startswith("cello-worker")


def test_plain_and_async_methods_have_the_database_in_their_colour(site: Site, tmp_path: Any) -> None:
    site.app.enable_database(f"sqlite:///{tmp_path}/a.db")

    @site.service.method()
    def Plain(request: GrpcRequest):
        return {"n": request.app.database.fetch_val("SELECT 7")}

    @site.service.method()
    async def Async(request: GrpcRequest):
        return {"n": await request.app.database.fetch_val("SELECT 8")}

    @site.service.method()
    def Each(request: GrpcRequest):
        yield {"n": request.app.database.fetch_val("SELECT 9")}

    with site.serving():
        assert (site.call("Plain"), site.call("Async"), site.stream("Each")) == ({"n": 7}, {"n": 8}, [{"n": 9}])


def test_a_call_is_a_request_with_its_metadata(site: Site) -> None:
    @site.service.method()
    async def Look(request: GrpcRequest):
        http = request.http
        return {
            "scheme": http.scheme,
            "version": http.http_version,
            "agent": http.user_agent.startswith("grpc-python"),
            "names": http.headers.get_all("x-name"),
            "gone": await http.disconnected(),
            "metadata": request.metadata["x-name"],
            "bytes": len(request.metadata["x-raw-bin"]),
        }

    with site.serving():
        assert site.call("Look", metadata=[("x-name", "a"), ("x-name", "b"), ("x-raw-bin", b"\0\1")]) == {
            "scheme": "http",
            "version": "2",
            "agent": True,
            "names": ["a", "b"],
            "gone": False,
            "metadata": "b",
            "bytes": 2,
        }


def test_the_paths_of_services_are_not_there_for_http(site: Site) -> None:
    with site.serving():
        assert site.client.post("/S/Say", json={}).status_code == 404


def test_calls_are_spans_in_the_trace_of_their_caller(site: Site, collector: Any) -> None:
    site.app.enable_telemetry(OpenTelemetryConfig("s", otlp_endpoint=collector.endpoint))
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with site.serving():
        site.call(metadata=[("traceparent", parent)])
        site.refused("Raise", what="grpc")
        site.stream("Count")
    spans = {span.name: span for span in collector.server_spans()}
    assert set(spans) == {"POST /S/Say", "POST /S/Raise", "POST /S/Count"}
    assert spans["POST /S/Say"].trace_id.hex() == parent.split("-")[1]


def test_what_is_looked_at_when_a_call_is_over_is_still_there(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.app.enable_logging(headers=["user-agent", "x-name"])
    kept = []
    site.app.after_request(lambda request, response: kept.append(request))
    caplog.set_level(logging.INFO, "cello.access")
    with site.serving():
        for number in range(200):
            site.call(metadata=[("x-name", f"name {number}")])
    assert [request.headers["x-name"] for request in kept] == [f"name {number}" for number in range(200)]
    assert {request.client_ip for request in kept} == {"127.0.0.1"}
    assert sum("name 1" in str(vars(record)) for record in caplog.records) >= 1
