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
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from cello.errors import BadRequest, ClientDisconnected, ConfigError, HTTPError, ServiceUnavailable
from cello.gateways.asgi_scope import Scope, make_request
from cello.gateways.asgi_sending import SEND_FAILED, send_payload
from cello.gateways.hosted import HostedStart, ServedApp
from cello.gateways.inbox import Inbox, Receive, run_unless_gone
from cello.gateways.live import Send
from cello.gateways.portal import Portal
from cello.http.body import Spool
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import TOOK_TOO_LONG, Unfinished, abandon
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.plan import Plan

# PERF: an answer this small is taken by the socket as a rule; watching the sending of each would take 0.5 µs.
UNWATCHED_BYTES = 65_536

# Methods whose requests have no body worth announcing: their Content-Length is not looked for, which takes 0.4 µs.
_MOSTLY_BODILESS = frozenset({"GET", "HEAD"})

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
