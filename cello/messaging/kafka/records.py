"""Kafka's records as messages, and the other way round.

Headers of records are bytes: text in UTF-8, by our account. What a message is called, and how often it failed, stands
in headers of cello's own, which handlers do not see.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from cello.messaging.broker import ATTEMPTS_HEADER, ERROR_HEADER, Settlement
from cello.messaging.kafka.offsets import Offsets
from cello.messaging.message import Message, Outgoing

ID_HEADER = "cello-id"
DUE_HEADER = "cello-due"
"""Milliseconds since 1970, in a retry topic: not to be handled before."""
_OWN = (ID_HEADER, DUE_HEADER, ATTEMPTS_HEADER, ERROR_HEADER)

Headers = list[tuple[str, bytes]]


class KafkaMessage(Message):
    """A received record as a message; what is text in it is decoded when somebody asks for it. See `messages_of`.

    Attributes:
        token: The record.
        offsets: Those of its partition, in the assignment that it came in.
    """

    __slots__ = ("_headers", "_id", "offsets")

    offsets: Offsets
    _headers: dict[str, str] | None
    _id: str

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # nobody replaces them
        """Text by name, without what cello adds."""
        if self._headers is None:
            record = self.token
            self._headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
            self._id = self._headers.pop(ID_HEADER, "") or f"{record.topic}-{record.partition}-{record.offset}"
        return self._headers

    @property
    def id(self) -> str:  # type: ignore[override]  # the same
        """What its sender called it, else where it stands."""
        _ = self.headers
        return self._id

    @property
    def timestamp(self) -> float:  # type: ignore[override]  # the same
        """When it was sent, in seconds since 1970."""
        sent_ms: int = self.token.timestamp
        return sent_ms / 1000

    @property
    def key(self) -> str | None:  # type: ignore[override]  # the same
        """Messages of one key are in one partition."""
        key: bytes | None = self.token.key
        return None if key is None else key.decode("utf-8", "replace")


def messages_of(partition: Hashable, records: Sequence[Any], offsets: Offsets, ordered_by: str) -> list[KafkaMessage]:
    """Return records of a partition as messages.

    Args:
        partition: Which.
        records: As they came.
        offsets: Those of the partition.
        ordered_by: "partition", "key" or "none".
    """
    # PERF: headers are decoded when somebody asks for them: 1.3 µs less of a message (bench.streams). Calling the class
    # would have the interpreter look for `__init__` each time: 0.06 µs.
    new, kind = KafkaMessage.__new__, KafkaMessage
    order_key: Hashable | None = partition if ordered_by == "partition" else None
    has_keys = ordered_by == "key"
    found: list[KafkaMessage] = []
    for record in records:
        if has_keys:
            order_key = None if record.key is None else (partition, record.key)
        message = new(kind)
        message.token = record
        message.topic = record.topic
        message.value = record.value or b""
        message.attempt = 1
        message.order_key = order_key
        message.offsets = offsets
        message.said = message._on_said = message._headers = None
        found.append(message)
    return found


def make_headers(message_id: str, headers: Mapping[str, str]) -> Headers:
    """Return the headers of a record that is sent."""
    return [*((name, text.encode()) for name, text in headers.items()), (ID_HEADER, message_id.encode())]


def fields_of(message: Outgoing) -> tuple[bytes, bytes | None, int, Headers]:
    """Return what a record is made of: value, key, milliseconds since 1970, headers."""
    key = None if message.key is None else message.key.encode()
    return message.value, key, int(message.timestamp * 1000), make_headers(message.id, message.headers)


def read_retry(message: Message, topic: str) -> float:
    """Turn a message from a retry topic into one of the topic it failed in; return when it is due, since 1970."""
    message.topic = topic
    attempts = message.headers.pop(ATTEMPTS_HEADER, "")
    due = message.headers.pop(DUE_HEADER, "")
    message.headers.pop(ERROR_HEADER, None)
    message.attempt = int(attempts) + 1 if attempts.isdecimal() else 1
    return int(due) / 1000 if due.isdecimal() else 0.0


def retry_headers(message: KafkaMessage, settlement: Settlement, now_s: float) -> Headers:
    """Return the headers of a copy in a retry topic: those of the record, and what became of it."""
    raw: Sequence[tuple[str, bytes]] = message.token.headers
    due_ms = int((now_s + settlement.delay_s) * 1000)
    own = {
        ID_HEADER: message.id,
        DUE_HEADER: str(due_ms),
        ATTEMPTS_HEADER: str(message.attempt),
        ERROR_HEADER: settlement.error,
    }
    kept = [(name, value) for name, value in raw if name not in _OWN]
    return [*kept, *((name, text.encode("utf-8", "replace")) for name, text in own.items())]
