"""What a feature reports through its host alone: its metrics and spans leave by OTLP, its metrics by /metrics too."""

import asyncio

import pytest

from cello import App, OpenTelemetryConfig
from cello.messaging import Message
from cello.spans import NO_SPAN, Spans
from cello.testing import TestClient
from tests.features.telemetry.receiver import values


class Postman:
    """A feature that knows neither telemetry nor Prometheus."""

    name = "postman"

    def install(self, host):
        self.spans = host.spans
        self.sent = host.metric("counter", "letters_total", "Letters.", ["kind"]).labelled("express")
        self.took = host.metric("histogram", "carrying_seconds", "Carrying.", bounds=[0.1, 1]).labelled()
        self.size = host.metric("gauge", "bag_bytes", "The bag.", of_machine=True).labelled()
        host.on_collect(lambda: self.size.set(42))

    def send(self, headers, error=None):
        with self.spans.span("letters send", "producer", {"messaging.system": "post"}) as span:
            self.spans.inject(headers)
            span.set("weight", 7)
            self.sent.add()
            self.took.observe(0.5)
            if error is not None:
                raise error

    def receive(self, headers):
        with self.spans.span("letters process", "consumer", carrier=headers):
            self.spans.record("stamp", "client", {"ink": "red"}, 0.25, ValueError("the colour"))
            self.spans.note("read", value=True)


def make_app(collector=None, rate=1.0, **switches):
    app = App()
    postman = Postman()
    app.enable(postman)
    if collector is not None:
        app.enable_telemetry(OpenTelemetryConfig("shop", otlp_endpoint=collector.endpoint, sampling_rate=rate))
    return app, postman


def test_a_message_is_one_trace_from_the_request_to_its_consumer(collector, serve, coloured):
    app, postman = make_app(collector)
    headers = {}
    app.get("/send")(coloured(lambda request: postman.send(headers)))
    with serve(app) as client:
        assert client.get("/send").status == 204
        postman.receive(headers)
    spans = {span.name: span for span in collector.spans}
    request, sent, processed, stamp = (
        spans[name] for name in ("GET /send", "letters send", "letters process", "stamp")
    )
    assert {span.trace_id for span in spans.values()} == {request.trace_id}
    assert (sent.parent_span_id, sent.kind) == (request.span_id, sent.SPAN_KIND_PRODUCER)
    assert values(sent.attributes) == {"messaging.system": "post", "weight": 7}
    assert (processed.parent_span_id, processed.kind) == (sent.span_id, sent.SPAN_KIND_CONSUMER)
    assert values(processed.attributes) == {"read": True}
    assert (stamp.parent_span_id, stamp.kind) == (processed.span_id, sent.SPAN_KIND_CLIENT)
    assert values(stamp.attributes) == {"ink": "red", "error.type": "ValueError"}
    assert stamp.end_time_unix_nano - stamp.start_time_unix_nano == 250_000_000
    assert (stamp.status.code, list(stamp.events)) == (2, [])


def test_an_error_that_leaves_a_span_is_its_own(collector, serve, coloured):
    app, postman = make_app(collector)
    app.get("/send")(coloured(lambda request: postman.send({}, LookupError("no stamps"))))
    with serve(app) as client:
        assert client.get("/send").status == 500
    [sent] = [span for span in collector.spans if span.name == "letters send"]
    assert (sent.status.code, values(sent.attributes)["error.type"]) == (2, "LookupError")
    assert [values(event.attributes)["exception.message"] for event in sent.events] == ["no stamps"]


def test_below_an_unsampled_request_there_is_nothing_and_its_trace_is_handed_on(collector, serve, coloured):
    app, postman = make_app(collector, rate=0.0)
    headers = {}

    @app.get("/send")
    @coloured
    def send(request):
        assert postman.spans.span("any") is NO_SPAN
        assert not postman.spans.is_recording
        postman.send(headers)

    with serve(app) as client:
        assert client.get("/send").status == 204
        postman.receive(headers)
    assert collector.spans == []
    assert headers["traceparent"].endswith("-00")


def test_work_outside_of_requests_begins_a_trace(collector, serve):
    app, postman = make_app(collector)
    with serve(app):
        postman.send({})
    [sent] = collector.spans
    assert (sent.name, sent.parent_span_id) == ("letters send", b"")


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_what_is_below_a_sampled_request_is_sampled_whatever_the_share(collector, serve, monkeypatch, sampler):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    app, postman = make_app(collector)
    app._host.installed("telemetry")._spans._chance = lambda: -1.0  # this request is among the sampled ones
    app.get("/send")(lambda request: postman.send({}))
    with serve(app) as client:
        client.get("/send")
    assert {span.name for span in collector.spans} == {"GET /send", "letters send"}


