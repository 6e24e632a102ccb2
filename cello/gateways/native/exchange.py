"""One request and its answer: where the handler runs, how its answer leaves, and what is done afterwards.

Quick `def` handlers are answered right here, in the middle of `data_received`, with no task. Everything else has one
task, `_converse`, in a context of its own: it awaits the answer, sends what takes time, and finishes the request. Eager
tasks (3.12+) that never wait are done when they are made.

Rule 1: the connection hears `exchange_over` exactly once, when the next request may be answered.
Rule 2: whatever happened, an iterator in the answer is closed and `finish` runs: with or without a client.
"""

import asyncio
import logging
from collections.abc import Awaitable
from time import perf_counter

from cello.errors import ClientDisconnected, HTTPError, ServiceUnavailable
from cello.gateways.native.link import LARGE_BYTES, Link
from cello.gateways.native.request_body import RequestBody
from cello.gateways.native.sending import BodyWriter, close_payload, send_file, send_iterator
from cello.gateways.native.tasks import start_task
from cello.http.body import Spool
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.course import TOOK_TOO_LONG, Unfinished, abandon
from cello.pipeline.plan import Plan
from cello.wire.response_head import response_head

SMALL_FILE_BYTES = 65_536
"""A file up to here is read where we are, and leaves in one write with its head."""

logger = logging.getLogger("cello")


