"""`cello.pipeline.run.run_sync` in C, with one shortcut: a plain 200 does not become a Response on its way.

Most handlers return a dict, a list or text, and most routes have no hooks that would look at the answer. For those
`run_plan` returns the encoded body (ASCII text: as it is), and `kind` says what it is; the head is then three ready
pieces around a number.
Everything else comes out as the settled Response that `run_sync` would have returned, and whatever leaves the straight
way (errors, awaitables out of plain functions) goes on as one of the courses in `cello.pipeline.run`.
"""

from libc.math cimport INFINITY

from cello._speedups.request cimport Request
from cello._speedups.slot cimport slot, slot_is_true, slot_offset

from cello.http import json_codec
from cello.http.response import BINARY_FIELD, JSON_FIELD, TEXT_FIELD, Response
from cello.pipeline.course import Unfinished, drive_sync
from cello.pipeline.plan import Plan
from cello.pipeline.result import ReturnedAwaitable, to_response
from cello.pipeline.run import amending, recovering, resuming, settled
from cello.pipeline.threads import Offload

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text) noexcept

HANDLER = slot_offset(Plan, "handler")
IS_ASYNC = slot_offset(Plan, "is_async")
ON_THREAD = slot_offset(Offload, "on_thread")
cdef Py_ssize_t DEBT = slot_offset(Offload, "debt_s")

cdef object encode = json_codec.encode


cdef class PlanView:
    """A plan as C sees it: copies of what never changes, and a look into the plan for the rest.

    Args:
        plan: The plan.
        path: The raw path of a static route.
    """

    def __cinit__(self, plan not None, str path=None):
        if not isinstance(plan, Plan) or not isinstance(plan.offload, Offload):
            raise TypeError(f"{plan!r:.80} is not a Plan with an Offload")
        self.plan = plan
        self.offload = plan.offload
        self.route = plan.route
        self.path = path
        self.before = plan.before
        self.after = plan.after
        self.depth = plan.depth
        self.body_limit = plan.body_limit_bytes
        self.threshold_s = plan.offload.threshold_s
        self.is_timed = plan.offload.adaptive or plan.offload.timeout_s != INFINITY
        self.is_bare = not (plan.before or plan.after[plan.depth] or plan.on_error[plan.depth])
        self.is_foreign = plan.streams or plan.cancel_on_disconnect

    cdef bint is_for_general(self, Py_ssize_t body_size) noexcept:
        """Whether the general lane answers this, at least now: streams, threads, bodies that are too large."""
        return self.is_foreign or body_size > self.body_limit or slot_is_true(self.offload, ON_THREAD)

    cdef bint is_async(self) noexcept:
        """Whether the plan needs a loop, as far as is known by now."""
        return slot_is_true(self.plan, IS_ASYNC)

    cdef object handler(self):
        """The plan's present handler."""
        return slot(self.plan, HANDLER)

    cdef note_time(self, double seconds):
        """Report how long a call held the loop."""
        if seconds > self.threshold_s or <double>slot(self.offload, DEBT) != 0.0:
            self.offload.held(seconds)


cdef object run_plan(PlanView view, Request request, Kind* kind):
    """Run a plan without async steps, in the current context.

    Returns:
        A settled Response; or with `kind` UNFINISHED the rest of a course, because a step handed out an awaitable after
        all; or with any other `kind` the body of a plain 200.
    """
    cdef int depth = view.depth
    cdef tuple step
    plan = view.plan
    hook = None
    kind[0] = RESPONSE
    try:
        if view.is_bare:
            return shape(view, request, view.handler()(request), kind)
        for step in view.before:
            depth = <int>step[0]
            hook = step[1]
            value = hook(request)
            if value is not None:
                break
        else:
            hook = None
            depth = view.depth
            value = view.handler()(request)
        response = value if type(value) is Response else to_response(value)
    except ReturnedAwaitable as found:
        return drive(resuming(plan, request, found.awaitable, depth, hook), kind)
    except Exception as error:
        return drive(recovering(plan, request, error, depth), kind)
    for step in <tuple>view.after[depth]:
        hook = step[1]
        try:
            value = hook(request, response)
            if value is not None:
                response = value if type(value) is Response else to_response(value)
        except ReturnedAwaitable as found:
            return drive(amending(plan, request, response, found.awaitable, step[0], hook), kind)
        except Exception as error:
            return drive(recovering(plan, request, error, step[0]), kind)
    return settled(plan, request, response)


cdef object drive(course, Kind* kind):
    """Return the response of a course, or its rest; `kind` says which."""
    kind[0] = RESPONSE
    try:
        return drive_sync(course)
    except Unfinished as unfinished:
        kind[0] = UNFINISHED
        return unfinished.rest


cdef object shape(PlanView view, Request request, object value, Kind* kind):
    """Return what a bare handler's value is sent as: like `run_plan`. ASCII text stays what it is: its bytes are at hand.

    Raises:
        ReturnedAwaitable: It must be awaited first.
        Exception: Whatever encoding it raises; `kind` is then RESPONSE.
    """
    cls = type(value)
    kind[0] = RESPONSE
    if cls is dict or cls is list:
        value = encode(value)
        kind[0] = JSON
        return value
    if cls is str:
        if not PyUnicode_IS_ASCII(value):
            value = (<str>value).encode()
        kind[0] = TEXT
        return value
    if cls is bytes:
        kind[0] = BINARY
        return value
    if cls is not Response:
        value = to_response(value)
    elif value._headers is None and value.status == 200 and value.background is None and not value._is_settled:
        # PERF: what `settle` and `response_head` would come to, known beforehand; saves 1.6 µs.
        payload, field = value.payload, value._content_type
        if type(payload) is bytes:
            if field is JSON_FIELD:
                kind[0] = JSON
                return payload
            if field is TEXT_FIELD:
                kind[0] = TEXT
                return payload
            if field is BINARY_FIELD:
                kind[0] = BINARY
                return payload
    return settled(view.plan, request, value)


cdef object unshape(Kind kind, body):
    """Return as a Response what `shape` made bytes of; to be settled."""
    field = JSON_FIELD if kind == JSON else TEXT_FIELD if kind == TEXT else BINARY_FIELD
    if type(body) is str:
        body = (<str>body).encode()
    return Response(body, 200, None, (<bytes>field[1]).decode("latin-1"))
