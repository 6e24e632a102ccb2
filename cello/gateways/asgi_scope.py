"""The Request of an ASGI scope: its path as it came, its fields, and who is at the other end."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from cello.gateways.raw_path import PATH_SAFE, QUERY_SAFE, is_plain_path, raw_path_below
from cello.http.head import FieldList
from cello.http.peer import Peer
from cello.http.request import Request

Scope = MutableMapping[str, Any]


def make_request(scope: Scope, request_class: type[Request]) -> Request:
    """Build the Request of a scope; the body is not looked at."""
    fields = scope["headers"]
    query: bytes = scope.get("query_string") or b""
    request = request_class.incoming(
        scope["method"],
        raw_path_of(scope),
        query.decode() if query.isascii() else quote_from_bytes(query, QUERY_SAFE),
        FieldList(fields if fields.__class__ is list else list(fields)),
        ScopePeer(scope),
        scope.get("http_version", "1.1"),
    )
    if root := scope.get("root_path"):
        request.set_origin(root_path=quote(root.rstrip("/"), PATH_SAFE))
    return request


class ScopePeer(Peer):
    """Who is at the other end, as the scope tells; looked up when somebody asks, as few do."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def scheme(self) -> str:  # type: ignore[override]  # read-only here
        """What the host says it speaks."""
        scheme: str = self._scope.get("scheme", "http")
        return scheme

    @property
    def client(self) -> tuple[str, int] | None:  # type: ignore[override]  # read-only here
        """Address and port; None where the host does not tell."""
        client = self._scope.get("client")
        return None if client is None else (client[0], client[1])

    @property
    def server(self) -> tuple[str, int | None] | None:  # type: ignore[override]  # read-only here
        """Name and port of the host; None where it does not tell."""
        server = self._scope.get("server")
        return None if server is None else (server[0], server[1])


def raw_path_of(scope: Scope) -> str:
    """Return the percent-encoded path below `root_path`.

    `raw_path` is optional, and middleware rewrites `path` without it, so it is used only where the two agree.
    """
    path: str = scope["path"] or "/"
    root: str = scope.get("root_path", "")
    raw: bytes = scope.get("raw_path") or b""
    if not root and path.isascii() and raw == path.encode() and b"%" not in raw:
        return path
    raw = raw.partition(b"?")[0]
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :] or "/"
    elif b"%" not in raw and is_plain_path(path):
        return path
    if raw and raw.isascii():
        raw_path = raw.decode("ascii")
        for candidate in (raw_path_below(root.encode(), raw_path), raw_path) if root else (raw_path,):
            if unquote_to_bytes(candidate).decode("utf-8", "replace") == path:
                return candidate
            if unquote_to_bytes(candidate) == path.encode("utf-8", "surrogateescape"):
                return candidate
    return quote(path, PATH_SAFE, errors="surrogateescape")
