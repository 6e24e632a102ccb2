"""Kafka's records as messages, and the other way round.

Headers of records are bytes: text in UTF-8, by our account. What a message is called, and how often it failed, stands
in headers of cello's own, which handlers do not see.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from cello.messaging.broker import ATTEMPTS_HEADER, ERROR_HEADER, Settlement
from cello.messaging.kafka.offsets import Offsets
from cello.messaging.message import Message

ID_HEADER = "cello-id"
DUE_HEADER = "cello-due"
"""Milliseconds since 1970, in a retry topic: not to be handled before."""
_OWN = (ID_HEADER, DUE_HEADER, ATTEMPTS_HEADER, ERROR_HEADER)

Headers = list[tuple[str, bytes]]


class Token(NamedTuple):
    """What the broker knows a message by.

    Attributes:
        record: As it came.
        offsets: Those of its partition, in the assignment that it came in.
    """

    record: Any
    offsets: Offsets


def make_headers(message_id: str, headers: Mapping[str, str]) -> Headers:
    """Return the headers of a record that is sent."""
    return [*((name, text.encode()) for name, text in headers.items()), (ID_HEADER, message_id.encode())]


def message_of(record: Any, offsets: Offsets, order_key: Hashable | None) -> Message:
    """Return a received record as a message."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    message_id = headers.pop(ID_HEADER, None) or f"{record.topic}-{record.partition}-{record.offset}"
    return Message(
        message_id,
        record.topic,
        None if record.key is None else record.key.decode("utf-8", "replace"),
        record.value or b"",
        headers,
        record.timestamp / 1000,
        order_key=order_key,
        token=Token(record, offsets),
    )


def read_retry(message: Message, topic: str) -> float:
    """Turn a message from a retry topic into one of the topic it failed in; return when it is due, since 1970."""
    message.topic = topic
    attempts = message.headers.pop(ATTEMPTS_HEADER, "")
    due = message.headers.pop(DUE_HEADER, "")
    message.headers.pop(ERROR_HEADER, None)
    message.attempt = int(attempts) + 1 if attempts.isdecimal() else 1
    return int(due) / 1000 if due.isdecimal() else 0.0


def retry_headers(message: Message, settlement: Settlement, now_s: float) -> Headers:
    """Return the headers of a copy in a retry topic: those of the record, and what became of it."""
    raw: Sequence[tuple[str, bytes]] = message.token.record.headers
    due_ms = int((now_s + settlement.delay_s) * 1000)
    own = {
        ID_HEADER: message.id,
        DUE_HEADER: str(due_ms),
        ATTEMPTS_HEADER: str(message.attempt),
        ERROR_HEADER: settlement.error,
    }
    kept = [(name, value) for name, value in raw if name not in _OWN]
    return [*kept, *((name, text.encode("utf-8", "replace")) for name, text in own.items())]
