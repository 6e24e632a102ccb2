"""Spans of consumers: in the trace of whoever sent, through a broker."""

from opentelemetry import trace

from cello import App, OpenTelemetryConfig
from cello.features.messaging.switch import MessagingSwitch
from cello.messaging import MemoryConfig
from cello.messaging.memory import SentMessages
from tests.features.telemetry.test_spans import TRACE, values
from tests.messaging.test_outbox import wait_for

SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_handler_s_span_is_in_the_trace_of_the_request_that_sent(collector, serve, colour):
    app = App()
    app.enable_telemetry(OpenTelemetryConfig("shop", export_metrics=False, otlp_endpoint=collector.endpoint))
    memory = MemoryConfig()
    app.enable(MessagingSwitch("memory", "enable_memory", memory))
    messenger = app.feature("memory").resource

    @app.post("/orders")
    async def send():
        await messenger.send("orders", "x", id="one")

    if colour == "def":

        @messenger.consumer("orders")
        def take(message):
            with trace.get_tracer("mine").start_as_current_span("inner"):
                messenger.send("packed", "x")

    else:

        @messenger.consumer("orders")
        async def take(message):
            with trace.get_tracer("mine").start_as_current_span("inner"):
                await messenger.send("packed", "x")

    @messenger.consumer("broken", retries=0)
    def broken(message):
        raise ValueError("no")

    with serve(app) as client:
        client.post("/orders", headers={"traceparent": SAMPLED})
        SentMessages(memory.hub).deliver("broken", "x")
        wait_for(lambda: SentMessages(memory.hub).sent("packed"))
    [server] = collector.server_spans()
    by_name = {span.name: span for span in collector.spans}
    handled, inner = by_name["process orders"], by_name["inner"]
    assert handled.trace_id.hex() == TRACE
    assert handled.parent_span_id == server.span_id
    assert inner.parent_span_id == handled.span_id
    said = values(handled.attributes)
    assert (said["messaging.system"], said["messaging.message.id"]) == ("memory", "one")
    packed = SentMessages(memory.hub).sent("packed")[0]
    assert packed.headers["traceparent"] == f"00-{TRACE}-{inner.span_id.hex()}-01"
    assert [values(event.attributes)["exception.type"] for event in by_name["process broken"].events] == ["ValueError"]
