"""The half of a response that every kind shares: status, fields, payload, and how its head is settled.

Strategy. Most responses are bytes with a Content-Type and nothing else, so those cost no header object: one is made
when somebody looks at or sets a header. `settle` decides everything about the head once, at the end of the pipeline, so
that no gateway has an opinion on HEAD, 204, Content-Length, ranges or conditions.

Fields that belong to the connection (Connection, Keep-Alive, Transfer-Encoding, Upgrade, …; RFC 9110 §7.6.1) are the
server's: set here they are left out.
"""

from functools import lru_cache

from cello.http import media
from cello.http.background import BackgroundTasks
from cello.http.files import FilePayload, MultiRangeBody, evaluate, is_range_wanted, make_etag, parse_range
from cello.http.grammar import format_date, is_field_value, parse_date
from cello.http.headers import HeaderValues, ResponseHeaders
from cello.http.request import Request
from cello.http.stream import StreamPayload

Field = tuple[bytes, bytes]

_CONNECTION_FIELDS = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_ABOUT_CONTENT = ("content-type", "content-encoding", "content-language", "content-range")


class Outgoing:
    """An HTTP response, however it was made.

    Args:
        body: Text (sent as UTF-8) or bytes.
        status: 100–599.
        headers: A mapping, or pairs where a name comes more than once.
        content_type: Default: `text/plain; charset=utf-8` for text, `application/octet-stream` for bytes.

    Attributes:
        status: The status code.
        payload: `bytes`, a `FilePayload` or a `StreamPayload`.
        background: What is done after the response was sent, or None.
    """

    __slots__ = (
        "__weakref__",
        "_content_type",
        "_headers",
        "_is_settled",
        "_length",
        "background",
        "payload",
        "status",
    )

    def __init__(
        self,
        body: str | bytes = "",
        status: int = 200,
        headers: HeaderValues | None = None,
        content_type: str | None = None,
    ) -> None:
        if isinstance(body, str):
            payload = body.encode()
            field = TEXT_FIELD
        elif isinstance(body, bytes):
            payload = body
            field = BINARY_FIELD
        else:
            raise TypeError(
                f"the body of a Response is str or bytes, not {type(body).__name__}: use Response.json(…) for data, "
                "Response.stream(…) for iterators"
            )
        if status.__class__ is not int or not 100 <= status <= 599:
            status = checked_status(status)
        self.payload: bytes | FilePayload | StreamPayload = payload
        self.status = status
        self.background: BackgroundTasks | None = None
        self._content_type: Field | None = field if content_type is None else content_type_field(content_type)
        self._length: int | None = None
        self._is_settled = False
        self._headers: ResponseHeaders | None = None
        if headers is not None:
            self._take_headers(headers, keep_type=content_type is not None)

    def _take_headers(self, headers: HeaderValues, *, keep_type: bool) -> None:
        collected = ResponseHeaders(headers)
        if "content-type" in collected:
            if keep_type:
                del collected["content-type"]
            else:
                self._content_type = None
        self._headers = collected

    @property
    def headers(self) -> ResponseHeaders:
        """The fields, Content-Type among them. Date, Server and Content-Length come when the response is sent."""
        headers = self._headers
        if headers is None:
            headers = self._headers = ResponseHeaders()
        field = self._content_type
        if field is not None:
            self._content_type = None
            headers.put("content-type", field)
        return headers

    def has(self, name: str) -> bool:
        """Whether a field of this name was set; makes no header object to find out."""
        headers = self._headers
        if headers is not None and name in headers:
            return True
        return self._content_type is not None and name.lower() == "content-type"

    def set_header(self, name: str, value: str) -> None:
        """Set a field, in place of those of the same name.

        Raises:
            ValueError: The name is no token, or the value holds a CR, LF, NUL or another character that cannot be sent.
        """
        self.headers[name] = value

    def append_header(self, name: str, value: str) -> None:
        """Add a field and keep those of the same name.

        Raises:
            ValueError: As for `set_header`.
        """
        self.headers.append(name, value)

    def body(self) -> bytes:
        """Return the body.

        Raises:
            TypeError: It is a file or a stream, so there is none at hand.
        """
        if isinstance(self.payload, bytes):
            return self.payload
        raise TypeError(f"this response sends a {type(self.payload).__name__}, its body is not at hand")

    def content_type(self) -> str | None:
        """Return the Content-Type."""
        field = self._content_type
        if field is not None:
            return field[1].decode("latin-1")
        return None if self._headers is None else self._headers.get("content-type")

    @property
    def content_length(self) -> int | None:
        """The Content-Length: exact once settled, before that what is known now; None when nobody knows."""
        if self._is_settled:
            return self._length
        payload = self.payload
        if isinstance(payload, bytes):
            return len(payload)
        return payload.length if isinstance(payload, FilePayload) else self._declared_length()

    def settle(self, request: Request | None) -> None:
        """Decide the head: conditions, ranges, Content-Length, what may have no content. Later calls do nothing.

        Raises:
            OSError: The file to send cannot be opened.
            ValueError: The status or a streamed response's own Content-Length is not usable.
        """
        if self._is_settled:
            return
        self._is_settled = True
        payload = self.payload
        status = self.status
        if status == 200 and status.__class__ is int and payload.__class__ is bytes and self._headers is None:
            self._length = len(payload)
            if request is not None and request.method == "HEAD":
                self.payload = b""
            return
        self._settle_fully(request)

    def _settle_fully(self, request: Request | None) -> None:
        status = self.status
        if status.__class__ is not int or not 100 <= status <= 599:
            self.status = checked_status(status)
        method = "GET" if request is None else request.method
        if request is not None and self.status == 200 and self._headers is not None and method in ("GET", "HEAD"):
            self._answer_conditions(request, self._headers)
        if self.status < 200:
            raise ValueError(
                f"{self.status} announces an answer and is none (RFC 9110 §15.2); it is the server's to send"
            )
        if self.status in (204, 304):
            self._drop_content()
            self._length = None
        elif self.status == 205:
            self._drop_content()
            self._length = 0
        elif method == "HEAD":
            declared = self._declared_length()
            payload = self.payload
            if isinstance(payload, StreamPayload) or (payload == b"" and declared is not None):
                self._length = declared
            else:
                self._length = len(payload) if isinstance(payload, bytes) else payload.length
            self._discard_payload()
        else:
            payload = self.payload
            if isinstance(payload, bytes):
                self._length = len(payload)
            elif isinstance(payload, FilePayload):
                payload.prepare()
                self._length = payload.length
            else:
                self._length = self._declared_length()

    def _answer_conditions(self, request: Request, headers: ResponseHeaders) -> None:
        """Evaluate preconditions against the validators that are set, then `Range` for a file (RFC 9110 §13.2.2)."""
        # PERF: most answers have no validator; asking in this order saves 2 µs; bench/micro/test_features.py.
        if "etag" not in headers and "last-modified" not in headers:
            return
        payload = self.payload
        if isinstance(payload, FilePayload) and request.method == "GET":
            self._catch_up(payload, headers)
        head = request._head
        etag = headers.get("etag")
        tag = None if etag is None else etag.encode("latin-1")
        date = headers.get("last-modified")
        last_modified_s = None if date is None else parse_date(date)
        if tag is None and last_modified_s is None:
            return
        verdict = evaluate(request.method, head, tag, last_modified_s)
        if verdict:
            self.status = verdict
            if verdict == 412:
                self._drop_content()
            return
        wanted = head.get(b"range")
        if (
            wanted is not None
            and request.method == "GET"
            and isinstance(payload, FilePayload)
            and is_range_wanted(head.get(b"if-range"), tag, last_modified_s)
        ):
            self._cut(payload, wanted, headers)

    def _catch_up(self, payload: FilePayload, headers: ResponseHeaders) -> None:
        """Open the file, and describe what it is now if it was written to since the response was made."""
        status = payload.prepare()
        date = format_date(status.st_mtime)
        if status.st_size == payload.length and headers.get("last-modified", date) == date:
            return
        payload.length = status.st_size
        if "etag" in headers:
            headers["ETag"] = make_etag(status, headers.get("content-encoding"))
        if "last-modified" in headers:
            headers["Last-Modified"] = date

    def _cut(self, payload: FilePayload, wanted: bytes, headers: ResponseHeaders) -> None:
        """Reduce a file to the ranges asked for: 206, or 416 when it has none of them (RFC 9110 §14, §15.3.7)."""
        size = payload.length
        ranges = parse_range(wanted, size)
        if ranges is None:
            return
        if not ranges:
            self.status = 416
            self._drop_content()
            headers["Content-Range"] = f"bytes */{size}"
            return
        self.status = 206
        if len(ranges) == 1:
            start, stop = ranges[0]
            payload.offset, payload.length = start, stop - start
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            return
        body = MultiRangeBody(payload, ranges, size, (self.content_type() or media.BINARY).encode("latin-1"))
        self.payload = StreamPayload(body)
        headers["Content-Type"] = f"multipart/byteranges; boundary={body.boundary}"
        headers["Content-Length"] = str(body.length)

    def _declared_length(self) -> int | None:
        """Return the Content-Length that was set by hand.

        Raises:
            ValueError: It is not a number.
        """
        text = None if self._headers is None else self._headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"the Content-Length that was set is not a number: {text!r:.80}")
        return int(text)

    def _drop_content(self) -> None:
        """Forget the body and the fields that describe it."""
        self._discard_payload()
        # COMPAT: wsgiref.validate wants a Content-Type wherever there could be content, be it empty.
        self._content_type = None if self.status in (204, 304) else TEXT_FIELD
        headers = self._headers
        if headers is not None:
            for name in _ABOUT_CONTENT:
                if name in headers:
                    del headers[name]

    def _discard_payload(self) -> None:
        payload, self.payload = self.payload, b""
        if not isinstance(payload, bytes):
            payload.close()

    def fields(self) -> list[Field]:
        """Return the fields to send, names as written; call `settle` before.

        Date and Server are there only when the handler set them (`has("date")`): they are the server's business, like
        everything about the connection.
        """
        headers = self._headers
        fields: list[Field] = []
        if self._content_type is not None:
            fields.append(self._content_type)
        if headers is not None:
            fields += [field for name, field in headers.keyed_fields() if name not in _CONNECTION_FIELDS]
        length = self._length
        if length is not None:
            fields.append((b"Content-Length", b"%d" % length))
        return fields

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.content_type() or 'no content type'}>"


@lru_cache(maxsize=256)
def content_type_field(value: str) -> Field:
    """Return the encoded Content-Type field.

    Raises:
        ValueError: The value cannot be sent.
    """
    if not is_field_value(value) or not value:
        raise ValueError(f"{value!r:.80} is not a content type")
    return (b"Content-Type", value.encode("latin-1"))


def checked_status(status: object) -> int:
    """Return a status as a plain int (an `HTTPStatus` is one too).

    Raises:
        ValueError: It is not a whole number 100–599.
    """
    if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
        return int(status)
    raise ValueError(f"a response status is a whole number 100-599, not {status!r:.80}")


TEXT_FIELD = content_type_field(media.TEXT)
BINARY_FIELD = content_type_field(media.BINARY)
