"""The head scanner on h11: pure Python, always there.

h11 also judges what some fields mean, with statuses and an order of its own, and rewrites them. One letter before
every name and a plain request line keep it to the lines; the meaning is for the rules of request_head.py. Its idea of
a field value is laxer than ours: control characters are looked for here.
"""

import re

import h11

from cello.errors import ProtocolError
from cello.http.head import FieldList
from cello.wire.request_line import parse_request_line

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def parse_head(head: bytes) -> tuple[str, str, int, FieldList]:
    """Scan one head; the contract is h1.py's."""
    method, target, minor, start = parse_request_line(head)
    if start == len(head) - 2:
        return method, target, minor, FieldList([])
    if b"\r\n:" in head:
        raise ProtocolError("a field has no name (RFC 9112 §5)")
    if _CONTROL.search(head, start):
        raise ProtocolError("a field holds a control character (RFC 9110 §5.5)")
    scanner = h11.Connection(h11.SERVER)
    scanner.receive_data(b"GET / HTTP/1.0\r\nx" + head[start:-4].replace(b"\r\n", b"\r\nx") + b"\r\n\r\n")
    try:
        event = scanner.next_event()
    except h11.RemoteProtocolError as error:
        raise ProtocolError(f"a field line is malformed (RFC 9112 §5): {error}") from None
    if not isinstance(event, h11.Request):
        raise ProtocolError("the field lines are malformed (RFC 9112 §5)")
    return method, target, minor, FieldList([(name[1:], value) for name, value in event.headers.raw_items()])
