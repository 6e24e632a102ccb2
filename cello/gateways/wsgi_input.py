"""The body of a WSGI request, out of `wsgi.input`: whole, within the route's limit, or piece by piece as it is read."""

import importlib
from collections.abc import Callable

from cello.errors import BadRequest, ClientDisconnected, ContentTooLarge, HTTPError
from cello.gateways.wsgi_environ import Environ
from cello.http.body import Spool
from cello.http.request import Request
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.plan import Plan

CHUNK_BYTES = 65_536
CUT_SHORT = "The request ended before its body was complete."


class WsgiBody:
    """The unread body of a streamed route: reads `wsgi.input` piece by piece (a `BodySource`)."""

    __slots__ = ("_dispatcher", "_limit", "_read", "_received", "_remaining")

    def __init__(
        self, read: Callable[[int], bytes], length: int | None, limit_bytes: int, dispatcher: Dispatcher
    ) -> None:
        self._read = read
        self._remaining = length
        self._limit = limit_bytes
        self._received = 0
        self._dispatcher = dispatcher

    def read_blocking(self) -> bytes:
        """Return the next piece, b"" at the end.

        Raises:
            ContentTooLarge: More than the route's limit arrived.
            ClientDisconnected: The body ended before its Content-Length.
        """
        remaining = self._remaining
        if remaining == 0:
            return b""
        try:
            chunk = self._read(CHUNK_BYTES if remaining is None else min(CHUNK_BYTES, remaining))
        except OSError as error:
            raise ClientDisconnected("the request body could not be read to its end") from error
        if remaining is not None:
            if not chunk:
                raise ClientDisconnected("the request body ended before its Content-Length")
            self._remaining = remaining - len(chunk)
        elif not chunk:
            self._remaining = 0
        self._received += len(chunk)
        if self._received > self._limit:
            raise too_large(self._limit)
        return chunk

    async def read(self) -> bytes:
        """Do the same for an async handler: `wsgi.input` blocks, so a worker thread reads it."""
        return await self._dispatcher.threads.run(self.read_blocking)


def has_body(environ: Environ) -> bool:
    """Whether there may be a body: its length is told, or the host says where it ends, or it came in chunks."""
    if environ.get("CONTENT_LENGTH", "0") in ("0", ""):
        return "wsgi.input_terminated" in environ or "HTTP_TRANSFER_ENCODING" in environ
    return True


def take_body(environ: Environ, request: Request, plan: Plan, dispatcher: Dispatcher) -> None:
    """Put the body into the request, or its source when the route takes it unread.

    Raises:
        HTTPError: 400 for a bad or unfulfilled Content-Length, 411 for a length that nobody tells, 413 over the limit.
    """
    limit = plan.body_limit_bytes
    length = body_length(environ)
    if length == 0:
        return
    if length is not None and length > limit:
        raise too_large(limit)
    read = input_reader(environ, length)
    if plan.streams:
        request._source = WsgiBody(read, length, limit, dispatcher)
        return
    memory_limit = dispatcher.limits.max_spool_memory
    if length is not None and length <= memory_limit:
        request._body = read_exactly(read, length)
        return
    source = WsgiBody(read, length, limit, dispatcher)
    try:
        first = source.read_blocking()
        # PERF: hosts that end the input themselves announce no length, so each GET comes here: no spool for nothing.
        request._body = spooled(first, source, memory_limit) if first else first
    except ClientDisconnected as error:
        raise BadRequest(CUT_SHORT) from error


def spooled(first: bytes, source: WsgiBody, memory_limit_bytes: int) -> bytes | Spool:
    """Return the rest of a body after its first piece: as bytes, or as a file beyond the limit."""
    spool = Spool(memory_limit_bytes)
    try:
        spool.write(first)
        while chunk := source.read_blocking():
            spool.write(chunk)
    except BaseException:
        spool.close()
        raise
    if spool.is_on_disk:
        return spool
    body = spool.getvalue()
    spool.close()
    return body


def body_length(environ: Environ) -> int | None:
    """Return the body's length in bytes, or None when it ends where `wsgi.input` ends.

    Raises:
        HTTPError: 400 for a Content-Length that is no number; 411 when the host hands over a transfer coding undone.
    """
    declared: str = environ.get("CONTENT_LENGTH") or ""
    if declared:
        if not (declared.isascii() and declared.isdigit()):
            raise BadRequest("The Content-Length is not a number.")
        return int(declared)
    if environ.get("wsgi.input_terminated"):
        return None
    if environ.get("HTTP_TRANSFER_ENCODING"):
        if "uwsgi.version" in environ:
            return None
        raise HTTPError(411, "This server needs a Content-Length: it does not decode a chunked body.")
    return 0


def input_reader(environ: Environ, length: int | None) -> Callable[[int], bytes]:
    """Return what reads the body; uWSGI decodes chunks only by a function of its own."""
    if length is None and "uwsgi.version" in environ and not environ.get("wsgi.input_terminated"):
        chunked_read: Callable[[], bytes] = importlib.import_module("uwsgi").chunked_read
        return lambda size: chunked_read()
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    return read


def read_exactly(read: Callable[[int], bytes], length: int) -> bytes:
    """Return `length` bytes.

    Raises:
        BadRequest: The input ended before.
    """
    try:
        data = read(length)
        if len(data) == length:
            return data
        parts = [data]
        missing = length - len(data)
        while missing and parts[-1]:
            parts.append(read(missing))
            missing -= len(parts[-1])
    except OSError as error:
        raise BadRequest(CUT_SHORT) from error
    if missing:
        raise BadRequest(CUT_SHORT)
    return b"".join(parts)


def too_large(limit_bytes: int) -> ContentTooLarge:
    """Return the 413 of a body over its limit."""
    return ContentTooLarge(f"The request body is larger than {limit_bytes} bytes.")
