"""What requests call has spans by OpenTelemetry's packages, where they are installed; ours stand back for them."""

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cello import App, OpenTelemetryConfig
from tests.database.servers import reachable
from tests.features.telemetry.receiver import values

INSTRUMENTOR = """
from opentelemetry import trace

import post_office


class PostInstrumentor:
    is_instrumented_by_opentelemetry = False

    def instrument(self, tracer_provider=None, **others):
        tracer = trace.get_tracer("post", tracer_provider=tracer_provider)
        self.plain = plain = post_office.send

        def send(*args):
            with tracer.start_as_current_span("post", kind=trace.SpanKind.CLIENT):
                return plain(*args)

        post_office.send = send
        type(self).is_instrumented_by_opentelemetry = True

    def uninstrument(self):
        post_office.send = self.plain
        type(self).is_instrumented_by_opentelemetry = False


class Broken(PostInstrumentor):
    is_instrumented_by_opentelemetry = False

    def instrument(self, **providers):
        raise RuntimeError("made for another release")
"""


@pytest.fixture(autouse=True)
def _wanted(monkeypatch):
    monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a library, `post_office`, and two packages of OpenTelemetry's kind: one for it, and one that fails."""
    (tmp_path / "post_office.py").write_text("def send(letter):\n    return letter\n")
    (tmp_path / "post_instrumentation.py").write_text(INSTRUMENTOR)
    facts = tmp_path / "post_instrumentation-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: post-instrumentation\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        "[opentelemetry_instrumentor]\n"
        "post = post_instrumentation:PostInstrumentor\n"
        "broken = post_instrumentation:Broken\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import post_office

    yield post_office
    import sys

    for name in ("post_office", "post_instrumentation"):
        sys.modules.pop(name, None)


def make_app(collector, rate=1.0):
    app = App()
    app.enable_telemetry(
        OpenTelemetryConfig("shop", otlp_endpoint=collector.endpoint, export_metrics=False, sampling_rate=rate)
    )
    return app


@pytest.mark.parametrize(("rate", "spans"), [(1.0, 1), (0.0, 0)])
def test_a_library_has_spans_while_the_application_runs(collector, serve, coloured, installed, caplog, rate, spans):
    app, plain = make_app(collector, rate), installed.send
    app.get("/")(coloured(lambda request: installed.send("letter")))
    with serve(app) as client:
        assert client.get("/").text == "letter"
        assert installed.send is not plain
    assert installed.send is plain
    found = [span for span in collector.spans if span.name == "post"]
    assert len(found) == spans
    assert [span.parent_span_id for span in found] == [span.span_id for span in collector.server_spans()]
    assert "the instrumentation 'broken' does not work" in caplog.text


def test_a_library_that_is_not_wanted_is_left_alone(collector, serve, monkeypatch, installed):
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "post, broken")
    app, plain = make_app(collector), installed.send
    with serve(app):
        assert installed.send is plain


def test_our_own_spans_stand_back_for_a_library_that_makes_them(collector, serve, coloured, installed):
    app = make_app(collector)

    class Mine:
        name = "mine"

        def install(self, host):
            self.spans = host.spans

    app.enable(mine := Mine())

    @app.get("/")
    @coloured
    def handler(request):
        for library in ("post", "another"):
            with mine.spans.span(f"span of {library}", library=library):
                mine.spans.record(f"record of {library}", "client", None, 0.1, library=library)

    with serve(app) as client:
        assert client.get("/").status == 204
    names = {span.name for span in collector.spans}
    assert names == {"GET /", "span of another", "record of another"}


@pytest.mark.parametrize(
    ("library", "kind"),
    [("asyncpg", "postgresql"), ("redis", "redis")],
)
def test_databases_have_the_spans_of_the_package_and_none_of_ours(collector, serve, colour, library, kind):
    pytest.importorskip(f"opentelemetry.instrumentation.{library}")
    app = make_app(collector)
    with reachable(kind) as found:
        if library == "redis":
            app.enable_redis(found)
            ask = lambda request: request.redis.get("nothing")  # noqa: E731
        else:
            app.enable_database(found)
            ask = lambda request: request.database.fetch_val("SELECT 1")  # noqa: E731
        if colour == "def":
            app.get("/")(ask)
        else:

            @app.get("/")
            async def handler(request):
                return await ask(request)

        with serve(app) as client:
            assert client.get("/").status in (200, 204)
    [request] = collector.server_spans()
    calls = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert len(calls) == 1, [span.name for span in calls]
    assert "db.query.text" in values(calls[0].attributes) or "db.statement" in values(calls[0].attributes)


@pytest.fixture
def elsewhere():
    """A service that is called; yields its address, and the fields of the requests it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers.items()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", {"seen": seen}
    server.shutdown()
    thread.join()
    server.server_close()


CLIENTS = {
    "urllib": lambda url: urllib.request.urlopen(url).status,
    "httpx": lambda url: __import__("httpx").get(url).status_code,
}


@pytest.mark.parametrize("library", CLIENTS)
def test_outgoing_http_is_a_span_below_the_request_s_and_carries_the_trace(
    collector, serve, coloured, elsewhere, library
):
    pytest.importorskip(f"opentelemetry.instrumentation.{library}")
    url, log = elsewhere
    app = make_app(collector)
    app.get("/")(coloured(lambda request: {"status": CLIENTS[library](url)}))
    with serve(app) as client:
        assert client.get("/").json() == {"status": 204}
    [request] = collector.server_spans()
    [call] = [span for span in collector.spans if span.kind == span.SPAN_KIND_CLIENT]
    assert (call.trace_id, call.parent_span_id) == (request.trace_id, request.span_id)
    assert 204 in values(call.attributes).values()
    headers = {name.lower(): value for name, value in log["seen"][0].items()}
    assert headers["traceparent"].startswith(f"00-{call.trace_id.hex()}-{call.span_id.hex()}-")
    assert int(headers["traceparent"][-2:], 16) & 1, "it does not say that the trace is sampled"
