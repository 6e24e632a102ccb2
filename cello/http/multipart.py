"""Multipart forms, part by part (RFC 7578): pulled in both colours from the `multipart` package's push parser.

Nothing is kept here: whoever takes the parts decides what becomes of them (`forms.py` makes a form of them).

Limits: more than `max_multipart_parts` parts, a part's header line over 4 KiB, or more than 8 of them are a 413;
whatever breaks the format is a 400.
"""

import re
from collections import deque
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Any, Final

from cello.config import LimitsConfig
from cello.errors import BadRequest, ContentTooLarge, HTTPError, UnsupportedMediaType
from cello.http import media
from cello.http.ports import BodySource

DEFAULT_LIMITS = LimitsConfig()
MAX_HEADER_BYTES = 4096
MAX_PART_HEADERS = 8

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_UNSAFE_IN_FILENAME = re.compile(r"[\x00-\x1f\x7f]")


class Progress(Enum):
    """What a step of the parser may say instead of a part or a piece of one."""

    MORE = "more input is needed"
    END = "nothing follows"


MORE: Final = Progress.MORE
END: Final = Progress.END


class Part:
    """One part of a multipart form that is being read: `for piece in part`, or `async for piece in part`.

    Attributes:
        name: The form field.
        filename: What the client calls the file, without folders; None when the part is no file.
        content_type: The Content-Type; "" when it was not sent.
        headers: All fields of the part, by lower-case name.
    """

    __slots__ = ("_parts", "content_type", "filename", "headers", "name")

    def __init__(self, parts: "Parts", name: str, filename: str | None, headers: dict[str, str]) -> None:
        self._parts = parts
        self.name = name
        self.filename = None if filename is None else safe_filename(filename)
        self.headers = headers
        self.content_type = headers.get("content-type", "")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        parts = self._parts
        while (piece := parts.step_in(self)) is MORE:
            parts.feed(parts.source.read_blocking())
        if piece is END:
            raise StopIteration
        return piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        parts = self._parts
        while (piece := parts.step_in(self)) is MORE:
            parts.feed(await parts.source.read())
        if piece is END:
            raise StopAsyncIteration
        return piece

    def read(self) -> bytes:
        """Return the rest of the part, in a `def` handler."""
        return b"".join(self)

    async def read_async(self) -> bytes:
        """Return the rest of the part, in an `async def` handler."""
        return b"".join([piece async for piece in self])

    def __repr__(self) -> str:
        return f"<Part {self.name!r} {self.filename or ''}>"


class Parts:
    """The parts of a multipart form in order: `for part in parts`, or `async for part in parts`.

    Going on to the next part skips what was not read of the one before.

    Args:
        source: Where the body comes from.
        content_type: The request's, with the boundary.
        limits: None for the defaults.

    Raises:
        UnsupportedMediaType: The content type is not multipart/form-data.
        BadRequest: It has no usable boundary.
    """

    __slots__ = ("_current", "_events", "_is_ended", "_parser", "source")

    def __init__(self, source: BodySource, content_type: str, limits: LimitsConfig | None = None) -> None:
        limits = limits or DEFAULT_LIMITS
        self.source = source
        self._parser = PartParser(boundary_of(content_type), limits.max_multipart_parts)
        self._events: deque[Any] = deque()
        self._current: Part | None = None
        self._is_ended = False

    def __iter__(self) -> Iterator[Part]:
        return self

    def __next__(self) -> Part:
        while (part := self.step()) is MORE:
            self.feed(self.source.read_blocking())
        if part is END:
            raise StopIteration
        return part

    def __aiter__(self) -> AsyncIterator[Part]:
        return self

    async def __anext__(self) -> Part:
        while (part := self.step()) is MORE:
            self.feed(await self.source.read())
        if part is END:
            raise StopAsyncIteration
        return part

    def feed(self, chunk: bytes) -> None:
        """Hand the parser the next piece of the body, b"" at its end."""
        self._events.extend(self._parser.feed(chunk))
        self._is_ended = not chunk

    def step(self) -> Part | Progress:
        """Return the next part, past what is left of the current one."""
        events = self._events
        while events:
            event = events.popleft()
            if event is None:
                self._current = None
            elif not isinstance(event, bytes):
                headers = {name.lower(): value for name, value in event.headerlist}
                self._current = Part(self, event.name, event.filename, headers)
                return self._current
        return END if self._is_ended else MORE

    def step_in(self, part: Part) -> bytes | Progress:
        """Return the next piece of `part`, which has none any more once a later one was taken."""
        if part is not self._current:
            return END
        if not self._events:
            return MORE
        event = self._events.popleft()
        if event is None:
            self._current = None
            return END
        piece: bytes = event
        return piece


class PartParser:
    """The push parser, with its errors as ours.

    Args:
        boundary: As declared.
        max_parts: More are a 413.
    """

    __slots__ = ("_errors", "_limit_reached", "_parser")

    def __init__(self, boundary: str, max_parts: int) -> None:
        import multipart  # type: ignore[import-untyped]  # no stubs; loaded by the first upload

        self._errors = multipart.MultipartError
        self._limit_reached = multipart.ParserLimitReached
        self._parser = multipart.PushMultipartParser(
            boundary,
            max_header_size=MAX_HEADER_BYTES,
            max_header_count=MAX_PART_HEADERS,
            max_segment_count=max_parts,
        )

    def feed(self, chunk: bytes) -> list[Any]:
        """Return what the next piece holds: a part's head, pieces of its content, None at its end.

        Raises:
            BadRequest: The body is no multipart form, or ended too early.
            ContentTooLarge: A limit was reached.
        """
        try:
            return list(self._parser.parse(chunk))
        except self._errors as error:
            raise self._as_http(error) from error

    def _as_http(self, error: Exception) -> HTTPError:
        if isinstance(error, self._limit_reached):
            return ContentTooLarge(f"The multipart form is too large: {error}.")
        return BadRequest(f"The multipart form is malformed: {error}.")


def boundary_of(content_type: str) -> str:
    """Return the boundary of a multipart/form-data content type (RFC 2046 §5.1.1).

    Raises:
        UnsupportedMediaType: It is another type.
        BadRequest: There is no boundary, or one that cannot be.
    """
    if media.essence_of(content_type) != media.MULTIPART:
        raise UnsupportedMediaType(f"A {media.MULTIPART} body is expected here.")
    media_type = media.parse_media_type(content_type)
    boundary = "" if media_type is None else media_type.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("The multipart form has no usable boundary.")
    return boundary


def safe_filename(filename: str) -> str:
    """Return the last part of a client's file name, without control characters; "" when nothing usable is left.

    SECURITY: a client may send "../../etc/passwd" or "C:/boot.ini" (RFC 7578 §4.2).
    """
    name = _UNSAFE_IN_FILENAME.sub("", filename.replace("\\", "/").rpartition("/")[2])
    return "" if name in (".", "..") else name
