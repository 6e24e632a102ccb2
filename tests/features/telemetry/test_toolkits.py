"""Commands, queries, appended events, projections and steps of sagas are spans in the trace of their request."""

from typing import Any, NamedTuple

import pytest

from cello import App, EventSourcingConfig, OpenTelemetryConfig, SagaConfig
from cello.cqrs import Command, Query
from cello.eventsourcing import Event
from cello.saga import Saga, SagaStep
from tests.features.telemetry.receiver import values

ERROR = 2


class Place(Command):
    item: str


class Find(Query):
    item: str


def make_app(collector, **settings):
    app = App()
    app.enable_telemetry(
        OpenTelemetryConfig("shop", otlp_endpoint=collector.endpoint, export_metrics=False, **settings)
    )
    return app


def by_name(collector):
    """Return the first span of each name."""
    return {span.name: span for span in reversed(collector.spans)}


class Seen(NamedTuple):
    """What a span says of itself."""

    parent: Any
    trace: Any
    attributes: dict[str, Any]
    is_error: bool


def seen(span):
    return Seen(span.parent_span_id, span.trace_id, values(span.attributes), span.status.code == ERROR)


def test_commands_and_queries_are_spans_of_their_request(collector, serve, coloured):
    app = make_app(collector)
    app.enable_cqrs()
    app.command_bus.register(Place, coloured(lambda command: command.item))
    app.query_bus.register(Find, coloured(lambda query: 1 / 0))
    app.command_route("/orders", Place)
    app.query_route("/orders/{item}", Find)
    with serve(app) as client:
        assert client.post("/orders", json={"item": "tea"}).status == 200
        assert client.get("/orders/tea").status >= 400
    spans = by_name(collector)
    for name, request, message, outcome in (
        ("command Place", "POST /orders", "Place", "ok"),
        ("query Find", "GET /orders/{item}", "Find", "failed"),
    ):
        found, above = seen(spans[name]), spans[request]
        assert (found.parent, found.trace) == (above.span_id, above.trace_id)
        assert found.attributes == {"cello.message": message, "cello.outcome": outcome}
    assert "tea" not in str(spans["command Place"])


def test_steps_and_compensations_of_a_saga_are_spans_of_whoever_executes_it(collector, serve, coloured):
    app = make_app(collector)
    app.enable_saga(SagaConfig(retry_delay_ms=1, max_retries=1))
    saga = Saga("Order")
    saga.add_step(SagaStep("reserve", coloured(lambda context: None), coloured(lambda context: None)))
    saga.add_step(SagaStep("charge", coloured(lambda context: 1 / 0)))
    app.sagas.register(saga)

    @app.post("/orders")
    async def order():
        await app.sagas.execute("Order")

    with serve(app) as client:
        assert client.post("/orders").status == 500
    [request] = collector.server_spans()
    steps = [(span.name, seen(span)) for span in collector.spans if span.name.startswith("Order ")]
    names = [name for name, _ in steps]
    assert names[:3] == ["Order reserve", "Order charge", "Order charge"]
    assert len(names) == 4
    assert names[3].startswith("Order reserve")
    assert names[3] != "Order reserve"
    assert [found.attributes["cello.saga.attempt"] for _, found in steps[:3]] == [1, 1, 2]
    assert [found.is_error for _, found in steps] == [False, True, True, False]
    assert {(found.parent, found.trace) for _, found in steps} == {(request.span_id, request.trace_id)}


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_appends_are_spans_of_their_request_and_projections_have_their_own(collector, serve, colour, store, tmp_path):
    app = make_app(collector)
    url = f"sqlite:///{tmp_path}/events.db" if store == "sqlite" else None
    app.enable_event_sourcing(EventSourcingConfig(store_type=store, connection_url=url, poll_ms=20))
    projected = []

    @app.projection("names", "Added")
    async def show(event):
        projected.append(event.data)

    if colour == "def":

        @app.post("/items")
        def add():
            return app.event_store.append("cart", [Event("Added", 1), Event("Added", 2)])

    else:

        @app.post("/items")
        async def add():
            return await app.event_store.append("cart", [Event("Added", 1), Event("Added", 2)])

    @app.get("/projected")
    async def wait():
        await app.projections.wait("names")

    with serve(app) as client:
        for version in (2, 4):  # once the second batch is done, the span of the first has ended
            assert client.post("/items").json() == version
            assert client.get("/projected").status == 204
    assert projected == [1, 2, 1, 2]
    spans = by_name(collector)
    request = spans["POST /items"]
    appended, shown = seen(spans["append events"]), seen(spans["project names"])
    assert (appended.parent, appended.trace) == (request.span_id, request.trace_id)
    assert appended.attributes == {"cello.events": 2}
    assert shown.trace != request.trace_id
    assert not shown.parent
    assert shown.attributes == {"cello.events": 2}
