"""The test client's way in through WSGI. The application runs between the checks of `wsgiref.validate`."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.validate import validator

from cello.testing.outgoing import Outgoing
from cello.testing.response import ResponseHead, TestResponse
from cello.testing.transport import Incoming, TransportError, body_chunks
from cello.testing.websocket import WebSocketDenied

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


COMMON_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})


class WsgiTransport:
    """Calls the application's WSGI callable on worker threads, as threaded WSGI servers do.

    Start-up is the gateway's business at the first call, so `open()` has the gateway do it and `close()` undoes it.
    """

    def __init__(
        self,
        app: WsgiApp,
        *,
        raise_errors: bool,
        client: tuple[str, int],
        start: Callable[[], object] | None = None,
        stop: Callable[[], object] | None = None,
    ) -> None:
        self._app = app
        self._checked_app = validator(app)
        self._raise_errors = raise_errors
        self._client = client
        self._start = start
        self._stop = stop
        self._threads: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Start the application."""
        self._threads = ThreadPoolExecutor(thread_name_prefix="cello-test-wsgi")
        if self._start is not None:
            await self._on_thread(self._start)

    async def close(self) -> None:
        """Shut the application down."""
        if self._stop is not None:
            await self._on_thread(self._stop)
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request; the body's iterator is asked for each chunk when the test asks."""
        call = Call(await self._make_environ(request))
        try:
            # The checks know no other methods, and warn of them.
            app = self._checked_app if request.method in COMMON_METHODS else self._app
            await self._on_thread(call.begin, app)
        except Exception:
            if self._raise_errors:
                raise
            return Incoming(500, [(b"content-type", b"text/plain")], body_chunks(b""), _nothing_to_close)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while (chunk := await self._on_thread(call.next_chunk)) is not None:
                    yield chunk if request.method != "HEAD" else b""
            finally:
                await close()

        async def close() -> None:
            await self._on_thread(call.close)

        return Incoming(call.status, call.fields, chunks(), close)

    async def connect(self, request: Outgoing) -> NoReturn:
        """Send the handshake as the request that it is: WSGI cannot carry more.

        Raises:
            WebSocketDenied: Always, with the answer.
        """
        incoming = await self.send(request)
        body = b"".join([chunk async for chunk in incoming.chunks])
        raise WebSocketDenied(TestResponse(ResponseHead(request, incoming.status, incoming.fields), body, []))

    async def settle(self) -> None:
        """Nothing to wait for: an answer is complete here when all that follows it has run."""

    async def _on_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def _make_environ(self, request: Outgoing) -> dict[str, Any]:
        url = urlsplit(request.url)
        environ: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": url.scheme,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(url.path or "/").decode("latin-1"),
            "REQUEST_URI": request.target,
            "QUERY_STRING": url.query,
            "SERVER_NAME": url.hostname or "",
            "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self._client[0],
            "REMOTE_PORT": str(self._client[1]),
        }
        if isinstance(request.body, bytes):
            environ["wsgi.input"] = io.BytesIO(request.body)
        elif isinstance(request.body, Iterable):
            environ["wsgi.input"] = PiecewiseInput(iter(request.body))
        else:
            environ["wsgi.input"] = io.BytesIO(b"".join([chunk async for chunk in body_chunks(request.body)]))
        for name, value in request.headers:
            if "_" in name:
                continue  # servers drop it: in an environ it could not be told from the name with hyphens
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = "HTTP_" + key
            joint = "; " if key == "HTTP_COOKIE" else ", "
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
        return environ


class Call:
    """One call of the application and the iterator that it returned."""

    status: int
    fields: list[tuple[bytes, bytes]]

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ
        self._iterable: Any = None
        self._iterator: Iterator[bytes] = iter(())
        self._first: bytes | None = None

    def begin(self, app: Callable[..., Iterable[bytes]]) -> None:
        """Call the application."""
        self._iterable = app(self._environ, self._start_response)
        self._iterator = iter(self._iterable)
        try:
            # An application may call start_response as late as when its first chunk is asked for.
            if not hasattr(self, "status"):
                self._first = next(self._iterator, b"")
            if not hasattr(self, "status"):
                raise TransportError("the application did not call start_response")
        except BaseException:
            self.close()
            raise

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info is not None:
            raise exc_info[1]
        self.status = int(status.split(" ", 1)[0])
        self.fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self._write

    def _write(self, chunk: bytes) -> None:
        raise TransportError("write() is not offered to tests: return an iterable")

    def next_chunk(self) -> bytes | None:
        """Return the next piece of the body, None at its end."""
        first, self._first = self._first, None
        return next(self._iterator, None) if first is None else first

    def close(self) -> None:
        """Tell the application that its answer was sent, or that the client left; once."""
        iterable, self._iterable = self._iterable, None
        if iterable is not None:
            close = getattr(iterable, "close", None)
            if close is not None:
                close()


class PiecewiseInput:
    """`wsgi.input` over an iterator of chunks: what a server gives for a chunked body."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes: what has arrived."""
        if size < 0:
            data, self._rest = self._rest + b"".join(self._chunks), b""
            return data
        if not self._rest:
            self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def readline(self, size: int = -1) -> bytes:
        """Return a line."""
        self._rest += b"".join(self._chunks)
        end = self._rest.find(b"\n") + 1 or len(self._rest)
        return self.read(end if size < 0 else min(end, size))

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Return all lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


async def _nothing_to_close() -> None:
    return None
