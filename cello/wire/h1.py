"""HTTP/1 requests out of bytes: one sans-IO state machine for every tier.

The machine buffers a head under limits, hands the complete head to the tier's `parse_head`, applies the rules of
RFC 9112 to what comes back, and frames the body itself. What a tier does is small, so all tiers give equal outcomes:

    parse_head(head: bytes) -> tuple[str, str, int, HeadFields]

    It is given one complete head and may rely on this, because the machine has looked already:
      * it ends with its only empty line (CRLF CRLF) and its first byte is a token character;
      * every CR is followed by LF, every LF follows a CR;
      * no line begins with a space or tab (no obs-fold);
      * size, request line and number of lines are within the limits.
    It returns (method, target, minor, fields):
      * method: `str`, a token, as received;
      * target: `str`, one or more of the bytes 0x21-0x7E, as received, not decoded;
      * minor: 0 for HTTP/1.0, 1 for HTTP/1.1 and also for HTTP/1.2-1.9 (RFC 9110 §2.5);
      * fields: `get`, `get_all` and `raw` as `cello.http.head.FieldList` has them; values without the spaces and tabs
        around them.
    It raises `ProtocolError`, the request line judged before the fields:
      * 400 when the request line is not `token SP target SP "HTTP/" DIGIT "." DIGIT`, single spaces;
      * 505 when the request line is well formed and its major version is not 1;
      * 400 when a field line is not `token ":" OWS value OWS`: nothing between name and colon, the name not empty, the
        value of tab, 0x20-0x7E and 0x80-0xFF only.
    It keeps nothing between calls and judges nothing else: Host, Content-Length, Transfer-Encoding, Connection,
    Expect and the form of the target are the machine's (request_head.py).

Rule 1: the outcome never depends on how the bytes were cut. Of several faults the one that shows first in the stream
wins while a head is incomplete; a complete head is judged line ends, request line, fields, meaning, in this order.
Rule 2: anything ambiguous about where a message ends is refused, and nothing is read after a refusal.
Rule 3: memory is bounded by the limits, whatever is sent.
"""

import enum
import re
from collections.abc import Callable

from cello.config import LimitsConfig
from cello.errors import ProtocolError
from cello.http.ports import HeadFields
from cello.wire.chunked import ChunkedBody
from cello.wire.request_head import RequestHead

_BARE_LF = re.compile(rb"(?<!\r)\n")
_TOKEN_BYTES = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MAX_EMPTY_LINES = 8
"""Empty lines tolerated before a request line; RFC 9112 §2.2 asks for at least one."""


ParseHead = Callable[[bytes], tuple[str, str, int, HeadFields]]


class Signal(enum.Enum):
    """The events that carry nothing."""

    NEED_DATA = "need data"
    END_OF_MESSAGE = "end of message"


NEED_DATA = Signal.NEED_DATA
END_OF_MESSAGE = Signal.END_OF_MESSAGE

Event = RequestHead | bytes | Signal
"""A head, then any number of `bytes` (never empty), then `END_OF_MESSAGE`; `NEED_DATA` wherever bytes are missing."""


