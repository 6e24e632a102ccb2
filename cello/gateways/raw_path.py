"""The percent-encoded path, from hosts that hand over a decoded one.

cello routes on the encoded path, so that `%2F` never splits a segment. WSGI and ASGI give the decoded path, and the
encoded one at most as a second, optional value that middleware may have left behind; each gateway compares the two.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

PATH_SAFE: Final = "/:@!$&'()*+,;=~-._"
"""What stays as it is when a decoded path is encoded again (RFC 3986 §3.3: pchar and the slash)."""

QUERY_SAFE: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What stays as it is in a query that holds bytes it should not: all of visible ASCII, `%` included."""

is_plain_path = re.compile(r"[A-Za-z0-9/:@!$&'()*+,;=~._-]*\Z").match
"""Whether a decoded path is its own encoded form."""


def raw_path_below(prefix: bytes, raw_path: str) -> str:
    """Return what follows a decoded prefix in an encoded path, or all of it where it does not start with the prefix."""
    end = 0
    for expected in prefix:
        width = 3 if raw_path[end : end + 1] == "%" else 1
        if unquote_to_bytes(raw_path[end : end + width]) != bytes((expected,)):
            return raw_path
        end += width
    return raw_path[end:] or "/"
