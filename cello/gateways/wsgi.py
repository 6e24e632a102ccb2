"""The application as a WSGI callable (PEP 3333).

Strategy: read the body from `wsgi.input` within the route's limit, let the pipeline answer on the calling thread
(only async steps go through the portal), and return what the payload is: a list for bytes, the host's file wrapper for
whole files, an iterator for streams. Clean-ups and background tasks run in `close()`, after the answer was sent.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from time import perf_counter
from typing import Any, BinaryIO, Protocol, cast

from cello.errors import HTTPError, phrase
from cello.gateways.hosted import HostedStart, ServedApp
from cello.gateways.live import SteadyChunks, ThreadSteps
from cello.gateways.portal import Portal
from cello.gateways.wsgi_environ import Environ, make_request
from cello.gateways.wsgi_input import CHUNK_BYTES, has_body, take_body
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.course import Unfinished
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.threads import WorkerThreads

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
