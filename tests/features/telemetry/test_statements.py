"""Statements of a traced request are spans below the request's."""

import pytest

from cello import App, OpenTelemetryConfig
from tests.features.telemetry.receiver import values


@pytest.mark.parametrize("rate", [1.0, 0.0])
def test_a_statement_is_a_span_of_its_request(collector, serve, colour, rate):
    app = App()
    app.enable_database("sqlite://:memory:")
    app.enable_telemetry(
        OpenTelemetryConfig("shop", otlp_endpoint=collector.endpoint, export_metrics=False, sampling_rate=rate)
    )
    sql = "SELECT :secret AS found"
    if colour == "def":
        app.get("/")(lambda request: request.database.fetch_one(sql, secret="hidden"))
    else:

        @app.get("/")
        async def ask(request):
            return await request.database.fetch_one(sql, secret="hidden")

    with serve(app) as client:
        assert client.get("/").json() == {"found": "hidden"}
    spans = [span for span in collector.spans if span.kind == span.SPAN_KIND_CLIENT]
    if not rate:
        assert spans == []
        return
    [request], [span] = collector.server_spans(), spans
    assert (span.name, span.parent_span_id, span.trace_id) == ("SELECT", request.span_id, request.trace_id)
    assert values(span.attributes) == {
        "db.system.name": "sqlite",
        "db.operation.name": "SELECT",
        "db.query.text": sql,
    }
    assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert "hidden" not in str(span)


def test_a_statement_that_failed_says_so(collector, serve):
    app = App()
    app.enable_database("sqlite://:memory:")
    app.enable_telemetry(OpenTelemetryConfig("shop", otlp_endpoint=collector.endpoint, export_metrics=False))

    @app.get("/")
    async def ask(request):
        return await request.database.execute("DROP TABLE there_is_no_such_table")

    with serve(app) as client:
        assert client.get("/").status == 500
    [span] = [span for span in collector.spans if span.kind == span.SPAN_KIND_CLIENT]
    assert values(span.attributes)["error.type"] == "ProgrammingError"
    assert span.status.code == 2
