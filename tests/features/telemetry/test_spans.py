"""Spans of requests, as a collector sees them."""

import asyncio
import logging

import pytest
from opentelemetry import baggage, propagate, trace

from cello import App, HTTPError, OpenTelemetryConfig, Response
from cello.testing import TestClient
from tests.features.telemetry.receiver import values

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
ERROR = 2


def make_app(collector, **settings):
    app = App()
    settings = {"export_metrics": False, "otlp_endpoint": collector.endpoint, **settings}
    app.enable_telemetry(OpenTelemetryConfig("shop", **settings))
    return app


def test_a_request_has_a_span_named_after_its_route(collector, serve, coloured):
    app = make_app(collector)
    app.get("/users/{id}")(coloured(lambda request: request.params["id"]))
    with serve(app) as client:
        assert client.get("/users/7?secret=1", headers={"User-Agent": "curl/8"}).text == "7"
    [span] = collector.server_spans()
    seen = values(span.attributes)
    assert span.name == "GET /users/{id}"
    assert span.end_time_unix_nano >= span.start_time_unix_nano
    assert {name: seen[name] for name in seen if name not in ("server.address", "client.address")} == {
        "http.request.method": "GET",
        "http.route": "/users/{id}",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.path": "/users/7",
        "url.scheme": "http",
        "user_agent.original": "curl/8",
    }
    assert "secret" not in str(span)
    assert collector.resources[0]["service.name"] == "shop"


ANSWERS = {
    "no route": ("GET", "/nowhere", "GET", 404, False),
    "another method": ("PUT", "/fine", "PUT", 405, False),
    "a guard": ("GET", "/guarded", "GET /guarded", 403, False),
    "an error": ("GET", "/broken", "GET /broken", 500, True),
    "an answer of 503": ("GET", "/down", "GET /down", 503, True),
    "an odd method": ("BREW", "/fine", "_OTHER", 405, False),
}


@pytest.mark.parametrize(("method", "path", "name", "status", "is_error"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_has_a_span(collector, serve, coloured, method, path, name, status, is_error):
    app = make_app(collector)
    app.get("/fine")(coloured(lambda: "fine"))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "never"))
    app.get("/down")(coloured(lambda: Response("later", 503)))
    app.get("/broken")(coloured(lambda: 1 / 0))
    with serve(app) as client:
        assert client.request(method, path).status == status
    [span] = collector.server_spans()
    assert (span.name, values(span.attributes)["http.response.status_code"]) == (name, status)
    assert (span.status.code == ERROR) == is_error


def test_an_exception_is_an_event_of_its_span(collector, serve, coloured):
    app = make_app(collector)

    @app.get("/broken")
    @coloured
    def broken():
        raise KeyError("no such key")

    @app.get("/refused")
    @coloured
    def refused():
        raise HTTPError(409, "not now")

    with serve(app) as client:
        client.get("/broken")
        client.get("/refused")
    error, refusal = collector.server_spans()
    [event] = error.events
    assert values(event.attributes)["exception.type"] == "KeyError"
    assert values(error.attributes)["error.type"] == "KeyError"
    assert list(refusal.events) == []


