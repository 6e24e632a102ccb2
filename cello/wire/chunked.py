"""The chunked transfer coding, received (RFC 9112 §7.1).

Strict: a size is hexadecimal digits and nothing else, every line ends in CRLF, extensions follow their grammar.
Extensions and trailer fields are checked, bounded and dropped: nothing in a trailer may change what the head said.
"""

import re

from cello.errors import ProtocolError

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)\r\n" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILERS = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_MAX_SIZE_LINE_BYTES = 1024

_SIZE, _DATA, _DATA_END, _TRAILER, _END = range(5)


class ChunkedBody:
    """The decoder of one body.

    Args:
        max_trailer_bytes: Size of the trailer section; also how far extensions may outweigh the data in all.
        max_fields: Trailer fields.
    """

    __slots__ = ("_excess_bytes", "_max_fields", "_max_trailer_bytes", "_remaining", "_state", "received_bytes")

    def __init__(self, max_trailer_bytes: int, max_fields: int) -> None:
        self._max_trailer_bytes = max_trailer_bytes
        self._max_fields = max_fields
        self._state = _SIZE
        self._remaining = 0
        self._excess_bytes = 0
        self.received_bytes = 0

    def read(self, buffer: bytes, at: int) -> tuple[bytes | None, int]:
        """Decode from `at` on; return (chunk, offset behind what was used): None = more is needed, b"" = the end.

        Raises:
            ProtocolError: 400; 431 when the trailer section exceeds its limits.
        """
        while True:
            if self._state == _DATA:
                chunk = buffer[at : at + self._remaining]
                if not chunk:
                    return None, at
                self._remaining -= len(chunk)
                self.received_bytes += len(chunk)
                if not self._remaining:
                    self._state = _DATA_END
                return chunk, at + len(chunk)
            if self._state == _SIZE:
                line_end = self._read_size(buffer, at)
            elif self._state == _DATA_END:
                line_end = self._read_data_end(buffer, at)
            else:
                line_end = self._read_trailers(buffer, at)
            if not line_end:
                return None, at
            at = line_end
            if self._state == _END:
                return b"", at

    def _read_size(self, buffer: bytes, at: int) -> int:
        """Read a size line; return the offset behind it, 0 while it is incomplete."""
        line_end = buffer.find(b"\n", at, at + _MAX_SIZE_LINE_BYTES) + 1
        if not line_end:
            if len(buffer) - at >= _MAX_SIZE_LINE_BYTES:
                raise ProtocolError("a chunk size line is too long (RFC 9112 §7.1.1)")
            return 0
        line = _SIZE_LINE.fullmatch(buffer, at, line_end)
        if line is None:
            raise ProtocolError("a chunk size line is malformed (RFC 9112 §7.1)")
        self._remaining = int(line[1], 16)
        # SECURITY: one-byte chunks with long extensions make much work of little data.
        self._excess_bytes = max(0, self._excess_bytes + len(line[2]) - self._remaining)
        if self._excess_bytes > self._max_trailer_bytes:
            raise ProtocolError("chunk extensions outweigh the data (RFC 9112 §7.1.1)")
        self._state = _DATA if self._remaining else _TRAILER
        return line_end

    def _read_data_end(self, buffer: bytes, at: int) -> int:
        end = buffer[at : at + 2]
        if end == b"\r\n":
            self._state = _SIZE
            return at + 2
        if end and end != b"\r":
            raise ProtocolError("chunk data is longer than its size (RFC 9112 §7.1)")
        return 0

    def _read_trailers(self, buffer: bytes, at: int) -> int:
        """Read the trailer section; return the offset behind it, 0 while it is incomplete."""
        if buffer.startswith(b"\r\n", at):
            self._state = _END
            return at + 2
        end = buffer.find(b"\r\n\r\n", at) + 4
        size = (end if end >= 4 else len(buffer)) - at
        if _BARE_LF.search(buffer, at, min(at + size, at + self._max_trailer_bytes)):
            raise ProtocolError("a trailer line ends in a lone LF (RFC 9112 §2.2)")
        if size > self._max_trailer_bytes:
            raise ProtocolError(f"the trailer section exceeds {self._max_trailer_bytes} bytes", status=431)
        if end < 4:
            return 0
        if _TRAILERS.fullmatch(buffer, at, end) is None:
            raise ProtocolError("a trailer field is malformed (RFC 9112 §7.1.2)")
        if buffer.count(b"\n", at, end) - 1 > self._max_fields:
            raise ProtocolError(f"more than {self._max_fields} trailer fields", status=431)
        self._state = _END
        return end
