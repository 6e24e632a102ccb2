"""A message as a handler receives it, one as it is sent, and what a handler may say about the former."""

import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from cello.errors import BadRequest
from cello.http import json_codec
from cello.messaging.errors import InvalidBody

CONTENT_TYPE = "content-type"


def new_id() -> str:
    """Return 32 hexadecimal digits that no other message has."""
    # PERF: a third of `uuid4().hex`, which asks the system; forked processes have seeds of their own.
    return f"{random.getrandbits(128):032x}"


class MessageResult(StrEnum):
    """What a handler returns: what becomes of its message. None is ACK; an exception is NACK.

    Attributes:
        ACK: Done with.
        NACK: It failed: handled again after a pause, up to the consumer's limit; then dead-lettered.
        REJECT: Thrown away.
        REQUEUE: Given back as it is, to be delivered again to any consumer; not counted as a failure.
        DEAD_LETTER: Moved to the dead-letter place at once.
    """

    ACK = "ack"
    NACK = "nack"
    REJECT = "reject"
    REQUEUE = "requeue"
    DEAD_LETTER = "dead_letter"


class Message:
    """A received message.

    Attributes:
        id: What its sender called it; the same when it is delivered again, so handlers can tell what they have seen.
        topic: The topic or queue that it was taken from.
        key: Messages of one key are handled one after the other; None: in any order.
        value: The body: bytes when it was received.
        headers: Text by name; "content-type" is one of them.
        timestamp: When it was sent, in seconds since 1970.
        attempt: Which delivery this is, from 1 on, as far as broker and consumer know.
        order_key: What stands for the order it must be handled in; for brokers to set, None: none.
        token: What the broker knows it by: a delivery tag, an offset, a receipt handle.
    """

    __slots__ = ("_line", "_on_said", "_place", "attempt", "headers", "id", "key", "order_key", "said", "timestamp",
                 "token", "topic", "value")  # fmt: skip

    _line: Any
    """What it waits in, and its place there: `schedule.py` sets them and nobody else looks."""
    _place: int

    def __init__(
        self,
        id: str | None = None,
        topic: str = "",
        key: str | None = None,
        value: Any = b"",
        headers: Mapping[str, str] | None = None,
        timestamp: float | None = None,
        *,
        attempt: int = 1,
        order_key: Hashable | None = None,
        token: Any = None,
    ) -> None:
        self.id = id or new_id()
        self.topic = topic
        self.key = key
        self.value = value
        self.headers: dict[str, str] = dict(headers or {})
        self.timestamp = time.time() if timestamp is None else timestamp
        self.attempt = attempt
        self.order_key = order_key
        self.token = token
        self.said: MessageResult | None = None
        self._on_said: Callable[[Message], None] | None = None

    @property
    def body(self) -> bytes:
        """The body as bytes; what is neither bytes nor text is written as JSON."""
        value = self.value
        return value if type(value) is bytes else encode(value)[0]

    @property
    def text(self) -> str:
        """The body as text.

        Raises:
            InvalidBody: It is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise InvalidBody(f"the body is not UTF-8: {error}") from None

    def json(self) -> Any:
        """Return what the body says as JSON.

        Raises:
            InvalidBody: It is no JSON.
        """
        try:
            return json_codec.decode(self.body)
        except BadRequest as error:
            raise InvalidBody(f"the body is no JSON: {error.detail}") from None

    def ack(self) -> None:
        """Say that it is done with.

        The broker hears of it when the handler has returned, or at once where the consumer has `auto_ack=False`.
        """
        self.say(MessageResult.ACK)

    def nack(self) -> None:
        """Say that it failed, as an exception does; otherwise like `ack`."""
        self.say(MessageResult.NACK)

    def say(self, result: MessageResult) -> None:
        """Say any of the results, from any thread; the first one counts."""
        if self.said is None:
            self.said = result
            if self._on_said is not None:
                self._on_said(self)

    def __repr__(self) -> str:
        return f"<Message {self.id!r} of {self.topic!r}, attempt {self.attempt}>"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent.

    Attributes:
        topic: The topic, queue or routing key.
        value: The body.
        key: What orders it, and on Kafka chooses the partition.
        headers: Text by name; "content-type" says what the body is.
        id: What receivers know it by.
        timestamp: In seconds since 1970.
        options: What only some brokers understand, such as `exchange`; a broker refuses those that it does not know
            (`check_options`).
    """

    topic: str
    value: bytes = b""
    key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    timestamp: float = field(default_factory=time.time)
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        topic: str,
        value: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        id: str | None = None,
        **options: Any,
    ) -> "Outgoing":
        """Return a message with `value` as its body: bytes and text as they are, None empty, all else as JSON."""
        if not (topic and isinstance(topic, str)):
            raise TypeError(f"a message goes to a topic or queue, named by a string, not {topic!r:.80}")
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the key of a message is a string, not {key!r:.80}")
        body, content_type = encode(value)
        said: dict[str, str] = _checked(headers) if headers else {}
        if content_type and CONTENT_TYPE not in said:
            said[CONTENT_TYPE] = content_type
        return cls(topic, body, key, said, id or new_id(), time.time(), options)


def _checked(headers: Mapping[Any, Any]) -> dict[str, str]:
    for name, text in headers.items():
        if not (isinstance(name, str) and isinstance(text, str)):
            raise TypeError(f"headers of a message are strings by name, not {name!r:.80}: {text!r:.80}")
    return dict(headers)


class Receipt(NamedTuple):
    """What `send` returns once the broker has confirmed.

    Attributes:
        id: The message's.
        topic: Where it went.
        position: Where it stands there, as far as the broker says: "partition:offset", a sequence number.
    """

    id: str
    topic: str
    position: str | None = None


def encode(value: Any) -> tuple[bytes, str]:
    """Return a body and its media type."""
    if type(value) is bytes:
        return value, "application/octet-stream"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), "application/octet-stream"
    if isinstance(value, str):
        return value.encode(), "text/plain; charset=utf-8"
    if value is None:
        return b"", ""
    return json_codec.encode(value), "application/json"
