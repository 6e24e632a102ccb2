"""An answer as a test reads it."""

import codecs
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from http.cookies import SimpleCookie
from typing import Any

from cello.errors import CelloError, phrase
from cello.http.head import FieldList
from cello.http.headers import Headers
from cello.testing.outgoing import Outgoing


class ResponseHead:
    """What is known of an answer once its head has arrived."""

    def __init__(self, request: Outgoing, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.request = request
        self.status_code = status
        self.headers = Headers(FieldList(fields))

    @property
    def status(self) -> int:
        """The status code."""
        return self.status_code

    @property
    def reason_phrase(self) -> str:
        """The standard phrase of the status."""
        return phrase(self.status_code)

    @property
    def url(self) -> str:
        """The absolute address that answered."""
        return self.request.url

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code <= 299

    @property
    def is_redirect(self) -> bool:
        """Whether the status is 3xx and says where to go."""
        return 300 <= self.status_code <= 399 and "location" in self.headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this answer sets, by name; an expired one has the value it was sent with."""
        found: dict[str, str] = {}
        for line in self.headers.get_all("set-cookie"):
            found.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        return found

    @property
    def encoding(self) -> str:
        """The charset of the Content-Type, UTF-8 when it names none."""
        _, _, charset = self.headers.get("content-type", "").lower().partition("charset=")
        name = charset.partition(";")[0].strip(' "')
        return name or "utf-8"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code} {self.reason_phrase}>"


class TestResponse(ResponseHead):
    """A complete answer.

    Attributes:
        content: The body's bytes.
        history: The redirects that led here.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(self, head: ResponseHead, content: bytes, history: "list[TestResponse]") -> None:
        self.request = head.request
        self.status_code = head.status_code
        self.headers = head.headers
        self.content = content
        self.history = history

    @property
    def text(self) -> str:
        """The body as text, in the charset of the Content-Type."""
        return self.content.decode(self.encoding, "replace")

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.content)

    def raise_for_status(self) -> "TestResponse":
        """Return the answer itself.

        Raises:
            UnexpectedStatus: The status is 4xx or 5xx; the message shows the body.
        """
        if self.status_code >= 400:
            raise UnexpectedStatus(
                f"{self.request.method} {self.url} answered {self.status_code} {self.reason_phrase}: {self.text[:500]}"
            )
        return self

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body."""
        if self.content:
            yield self.content

    def iter_lines(self) -> Iterator[str]:
        """Yield the lines of the text, without their ends."""
        yield from self.text.splitlines()


class StreamedResponse(ResponseHead):
    """An answer whose body is read piece by piece, from `client.stream(…)`."""

    def __init__(self, head: ResponseHead, chunks: Iterator[bytes], close: Callable[[], None]) -> None:
        self.request = head.request
        self.status_code = head.status_code
        self.headers = head.headers
        self._chunks = chunks
        self.close = close

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self._chunks)

    def iter_bytes(self) -> Iterator[bytes]:
        """Return the body as it arrives; leaving the iterator early does not end the answer."""
        return self._chunks

    def iter_text(self) -> Iterator[str]:
        """Yield the body as text; a character is never cut in two."""
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        for chunk in self._chunks:
            if text := decoder.decode(chunk):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def iter_lines(self) -> Iterator[str]:
        """Yield the lines of the text as they become complete, without their ends."""
        lines = LineSplitter()
        for text in self.iter_text():
            yield from lines.feed(text)
        yield from lines.end()


class AsyncStreamedResponse(ResponseHead):
    """The same for `async with client.stream(…)`."""

    def __init__(
        self, head: ResponseHead, chunks: AsyncIterator[bytes], aclose: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self.request = head.request
        self.status_code = head.status_code
        self.headers = head.headers
        self._chunks = chunks
        self.aclose = aclose

    async def aread(self) -> bytes:
        """Return the rest of the body."""
        return b"".join([chunk async for chunk in self._chunks])

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        async for chunk in self._chunks:
            yield chunk

    async def aiter_text(self) -> AsyncIterator[str]:
        """Yield the body as text; a character is never cut in two."""
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        async for chunk in self._chunks:
            if text := decoder.decode(chunk):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    async def aiter_lines(self) -> AsyncIterator[str]:
        """Yield the lines of the text as they become complete, without their ends."""
        lines = LineSplitter()
        async for text in self.aiter_text():
            for line in lines.feed(text):
                yield line
        for line in lines.end():
            yield line


class LineSplitter:
    """Cuts text that arrives in pieces into lines; CR, LF and CRLF end one."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[str]:
        """Return the lines that are complete now."""
        text = self._rest + text
        # A CR at the very end may be the first half of a CRLF.
        held = "\r" if text.endswith("\r") else ""
        lines = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        return lines

    def end(self) -> list[str]:
        """Return the last line, if the text did not end with a line's end."""
        rest, self._rest = self._rest, ""
        return [rest.removesuffix("\r")] if rest else []


class UnexpectedStatus(CelloError):
    """`raise_for_status()` met a 4xx or 5xx."""
