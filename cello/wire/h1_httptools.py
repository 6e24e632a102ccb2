"""The head scanner on httptools (llhttp): the field lines go through the library, the request line does not.

llhttp knows a fixed list of methods and versions, so the request line is read by request_line.py and the library is
given a plain one. It would also judge what some fields mean, in its own order: one letter before every name keeps it
to the lines, and Content-Length, Transfer-Encoding, Connection and Upgrade to the rules of request_head.py.
"""

from httptools import HttpParserError, HttpRequestParser

from cello.errors import ProtocolError
from cello.http.head import FieldList
from cello.wire.request_line import parse_request_line


class HeadScanner:
    """The `parse_head` of one event loop; the contract is h1.py's.

    PERF: it keeps llhttp's parser, which is at its beginning again behind every complete head: making one costs more
    than half of a head with one field (2.7 → 1.2 µs; bench/micro/test_head.py). Hence one per loop: not for two threads
    at once.
    """

    __slots__ = ("_feed", "_fields", "_is_complete")

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._is_complete = False
        self._feed = HttpRequestParser(self).feed_data

    def __call__(self, head: bytes) -> tuple[str, str, int, FieldList]:
        """Scan one head."""
        method, target, minor, start = parse_request_line(head)
        if start == len(head) - 2:
            return method, target, minor, FieldList([])
        if b"\r\n:" in head:
            raise ProtocolError("a field has no name (RFC 9112 §5)")
        fields = self._fields = []
        self._is_complete = False
        try:
            self._feed(b"GET / HTTP/1.1\r\nx" + head[start:-4].replace(b"\r\n", b"\r\nx") + b"\r\n\r\n")
        except HttpParserError as error:
            self._feed = HttpRequestParser(self).feed_data
            raise ProtocolError(f"a field line is malformed (RFC 9112 §5): {error}") from None
        if not self._is_complete:
            self._feed = HttpRequestParser(self).feed_data
            raise ProtocolError("the field lines are malformed (RFC 9112 §5)")
        return method, target, minor, FieldList(fields)

    # What llhttp calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; llhttp leaves the blanks behind a value on it."""
        self._fields.append((name[1:], value.rstrip(b" \t")))

    def on_message_complete(self) -> None:
        """Note that the head was understood to its end, and that the parser is at its beginning again."""
        self._is_complete = True
