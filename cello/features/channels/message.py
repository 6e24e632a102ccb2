"""What is published, as bytes: a letter for its kind, and text, bytes or JSON.

Every subscriber gets a copy of its own, made from these bytes, in the worker that published too. So what one changes no
other sees, and it makes no difference where somebody listens.
"""

from typing import Any

from cello.http import json_codec

TEXT, BINARY, JSON = b"T"[0], b"B"[0], b"J"[0]


def pack(data: Any) -> bytes:
    """Return `data` as it travels.

    Raises:
        TypeError: It is neither text nor bytes, and has no JSON form.
    """
    if isinstance(data, str):
        return b"T" + data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return b"B" + bytes(data)
    return b"J" + json_codec.encode(data)


def unpack(content: bytes) -> Any:
    """Return what `pack` was given; dataclasses and the like as what their JSON says."""
    if content[0] == TEXT:
        return content[1:].decode()
    return content[1:] if content[0] == BINARY else json_codec.decode(content[1:])


def as_socket_message(content: bytes) -> str | bytes:
    """Return what a WebSocket is sent: JSON goes as text."""
    return content[1:] if content[0] == BINARY else content[1:].decode()