def test_what_is_counted_leaves_by_otlp_with_its_unit(each_collector, serve):
    app, postman = make_app(each_collector)
    with serve(app):
        postman.send({})
        postman.send({})
    metrics = {metric.name: metric for metric in each_collector.metrics}
    letters = metrics["cello.letters"]
    [point] = letters.sum.data_points
    assert (values(point.attributes), point.as_double, letters.unit) == ({"kind": "express"}, 2, "1")
    assert (letters.sum.is_monotonic, letters.sum.aggregation_temporality) == (True, 2)
    assert 0 < point.start_time_unix_nano <= point.time_unix_nano
    took = metrics["cello.carrying"]
    [point] = took.histogram.data_points
    assert (point.count, point.sum, list(point.bucket_counts), took.unit) == (2, 1.0, [0, 2, 0], "s")
    assert list(point.explicit_bounds) == [0.1, 1]
    [point] = metrics["cello.bag"].gauge.data_points
    assert (point.as_double, metrics["cello.bag"].unit) == (42, "By")


def test_a_delta_is_what_came_since_the_last_export(collector, monkeypatch, client):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    app, postman = make_app(collector)
    with client(app, "native"):
        for many in (3, 1):
            for _ in range(many):
                postman.send({})
            app.feature("telemetry").flush()
    letters = [metric for metric in collector.metrics if metric.name == "cello.letters"]
    assert [metric.sum.data_points[0].as_double for metric in letters[:2]] == [3, 1]
    carried = [metric for metric in collector.metrics if metric.name == "cello.carrying"]
    assert [metric.histogram.data_points[0].count for metric in carried[:2]] == [3, 1]


def test_the_same_numbers_are_at_metrics(serve):
    app, postman = make_app()
    app.enable_prometheus()
    with serve(app) as client:
        postman.send({})
        text = client.get("/metrics").text
    assert 'cello_letters_total{kind="express"} 1' in text
    assert "cello_carrying_seconds_sum 0.5" in text
    assert "cello_bag_bytes 42" in text


def test_where_nobody_exports_a_span_is_one_and_the_same_nothing():
    spans = Spans()
    headers = {}
    with spans.span("any") as span:
        span.set("a", 1)
        span.fail("b")
        spans.inject(headers)
        spans.note("c", 2)
        spans.record("d", "client", None, 0.1)
    assert (span, headers, spans.is_recording) == (NO_SPAN, {}, False)


def test_an_error_passes_a_span_that_is_nothing():
    with pytest.raises(LookupError), Spans().span("any"):
        raise LookupError


async def test_tasks_of_one_span_are_below_it(collector, client):
    app, postman = make_app(collector)

    @app.get("/both")
    async def both(request):
        with postman.spans.span("both"):
            await asyncio.gather(asyncio.to_thread(postman.send, {}), asyncio.to_thread(postman.send, {}))

    with client(app, "asgi") as opened:
        assert await asyncio.to_thread(lambda: opened.get("/both").status) == 204
    [parent] = [span for span in collector.spans if span.name == "both"]
    assert [span.parent_span_id for span in collector.spans if span.name == "letters send"] == [parent.span_id] * 2


def test_a_batch_is_linked_to_the_traces_of_its_messages(collector, serve):
    app, postman = make_app(collector)
    first, second = {}, {}
    with serve(app):
        postman.send(first)
        postman.send(second)
        with postman.spans.span("letters process", "consumer", carrier={}, links=[first, second]):
            pass
    *sent, processed = collector.spans
    assert [link.span_id for link in processed.links] == [span.span_id for span in sent]
    assert processed.trace_id not in {span.trace_id for span in sent}


def test_the_handler_of_a_message_is_a_span_in_the_trace_that_it_was_sent_in(collector):
    app, _ = make_app(collector)
    app.enable_rabbitmq()

    @app.rabbitmq.consumer("orders")
    async def handle(message: Message) -> None:
        """Take it."""

    @app.get("/send")
    async def send(request):
        await app.rabbitmq.send("orders", "one")

    with TestClient(app, memory_brokers=True) as client:
        client.get("/send")
        (sent,) = client.messages.sent("orders")
        client.messages.deliver("orders", "two", headers=dict(sent.headers))
    [request] = collector.server_spans()
    handled = [span for span in collector.spans if span.kind == span.SPAN_KIND_CONSUMER]
    assert {span.name for span in handled} == {"process orders"}
    assert {(span.trace_id, span.parent_span_id) for span in handled} == {(request.trace_id, request.span_id)}
    assert values(handled[0].attributes)["messaging.system"] == "rabbitmq"
