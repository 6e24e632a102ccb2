"""An ASGI application as a handler: its scope, its messages as a streamed response, and its lifespan."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from cello.errors import CelloError, ClientDisconnected
from cello.gateways.mount_wsgi import take_over_fields
from cello.http.request import Request
from cello.http.response import Response

logger = logging.getLogger("cello")

LINGER_S = 5.0
"""How long the application may go on after its last answer, at shutdown."""

Message = MutableMapping[str, Any]
AsgiApp = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class AsgiMount:
    """Calls an ASGI application for requests below a prefix."""

    def __init__(self, prefix: str, app: AsgiApp) -> None:
        self._prefix = prefix
        self._app = app
        self._state: dict[str, Any] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def handler(self, request: Request) -> Response:
        """Run the application in a task, up to the first piece of its answer's body."""
        answer = AsgiAnswer(request)
        task = asyncio.get_running_loop().create_task(self._run(answer, self._make_scope(request)))
        # The task outlives the answer: an application may go on after its last message.
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await answer.response(task)

    async def _run(self, answer: "AsgiAnswer", scope: Message) -> None:
        try:
            await self._app(scope, answer.receive, answer.send)
        except Exception as error:  # noqa: BLE001  # it is raised by the handler, or where the body is read
            answer.end(error)
        else:
            answer.end(None)

    def _make_scope(self, request: Request) -> Message:
        peer = request._peer
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version,
            "method": request.method,
            "scheme": request.scheme,
            "path": unquote(request.root_path) + request.path,
            "raw_path": (request.root_path + request.raw_path).encode("ascii"),
            "query_string": request.query_string.encode("ascii"),
            "root_path": unquote(request.root_path) + self._prefix,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": peer.client,
            "server": peer.server,
            "state": dict(self._state),
            "extensions": {},
        }

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the application's lifespan protocol; one that does not know it is served without."""
        lifespan = MountLifespan(self._app)
        self._state = await lifespan.start()
        try:
            yield
        finally:
            if self._running:
                _, late = await asyncio.wait(set(self._running), timeout=LINGER_S)
                for task in late:
                    task.cancel()
            await lifespan.stop()


class AsgiAnswer:
    """One exchange with an ASGI application."""

    def __init__(self, request: Request) -> None:
        self._chunks = aiter(request.stream())
        self._has_body_ended = False
        self._gone = asyncio.Event()
        self._start: Message | None = None
        self._has_body_begun = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(1)
        self._is_complete = False
        self._error: Exception | None = None

    async def receive(self) -> Message:
        """Give the application the next piece of the request's body, then wait for the client to go."""
        if not self._has_body_ended:
            try:
                chunk = await anext(self._chunks, b"")
            except ClientDisconnected:
                self._gone.set()
                return {"type": "http.disconnect"}
            self._has_body_ended = not chunk
            return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the answer; waits until the piece before it was sent on.

        Raises:
            OSError: The client has gone.
            CelloError: The message is out of order.
        """
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self._is_complete:
            await self._take(message)
        else:
            raise CelloError(f"the mounted ASGI application sent {kind!r} out of order")

    async def _take(self, message: Message) -> None:
        self._has_body_begun.set()
        if self._gone.is_set():
            await asyncio.sleep(0)  # an application that ignores the error must not keep the loop
            raise OSError("the client has gone")
        self._is_complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        if chunk:
            await self._room.acquire()
            self._pieces.put_nowait(chunk)
        if self._is_complete:
            self._pieces.put_nowait(None)

    def end(self, error: Exception | None) -> None:
        """Note that the application has returned, or raised."""
        if not self._is_complete:
            if self._gone.is_set():
                self._error = ClientDisconnected("the client left, and the mounted ASGI application went home")
            else:
                self._error = error or CelloError("the mounted ASGI application returned without a complete answer")
            self._pieces.put_nowait(None)
            if not self._has_body_begun.is_set():
                self._start = None  # nothing was sent of what it began: the error is the answer
                self._has_body_begun.set()
        elif error is not None:
            logger.error("the mounted ASGI application raised after its answer", exc_info=error)

    async def response(self, task: "asyncio.Task[None]") -> Response:
        """Return the answer once its body has begun; a cancelled request cancels the application."""
        try:
            await self._has_body_begun.wait()
        except asyncio.CancelledError:
            task.cancel()
            raise
        if self._start is None:
            raise self._error or CelloError("the mounted ASGI application gave no answer")
        response = Response.stream(self._body(), status=self._start["status"])
        fields = self._start.get("headers", ())
        take_over_fields(response, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields])
        return response

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await self._pieces.get()) is not None:
                self._room.release()
                yield piece
            if self._error is not None:
                raise self._error
        finally:
            self._gone.set()
            self._room.release()  # lets a `send` that waits go on; what it brings is dropped


class MountLifespan:
    """The lifespan protocol, from the server's side."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Run the start-up; return the state that requests get a copy of.

        Raises:
            CelloError: The application says that its start-up failed.
        """
        state: dict[str, Any] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(state))
        if not await self._pass("startup"):
            self._task = None
        return state

    async def stop(self) -> None:
        """Run the shutdown.

        Raises:
            CelloError: The application says that its shutdown failed.
        """
        if self._task is not None:
            await self._pass("shutdown")
            await self._task

    async def _run(self, state: dict[str, Any]) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        except Exception as error:  # noqa: BLE001  # the protocol's way to say that lifespan is not supported
            logger.debug("a mounted ASGI application knows no lifespan: %r", error)
        finally:
            self._from_app.put_nowait(None)

    async def _pass(self, stage: str) -> bool:
        await self._to_app.put({"type": f"lifespan.{stage}"})
        message = await self._from_app.get()
        if message is not None and message["type"] == f"lifespan.{stage}.failed":
            raise CelloError(f"the {stage} of a mounted ASGI application failed: {message.get('message', '')}")
        return message is not None
