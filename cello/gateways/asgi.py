"""The application as an ASGI 3 callable.

Strategy: collect the body within the route's limit, let the pipeline answer (async plans in the host's own task, `def`
plans inline or on a worker thread, as their debt says), then send one start and one body message. The host is asked
about a disconnect only by those who want to know: `request.disconnected()`, `cancel_on_disconnect`, and streams, which
are cancelled when the client has gone.

Rule 1: nothing is received before the route wants it, and nothing is sent after the last body message.
Rule 2: clean-ups and background tasks run after that message, also when the client left or the host cancelled us.
"""

import asyncio
import functools
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from cello.errors import BadRequest, ClientDisconnected, ConfigError, HTTPError, ServiceUnavailable
from cello.gateways.hosted import HostedStart, ServedApp
from cello.gateways.inbox import Inbox
from cello.gateways.live import Heartbeat
from cello.gateways.portal import Portal, close_async_iterator
from cello.gateways.raw_path import PATH_SAFE, QUERY_SAFE, is_plain_path, raw_path_below
from cello.http.body import Spool
from cello.http.head import FieldList
from cello.http.peer import Peer
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.course import TOOK_TOO_LONG, Unfinished, abandon
from cello.pipeline.deadlines import within
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.plan import Plan
from cello.pipeline.threads import WorkerThreads

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHUNK_BYTES = 262_144
# PERF: a file this small is read where we are: a hop to a thread and back costs more than the page cache does.
INLINE_FILE_BYTES = 65_536
# PERF: an answer this small is taken by the socket as a rule; watching the sending of each would take 0.5 µs.
UNWATCHED_BYTES = 65_536
TURN_S = 0.01
"""How long a stream that never waits keeps the loop."""

# Methods whose requests have no body worth announcing: their Content-Length is not looked for, which takes 0.4 µs.
_MOSTLY_BODILESS = frozenset({"GET", "HEAD"})
SEND_FAILED = "the client left before its answer was sent"

_clock = time.perf_counter


