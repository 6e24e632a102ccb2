"""Messages as AMQP's properties and headers, and back."""

from datetime import UTC, datetime
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from cello.http import json_codec
from cello.messaging.message import CONTENT_TYPE, Message, Outgoing

KEY = "cello-key"
ATTEMPT = "cello-attempt"
"""Which delivery a copy that was sent to be tried again is."""
PROPERTIES = {
    CONTENT_TYPE: "content_type",
    "content-encoding": "content_encoding",
    "correlation-id": "correlation_id",
    "reply-to": "reply_to",
}
"""Headers that are properties of AMQP's own."""


def properties_of(message: Outgoing) -> Basic.Properties:
    """Return what AMQP says beside a body."""
    headers: dict[str, Any] = {name: value for name, value in message.headers.items() if name not in PROPERTIES}
    if message.key is not None:
        headers[KEY] = message.key
    own = {property_: message.headers[name] for name, property_ in PROPERTIES.items() if name in message.headers}
    options = message.options
    expiration_s = options.get("expiration")
    return Basic.Properties(
        message_id=message.id,
        timestamp=datetime.fromtimestamp(message.timestamp, UTC),
        headers=headers,
        delivery_mode=2 if options.get("persistent", True) else 1,
        priority=options.get("priority"),
        expiration=None if expiration_s is None else str(round(expiration_s * 1000)),
        **own,
    )


def received(delivered: DeliveredMessage, queue: str) -> Message:
    """Return a message that was delivered."""
    properties = delivered.header.properties
    raw: dict[str, Any] = dict(properties.headers or {})
    key = raw.pop(KEY, None)
    attempt = _count(raw.pop(ATTEMPT, None), 1)
    # Quorum queues count deliveries; others only say that it was not the first.
    attempt += _count(raw.get("x-delivery-count"), 1 if delivered.redelivered else 0)
    headers = {name: _as_text(value) for name, value in raw.items()}
    for name, property_ in PROPERTIES.items():
        value = getattr(properties, property_)
        if value:
            headers[name] = value
    sent = properties.timestamp
    key = None if key is None else _as_text(key)
    return Message(
        properties.message_id, queue, key, delivered.body, headers, None if sent is None else sent.timestamp(),
        attempt=attempt, order_key=key, token=delivered.delivery_tag,
    )  # fmt: skip


def _count(value: Any, otherwise: int) -> int:
    try:
        return otherwise if value is None else int(value)
    except (TypeError, ValueError):  # somebody else's header of that name
        return otherwise


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    try:
        return json_codec.encode(value).decode()
    except (TypeError, ValueError):
        return str(value)
