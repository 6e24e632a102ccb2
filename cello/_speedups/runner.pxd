"""The C-level door to the runner; what the words mean is said in runner.pyx."""

from cello._speedups.request cimport Request
from cello._speedups.slot cimport slot, slot_is_true


cdef enum Kind:
    RESPONSE, JSON, TEXT, BINARY, UNFINISHED


cdef Py_ssize_t HANDLER, IS_ASYNC, ON_THREAD


cdef class PlanView:
    cdef object plan
    cdef object offload
    cdef object route
    cdef str path
    cdef tuple before
    cdef tuple after
    cdef int depth
    cdef long long body_limit
    cdef double threshold_s
    cdef bint is_timed
    cdef bint is_bare
    cdef bint is_foreign

    cdef bint is_for_general(self, Py_ssize_t body_size) noexcept
    cdef bint is_async(self) noexcept
    cdef object handler(self)
    cdef note_time(self, double seconds)


cdef object run_plan(PlanView view, Request request, Kind* kind)
cdef object shape(PlanView view, Request request, object value, Kind* kind)
cdef object unshape(Kind kind, body)
