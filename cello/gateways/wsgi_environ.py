"""The Request of a WSGI environ: its fields, who is at the other end, and the path as it came, where the host tells.

What WSGI cannot carry: the percent-encoded path. `PATH_INFO` is decoded, so `%2F` and `/` look alike, unless the host
also gives the request target as it came (`RAW_URI`: gunicorn; `REQUEST_URI`: uWSGI, waitress, mod_wsgi), which is used
where it agrees with `PATH_INFO`. A repeated header field arrives joined.
"""

from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cello.gateways.raw_path import PATH_SAFE, QUERY_SAFE, is_plain_path, raw_path_below
from cello.http.peer import Peer
from cello.http.request import Request

Environ = dict[str, Any]


class EnvironView(Peer):
    """A WSGI environ as the head object of its request (`cello.http.ports`) and as the connection's ends, in one.

    PERF: everything is looked up when somebody asks: a Peer with two tuples and two ports would cost 0.7 µs of a
    request's 5, a second view 0.15, and most handlers ask for neither.
    """

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    @property
    def scheme(self) -> str:  # type: ignore[override]  # read-only here
        """What the host says it speaks."""
        scheme: str = self._environ.get("wsgi.url_scheme", "http")
        return scheme

    @property
    def client(self) -> tuple[str, int] | None:  # type: ignore[override]  # read-only here
        """Address and port; None on a unix socket, port 0 where the host does not tell it."""
        address = self._environ.get("REMOTE_ADDR")
        port = self._environ.get("REMOTE_PORT", "")
        return (address, int(port) if port.isdigit() else 0) if address else None

    @property
    def server(self) -> tuple[str, int | None] | None:  # type: ignore[override]  # read-only here
        """Name and port of the host."""
        port = self._environ.get("SERVER_PORT", "")
        return (self._environ.get("SERVER_NAME", ""), int(port) if port.isdigit() else None)

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the field with this lower-case name; the host has joined repeated ones."""
        # SECURITY: `x_user` and `x-user` share one environ key, so only the name with hyphens is ever looked up:
        # a proxy that strips one spelling is not fooled by the other.
        if b"_" in name:
            return None
        key = name.decode("latin-1").upper().replace("-", "_")
        value = self._environ.get(key if key in _PLAIN_KEYS else "HTTP_" + key)
        return value.encode("latin-1") if value else (None if value is None or key in _PLAIN_KEYS else b"")

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of the field: one, since the host has joined them."""
        value = self.get(name)
        return [] if value is None else [value]

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return every field, with lower-case names: the spelling on the wire is lost in WSGI."""
        fields = []
        for key, value in self._environ.items():
            if key.startswith("HTTP_"):
                name = key[5:]
                if name in _PLAIN_KEYS:
                    continue
            elif key in _PLAIN_KEYS and value:
                name = key
            else:
                continue
            fields.append((name.replace("_", "-").lower().encode("latin-1"), value.encode("latin-1")))
        return fields


_PLAIN_KEYS = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


def make_request(environ: Environ, request_class: type[Request]) -> Request:
    """Build the Request of an environ; the body is not looked at."""
    get = environ.get
    protocol: str = get("SERVER_PROTOCOL", "HTTP/1.1")
    query: str = get("QUERY_STRING", "")
    view = EnvironView(environ)
    request = request_class.incoming(
        environ["REQUEST_METHOD"],
        raw_path_of(environ),
        query if query.isascii() else quote_from_bytes(query.encode("latin-1"), QUERY_SAFE),
        view,
        view,
        protocol[5:] if protocol.startswith("HTTP/") else "1.1",
    )
    if root := get("SCRIPT_NAME"):
        request.set_origin(root_path=quote_from_bytes(root.rstrip("/").encode("latin-1"), PATH_SAFE))
    return request


def raw_path_of(environ: Environ) -> str:
    """Return the percent-encoded path below SCRIPT_NAME.

    The target as it came is used only where it decodes to SCRIPT_NAME + PATH_INFO: middleware may have moved the
    border between those two, or rewritten the path.
    """
    path: str = environ.get("PATH_INFO") or "/"
    target: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if "%" not in target and is_plain_path(path):
        return path
    if target.startswith("/"):
        raw_path = target.partition("?")[0]
        if raw_path.isascii():
            raw_path = raw_path_below(environ.get("SCRIPT_NAME", "").encode("latin-1"), raw_path)
            if unquote_to_bytes(raw_path) == path.encode("latin-1"):
                return raw_path
    return quote_from_bytes(path.encode("latin-1"), PATH_SAFE)