class Exchange:
    """One request on its way to an answer.

    Args:
        link: The connection.
        request: Its body is set before `start`.
        plan: How it is answered.
        keep_alive: Whether the client, and the connection's count of requests, let the connection live on.
        owes_continue: The client waits for 100 before it sends the body.

    Attributes:
        source: The body of a streamed request.
    """

    __slots__ = (
        "_is_abandoned",
        "_is_cancelled",
        "_is_over",
        "_is_retired",
        "_is_sending",
        "_link",
        "_task",
        "_writer",
        "keep_alive",
        "owes_continue",
        "plan",
        "request",
        "source",
    )

    def __init__(
        self, link: Link, request: Request, plan: Plan, *, keep_alive: bool, owes_continue: bool = False
    ) -> None:
        self._link = link
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._is_abandoned = False  # the client was told 503; the answer, when it comes, is dropped
        self._is_cancelled = False  # by us, because the client has gone
        self._is_sending = False
        self._is_retired = False
        self._writer: BodyWriter | None = None
        self.request = request
        self.plan = plan
        self.keep_alive = keep_alive
        self.owes_continue = owes_continue
        self.source: RequestBody | None = None

    def start(self) -> None:
        """Answer: now, or in a task."""
        plan, dispatcher = self.plan, self._link.state.dispatcher
        if plan.is_async:
            self._run(dispatcher.answer_async(plan, self.request))
            return
        if plan.offload.on_thread or self.source is not None:
            self._run(self._answer_on_thread())
            return
        started = perf_counter()
        try:
            response = dispatcher.answer(plan, self.request)
        except Unfinished as unfinished:
            self.go_on(unfinished)
            return
        plan.offload.held(perf_counter() - started)
        self.deliver(response)

    def start_unread(self) -> None:
        """Answer, with the body left for the handler to read."""
        self.source = self.request._source = RequestBody(self._link)
        self.start()

    def go_on(self, unfinished: Unfinished) -> None:
        """Answer with what a plain handler began and a loop must finish."""
        self._run(unfinished.rest)

    def deliver(self, response: Response) -> None:
        """Send an answer that is there, and finish the request."""
        if not self._send_at_once(response):
            self._run(_ready(response))
            return
        self._end()
        if self._has_afterwork(response):
            self._link.flush()
            self._link.state.spawn(self._finish(response))

    # -- what the connection reports --

    def client_sends_no_more(self) -> None:
        """React to half a goodbye: who asked to be cancelled is; a body is cut short; others are answered.

        Most clients that do this have gone altogether, but only writing to them shows it. A live stream does so at
        once, by what keeps it alive; any other one that stays silent is given up after the idle timeout.
        """
        if self.source is not None:
            self.source.wake()  # it reads what has come, and then fails
        if self.plan.cancel_on_disconnect:
            self._cancel()
        elif self._is_sending:
            if self._writer is not None and self._writer.break_silence():
                self._link.flush()
            else:
                self._link.answer_is_due(self._link.state.dispatcher.timeouts.idle)

    def client_is_gone(self) -> None:
        """Cancel what only served this client; other handlers run to their end, and their answer is dropped."""
        if self.source is not None:
            self.source.fail(ClientDisconnected("the client left before its request was complete"))
        if self._is_sending or self.plan.cancel_on_disconnect:
            self._cancel()

    def on_deadline(self) -> None:
        """Look at the time: of a body that is awaited, of a threaded handler, of a stream to nobody."""
        link, source = self._link, self.source
        if source is not None and source.is_awaited:
            if source.pace is not None and source.pace.is_too_slow(link.state.now):
                self.keep_alive = False
                source.fail(HTTPError(408, "The request body came too slowly."))
        elif link.deadline == 0.0:  # nobody reads the body now: the time of a threaded handler starts
            self._watch_thread()
        elif self._is_sending:
            if self._writer is None or not self._writer.break_silence():
                self._cancel()
        else:
            self._abandon()

    def retire(self) -> None:
        """End a stream that could go on for ever, since the worker is to end: its client comes back to another one."""
        if self._writer is not None and self._writer.is_live and not self._is_retired:
            self._is_retired = True
            self._cancel()

    # -- the task --

    def _run(self, answering: Awaitable[Response]) -> None:
        link = self._link
        link.answer_is_due(None)
        task = start_task(self._converse(answering), link.state.loop)
        if not task.done():
            self._task = task
            link.state.keep(task)

    async def _converse(self, answering: Awaitable[Response]) -> None:
        response: Response | None = None
        try:
            response = await answering
            if self._is_abandoned:
                self._link.state.abandoned_handlers += 1
            elif not self._send_at_once(response):
                await self._send_slowly(response)
        except ClientDisconnected:
            self.keep_alive = False
        except asyncio.CancelledError:
            if self._is_of_the_handlers_own_making():
                logger.error("the handler of %s %s raised CancelledError", self.request.method, self.request.path)
                self._refuse(HTTPError(500))
            elif self._is_retired and self._writer is not None:
                self.keep_alive = False
                self._writer.end()
            else:
                self.keep_alive = False
                self._link.abort()
                if not self._is_cancelled:
                    raise
        except Exception:
            # The head has left, so the client can only learn of it by an end in the middle.
            logger.exception("sending the answer to %s %s failed", self.request.method, self.request.path)
            self.keep_alive = False
            self._link.abort()
        finally:
            if response is not None and not isinstance(response.payload, bytes) and not self._is_sending:
                await close_payload(response.payload, self._link.state.dispatcher.threads)
            self._end()
            if self._has_afterwork(response):
                await self._finish(response)

    def _is_of_the_handlers_own_making(self) -> bool:
        """Whether a cancellation was raised by the handler: nobody asked for it, and nothing was sent."""
        task = asyncio.current_task()
        return task is not None and not task.cancelling() and not self._is_sending

    async def _answer_on_thread(self) -> Response:
        dispatcher, plan = self._link.state.dispatcher, self.plan
        self._watch_thread()
        try:
            return await dispatcher.threads.run(plan.offload.watch, dispatcher.answer, plan, self.request)
        except Unfinished as unfinished:
            response: Response = await unfinished.rest
            return response

    def _watch_thread(self) -> None:
        # The pipeline watches over async handlers itself.
        self._link.answer_is_due(None if self.plan.is_async or self._is_sending else self.plan.timeout_s)

    def _abandon(self) -> None:
        """Tell the client that a threaded handler took too long; it cannot be stopped."""
        self._is_abandoned = True
        self.keep_alive = False
        if self.source is not None:
            self.source.fail(ClientDisconnected("the handler took too long, and the client was told so"))
        self._refuse(ServiceUnavailable(TOOK_TOO_LONG))
        abandon(self.request, self.plan.offload.on_abandoned)
        self._end()

    def _cancel(self) -> None:
        if self._task is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._task.cancel()

    # -- the answer --

    def _send_at_once(self, response: Response) -> bool:
        """Queue an answer that is bytes, or a small file; False when it takes longer."""
        payload = response.payload
        if isinstance(payload, bytes):
            if len(payload) < LARGE_BYTES:
                self._link.queue(self._head(response) + payload)
            else:
                self._link.queue(self._head(response), payload)
            return True
        if isinstance(payload, FilePayload) and payload.length <= SMALL_FILE_BYTES:
            try:
                body = b"".join(payload.chunks())
            except OSError as error:
                self._refuse_file(error, payload)
            else:
                self._link.queue(self._head(response), body)
            return True
        return False

    async def _send_slowly(self, response: Response) -> None:
        """Send a file or an iterator piece by piece."""
        link, dispatcher = self._link, self._link.state.dispatcher
        payload = response.payload
        if link.is_lost:
            return
        self._is_sending = True
        link.answer_is_due(None)
        if isinstance(payload, FilePayload):
            with payload.open() as file:
                link.queue(self._head(response))
                await send_file(link, file, payload, dispatcher.threads)
        elif isinstance(payload, StreamPayload):
            length = response.content_length
            chunked = length is None and self.request.http_version != "1.0"
            if length is None and not chunked:
                self.keep_alive = False  # the end of the connection is the end of the body
            writer = self._writer = BodyWriter(link, chunked=chunked, length=length, idle=payload.idle)
            link.queue(self._head(response, chunked=chunked))
            writer.watch_silence()
            await send_iterator(writer, payload, dispatcher.long_threads if writer.is_live else dispatcher.threads)

    def _head(self, response: Response, *, chunked: bool = False) -> bytes:
        link = self._link
        # A client that still waits for 100 may or may not send the body: nobody knows where the next request begins.
        self.keep_alive = self.keep_alive and not self.owes_continue and link.may_keep_alive()
        return response_head(
            response.status,
            response.fields(),
            link.state.common_fields,
            http_version=self.request.http_version,
            keep_alive=self.keep_alive,
            chunked=chunked,
        )

    def _refuse_file(self, error: OSError, payload: FilePayload) -> None:
        """Answer for a file that has vanished since the answer was made."""
        logger.error("cannot read %s: %s", payload.path, error)
        self._refuse(HTTPError(500))

    def _refuse(self, error: HTTPError) -> None:
        """Answer in place of the handler; what an exception handler made of it must be bytes."""
        if not self._send_at_once(self._link.state.dispatcher.refuse(error, self.request)):
            self.keep_alive = False
            self._link.abort()

    # -- afterwards --

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._link.exchange_over(self.keep_alive)

    def _has_afterwork(self, response: Response | None) -> bool:
        body = self.request._body
        return isinstance(body, Spool) or self._link.state.dispatcher.needs_finish(self.request, response)

    async def _finish(self, response: Response | None) -> None:
        dispatcher = self._link.state.dispatcher
        if dispatcher.needs_finish(self.request, response):
            await dispatcher.finish_async(self.request, response)
        if isinstance(self.request._body, Spool):
            self.request._body.close()


async def _ready(response: Response) -> Response:
    return response
