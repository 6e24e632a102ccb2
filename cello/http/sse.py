"""Server-sent events (WHATWG HTML, 9.2): one event as an object, and any event as the bytes of `text/event-stream`.

What a handler yields may be an `SseEvent`, text (its data), or anything with a JSON form (its data, as JSON).
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from cello.http import json_codec

KEEP_ALIVE = b":\n\n"
"""A comment: proxies see that the connection lives, the client's script sees nothing."""

_LINE_END = re.compile(r"\r\n|\r|\n")


class _Data:
    """`event.data` is the text of an event; `SseEvent.data("…")` makes one (as the Rust package has it)."""

    def __get__(self, event: "SseEvent | None", owner: type["SseEvent"]) -> Any:
        return owner if event is None else event.content


class SseEvent:
    """One server-sent event.

    Args:
        data: The text, of any number of lines; what is no text is sent as JSON.
        event: Its name; the client listens with `addEventListener(name, …)`. None is "message".
        id: What the client sends as `Last-Event-ID` when it comes back.
        retry: Milliseconds after which the client comes back, from now on.

    Attributes:
        data: The text.
        content: The same.
        event: Its name, or None.
        id: Its id, or None.
        retry: Milliseconds, or None.

    Raises:
        ValueError: A name or id with a line's end in it, an id with a NUL, or a negative retry.
        TypeError: The data has no JSON form.
    """

    __slots__ = ("content", "event", "id", "retry")

    data = _Data()

    def __init__(
        self, data: Any = "", event: str | None = None, id: str | None = None, retry: int | None = None
    ) -> None:
        self.content: str = data if isinstance(data, str) else json_codec.encode(data).decode()
        self.event = event
        self.id = None if id is None else str(id)
        self.retry = retry
        for name, value in (("event", self.event), ("id", self.id)):
            if value is not None and _LINE_END.search(value):
                raise ValueError(f"the {name} of a server-sent event cannot hold a line's end: {value!r:.80}")
        if self.id is not None and "\0" in self.id:
            raise ValueError(f"clients ignore an id with a NUL in it: {self.id!r:.80}")
        if retry is not None and (type(retry) is not int or retry < 0):
            raise ValueError(f"retry is a whole number of milliseconds, not {retry!r:.80}")

    @classmethod
    def with_event(cls, event: str, data: Any) -> "SseEvent":
        """Return an event with a name."""
        return cls(data, event)

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        lines = [f"data: {line}\n" for line in _LINE_END.split(self.content)]
        if self.retry is not None:
            lines.insert(0, f"retry: {self.retry}\n")
        if self.id is not None:
            lines.insert(0, f"id: {self.id}\n")
        if self.event is not None:
            lines.insert(0, f"event: {self.event}\n")
        return ("".join(lines) + "\n").encode("utf-8", "replace")

    def to_sse_string(self) -> str:
        """Return the event as it is sent, as text."""
        return self.encode().decode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SseEvent):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.content, self.event, self.id))

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name in ("event", "id", "retry") if (value := getattr(self, name)) is not None]
        return f"SseEvent({', '.join([repr(self.content), *given])})"


def encode_event(event: Any) -> bytes:
    """Return whatever stands for an event as it is sent.

    Raises:
        TypeError: It has no JSON form.
    """
    return (event if isinstance(event, SseEvent) else SseEvent(event)).encode()


def event_bytes(events: Any) -> "EventBytes | AsyncEventBytes":
    """Return events, in a plain or async iterable, as an iterator of bytes.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(events, AsyncIterable):
        return AsyncEventBytes(events)
    if isinstance(events, Iterable) and not isinstance(events, str | bytes | Mapping | SseEvent):
        return EventBytes(events)
    raise TypeError(f"Response.sse takes a generator or an iterable of events, not {type(events).__name__}")


class EventBytes(Iterator[bytes]):
    """Events of a plain iterator, as bytes."""

    __slots__ = ("_events",)

    def __init__(self, events: Iterable[Any]) -> None:
        self._events = iter(events)

    def __next__(self) -> bytes:
        return encode_event(next(self._events))

    def close(self) -> None:
        """Close what the handler gave, if it can be closed."""
        close = getattr(self._events, "close", None)
        if close is not None:
            close()


class AsyncEventBytes(AsyncIterator[bytes]):
    """Events of an async iterator, as bytes."""

    __slots__ = ("_events",)

    def __init__(self, events: AsyncIterable[Any]) -> None:
        self._events = aiter(events)

    async def __anext__(self) -> bytes:
        return encode_event(await anext(self._events))

    async def aclose(self) -> None:
        """Close what the handler gave, if it can be closed."""
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()
