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
    """A received record as a message; what is text in it is decoded when somebody asks for it.

    Args:
        record: As it came; the token.
        offsets: Those of its partition, in the assignment that it came in.
        order_key: What stands for its order.
    """

    __slots__ = ("_headers", "_id", "offsets", "record")

    def __init__(self, record: Any, offsets: Offsets, order_key: Hashable | None) -> None:
        # PERF: of the processor a message took 1.3 µs more with its headers decoded at once (bench.streams).
        self.topic = record.topic
        self.value = record.value or b""
        self.timestamp = record.timestamp / 1000
        self.attempt = 1
        self.order_key = order_key
        self.token = self.record = record
        self.offsets = offsets
        self.said = None
        self._on_said = None
        self._headers: dict[str, str] | None = None
        self._id: str | None = None

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # nobody replaces them
        """Text by name, without what cello adds."""
        if self._headers is None:
            self._headers = {name: value.decode("utf-8", "replace") for name, value in self.record.headers}
            record = self.record
            self._id = self._headers.pop(ID_HEADER, None) or f"{record.topic}-{record.partition}-{record.offset}"
        return self._headers

    @property
    def id(self) -> str:  # type: ignore[override]  # the same
        """What its sender called it, else where it stands."""
        if self._id is None:
            _ = self.headers
        return self._id or ""

    @property
    def key(self) -> str | None:  # type: ignore[override]  # the same
        """Messages of one key are in one partition."""
        key: bytes | None = self.record.key
        return None if key is None else key.decode("utf-8", "replace")


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
    raw: Sequence[tuple[str, bytes]] = message.record.headers
    due_ms = int((now_s + settlement.delay_s) * 1000)
    own = {
        ID_HEADER: message.id,
        DUE_HEADER: str(due_ms),
        ATTEMPTS_HEADER: str(message.attempt),
        ERROR_HEADER: settlement.error,
    }
    kept = [(name, value) for name, value in raw if name not in _OWN]
    return [*kept, *((name, text.encode("utf-8", "replace")) for name, text in own.items())]