class AsgiGateway:
    """The ASGI callable of an application.

    Under a host with the lifespan protocol, start-up hooks and freeze happen there; under others at the first request.
    """

    def __init__(self, app: ServedApp) -> None:
        self._app = app
        self._start = HostedStart(app, Portal())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope: http, websocket or lifespan."""
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        dispatcher = self._start.dispatcher
        if dispatcher is None:
            dispatcher = await self._start.run()
        request = make_request(scope, dispatcher.request_class)
        plan = dispatcher.plan_for(request)
        inbox = Inbox(receive, plan.body_limit_bytes, dispatcher)
        request._gateway = inbox
        response: Response | None = None
        # PERF: what most requests do is written out here, and only the rest is a coroutine of its own, which takes 0.15
        # of 5 µs to begin and end.
        try:
            try:
                if request.method in _MOSTLY_BODILESS and not plan.streams:
                    request._body = inbox.take(await receive())
                    if not inbox.is_complete:
                        await take_rest(request, inbox, dispatcher)
                else:
                    await take_body(request, inbox, plan, dispatcher)
                if plan.is_async or plan.streams or plan.offload.on_thread:
                    response = await answer(dispatcher, plan, request, inbox)
                else:
                    started = _clock()
                    response = dispatcher.answer(plan, request)
                    took = _clock() - started
                    offload = plan.offload
                    if took > offload.threshold_s or offload.debt_s:
                        offload.held(took)
            except HTTPError as error:
                # A new Request: the old one may still be in the hands of a thread that ran out of time.
                request = make_request(scope, dispatcher.request_class)
                response = dispatcher.refuse(error, request)
            except Unfinished as unfinished:
                response = await unfinished.rest
            if response is None:
                return
            payload = response.payload
            if payload.__class__ is bytes and len(payload) <= UNWATCHED_BYTES:
                try:
                    fields = [(name.lower(), value) for name, value in response.fields()]
                    await send({"type": "http.response.start", "status": response.status, "headers": fields})
                    await send({"type": "http.response.body", "body": payload})
                except OSError as error:
                    raise ClientDisconnected(SEND_FAILED) from error
            else:
                await send_payload(scope, send, dispatcher, response, inbox)
        except ClientDisconnected:
            return
        finally:
            inbox.close()
            if response is not None and (request._afterwork is not None or response.background is not None):
                await dispatcher.finish_async(request, response)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._serve_lifespan(receive, send)
        elif kind == "websocket":
            await self._serve_websocket(scope, receive, send)
        else:
            raise ConfigError(f"cello serves the ASGI scopes http, websocket and lifespan, not {kind!r}")

    def close(self) -> None:
        """Run the shutdown hooks now instead of at exit; for hosts without lifespan. The next call starts anew."""
        self._start.stop()

    def legacy(self, scope: Scope) -> Callable[[Receive, Send], Coroutine[Any, Any, None]]:
        """Return the instance of a scope, for hosts that speak ASGI 2."""
        return functools.partial(self, scope)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._app.lifecycle.startup()
            dispatcher = self._start.dispatcher = self._app.freeze()
        except Exception as error:
            # Some hosts show the message, some log what we raise, and all of them stop.
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._start.dispatcher = None
        try:
            await self._app.lifecycle.shutdown()
        except Exception as error:
            await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        else:
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            dispatcher.end_threads()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        from cello.gateways.asgi_websocket import serve_websocket  # few applications have a WebSocket

        dispatcher = self._start.dispatcher
        if dispatcher is None:
            dispatcher = await self._start.run()
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        fields = list(scope["headers"])
        offered: list[str] = scope.get("subprotocols") or []
        if offered and all(name != b"sec-websocket-protocol" for name, _ in fields):  # uvicorn takes it out
            fields.append((b"sec-websocket-protocol", ", ".join(offered).encode("latin-1")))
        request = make_request(
            {**scope, "method": "GET", "scheme": scheme, "headers": fields}, dispatcher.request_class
        )
        await serve_websocket(dispatcher, request, scope.get("extensions"), receive, send)


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


async def take_body(request: Request, inbox: Inbox, plan: Plan, dispatcher: Dispatcher) -> None:
    """Put the body into the request, or its source when the route takes it unread.

    Raises:
        HTTPError: 400 for a bad Content-Length, 413 over the limit.
        ClientDisconnected: The client left before the body was complete.
    """
    declared = request._head.get(b"content-length")
    if declared is not None:
        if not declared.isdigit():
            raise BadRequest("The Content-Length is not a number.")
        inbox.expect(int(declared))
    if plan.streams:
        inbox.lend()
        request._source = inbox
        return
    request._body = await inbox.read()
    if not inbox.is_complete:
        await take_rest(request, inbox, dispatcher)


async def take_rest(request: Request, inbox: Inbox, dispatcher: Dispatcher) -> None:
    """Put the whole body into the request, whose `_body` is the first piece of it.

    Raises:
        ContentTooLarge: There is too much of it.
        ClientDisconnected: The client left before the body was complete.
    """
    spool = Spool(dispatcher.limits.max_spool_memory)
    try:
        spool.write(request.body())
        while chunk := await inbox.read():
            spool.write(chunk)
    except BaseException:
        spool.close()
        raise
    if spool.is_on_disk:
        request._body = spool
    else:
        request._body = spool.getvalue()
        spool.close()


async def answer(dispatcher: Dispatcher, plan: Plan, request: Request, inbox: Inbox) -> Response | None:
    """Have the pipeline answer in a task or on a thread; None when the client has gone and the route wants to know.

    Raises:
        ServiceUnavailable: A handler on a thread took longer than the route allows.
    """
    if plan.is_async:
        if plan.cancel_on_disconnect:
            return await run_unless_gone(dispatcher.answer_async(plan, request), inbox)
        return await dispatcher.answer_async(plan, request)
    # A `def` handler that reads an unread body waits for this loop, so it must not run on it.
    return await answer_on_thread(dispatcher, plan, request)


async def answer_on_thread(dispatcher: Dispatcher, plan: Plan, request: Request) -> Response:
    """Have a worker thread answer; where nobody waits for it any more, it is left to finish alone.

    Raises:
        ServiceUnavailable: The route's time is up.
    """
    loop = asyncio.get_running_loop()

    def finish_alone(call: "Future[Response]") -> None:
        if not call.cancelled():
            finishing = finish_late(dispatcher, request, call)
            try:
                asyncio.run_coroutine_threadsafe(finishing, loop)
            except RuntimeError:  # the loop was closed meanwhile, so nothing can run on it
                finishing.close()

    call = dispatcher.threads.submit(plan.offload.watch, dispatcher.answer, plan, request)
    try:
        async with asyncio.timeout(plan.timeout_s):
            return await asyncio.wrap_future(call)
    except Unfinished as unfinished:
        finished: Response = await unfinished.rest
        return finished
    except TimeoutError:
        abandon(request, plan.offload.on_abandoned)
        call.add_done_callback(finish_alone)
        raise ServiceUnavailable(TOOK_TOO_LONG) from None
    except asyncio.CancelledError:
        call.add_done_callback(finish_alone)
        raise


async def finish_late(dispatcher: Dispatcher, request: Request, call: "Future[Response]") -> None:
    """Run the clean-ups and background tasks of an answer that nobody waited for."""
    try:
        response = call.result()
    except Unfinished as unfinished:
        response = await unfinished.rest
    await dispatcher.finish_async(request, response)


async def run_unless_gone(work: Coroutine[Any, Any, T], inbox: Inbox) -> T | None:
    """Run `work` in a task that is cancelled when the client goes; None then."""
    task = asyncio.get_running_loop().create_task(work)
    gone = inbox.watch()
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        if inbox.is_gone:
            return None
        raise asyncio.CancelledError
    return task.result()


def message_headers(response: Response) -> list[tuple[bytes, bytes]]:
    """Return the fields as ASGI wants them: names in lower case."""
    return [(name.lower(), value) for name, value in response.fields()]


async def send_payload(scope: Scope, send: Send, dispatcher: Dispatcher, response: Response, inbox: Inbox) -> None:
    """Send an answer that is a file or a stream.

    Raises:
        ClientDisconnected: `send` raised OSError, which is how a host says that the client has gone.
    """
    start = {"type": "http.response.start", "status": response.status, "headers": message_headers(response)}
    payload = response.payload
    # What raises an OSError besides, a file or a generator, is an error of the application.
    unwatched = functools.partial(send_to_client, send)
    send = functools.partial(send_in_time, send, dispatcher)
    if isinstance(payload, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": payload})
        return
    if isinstance(payload, FilePayload):
        try:
            await send(start)
            await send_file(scope.get("extensions") or {}, send, unwatched, dispatcher.threads, payload)
        finally:
            payload.close()
        return
    threads = dispatcher.threads if payload.idle is None else dispatcher.long_threads
    await run_unless_gone(send_stream(start, send, threads, payload), inbox)


async def send_to_client(send: Send, message: Message) -> None:
    """Send a message.

    Raises:
        ClientDisconnected: The client has gone.
    """
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnected(SEND_FAILED) from error


async def send_in_time(send: Send, dispatcher: Dispatcher, message: Message) -> None:
    """Send a message, for which the host waits until the client has taken enough of what came before.

    Raises:
        ClientDisconnected: The client has gone, or takes nothing.
    """
    wait_s = dispatcher.timeouts.write
    try:
        await within(dispatcher.stalls, wait_s, send(message))
    except TimeoutError:
        raise ClientDisconnected(f"the client took nothing of its answer for {wait_s:g} s") from None
    except OSError as error:
        raise ClientDisconnected(SEND_FAILED) from error


async def send_file(
    extensions: Any, send: Send, send_whole: Send, threads: WorkerThreads, payload: FilePayload
) -> None:
    """Send a file, or part of one: by the host's own means if it offers any, else in pieces.

    Args:
        extensions: Of the scope.
        send: For pieces.
        send_whole: For a message that stands for a whole file, which takes as long as it takes.
        threads: Read the file.
        payload: The file.
    """
    if payload.length and "http.response.zerocopysend" in extensions:
        with await threads.run(payload.open) as file:
            await send_whole({
                "type": "http.response.zerocopysend", "file": file, "offset": payload.offset, "count": payload.length,
            })  # fmt: skip
        return
    # SECURITY: a path that was opened with care may lead elsewhere when the host opens it again.
    if "http.response.pathsend" in extensions and payload.is_whole_file() and not payload.is_pinned:
        payload.close()
        await send_whole({"type": "http.response.pathsend", "path": absolute(payload.path)})
        return
    if payload.length <= INLINE_FILE_BYTES:
        await send({"type": "http.response.body", "body": b"".join(payload.chunks())})
        return
    await send_iterator(send, threads, payload.chunks(CHUNK_BYTES))
    await send({"type": "http.response.body", "body": b""})


def absolute(path: str) -> str:
    """Return a path as the extension wants it; no file is touched."""
    return os.path.abspath(path)


async def send_stream(start: Message, send: Send, threads: WorkerThreads, payload: StreamPayload) -> None:
    """Send an iterator's chunks one by one, and run its clean-up whatever happens."""
    idle = payload.idle
    if idle is None:
        await send_chunks(start, send, threads, payload)
    else:
        async with Heartbeat(send, idle) as steady:
            await send_chunks(start, steady, threads, payload)


