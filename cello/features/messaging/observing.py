"""Metrics of messages, and trace context in their headers.

A consumer's span is a child of the one that its message was sent in; that of a batch has links to them. Where nobody
exports spans, the `traceparent` of the request or message at hand is handed on.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from cello.extension import Host
from cello.features.log_context import current
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.message import Message
from cello.spans import NO_SPAN

PARENT, STATE = "traceparent", "tracestate"
_handled: ContextVar[Message | None] = ContextVar("cello_handled_message", default=None)


class MessageEvents:
    """Listens to the producers and consumers of one broker.

    Args:
        host: Its meter counts.
        system: "rabbitmq" and so on.
    """

    def __init__(self, host: Host, system: str) -> None:
        self._system = system
        self._spans = host.spans
        meter = host.meter
        self._sent = meter.metric(
            "counter", "messages_sent_total", "Messages sent, by what became of them.", ("system", "outcome")
        )
        self._sending = meter.metric(
            "histogram", "message_send_duration_seconds", "Until messages were confirmed, in seconds.", ("system",)
        )
        self._handled = meter.metric(
            "counter", "messages_handled_total", "Messages settled, by result.", ("system", "consumer", "result")
        )
        self._took = meter.metric(
            "histogram", "message_handler_duration_seconds", "How long handlers took, in seconds.",
            ("system", "consumer"),
        )  # fmt: skip
        self._in_hand = meter.metric(
            "gauge", "messages_in_hand", "Messages fetched and not settled.", ("system", "consumer")
        )
        self._lag = meter.metric(
            "gauge", "messages_waiting", "Messages that wait at the broker, as each worker sees it.",
            ("system", "consumer"),
        )  # fmt: skip

    # Of producers

    def sending(self, headers: dict[str, str]) -> None:
        """Add the trace context to a message's headers."""
        self._spans.inject(headers)
        if PARENT in headers:
            return
        message, entry = _handled.get(), current.get()
        if message is not None:
            found = {name: message.headers[name] for name in (PARENT, STATE) if name in message.headers}
        elif entry is not None:
            values = {name: entry[0].get_header(name) for name in (PARENT, STATE)}
            found = {name: value for name, value in values.items() if value is not None}
        else:
            return
        for name, value in found.items():
            headers.setdefault(name, value)

    def sent(self, topic: str, outcome: str, seconds: float, count: int) -> None:
        """Count messages that were sent, or were not."""
        self._sent.labelled(self._system, outcome).add(count)
        self._sending.labelled(self._system).observe(seconds)

    # Of consumers

    def called(self, consumer: DeclaredConsumer, seconds: Sequence[float]) -> None:
        """Count calls of a handler."""
        row = self._took.labelled(self._system, consumer.name)
        for each_s in seconds:
            row.observe(each_s)

    def settled(self, consumer: DeclaredConsumer, result: str, count: int = 1) -> None:
        """Count messages that ended."""
        self._handled.labelled(self._system, consumer.name, result).add(count)

    def in_hand(self, consumer: DeclaredConsumer, count: int) -> None:
        """Show how many are in hand."""
        self._in_hand.labelled(self._system, consumer.name).set(count)

    def lag(self, consumer: DeclaredConsumer, count: int) -> None:
        """Show how many wait."""
        self._lag.labelled(self._system, consumer.name).set(count)

    def around(self, consumer: DeclaredConsumer, messages: Sequence[Message]) -> AbstractContextManager[Any]:
        """Return the block around a call of a handler: a span, where spans are exported."""
        if self._spans.exporter is None:  # PERF: no headers to decode: 1.1 µs less of a message
            return _Handling(messages[0], NO_SPAN)
        attributes: dict[str, str | int] = {
            "messaging.system": self._system,
            "messaging.operation.type": "process",
            "messaging.destination.name": consumer.topic,
        }
        name = f"process {consumer.topic}"
        if len(messages) == 1:
            attributes["messaging.message.id"] = messages[0].id
            span = self._spans.span(name, "consumer", attributes, carrier=messages[0].headers)
            return _Handling(messages[0], span)
        attributes["messaging.batch.message_count"] = len(messages)
        links = [message.headers for message in messages if PARENT in message.headers]
        return _Handling(messages[0], self._spans.span(name, "consumer", attributes, carrier={}, links=links))


class _Handling:
    """The block around a call of a handler: messages sent in it belong to the trace of the one that is handled.

    Args:
        message: The one.
        span: The block of its span.
    """

    __slots__ = ("_message", "_span", "_token")

    def __init__(self, message: Message, span: AbstractContextManager[Any]) -> None:
        self._message = message
        self._span = span

    def __enter__(self) -> None:
        self._token = _handled.set(self._message)
        self._span.__enter__()

    def __exit__(self, *raised: Any) -> bool | None:
        try:
            return self._span.__exit__(*raised)
        finally:
            _handled.reset(self._token)
