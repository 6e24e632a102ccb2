"""The fast lane: one connection's plain requests, from bytes to one write, without leaving C but for the handler.

What is plain is said in track.pyx, how a handler's value becomes bytes in runner.pyx. Everything else belongs to the
general lane (`cello.gateways.native.connection`), which is complete, and the reference for what comes out:

Rule 1. Before a request is dispatched the lane may hand over the connection with its untouched bytes (`adopt`). It does
        so also for whatever takes time on the client's side: half a request at a tick, a silence, a drain.
Rule 2. After dispatch it may hand over the answer (`adopt_answer`): files, iterators, the last one of a drain.
Rule 3. Between two requests the connection comes back (`take_back`).
Rule 4. What the lane writes is, byte for byte, what the general lane would have written.
Rule 5. Pipelined bytes wait behind the exchange in flight, and behind a client that does not take its answers; what was
        answered meanwhile leaves in one write.
Rule 6. Nothing of one request's context reaches the next; what is done after a wait is done in the connection's own.
Rule 7. When anything but an Exception escapes a handler, nobody knows whose the next answer is: the connection ends.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from cpython.time cimport perf_counter
from libc.math cimport INFINITY
from libc.string cimport memcpy

from cello._speedups.raw cimport RawTransport
from cello._speedups.request cimport Request
from cello._speedups.runner cimport RESPONSE, UNFINISHED, Kind, PlanView, run_plan, shape, unshape
from cello._speedups.track cimport FOREIGN, OUT_BYTES, Outlet, Reading, Track

import contextvars
import logging
import sys
from asyncio import CancelledError, Task
from types import CoroutineType

from cello.errors import HTTPError, ServiceUnavailable
from cello.gateways.native.adopted import AdoptedConnection
from cello.gateways.native.connection import HIGH_WATER_BYTES, Connection
from cello.gateways.native.link import peer_of
from cello.gateways.native.sending import close_payload
from cello.gateways.native.state import IDLE_BEFORE_DRAIN_S
from cello.pipeline.course import TOOK_TOO_LONG, adopting, drive_async
from cello.pipeline.result import ReturnedAwaitable
from cello.pipeline.run import abandoning, recovering, resuming, run_rest, settled

call_back = Task.add_done_callback
logger = logging.getLogger("cello")

cdef double NEVER = INFINITY, IDLE_BEFORE_DRAIN = IDLE_BEFORE_DRAIN_S
cdef Py_ssize_t HIGH_WATER = HIGH_WATER_BYTES
cdef str GET = "GET"  # the very object that the head scanner gives out
cdef bint HAS_EAGER_TASKS = sys.version_info >= (3, 12)


cdef class Lane(Outlet):
    """One connection, as the transport's protocol.

    Args:
        track: Shared by the worker's lanes.

    Attributes:
        transport: Of the connection, whoever is its protocol now.
        peer: Who is on the other side; one object for all requests of the connection.
        has_eof: The client sends no more.
        is_lost: The transport is gone.
        is_tls: Whether the connection is encrypted.
    """

    cdef Track track
    cdef readonly object transport, peer
    cdef RawTransport raw  # the transport, where it takes plain memory
    cdef object state, context, write
    cdef bytes held  # received and not used
    cdef tuple parting  # (request, plan, response) that is for the general lane to send
    # The exchange that waits; `task` is None when there is none.
    cdef object task, task_context
    cdef Request request
    cdef PlanView view
    cdef double idle_since, stall_due
    cdef Py_ssize_t unsent_bytes
    cdef int served
    cdef readonly bint has_eof, is_lost, is_tls
    cdef bint is_away  # the general lane has the connection
    cdef bint is_blocked  # the client does not take what is written
    cdef bint is_held_back  # the transport does not read
    cdef bint has_turn  # `go_on` is about to be called
    cdef object __weakref__

    def __cinit__(self, Track track not None):
        self.track = track
        self.state = track.state
        self.idle_since = track.now()
        self.stall_due = NEVER

    # -- the transport speaks --

    def connection_made(self, transport):
        """Begin; beyond `max_connections` the general lane says no."""
        state = self.state
        if len(state.connections) >= self.track.max_connections:
            general = Connection(self.track.dispatcher, state)
            transport.set_protocol(general)
            general.connection_made(transport)
            return
        self.transport = transport
        self.write = transport.write
        self.raw = transport if isinstance(transport, RawTransport) else None
        self.peer, self.is_tls = peer_of(transport, state.announced)
        self.context = contextvars.copy_context()
        state.connections.add(self)

    def data_received(self, data):
        """Answer what the bytes complete, or keep them for later."""
        self.take(data if type(data) is bytes else bytes(data))

    cdef int take(self, bytes data) except -1:
        """Do the same, for a transport that is compiled too."""
        if self.held is not None:
            data = self.held + data
            self.held = None
        if self.task is None and not self.is_blocked:
            self.advance(data)
        elif PyBytes_GET_SIZE(data):
            self.held = data
            self.weigh()
        return 0

    def eof_received(self):
        """Note that the client sends no more; what it asked is still answered, where the transport can."""
        self.has_eof = True
        if self.task is not None:
            return not self.is_tls  # under TLS there is no half of a connection
        if self.held is None:
            return False  # close
        return self.hand_over(self.take_held()).eof_received()

    def connection_lost(self, error):
        """Forget everything but the exchange that waits: its handler runs to its end, and its answer is dropped."""
        self.is_lost = True
        self.flush()  # into nothing
        self.held = self.write = self.raw = None
        if self.track.out_owner is self:
            self.track.out_owner = None
        self.state.connection_lost(self)

    def pause_writing(self):
        """Stop answering: the client reads more slowly than it is answered."""
        self.is_blocked = True
        self.watch_unsent()

    def resume_writing(self):
        """Go on answering."""
        self.is_blocked = False
        self.stall_due = NEVER
        self.idle_since = self.track.now()
        self.go_on()

    # -- the worker's state speaks --

    @property
    def deadline(self):
        """When `on_deadline` wants to be called. PERF: made up when it is asked for, once a tick, not per request."""
        cdef double due
        if self.task is not None or self.is_blocked:
            due = NEVER  # the pipeline watches over the handler, `stall_due` over the client
        elif self.held is not None:
            due = 0.0
        else:
            due = self.idle_since + self.track.tick_s + self.track.idle_s
        return min(due, self.stall_due)

    def on_deadline(self):
        """Drop a client that takes nothing; leave one that is silent, or slow, to the general lane and its timers."""
        cdef double now = self.track.now()
        cdef Py_ssize_t unsent_bytes
        if now >= self.stall_due:
            unsent_bytes = self.transport.get_write_buffer_size()
            if unsent_bytes and unsent_bytes >= self.unsent_bytes:
                self.transport.abort()
            else:
                self.watch_unsent()
        elif self.held is not None:
            self.hand_over(self.take_held())
        else:
            self.hand_over(b"").phase_is_over()

    def retire(self):
        """Half-close if idle for a while: called on each tick while the worker drains."""
        if self.task is not None or self.is_blocked or self.is_lost:
            return
        if self.held is not None:
            self.hand_over(self.take_held())
        elif self.track.now() - self.idle_since >= IDLE_BEFORE_DRAIN:
            self.hand_over(b"").linger()

    def abort(self):
        """Drop the connection; what was not sent is lost."""
        self.transport.abort()

    @property
    def can_write(self):
        """Whether the client takes what is written."""
        return not self.is_blocked and not self.is_lost

    async def disconnected(self):
        """Whether the client has gone, or at least sends no more; never waits."""
        return self.is_lost or self.has_eof

    # -- the general lane speaks --

    def take_back(self, bytes rest not None, bint can_write):
        """Go on with `rest`, the bytes received and not used; the lane is the transport's protocol again."""
        self.is_away = False
        self.idle_since = self.track.now()
        self.is_blocked = not can_write
        self.stall_due = NEVER
        if self.is_blocked:
            self.watch_unsent()
        self.state.connections.add(self)
        # What was too much there is not read here at once: a flood would grow by as much with every request handed over.
        self.is_held_back = not self.transport.is_reading()
        if rest:
            self.held = rest
            self.take_turn()
        elif self.is_held_back:
            self.weigh()

    cdef object hand_over(self, bytes data):
        """Give the connection with unused bytes to the general lane; return that."""
        self.flush()
        general = self.leave()
        general.adopt(self.transport, self, data, self.served, can_write=not self.is_blocked)
        self.served += 1  # it comes back behind the first answer
        return general

    cdef part(self, bytes rest):
        """Give the connection with `parting` to the general lane."""
        parting, self.parting = self.parting, None
        self.flush()
        general = self.leave()
        general.adopt_answer(
            self.transport, self, parting, keep_alive=True, rest=rest, served=self.served,
            can_write=not self.is_blocked,
        )

    cdef object leave(self):
        self.is_away = True
        self.is_held_back = False
        self.state.connections.discard(self)
        general = AdoptedConnection(self.track.dispatcher, self.state)
        general.has_eof = self.has_eof
        return general

    # -- bytes in --

    cdef bytes take_held(self):
        cdef bytes held = self.held
        self.held = None
        return b"" if held is None else held

    cdef weigh(self):
        """Read no further while too much waits behind an exchange, a slow client or other connections' turns."""
        cdef bytes held = self.held
        cdef bint is_too_much = (
            held is not None
            and (self.task is not None or self.is_blocked or self.has_turn)
            and (PyBytes_GET_SIZE(held) > HIGH_WATER or held.count(b"\r\n\r\n") > self.track.max_pipelined)
        )
        if is_too_much == self.is_held_back:
            return
        self.is_held_back = is_too_much
        if is_too_much:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    cdef take_turn(self):
        """Go on when other connections have been heard."""
        self.has_turn = True
        self.track.loop.call_soon(self.go_on, context=self.context)

    cdef advance(self, bytes data):
        """Answer the complete requests in `data`, one after another."""
        cdef Track track = self.track
        cdef PlanView view
        cdef Request request
        cdef Reading reading
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = 0
        cdef int turns = track.max_pipelined
        cdef double clock = 0.0
        self.idle_since = track.now()
        if track.is_draining():
            self.hand_over(data)
            return
        try:
            while at < size and self.task is None and not self.is_blocked:
                if turns == 0:  # other connections want to be heard too
                    self.take_turn()
                    break
                turns -= 1
                reading.used = FOREIGN
                request = None
                if self.served + 1 < track.max_requests:
                    request = track.read(data, at, self.peer, &reading)
                if request is None:
                    if reading.used == FOREIGN:
                        self.hand_over(data[at:] if at else data)
                        return
                    break
                request._gateway = self
                at += reading.used
                self.served += 1
                track.served += 1
                view = <PlanView>reading.view
                if view.is_async():
                    clock = 0.0
                    self.answer_later(view, request)
                else:
                    self.answer_now(view, request, &clock)
                track.recycle(request)
                if self.parting is not None:
                    self.part(data[at:])
                    return
        except BaseException:
            self.transport.abort()
            raise
        if at < size:
            self.held = data[at:] if at else data
            self.weigh()
        self.write_out(True)

    def go_on(self):
        """Send what was answered, and answer what is held, where nothing is in the way."""
        cdef bytes held
        self.has_turn = False
        if self.task is not None or self.is_lost or self.is_away:
            return
        self.flush()
        if self.is_blocked:
            return
        held = self.take_held()
        if PyBytes_GET_SIZE(held):
            self.advance(held)
            if self.is_away:
                return
        if self.is_held_back:
            self.weigh()
        if self.has_eof and self.task is None and not self.is_away and not self.is_lost:
            self.hand_over(self.take_held())  # which answers the rest, and closes

    # -- bytes out --

    cdef queue(self, bytes piece):
        """Add to the next write; a large piece is one of its own."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
        if size <= OUT_BYTES:
            memcpy(self.track.room(self, size), PyBytes_AS_STRING(piece), size)
            return
        self.flush()
        if not self.is_lost:
            self.write(piece)

    cdef flush(self):
        """Write what is queued."""
        self.write_out(False)

    cdef write_out(self, bint is_soon):
        """Write what is queued; soon: together with what other connections are answered in this turn."""
        cdef Track track = self.track
        cdef Py_ssize_t size = track.out_size
        if size == 0 or track.out_owner is not self:
            return
        track.out_size = 0
        if self.is_lost:
            return
        if self.raw is None:
            self.write(PyBytes_FromStringAndSize(track.out, size))
        elif is_soon:
            self.raw.send_raw_soon(track.out, size)
        else:
            self.raw.send_raw(track.out, size)

    cdef watch_unsent(self):
        """Give the client the write timeout, from now, to take something of what is unsent."""
        self.unsent_bytes = self.transport.get_write_buffer_size()
        if self.unsent_bytes:
            self.stall_due = self.track.now() + self.track.tick_s + self.track.write_s
        else:
            self.stall_due = NEVER

    # -- answers --

    cdef answer_now(self, PlanView view, Request request, double* clock):
        """Answer inline, and note how long it held the loop.

        PERF: `clock` is when the one before had been answered, if that was just now, else 0: looking at the clock
        takes 0.02 µs, so the answers to pipelined requests share their looks.
        """
        cdef double started_s = 0.0
        cdef Kind kind = RESPONSE
        if view.is_timed:
            started_s = clock[0] if clock[0] != 0.0 else perf_counter()
        clock[0] = 0.0
        context = PyContext_CopyCurrent()
        PyContext_Enter(context)
        try:
            value = run_plan(view, request, &kind)
        finally:
            PyContext_Exit(context)
            work = request._afterwork
            if work is not None:
                work.context, work.offload = context, view.offload
        if kind == UNFINISHED:
            self.pursue(view, request, adopting(context, value), None)
            return
        if view.is_timed:
            clock[0] = perf_counter()
            view.note_time(clock[0] - started_s)
        self.deliver(view, request, kind, value, None)

    cdef answer_later(self, PlanView view, Request request):
        """Answer on the loop: at once where the handler does not really wait.

        PERF: the handler's own coroutine is what takes the first step, and its value is shaped behind it: 0.7 µs less
        than `run_async`.
        """
        cdef Kind kind = RESPONSE
        cdef bint is_waiting = False
        plan = view.plan
        if not HAS_EAGER_TASKS or not view.is_bare:
            self.pursue(view, request, self.track.dispatcher.answer_async(plan, request), None)
            return
        context = PyContext_CopyCurrent()
        work = None
        PyContext_Enter(context)
        try:
            value = view.handler()(request)
            if type(value) is CoroutineType:
                value = self.track.starter.step(value, context, &is_waiting)
            if not is_waiting:
                value = shape(view, request, value, &kind)
        except ReturnedAwaitable as found:  # something else that can be awaited
            work = run_rest(plan, request, resuming(plan, request, found.awaitable, view.depth, None))
        except CancelledError as error:
            work = give_up(self.track.dispatcher, plan, request, error, True)
        except Exception as error:
            work = run_rest(plan, request, recovering(plan, request, error, view.depth))
        finally:
            PyContext_Exit(context)
        if work is not None:
            self.pursue(view, request, work, context)
        elif not is_waiting:
            self.deliver(view, request, kind, value, context)
        else:
            task = self.track.starter.wait(value)
            if plan.timeout_s is not None:
                plan.deadlines.watch().add(task, plan.timeout_s)
            self.wait_for(view, request, task, context)
            call_back(task, self.on_handler_done, context=self.context)

    cdef pursue(self, PlanView view, Request request, work, context):
        """Await a coroutine of the settled response, in `context` or a copy of the current one."""
        cdef bint is_waiting = False
        if context is None:
            context = PyContext_CopyCurrent()  # as the task would; what follows the answer is to have the same
        if HAS_EAGER_TASKS:
            PyContext_Enter(context)
            try:
                response = self.track.starter.step(work, context, &is_waiting)
            except CancelledError as error:
                self.pursue(view, request, give_up(self.track.dispatcher, None, request, error, True), None)
                return
            finally:
                PyContext_Exit(context)
            if not is_waiting:
                self.send(view, request, response, context)
                return
            task = self.track.starter.wait(response)
        else:
            task = Task(work, loop=self.track.loop, context=context)
        self.wait_for(view, request, task, context)
        call_back(task, self.on_response, context=self.context)

    cdef wait_for(self, PlanView view, Request request, task, context):
        self.task, self.task_context, self.request, self.view = task, context, request, view
        self.track.tasks.add(task)

    def on_handler_done(self, task):
        """Answer with what the handler returned, some time after its request came."""
        cdef PlanView view = self.view
        cdef Request request = self.request
        context = self.task_context
        plan = view.plan
        self.stop_waiting()
        try:
            if plan.timeout_s is not None and plan.deadlines.watch().remove(task) and task.cancelled():
                course = recovering(plan, request, ServiceUnavailable(TOOK_TOO_LONG), view.depth)
                self.pursue(view, request, drive_async(course), context)
            else:
                self.finish_handler(view, request, task, context)
        except BaseException:
            self.transport.abort()
            raise
        finally:
            self.move_on(task)

    def on_response(self, task):
        """Send the response of a task, some time after its request came."""
        cdef PlanView view = self.view
        cdef Request request = self.request
        context = self.task_context
        self.stop_waiting()
        try:
            self.finish(view, request, task, context)
        except BaseException:
            self.transport.abort()
            raise
        finally:
            self.move_on(task)

    cdef stop_waiting(self):
        self.task = self.task_context = self.request = self.view = None
        self.idle_since = self.track.now()

    cdef move_on(self, task):
        """Turn to what came behind an exchange whose task is done."""
        self.track.tasks.discard(task)
        if self.is_lost:
            self.state.connection_lost(self)  # once more: that task may have been the last
        elif self.parting is not None:
            self.part(self.take_held())
        else:
            self.go_on()

    cdef finish_handler(self, PlanView view, Request request, task, context):
        """Answer with what a bare handler's task came to."""
        cdef Kind kind = RESPONSE
        plan = view.plan
        try:
            PyContext_Enter(context)
            try:
                value = shape(view, request, task.result(), &kind)
            finally:
                PyContext_Exit(context)
        except ReturnedAwaitable as found:
            work = run_rest(plan, request, resuming(plan, request, found.awaitable, view.depth, None))
        except CancelledError as error:
            work = give_up(self.track.dispatcher, plan, request, error, not task.cancelling())
        except Exception as error:
            work = run_rest(plan, request, recovering(plan, request, error, view.depth))
        else:
            self.deliver(view, request, kind, value, context)
            return
        self.pursue(view, request, work, context)

    cdef finish(self, PlanView view, Request request, task, context):
        """Answer with the response that a task came to."""
        try:
            response = task.result()
        except CancelledError as error:
            if not task.cancelling():
                self.pursue(view, request, give_up(self.track.dispatcher, None, request, error, True), None)
                return
            response = None
        self.send(view, request, response, context)

    cdef send(self, PlanView view, Request request, response, context):
        """Answer with a response; None where there is nobody left to answer."""
        if response is not None:
            self.deliver(view, request, RESPONSE, response, context)
        elif not self.is_lost:
            self.transport.abort()

    cdef deliver(self, PlanView view, Request request, Kind kind, value, context):
        """Queue an answer, or set it apart for the general lane when it is more than bytes.

        Args:
            context: What its task ran in, and so must what follows the answer; None where there was no task.
        """
        cdef Track track = self.track
        cdef bint without_body
        background = None
        if self.is_lost or track.is_draining() or (kind == RESPONSE and type(value.payload) is not bytes):
            if kind != RESPONSE:
                value = settled(view.plan, request, unshape(kind, value))
            work = request._afterwork
            if work is not None and work.context is None:
                work.context = context
            if self.is_lost:
                self.drop(request, value)
            else:
                self.parting = (request, view.plan, value)
            return
        if kind != RESPONSE:
            without_body = request.method is not GET and request.method == "HEAD"
            if not track.put_plain(self, kind, value, without_body):
                self.flush()
                self.write(track.render_plain(kind, value, without_body))
        else:
            if not track.put_head(self, value):
                self.queue(track.render_head(value))
            if value.payload:
                self.queue(value.payload)
            background = value.background
        if background is not None or request._afterwork is not None:
            self.flush()
            self.state.spawn(track.dispatcher.finish_async(request, None if background is None else value), context)

    cdef drop(self, Request request, response):
        """Finish a request whose client has gone."""
        dispatcher = self.track.dispatcher
        if type(response.payload) is not bytes or dispatcher.needs_finish(request, response):
            self.state.spawn(let_go(dispatcher, request, response))


async def give_up(dispatcher, plan, request, error, is_own):
    """Clean up behind a handler that ended in a CancelledError.

    Args:
        dispatcher: Says what the client is told.
        plan: Of the request; None when its runner has cleaned up already.
        request: The request.
        error: The CancelledError.
        is_own: Whether nobody asked for it: the handler raised it.

    Returns:
        The answer, or None: there is nobody left to answer.
    """
    if plan is not None:
        await drive_async(abandoning(plan, request, error, plan.depth))
    if not is_own:
        return None
    logger.error("the handler of %s %s raised CancelledError", request.method, request.path)
    return dispatcher.refuse(HTTPError(500), request)


async def let_go(dispatcher, request, response):
    """Close the payload of an answer that nobody takes, and do what was left for afterwards."""
    if type(response.payload) is not bytes:
        await close_payload(response.payload, dispatcher.threads)
    if dispatcher.needs_finish(request, response):
        await dispatcher.finish_async(request, response)