async def send_chunks(start: Message, send: Send, threads: WorkerThreads, payload: StreamPayload) -> None:
    """Send an iterator's chunks as they come."""
    await send(start)
    if payload.is_async:
        iterator = payload.iterator
        yielded_at = _clock()
        try:
            async for chunk in iterator:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                # Neither a generator that is never short of data nor a `send` to a client that has gone need ever
                # wait; without a turn for others the loop would not even notice the disconnect.
                if _clock() - yielded_at > TURN_S:
                    await asyncio.sleep(0)
                    yielded_at = _clock()
        finally:
            await close_async_iterator(iterator)
    else:
        await send_iterator(send, threads, payload.iterator)
    await send({"type": "http.response.body", "body": b""})


async def send_iterator(send: Send, threads: WorkerThreads, iterator: Iterator[bytes]) -> None:
    """Send what a plain iterator yields; it may block, so a worker thread takes each step."""
    step = None
    try:
        while True:
            step = threads.submit(next, iterator, None)
            chunk = await asyncio.wrap_future(step)
            if chunk is None:
                return
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await asyncio.shield(asyncio.wrap_future(threads.submit(_close_after, step, close)))


def _close_after(step: Any, close: Callable[[], None]) -> None:
    """Close a generator once its last step has ended: one that is executing cannot be closed."""
    if step is not None and not step.cancelled():
        step.exception()
    close()
