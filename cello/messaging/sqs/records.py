"""SQS' messages as ours, and the other way round.

A body of SQS is text without control characters, and not empty; what is no such text goes as base64. A message has ten
attributes at most: where headers are more, or have names that attributes cannot have, all go into one, as JSON.
"""

import base64
import json
import re
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from cello.messaging.message import Message, Outgoing

ID, KEY, ENCODING, HEADERS = "cello-id", "cello-key", "cello-encoding", "cello-headers"
_OWN = (ID, KEY, ENCODING, HEADERS)
MOST_ATTRIBUTES = 10
_NAME = re.compile(r"(?!aws\.|amazon\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

WANTED: dict[str, list[str]] = {
    "MessageAttributeNames": ["All"],
    "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
}


class Token(NamedTuple):
    """What the broker knows a message by.

    Attributes:
        receipt: Its receipt handle.
        message: As it came.
    """

    receipt: str
    message: Mapping[str, Any]


def entry_of(message: Outgoing, *, is_fifo: bool) -> dict[str, Any]:
    """Return the arguments of `send_message` but for the queue."""
    body, encoding = _text(message.value)
    own = {ID: message.id, KEY: message.key or "", ENCODING: encoding}
    texts = {name: text for name, text in own.items() if text}
    if len(message.headers) + len(texts) <= MOST_ATTRIBUTES and all(map(_fits, *_columns(message.headers))):
        texts = {**message.headers, **texts}
    else:
        texts[HEADERS] = json.dumps(dict(message.headers))
    entry: dict[str, Any] = {
        "MessageBody": body,
        "MessageAttributes": {n: {"DataType": "String", "StringValue": text} for n, text in texts.items()},
    }
    if is_fifo:
        entry |= {"MessageGroupId": message.key or message.id, "MessageDeduplicationId": message.id}
    elif "delay" in message.options:
        entry["DelaySeconds"] = message.options["delay"]
    return entry


def size_of(entry: Mapping[str, Any]) -> int:
    """Return how many bytes of a message SQS counts: body, and attributes with names and types."""
    attributes = entry["MessageAttributes"].items()
    counted = sum(len(n) + len("String") + len(each["StringValue"].encode()) for n, each in attributes)
    return counted + len(entry["MessageBody"].encode())


def message_of(raw: Mapping[str, Any], topic: str) -> Message:
    """Return a received message; messages of one FIFO group, or else of one key, are handled in order."""
    texts = {name: each.get("StringValue", "") for name, each in raw.get("MessageAttributes", {}).items()}
    system = raw.get("Attributes", {})
    headers = {name: text for name, text in texts.items() if name not in _OWN}
    if HEADERS in texts:
        headers |= json.loads(texts[HEADERS])
    key = texts.get(KEY)
    order_key: Hashable | None = system.get("MessageGroupId") or key
    return Message(
        texts.get(ID) or raw["MessageId"],
        topic,
        key,
        _bytes(raw["Body"], texts.get(ENCODING, "")),
        headers,
        int(system.get("SentTimestamp", 0)) / 1000,
        attempt=int(system.get("ApproximateReceiveCount", 1)),
        order_key=order_key,
        token=Token(raw["ReceiptHandle"], raw),
    )


def _columns(headers: Mapping[str, str]) -> tuple[list[str], list[str]]:
    return list(headers), list(headers.values())


def _fits(name: str, text: str) -> bool:
    """Whether a header can be an attribute of its own."""
    return bool(text and name not in _OWN and len(name) <= 256 and _NAME.fullmatch(name) and not _UNFIT.search(text))


def _text(body: bytes) -> tuple[str, str]:
    """Return a body as SQS takes it, and how it is encoded."""
    if not body:
        return "-", "empty"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _UNFIT.search(text):
        return base64.b64encode(body).decode(), "base64"
    return text, ""


def _bytes(text: str, encoding: str) -> bytes:
    if encoding == "base64":
        return base64.b64decode(text)
    return b"" if encoding == "empty" else text.encode()