def test_a_caller_s_trace_is_joined_and_handed_on(collector, serve, coloured):
    app = make_app(collector)

    @app.get("/")
    @coloured
    def handler(request):
        with trace.get_tracer("mine").start_as_current_span("inner"):
            sent = {}
            propagate.inject(sent)
        return {"sent": sent, "baggage": baggage.get_baggage("user"), "logged": request.context["trace_id"]}

    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "user=ada"}
    with serve(app) as client:
        answer = client.get("/", headers=headers).json()
    [server] = collector.server_spans()
    [inner] = [span for span in collector.spans if span.name == "inner"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert (inner.trace_id, inner.parent_span_id) == (server.trace_id, server.span_id)
    assert answer["sent"]["traceparent"] == f"00-{TRACE}-{inner.span_id.hex()}-01"
    assert answer["sent"]["tracestate"] == "vendor=1"
    assert answer["sent"]["baggage"] == "user=ada"
    assert (answer["baggage"], answer["logged"]) == ("ada", TRACE)


DECISIONS = {
    "the caller wants it": (SAMPLED, 0.0, 1),
    "the caller does not": (UNSAMPLED, 1.0, 0),
    "we do": (None, 1.0, 1),
    "we do not": (None, 0.0, 0),
    "no trace context": (f"00-{'0' * 32}-{PARENT}-01", 0.0, 0),
    "rubbish": ("rubbish", 1.0, 1),
}


@pytest.mark.parametrize(("traceparent", "rate", "spans"), DECISIONS.values(), ids=DECISIONS.keys())
def test_what_is_sampled(collector, serve, coloured, traceparent, rate, spans):
    app = make_app(collector, sampling_rate=rate)

    @app.get("/")
    @coloured
    def handler():
        with trace.get_tracer("mine").start_as_current_span("inner"):
            return "fine"

    with serve(app) as client:
        client.get("/", headers={} if traceparent is None else {"traceparent": traceparent})
    assert len(collector.server_spans()) == spans
    assert len(collector.spans) == 2 * spans  # what is called from an unsampled request is not sampled, either


def test_an_unsampled_request_hands_its_caller_s_trace_on(collector, serve, coloured):
    app = make_app(collector)

    @app.get("/")
    @coloured
    def handler():
        sent = {}
        propagate.inject(sent)
        return sent

    with serve(app) as client:
        sent = client.get("/", headers={"traceparent": UNSAMPLED, "baggage": "user=ada"}).json()
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"].endswith("-00")
    assert sent["baggage"] == "user=ada"


def test_an_unsampled_request_without_a_caller_has_one_trace(collector, serve, coloured):
    app = make_app(collector, sampling_rate=0)

    @app.get("/")
    @coloured
    def handler():
        first, second = {}, {}
        propagate.inject(first)
        propagate.inject(second)
        return [first, second]

    with serve(app) as client:
        first, second = client.get("/").json()
        third, _ = client.get("/").json()
    assert first == second != third
    assert first["traceparent"].endswith("-00")


def test_a_share_of_the_traces_is_sampled(collector):
    app = make_app(collector, sampling_rate=0.25)
    draws = iter([0.1, 0.3, 0.24, 0.25])
    app.feature("telemetry")._spans._chance = lambda: next(draws)
    app.get("/")(lambda: "fine")
    with TestClient(app) as client:
        for _ in range(4):
            client.get("/")
    assert len(collector.server_spans()) == 2


@pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics"])
def test_excluded_paths_have_no_span(collector, serve, coloured, path):
    app = make_app(collector)
    app.get(path)(coloured(lambda: "fine"))
    app.get("/healthy")(coloured(lambda: "fine"))
    with serve(app) as client:
        client.get(path)
        client.get("/healthy")
    assert [span.name for span in collector.server_spans()] == ["GET /healthy"]


def test_a_stream_s_span_ends_with_the_stream(collector, serve, coloured):
    app = make_app(collector)

    @app.get("/numbers")
    @coloured
    def numbers():
        yield "1"
        with trace.get_tracer("mine").start_as_current_span("while it streams"):
            yield "2"

    with serve(app) as client:
        assert client.get("/numbers").text == "12"
    [server] = collector.server_spans()
    [inner] = [span for span in collector.spans if span.name == "while it streams"]
    assert inner.parent_span_id == server.span_id
    assert inner.end_time_unix_nano <= server.end_time_unix_nano


def test_records_carry_the_trace(collector, serve, coloured, caplog):
    app = make_app(collector)

    @app.get("/")
    @coloured
    def handler():
        logging.getLogger("shop").warning("sold out")
        return "fine"

    with caplog.at_level(logging.WARNING), serve(app) as client:
        client.get("/")
    [record] = [record for record in caplog.records if record.name == "shop"]
    [span] = collector.server_spans()
    assert (record.trace_id, record.route) == (span.trace_id.hex(), "/")


def test_other_propagators_are_obeyed(collector, monkeypatch, serve, coloured):
    monkeypatch.setenv("OTEL_PROPAGATORS", "made-up")

    class Shouted(propagate.textmap.TextMapPropagator):
        fields = frozenset({"x-trace"})

        def extract(self, carrier, context=None, getter=propagate.textmap.default_getter):
            found = getter.get(carrier, "x-trace")
            if not found:
                return context
            ids = trace.SpanContext(int(found[0], 16), 1, is_remote=True, trace_flags=trace.TraceFlags(1))
            return trace.set_span_in_context(trace.NonRecordingSpan(ids), context)

        def inject(self, carrier, context=None, setter=propagate.textmap.default_setter):
            raise AssertionError("nobody asks")

    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Shouted())
    try:
        app = make_app(collector, sampling_rate=0)
        app.get("/")(coloured(lambda: "fine"))
        with serve(app) as client:
            client.get("/", headers={"x-trace": TRACE})
            client.get("/")
    finally:
        propagate.set_global_textmap(before)
    [span] = collector.server_spans()
    assert span.trace_id.hex() == TRACE


@pytest.mark.asyncio
async def test_a_request_that_is_cancelled_ends_its_span(collector):
    app = make_app(collector)
    begun = asyncio.Event()

    @app.get("/slow", cancel_on_disconnect=True)
    async def slow():
        begun.set()
        await asyncio.Event().wait()

    async def receive():
        if not begun.is_set():
            await begun.wait()
            return {"type": "http.disconnect"}
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there")

    await app.lifecycle.startup()
    first = [{"type": "http.request", "body": b"", "more_body": False}]
    scope = {"type": "http", "method": "GET", "path": "/slow", "raw_path": b"/slow", "query_string": b""}
    scope |= {"headers": [], "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": ""}

    async def receive_all():
        return first.pop() if first else await receive()

    await asyncio.gather(app.asgi(scope, receive_all, send), return_exceptions=True)
    assert not app.feature("telemetry")._spans.active
    await app.lifecycle.shutdown()
    [span] = collector.server_spans()
    assert values(span.attributes)["error.type"] == "cancelled"