class RequestParser:
    """Turn the bytes of one connection into events, one request after another.

    Pull events with `next_event()` until it says `NEED_DATA`, then `receive()` more. Bytes of pipelined requests wait
    in the parser until they are pulled. After a `ProtocolError` the parser is finished: every later call repeats it.

    Args:
        parse_head: The tier's head scanner.
        limits: Sizes of request line, head, and number of fields.
    """

    __slots__ = (
        "_at",
        "_body_limit_bytes",
        "_buffer",
        "_chunked",
        "_empty_lines",
        "_error",
        "_limits",
        "_max_head",
        "_max_line",
        "_parse_head",
        "_remaining",
        "_scanned",
    )

    def __init__(self, parse_head: ParseHead, limits: LimitsConfig) -> None:
        self._parse_head = parse_head
        self._limits = limits
        self._max_head = limits.max_header_size
        # A line that fills the whole head is too long a line first, else the answer would depend on the cut.
        self._max_line = min(limits.max_request_line, limits.max_header_size - 4)
        self._buffer = b""
        self._at = 0
        self._scanned = 0  # before this offset the incomplete head is known to hold no fault and no end
        self._empty_lines = 0
        self._remaining = -1  # bytes of a Content-Length body still to come; -1 between messages
        self._chunked: ChunkedBody | None = None
        self._body_limit_bytes = limits.max_body_size
        self._error: ProtocolError | None = None

    @property
    def between_messages(self) -> bool:
        """Whether the next event is a head: no body is being read."""
        return self._remaining < 0 and self._chunked is None

    @property
    def rest_of_body_bytes(self) -> int:
        """Bytes of the message's body not yet pulled; -1 when unknown: chunked, or after a refusal."""
        if self._error is not None or self._chunked is not None:
            return -1
        return max(0, self._remaining)

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet pulled."""
        return len(self._buffer) - self._at

    @property
    def waiting_requests(self) -> int:
        """How many heads may wait in the buffer; an upper bound, as a body may hold empty lines too."""
        return self._buffer.count(b"\r\n\r\n", self._at)

    def receive(self, data: bytes) -> None:
        """Add bytes from the peer."""
        if self._at == len(self._buffer):
            self._buffer = data
            self._at = self._scanned = 0
        elif self._at:
            self._buffer = self._buffer[self._at :] + data
            self._scanned = max(0, self._scanned - self._at)
            self._at = 0
        else:
            self._buffer += data

    def take_rest(self) -> bytes:
        """Return what was received and not pulled, and forget it: the next protocol on this connection reads on."""
        rest = self._buffer[self._at :]
        self._buffer = b""
        self._at = self._scanned = 0
        return rest

    def limit_body(self, limit_bytes: int) -> None:
        """Set the limit for the body of the message whose head was pulled last.

        Raises:
            ProtocolError: 413, when Content-Length already exceeds it.
        """
        self._body_limit_bytes = limit_bytes
        if self._remaining > limit_bytes:
            raise self._fail(f"the body of {self._remaining} bytes exceeds the limit of {limit_bytes}", 413)

    def skip_empty_body(self) -> bool:
        """Pull the end of the message whose head was pulled last, when it has no body; False when it has one.

        PERF: for most requests it saves a turn of the reader's loop.
        """
        if self._remaining:
            return False
        self._remaining = -1
        return True

    def next_event(self) -> Event:
        """Return the next event.

        Raises:
            ProtocolError: With the status to answer: 400, 413, 414, 417, 431, 501 or 505.
        """
        if self._error is not None:
            raise self._error
        if self._remaining >= 0:
            return self._next_of_length()
        if self._chunked is not None:
            return self._next_of_chunks(self._chunked)
        return self._next_head()

    def _next_of_length(self) -> bytes | Signal:
        remaining = self._remaining
        if not remaining:
            self._remaining = -1
            return END_OF_MESSAGE
        at = self._at
        chunk = self._buffer[at : at + remaining]
        if not chunk:
            return NEED_DATA
        self._at = at + len(chunk)
        self._remaining = remaining - len(chunk)
        return chunk

    def _next_of_chunks(self, body: ChunkedBody) -> bytes | Signal:
        try:
            chunk, self._at = body.read(self._buffer, self._at)
        except ProtocolError as error:
            self._error = error
            raise
        if chunk is None:
            return NEED_DATA
        if not chunk:
            self._chunked = None
            self._scanned = self._at
            return END_OF_MESSAGE
        if body.received_bytes > self._body_limit_bytes:
            raise self._fail(f"the body exceeds the limit of {self._body_limit_bytes} bytes", 413)
        return chunk

    def _next_head(self) -> RequestHead | Signal:
        buffer, at = self._buffer, self._at
        if at == len(buffer):
            return NEED_DATA
        if buffer[at] not in _TOKEN_BYTES:
            if not self._skip_empty_lines():
                return NEED_DATA
            at = self._at
        end = buffer.find(b"\r\n\r\n", max(at, self._scanned - 3)) + 4
        if end < 4 or end - at > self._max_line:  # incomplete, or long enough for a limit to matter
            self._judge_lines(buffer, at, end)
            if end < 4:
                self._scanned = len(buffer)
                return NEED_DATA
        head = buffer[at:end]
        self._at = self._scanned = end
        lines = head.count(b"\n")
        # SECURITY: proxies differ on lone CR, lone LF and folded lines; what they may split differently is refused.
        if lines != head.count(b"\r\n") or lines != head.count(b"\r"):
            raise self._fail("a line ends in something else than CRLF", 400)
        if b"\r\n " in head or b"\r\n\t" in head:
            raise self._fail("a field line is folded (RFC 9112 §5.2)", 400)
        if lines - 2 > self._limits.max_fields:
            raise self._fail(f"more than {self._limits.max_fields} header fields", 431)
        try:
            event = RequestHead(*self._parse_head(head))
        except ProtocolError as error:
            self._error = error
            raise
        self._empty_lines = 0
        self._body_limit_bytes = self._limits.max_body_size
        if event.chunked:
            self._chunked = ChunkedBody(self._max_head, self._limits.max_fields)
        else:
            self._remaining = event.content_length
        return event

    def _skip_empty_lines(self) -> bool:
        """Step over empty lines before a request; True when a first byte of a request line is there."""
        buffer = self._buffer
        while self._at < len(buffer):
            first = buffer[self._at]
            if first in _TOKEN_BYTES:
                return True
            if first != 0x0D:
                raise self._fail("a request cannot begin with this byte", 400)
            if self._at + 1 == len(buffer):
                return False
            if buffer[self._at + 1] != 0x0A or self._empty_lines == _MAX_EMPTY_LINES:
                raise self._fail("a request begins with something else than a request line", 400)
            self._empty_lines += 1
            self._at += 2
            self._scanned = self._at
        return False

    def _judge_lines(self, buffer: bytes, at: int, end: int) -> None:
        """Refuse what is wrong already, in the order in which it would show byte by byte."""
        size = (end if end >= 4 else len(buffer)) - at
        line_end = buffer.find(b"\n", at, at + self._max_line + 2)
        if line_end < 0 and size >= self._max_line + 2:
            raise self._fail(f"the request line exceeds {self._max_line} bytes", 414)
        if _BARE_LF.search(buffer, max(at, self._scanned), min(at + size, at + self._max_head)):
            raise self._fail("a line ends in a lone LF", 400)
        if size > self._max_head:
            raise self._fail(f"the head exceeds {self._max_head} bytes", 431)

    def _fail(self, message: str, status: int) -> ProtocolError:
        self._error = ProtocolError(message, status=status)
        return self._error
