"""One connection: bytes in, requests to their exchanges, answers out in order, and every way in which it can end.

The phases (link.py declares them):

    READY ──head──▶ BODY ──its end──▶ ANSWERING ──answer queued──▶ READY
      ▲               (streamed routes go to ANSWERING at once)      │
      └──────────── DISCARDING ◀── a short rest of an unread body ───┘
    any ──▶ LINGERING (our side closed, reading on until the client is done) ──▶ CLOSED
    ANSWERING ──▶ RETURNING (with a lane in front: the connection is about to go back to it; see adopted.py)

Rule 1: one exchange at a time. Pipelined bytes wait in the parser; beyond a bound the transport stops reading.
Rule 2: `_advance` is the only place that pulls heads. What is queued meanwhile leaves in one write at its end.
Rule 3: nothing of one request's context reaches the next: going on after a suspended exchange is scheduled in the
connection's own context, never done inside the exchange's task.
"""

import asyncio
import contextvars
from time import perf_counter
from typing import cast

from cello.errors import HTTPError, ProtocolError, ServiceUnavailable
from cello.gateways.native.exchange import Exchange
from cello.gateways.native.link import (
    ANSWERING,
    BODY,
    DISCARDING,
    LARGE_BYTES,
    LINGERING,
    NEVER,
    READY,
    RETURNING,
    Link,
)
from cello.gateways.native.request_body import Pace
from cello.gateways.native.state import IDLE_BEFORE_DRAIN_S, ServerState
from cello.http.body import Spool
from cello.http.head import FieldList
from cello.http.request import Request
from cello.pipeline.course import Unfinished
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.plan import Plan
from cello.wire.h1 import NEED_DATA
from cello.wire.request_head import RequestHead
from cello.wire.response_head import CONTINUE, response_head

HIGH_WATER_BYTES = 65_536
"""Received and not yet wanted; beyond it the transport stops reading."""
SHORT_REST_BYTES = 65_536
"""An unread body no longer than this is read and dropped to keep the connection."""


