"""One message of a WebSocket, as a handler sends and receives it."""

from typing import Any

from cello.http import json_codec


class _Makers(type):
    """What `WebSocketMessage.text` is, while `message.text` is a message's text.

    A property of the class' class goes before an attribute of the class. PERF: so that attribute can be a plain slot,
    read in a tenth of the time that a descriptor written in Python takes.
    """

    @property
    def text(cls) -> Any:
        return cls


class WebSocketMessage(metaclass=_Makers):
    """One message: text or binary, or a control frame to be sent.

    Args:
        content: `str` for text, `bytes` for binary.
        type: "text", "binary", "ping", "pong" or "close"; None follows from the content.

    Attributes:
        text: The text, or None. On the class: `WebSocketMessage.text("…")` makes a message.
        data: The bytes of a binary message or control frame, or None.
        type: See above.
    """

    __slots__ = ("data", "text", "type")

    text: Any
    data: bytes | None

    def __init__(self, content: str | bytes, type: str | None = None) -> None:
        if isinstance(content, str):
            self.text = content
            self.data = None
            self.type = type or "text"
        else:
            self.text = None
            self.data = content
            self.type = type or "binary"

    @property
    def content(self) -> str | bytes:
        """The payload."""
        text: str | None = self.text
        return text if text is not None else self.data or b""

    @property
    def msg_type(self) -> str:
        """`type` by the name the Rust package gave it."""
        return self.type

    def json(self) -> Any:
        """Parse the payload as JSON.

        Raises:
            BadRequest: It is none; a `ValueError` too.
        """
        content = self.content
        return json_codec.decode(content.encode() if isinstance(content, str) else content)

    def is_text(self) -> bool:
        """Whether it is text."""
        return self.type == "text"

    def is_binary(self) -> bool:
        """Whether it is binary."""
        return self.type == "binary"

    def is_close(self) -> bool:
        """Whether it closes."""
        return self.type == "close"

    @classmethod
    def binary(cls, content: bytes) -> "WebSocketMessage":
        """Return a binary message."""
        return cls(content)

    @classmethod
    def ping(cls, content: bytes = b"") -> "WebSocketMessage":
        """Return a ping."""
        return cls(content, "ping")

    @classmethod
    def pong(cls, content: bytes = b"") -> "WebSocketMessage":
        """Return a pong that nobody asked for."""
        return cls(content, "pong")

    @classmethod
    def close(cls) -> "WebSocketMessage":
        """Return what closes normally."""
        return cls(b"", "close")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WebSocketMessage):
            return NotImplemented
        return self.type == other.type and self.content == other.content

    def __hash__(self) -> int:
        return hash((self.type, self.content))

    def __repr__(self) -> str:
        return f"<WebSocketMessage {self.type} {self.content!r:.80}>"
