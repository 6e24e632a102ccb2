"""A WSGI application as a handler: the environ it is called with, and its answer as a streamed response."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from cello.errors import CelloError
from cello.gateways.raw_path import raw_path_below
from cello.http.request import Request
from cello.http.response import Response

PLAIN_KEYS = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection", "te", "trailer"}
)


class WsgiMount:
    """Calls a WSGI application for requests below a prefix."""

    def __init__(self, prefix: str, app: Callable[[dict[str, Any], Any], Iterable[bytes]]) -> None:
        self._prefix = prefix
        self._app = app

    def handler(self, request: Request) -> Response:
        """Call the application on this thread; the answer's body is fetched from it as it is sent."""
        answer = WsgiAnswer()
        answer.run(self._app, make_environ(request, self._prefix))
        return answer.response()


class WsgiAnswer(Iterator[bytes]):
    """What one call of a WSGI application gives: `start_response`, `write`, and the iterable."""

    def __init__(self) -> None:
        self._status = 0
        self._fields: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._iterable: Any = None
        self._iterator: Iterator[bytes] = iter(())

    def run(self, app: Callable[[dict[str, Any], Any], Iterable[bytes]], environ: dict[str, Any]) -> None:
        """Call the application, up to its first piece of body: only then its status is final (PEP 3333).

        Raises:
            CelloError: It never called `start_response`.
        """
        self._iterable = app(environ, self._start_response)
        try:
            self._iterator = iter(self._iterable)
            while not any(self._written):
                chunk = next(self._iterator, None)
                if chunk is None:
                    break
                self._written.append(chunk)
            if not self._status:
                raise CelloError("the mounted WSGI application did not call start_response")
        except BaseException:
            self.close()
            raise

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        try:
            if exc_info and any(self._written):
                raise exc_info[1].with_traceback(exc_info[2])
        finally:
            exc_info = None  # no circle through the traceback
        self._status = int(status.split(" ", 1)[0])
        self._fields = list(headers)
        return self._written.append

    def response(self) -> Response:
        """Return the answer; its iterator is this object."""
        response = Response.stream(self, status=self._status)
        take_over_fields(response, self._fields)
        return response

    def __next__(self) -> bytes:
        if self._written:
            return self._written.pop(0)
        return next(self._iterator)

    def close(self) -> None:
        """Tell the application that its answer was sent, or given up."""
        iterable, self._iterable = self._iterable, None
        close = getattr(iterable, "close", None)
        if close is not None:
            close()


def take_over_fields(response: Response, fields: Iterable[tuple[str, str]]) -> None:
    """Give a response the fields of a foreign answer, without those of its connection (RFC 9110 §7.6.1)."""
    response.headers.clear()
    for name, value in fields:
        if name.lower() not in HOP_BY_HOP:
            response.headers.append(name, value)


class BodyInput:
    """`wsgi.input` over a body that is still on its way; it ends where the body ends."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int | None = -1) -> bytes:
        """Return `size` bytes, fewer only at the end; all of them for -1."""
        parts = [self._rest]
        have = len(self._rest)
        while size is None or size < 0 or have < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        return self._take(b"".join(parts), have if size is None or size < 0 else size)

    def readline(self, size: int | None = -1) -> bytes:
        """Return up to the end of the line, or `size` bytes."""
        data = self._rest
        while b"\n" not in data and (size is None or size < 0 or len(data) < size):
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            data += chunk
        end = data.find(b"\n") + 1 or len(data)
        return self._take(data, end if size is None or size < 0 else min(end, size))

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Return the lines up to about `hint` bytes."""
        lines, have = [], 0
        for line in self:
            lines.append(line)
            have += len(line)
            if hint is not None and 0 < hint <= have:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _take(self, data: bytes, size: int) -> bytes:
        self._rest = data[size:]
        return data[:size]


def make_environ(request: Request, prefix: str) -> dict[str, Any]:
    """Return the environ of a request, as seen below `prefix`."""
    peer = request._peer
    host, port = peer.server or ("localhost", None)
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": BodyInput(iter(request.stream())),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": unquote_to_bytes(request.root_path).decode("latin-1") + prefix,
        "PATH_INFO": unquote_to_bytes(path_below(request.raw_path, prefix)).decode("latin-1"),
        "QUERY_STRING": request.query_string,
        "REQUEST_URI": request.root_path
        + request.raw_path
        + (f"?{request.query_string}" if request.query_string else ""),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or (443 if request.scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "SERVER_SOFTWARE": "cello",
    }
    if peer.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer.client[0], str(peer.client[1])
    for name, value in request.headers.raw:
        lower = name.lower()
        # SECURITY: "x_user" would be taken for the "x-user" that a proxy vouches for; servers drop it, and so do we.
        if b"_" in lower:
            continue
        key = PLAIN_KEYS.get(lower) or "HTTP_" + lower.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        joint = "; " if lower == b"cookie" else ", "
        environ[key] = f"{environ[key]}{joint}{text}" if key in environ else text
    return environ


def path_below(raw_path: str, prefix: str) -> str:
    """Return the encoded path below a mount's prefix; "" for the prefix itself."""
    if raw_path.startswith(prefix):
        return raw_path[len(prefix) :]
    below = raw_path_below(prefix.encode(), raw_path)
    return below if below != "/" or raw_path.endswith("/") else ""