class Connection(Link):
    """The general lane.

    Args:
        dispatcher: Answers requests.
        state: Shared by the worker's connections.
    """

    __slots__ = (
        "_context",
        "_exchange",
        "_first_piece",
        "_has_head_begun",
        "_has_turn",
        "_idle_since",
        "_pace",
        "_served",
        "_spool",
        "dispatcher",
    )

    def __init__(self, dispatcher: Dispatcher, state: ServerState) -> None:
        super().__init__(state)
        self.dispatcher = dispatcher
        self._exchange: Exchange | None = None
        self._first_piece: bytes | None = None  # a collected body, while it is one piece
        self._spool: Spool | None = None  # the same, from the second piece on
        self._pace: Pace | None = None
        self._served = 0
        self._has_head_begun = False
        self._has_turn = False  # `_take_turn` is about to be called
        self._idle_since = state.now
        self._context = contextvars.copy_context()

    # -- the transport speaks --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; beyond `max_connections` the client is told 503."""
        self.attach(cast(asyncio.Transport, transport))  # uvloop's transports are not registered as the ABC
        limit = self.dispatcher.limits.max_connections
        if len(self.state.connections) <= limit:
            self._wait_for_data()
            return
        self.state.refused_connections += 1
        if len(self.state.connections) > 2 * limit:  # too many even to be told
            self.abort()
        else:
            self._refuse(ServiceUnavailable("Too many connections are open."), None)

    def data_received(self, data: bytes) -> None:
        """Take bytes and answer what they complete."""
        phase = self._phase
        if phase < ANSWERING:
            self.parser.receive(data)
            if self._pace is not None:
                self._pace.add(len(data), self.state.now)
            if not self._has_turn:
                self._advance()
            if self._phase == ANSWERING or self._has_turn or not self.can_write:
                self._hold_back()
        elif phase <= RETURNING:
            self.parser.receive(data)
            if self._exchange is not None and self._exchange.source is not None:
                self._exchange.source.wake(len(data))
            self._hold_back()
        elif phase == LINGERING:
            self.linger_on()

    def eof_received(self) -> bool:
        """Note that the client sends no more; what it asked is still answered, where the transport can."""
        self.has_eof = True
        if self._phase == RETURNING:
            self._phase = READY  # the lane would wait for more
        if self._phase == ANSWERING:
            if self._exchange is not None:
                self._exchange.client_sends_no_more()
        elif self._phase < ANSWERING and self.parser.buffered_bytes:
            self.state.loop.call_soon(self._advance, context=self._context)
        else:
            return False  # close
        return not self.is_tls  # under TLS there is no half of a connection

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that only served this client."""
        exchange, self._exchange = self._exchange, None
        self._end_collecting()
        self.detach()
        if exchange is not None:
            exchange.client_is_gone()

    def resume_writing(self) -> None:
        """Go on answering."""
        super().resume_writing()
        if self._phase < ANSWERING:
            if self._pace is not None:
                self._pace.resume(self.state.now, 0.0)
            self._advance()

    # -- requests --

    def _advance(self) -> None:
        """Answer what is complete in the parser, until something must be waited for."""
        if self._is_advancing or self.is_lost:
            return
        self._is_advancing = True
        turns = self.dispatcher.limits.max_pipelined
        try:
            while self._phase < ANSWERING and self._can_write:
                if self._phase == READY:
                    if not turns:  # other connections want to be heard too
                        if not self._has_turn:
                            self._has_turn = True
                            self.state.loop.call_soon(self._take_turn, context=self._context)
                        break
                    turns -= 1
                event = self.parser.next_event()
                if isinstance(event, RequestHead):
                    self._begin(event)
                elif isinstance(event, bytes):
                    if self._phase == BODY:
                        self._collect(event)
                elif event is NEED_DATA:
                    self._wait_for_data()
                    break
                elif self._phase == BODY:
                    self._start_with_body()
                else:
                    self._go_on(READY)
        except ProtocolError as error:
            self._refuse(error, None if self._exchange is None else self._exchange.request)
        finally:
            self._is_advancing = False
        self.flush()
        if self._phase < ANSWERING and not self._can_write:
            self.set_due(NEVER)  # it is the client's turn: to take its answers; see watch_unsent
        if self._phase == RETURNING:
            self._give_back()

    def _give_back(self) -> None:
        """Return to the lane in front; only a connection that has one is ever RETURNING."""

    def _take_turn(self) -> None:
        """Go on when other connections have been heard."""
        self._has_turn = False
        self._advance()

    def _begin(self, head: RequestHead) -> None:
        self._has_head_begun = False
        self._served += 1
        self.state.general_requests += 1
        dispatcher = self.dispatcher
        request = dispatcher.request_class.incoming(
            head.method, head.raw_path, head.query_string, head.fields, self.peer, head.http_version
        )
        request._gateway = self
        if head.upgrade and self._begin_upgrade(head, request):
            return
        plan = dispatcher.plan_for(request)
        keep_alive = head.keep_alive and self._served < dispatcher.limits.max_requests_per_connection
        if not (plan.is_async or plan.streams or plan.offload.on_thread) and self.parser.skip_empty_body():
            self._phase = ANSWERING
            self._answer_here(request, plan, keep_alive=keep_alive)
            return
        exchange = self._exchange = Exchange(
            self, request, plan, keep_alive=keep_alive, owes_continue=head.expects_continue
        )
        if plan.streams:
            self.parser.limit_body(plan.body_limit_bytes)
            self._phase = ANSWERING
            exchange.start_unread()
            return
        if plan.route is None and (head.expects_continue or head.chunked or head.content_length > SHORT_REST_BYTES):
            self._phase = ANSWERING  # nobody wants this body
            exchange.start()
            return
        self.parser.limit_body(plan.body_limit_bytes)
        self._phase = BODY
        if head.expects_continue:
            self._send_continue()

    def _answer_here(self, request: Request, plan: Plan, *, keep_alive: bool) -> None:
        """Answer a request without a body inline.

        PERF: an answer that is bytes, with nothing left to be done afterwards, needs no Exchange: a fifth of what this
        lane spends on a request; bench/micro/test_native.py.
        """
        started = perf_counter()
        try:
            response = self.dispatcher.answer(plan, request)
        except Unfinished as unfinished:
            exchange = self._exchange = Exchange(self, request, plan, keep_alive=keep_alive)
            exchange.go_on(unfinished)
            return
        took = perf_counter() - started
        offload = plan.offload
        if took > offload.threshold_s or offload.debt_s:
            offload.held(took)
        payload = response.payload
        if (
            payload.__class__ is not bytes
            or len(payload) >= LARGE_BYTES
            or self.dispatcher.needs_finish(request, response)
        ):
            exchange = self._exchange = Exchange(self, request, plan, keep_alive=keep_alive)
            exchange.deliver(response)
            return
        keep_alive = keep_alive and not self.state.draining
        head = response_head(
            response.status,
            response.fields(),
            self.state.common_fields,
            http_version=request.http_version,
            keep_alive=keep_alive,
        )
        self.queue(head + payload)
        self.exchange_over(keep_alive)

    def _begin_upgrade(self, head: RequestHead, request: Request) -> bool:
        """Begin to answer a WebSocket handshake; False for any other upgrade, which is ignored (RFC 9110 §7.8)."""
        from cello.gateways.native.upgrade import Upgrade  # few applications have a WebSocket
        from cello.wire.ws_handshake import is_upgrade, read_handshake

        if head.method != "GET" or not is_upgrade(head.upgrade):
            return False
        plan = self.dispatcher.plan_for_socket(request)
        if plan is None:
            return False
        try:
            handshake = read_handshake(head.fields, has_body=head.chunked or head.content_length > 0)
        except HTTPError as error:
            self._refuse(error, request)
            return True
        self._phase = ANSWERING
        self._exchange = Upgrade(self, request, plan, handshake, keep_alive=head.keep_alive)
        self._exchange.start()
        return True

    def _collect(self, piece: bytes) -> None:
        if self._spool is not None:
            self._spool.write(piece)
        elif self._first_piece is None:
            self._first_piece = piece
        else:
            self._spool = Spool(self.dispatcher.limits.max_spool_memory)
            self._spool.write(self._first_piece)
            self._spool.write(piece)
            self._first_piece = None

    def _start_with_body(self) -> None:
        exchange = self._exchange
        assert exchange is not None  # BODY follows _begin
        if self._spool is not None:
            if self._spool.size <= self.dispatcher.limits.max_spool_memory:
                exchange.request._body = self._spool.getvalue()
            else:
                exchange.request._body, self._spool = self._spool, None
        elif self._first_piece is not None:
            exchange.request._body = self._first_piece
        self._end_collecting()
        self._phase = ANSWERING
        exchange.start()

    def _end_collecting(self) -> None:
        self._pace = self._first_piece = None
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _send_continue(self) -> None:
        """Invite the body (RFC 9110 §10.1.1), unless it is coming anyway."""
        if self._exchange is not None and self._exchange.owes_continue:
            self._exchange.owes_continue = False
            if not self.parser.buffered_bytes:
                self.queue(CONTINUE)

    def exchange_over(self, keep_alive: bool) -> None:
        """Go on behind an answer that was queued or sent."""
        self._exchange = None
        if self._phase >= LINGERING:
            return
        if not keep_alive:
            self._end()
            return
        if not self._is_advancing:
            self.set_due(NEVER)
        self._go_on(READY if self.parser.between_messages else DISCARDING)
        if self._is_advancing:
            return  # the loop there goes on
        if self._phase == READY and not self.parser.buffered_bytes:
            self._wait_for_data()
        else:
            self.state.loop.call_soon(self._advance, context=self._context)

    def _go_on(self, phase: int) -> None:
        self._phase = phase
        if phase == DISCARDING:  # SECURITY: for all of the rest; a body nobody wants must not trickle on
            self.set_due(self.state.deadline_in(self.dispatcher.timeouts.read_body))

    def may_keep_alive(self) -> bool:
        """Whether the connection can live on: what is left of the request is short, and the worker stays."""
        return not self.state.draining and 0 <= self.parser.rest_of_body_bytes <= SHORT_REST_BYTES

    def _refuse(self, error: ProtocolError | HTTPError, request: Request | None) -> None:
        """Answer bytes that are no request, or a request that is not let in, and end the connection."""
        self._end_collecting()
        self._exchange = None
        if request is None:  # what came is no request, but observers may know who sent it
            request = self.dispatcher.request_class.incoming("-", "-", "", FieldList([]), self.peer)
        response = self.dispatcher.refuse(error, request)
        payload, fields = response.payload, response.fields()
        if not isinstance(payload, bytes):  # made by an exception handler; only bytes can be sent from here
            payload.close()
            payload, fields = b"", [(b"Content-Length", b"0")]
        self.queue(response_head(response.status, fields, self.state.common_fields, keep_alive=False), payload)
        self.parser.take_rest()
        self.linger()
        if self.dispatcher.needs_finish(request, response):
            self.state.spawn(self.dispatcher.finish_async(request, response))

    # -- time --

    def body_is_awaited(self) -> None:
        """Invite the body, read on, and watch its pace: a handler waits for it."""
        self._send_continue()
        self.resume_reading()
        self.set_due(0.0)

    def _wait_for_data(self) -> None:
        """Read on, and decide for how long."""
        if self.has_eof:
            self.close()
            return
        if not self._is_reading:
            self.resume_reading()
        if not self._can_write:
            return  # its time comes with `resume_writing`
        state, timeouts = self.state, self.dispatcher.timeouts
        if self._phase == BODY:
            if self._pace is None:
                self._pace = Pace(state.now, timeouts.read_body)
            self.set_due(0.0)  # looked at on every tick
        elif self._phase == DISCARDING:
            return  # its time was set when it began
        elif not self.parser.buffered_bytes:
            self._idle_since = state.now
            self.set_due(state.deadline_in(timeouts.idle))
        elif not self._has_head_begun:
            self._has_head_begun = True
            self.set_due(state.deadline_in(timeouts.read_header))

    def phase_is_over(self) -> None:
        """Act on the deadline of the phase."""
        if self._phase == ANSWERING:
            if self._exchange is not None:
                self._exchange.on_deadline()
        elif self._phase == BODY:
            if self._pace is not None and self._pace.is_too_slow(self.state.now):
                request = None if self._exchange is None else self._exchange.request
                self._refuse(ProtocolError("the request body came too slowly", status=408), request)
        elif self._phase == READY and self.parser.buffered_bytes and self.can_write:
            self._refuse(ProtocolError("the request head came too slowly", status=408), None)
        else:
            self.close()

    def _hold_back(self) -> None:
        """Stop reading while too much waits."""
        waiting = self.parser.buffered_bytes
        limit = self.dispatcher.limits.max_pipelined
        if waiting > HIGH_WATER_BYTES or (waiting and self.parser.waiting_requests > limit):
            self.pause_reading()

    # -- the end --

    def retire(self) -> None:
        """Half-close if idle for a while: a client about to send sees it and asks elsewhere."""
        if self._exchange is not None:
            self._exchange.retire()
        idle = self._phase == READY and not self.parser.buffered_bytes
        if idle and self.state.now - self._idle_since >= IDLE_BEFORE_DRAIN_S:
            self.linger()

    def _end(self) -> None:
        """End behind the last answer: at once when the client has said all, else so that it can still read."""
        if self.parser.between_messages and not self.parser.buffered_bytes:
            self.close()
        else:
            self.parser.take_rest()
            self.linger()
