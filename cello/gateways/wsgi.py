"""The application as a WSGI callable (PEP 3333).

Strategy: read the body from `wsgi.input` within the route's limit, let the pipeline answer on the calling thread
(only async steps go through the portal), and return what the payload is: a list for bytes, the host's file wrapper for
whole files, an iterator for streams. Clean-ups and background tasks run in `close()`, after the answer was sent.

What WSGI cannot carry: the percent-encoded path. `PATH_INFO` is decoded, so `%2F` and `/` look alike, unless the host
also gives the request target as it came (`RAW_URI`: gunicorn; `REQUEST_URI`: uWSGI, waitress, mod_wsgi), which is used
where it agrees with `PATH_INFO`. A repeated header field arrives joined.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from time import perf_counter
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cello.errors import BadRequest, ClientDisconnected, ContentTooLarge, HTTPError, phrase
from cello.gateways.hosted import HostedStart, ServedApp
from cello.gateways.live import SteadyChunks, ThreadSteps
from cello.gateways.portal import Portal
from cello.gateways.raw_path import PATH_SAFE, QUERY_SAFE, is_plain_path, raw_path_below
from cello.http.body import Spool
from cello.http.peer import Peer
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.course import Unfinished
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.plan import Plan
from cello.pipeline.threads import WorkerThreads

Environ = dict[str, Any]
CHUNK_BYTES = 65_536
CUT_SHORT = "The request ended before its body was complete."

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class StartResponse(Protocol):
    """`start_response` of PEP 3333."""

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], Any]:
        """Begin the answer."""


class WsgiGateway:
    """The WSGI callable of an application; safe to call from many threads and in forked workers.

    The first call of a process runs the start-up hooks and freezes the application; the shutdown hooks run when the
    process exits (`HostedStart`).
    """

    def __init__(self, app: ServedApp) -> None:
        self.portal = Portal()
        self._start = HostedStart(app, self.portal)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        dispatcher = self._start.dispatcher
        if dispatcher is None or self._start.pid != os.getpid():
            dispatcher = self.open()
            if environ.get("wsgi.multiprocess"):
                self._start.note_other_processes()
        request = make_request(environ, dispatcher.request_class)
        plan = dispatcher.plan_for(request)
        try:
            if has_body(environ):
                take_body(environ, request, plan, dispatcher)
            if plan.is_async:
                response = dispatcher.answer_portal(plan, request, self.portal)
            else:
                started_s = perf_counter()
                response = dispatcher.answer(plan, request)
                took_s = perf_counter() - started_s
                if took_s > plan.offload.timeout_s:
                    plan.offload.overran(took_s)
        except HTTPError as error:  # of the body: answers to errors of the application are responses already
            response = dispatcher.refuse(error, request)
        except Unfinished as unfinished:
            response = self.portal.run(unfinished.rest)
        payload = response.payload
        body: Iterable[bytes]
        if payload.__class__ is bytes and request._afterwork is None and response.background is None:
            body = [payload] if payload else []
        else:
            body = self._make_body(environ, dispatcher, request, response)
        status = response.status
        start_response(
            _STATUS_LINES.get(status) or f"{status} {phrase(status)}",
            [(name.decode(), value.decode("latin-1")) for name, value in response.fields()],
        )
        return body

    def open(self) -> Dispatcher:
        """Start the application now instead of at the first call."""
        return self._start.run_blocking()

    def close(self) -> None:
        """Run the shutdown hooks and end the portal now instead of at exit; the next call starts anew."""
        self._start.stop()

    def _make_body(
        self, environ: Environ, dispatcher: Dispatcher, request: Request, response: Response
    ) -> Iterable[bytes]:
        payload = response.payload
        finish: Callable[[], None] | None = None
        if dispatcher.needs_finish(request, response):

            def finish() -> None:
                dispatcher.finish_portal(request, response, self.portal)

        if isinstance(payload, bytes):
            chunks = [payload] if payload else []
            return chunks if finish is None else Body(iter(chunks), None, finish)
        if isinstance(payload, FilePayload):
            file_wrapper = environ.get("wsgi.file_wrapper")
            # Hosts send a wrapped file to its end, uWSGI even from its start: ranges are read here instead.
            if file_wrapper is not None and payload.is_whole_file():
                return cast(Iterable[bytes], file_wrapper(WholeFile(payload.open(), finish), CHUNK_BYTES))
            return Body(payload.chunks(), payload.close, finish)
        return self._stream(payload, dispatcher.long_threads, finish)

    def _stream(self, payload: StreamPayload, threads: WorkerThreads, finish: Callable[[], None] | None) -> "Body":
        idle = payload.idle
        after_s = None if idle is None else idle.after_s
        iterator: Any = self.portal.iterate(payload.iterator) if payload.is_async else payload.iterator
        if idle is not None and after_s is not None:
            iterator = SteadyChunks(iterator if payload.is_async else ThreadSteps(iterator, threads), idle, after_s)
        return Body(iterator, getattr(iterator, "close", None), finish)


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


class Body(Iterator[bytes]):
    """The answer's body as an iterator whose `close()` ends the source first and then finishes the request."""

    __slots__ = ("_chunks", "_close_source", "_finish")

    def __init__(
        self,
        chunks: Iterator[bytes],
        close_source: Callable[[], None] | None,
        finish: Callable[[], None] | None,
    ) -> None:
        self._chunks = chunks
        self._close_source = close_source
        self._finish = finish

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Called by the host once, whether the answer was sent or the client left (PEP 3333)."""
        close_source, self._close_source = self._close_source, None
        finish, self._finish = self._finish, None
        try:
            if close_source is not None:
                close_source()
        finally:
            if finish is not None:
                finish()


class WholeFile:
    """An open file for the host's `wsgi.file_wrapper`, whose `close()` also finishes the request."""

    def __init__(self, file: BinaryIO, finish: Callable[[], None] | None) -> None:
        self._file = file
        self._finish = finish
        self.read = file.read
        self.fileno = file.fileno
        self.seek = file.seek
        self.tell = file.tell

    def close(self) -> None:
        """Close the file, then run the clean-ups."""
        self._file.close()
        finish, self._finish = self._finish, None
        if finish is not None:
            finish()


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
