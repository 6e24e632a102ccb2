"""The request line, for the tiers whose library knows only some methods, or none of our statuses."""

import re

from cello.errors import ProtocolError

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")


def parse_request_line(head: bytes) -> tuple[str, str, int, int]:
    """Return (method, target, minor, offset of the first field line); see h1.py for what they are.

    Raises:
        ProtocolError: 400 malformed, 505 not HTTP/1.
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise ProtocolError("the request line is malformed (RFC 9112 §3)")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise ProtocolError("the version is not HTTP/1 (RFC 9110 §15.6.6)", status=505)
    return method.decode("ascii"), target.decode("ascii"), 0 if minor == b"0" else 1, line.end()
