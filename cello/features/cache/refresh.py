"""The request that the application sends itself, to make an answer anew that was given out stale."""

from cello.http.head import FieldList
from cello.http.request import Request

_LEFT_OUT = frozenset({
    b"cache-control", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
    b"pragma", b"range",
})  # fmt: skip
_REMEMBERED = ("client_ip", "host", "request_id", "root_path", "scheme")


def renewed(request: Request) -> Request:
    """Return `request` as a plain GET: without conditions, ranges and wishes, and not yet answered."""
    head = FieldList([field for field in request._head.raw() if field[0].lower() not in _LEFT_OUT])
    copy = type(request).incoming("GET", request.raw_path, request.query_string, head, request._peer)
    copy.app = request.app
    known = request._memo or {}
    copy._remember().update({name: known[name] for name in _REMEMBERED if name in known})
    return copy
