"""The test client's way in through ASGI. It is a strict host: messages out of order are errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from cello.testing.asgi_websocket import AsgiSocket
from cello.testing.outgoing import Outgoing
from cello.testing.transport import Incoming, TransportError, body_chunks

Message = dict[str, Any]
AsgiApp = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class AsgiTransport:
    """Runs the application's ASGI callable: its lifespan from `open()` to `close()`, and each request in a task."""

    def __init__(self, app: AsgiApp, *, raise_errors: bool, client: tuple[str, int]) -> None:
        self._app = app
        self._raise_errors = raise_errors
        self._client = client
        self._lifespan: Lifespan | None = None

    async def open(self) -> None:
        """Run the lifespan up to `startup.complete`."""
        self._lifespan = Lifespan(self._app)
        await self._lifespan.start()

    async def close(self) -> None:
        """Run the lifespan to its end."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.stop()

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request."""
        exchange = Exchange(request, raise_errors=self._raise_errors)
        exchange.begin(self._app, self._make_scope(request))
        await exchange.wait_for_head()
        return Incoming(exchange.status, exchange.fields, exchange.read(), exchange.leave)

    async def connect(self, request: Outgoing) -> AsgiSocket:
        """Open a WebSocket."""
        fields = [field for field in request.headers if field[0].lower() == "sec-websocket-protocol"]
        scope = self._make_scope(request)
        del scope["method"]
        scope |= {
            "type": "websocket",
            "scheme": {"https": "wss"}.get(scope["scheme"], "ws"),
            "subprotocols": [name.strip() for _, value in fields for name in value.split(",")],
            "extensions": {"websocket.http.response": {}},
        }
        return await AsgiSocket(raise_errors=self._raise_errors).begin(self._app, scope, request)

    async def settle(self) -> None:
        """Nothing to wait for: an answer is complete here when all that follows it has run."""

    def _make_scope(self, request: Outgoing) -> Message:
        url = urlsplit(request.url)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": unquote(url.path or "/"),
            "raw_path": (url.path or "/").encode("ascii"),
            "query_string": url.query.encode("ascii"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers
            ],
            "client": self._client,
            "server": (url.hostname or "", url.port or (443 if url.scheme == "https" else 80)),
            "extensions": {},
        }  # fmt: skip


class Exchange:
    """One request and its answer, between the application's task and the test's."""

    status: int
    fields: list[tuple[bytes, bytes]]

    def __init__(self, request: Outgoing, *, raise_errors: bool) -> None:
        self._request = request
        self._raise_errors = raise_errors
        self._body = body_chunks(request.body)
        self._pending: bytes | None = b""
        self._left = asyncio.Event()
        self._head_arrived = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(1)
        self._has_started = False
        self._is_complete = False
        self._has_body_ended = False
        self._task: asyncio.Task[None]

    def begin(self, app: AsgiApp, scope: Message) -> None:
        """Start the application's task."""
        self._task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: AsgiApp, scope: Message) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self._raise_errors or self._has_started:
                raise
            self.status, self.fields = 500, [(b"content-type", b"text/plain")]
            self._is_complete = True
        finally:
            self._left.set()
            self._head_arrived.set()
            self._chunks.put_nowait(None)

    async def wait_for_head(self) -> None:
        """Wait until the answer has begun, as a client would see it: with the first body message."""
        try:
            await self._head_arrived.wait()
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait({self._task})
            raise
        if self._task.done() and not self._is_complete:
            await self._task
            raise TransportError("the application returned without an answer")

    async def receive(self) -> Message:
        """Give the application its next message."""
        if self._has_body_ended:
            await self._left.wait()
            return {"type": "http.disconnect"}
        if isinstance(self._request.body, bytes):
            self._has_body_ended = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        async for chunk in self._body:
            return {"type": "http.request", "body": chunk, "more_body": True}
        self._has_body_ended = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        """Take a message from the application."""
        kind = message["type"]
        if self._is_complete:
            raise TransportError(f"the application sent {kind!r} after the answer was complete")
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            await self._continue(message)
        else:
            raise TransportError(f"the application sent {kind!r}, which the host did not offer")

    def _start(self, message: Any) -> None:
        if self._has_started:
            raise TransportError("the application started its answer twice")
        self._has_started = True
        self.status = message["status"]
        self.fields = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        for name, _ in self.fields:
            if name != name.lower():
                raise TransportError(f"ASGI header names are lower-case, not {name!r}")

    async def _continue(self, message: Any) -> None:
        if not self._has_started:
            raise TransportError("the application sent a body before the start of its answer")
        chunk: bytes = message.get("body", b"")
        if not isinstance(chunk, bytes):
            raise TransportError(f"an ASGI body is bytes, not {type(chunk).__name__}")
        self._is_complete = not message.get("more_body", False)
        self._head_arrived.set()
        if self._left.is_set():
            return  # as servers do: what is sent to a client that has gone is dropped
        if chunk and self._request.method != "HEAD":
            await self._room.acquire()  # the reader has taken the chunk before, or has left
            self._chunks.put_nowait(chunk)
        if self._is_complete:
            self._chunks.put_nowait(None)

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the body, then wait for the application to end: its background tasks have run then."""
        while (chunk := await self._chunks.get()) is not None:
            self._room.release()
            yield chunk
        await self._task
        if not self._is_complete:
            raise TransportError("the application returned before its answer was complete")

    async def leave(self) -> None:
        """Go away, and wait for the application to end."""
        self._left.set()
        self._room.release()
        await asyncio.wait({self._task})
        if self._raise_errors and not self._task.cancelled():
            await self._task


class Lifespan:
    """The application's lifespan in a task of its own."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._is_supported = True

    async def start(self) -> None:
        """Run the application's start-up."""
        self._task = asyncio.create_task(self._run())
        await self._expect("startup", self._task)

    async def stop(self) -> None:
        """Run its shutdown."""
        if self._is_supported and self._task is not None:
            await self._expect("shutdown", self._task)
            await self._task

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        finally:
            self._from_app.put_nowait(None)

    async def _expect(self, stage: str, task: "asyncio.Task[None]") -> None:
        await self._to_app.put({"type": f"lifespan.{stage}"})
        message = await self._from_app.get()
        if message is None:
            # An error before any message is the spec's way to say that an application does not know lifespan.
            self._is_supported = False
            if task.exception() is None:
                raise TransportError(f"the application ended its lifespan without lifespan.{stage}.complete")
        elif message["type"] == f"lifespan.{stage}.failed":
            await task
            raise TransportError(f"{stage} failed: {message.get('message', '')}")
        elif message["type"] != f"lifespan.{stage}.complete":
            raise TransportError(f"the application sent {message['type']!r} during {stage}")
