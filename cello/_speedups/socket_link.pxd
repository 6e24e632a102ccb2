"""Types for cello/gateways/native/socket_link.py, compiled a second time as cello._speedups.socket_link."""

import cython


cdef class SocketLink:
    cdef object __weakref__
    cdef public object state
    cdef public object codec
    cdef public object transport
    cdef public object close_code
    cdef public object close_reason
    cdef public object gone
    cdef public bint can_write
    cdef public bint is_open
    cdef public bint is_reading
    cdef public double deadline
    cdef double _due
    cdef double _stall_due
    cdef double _heard_s
    cdef object _receive
    cdef object _talker
    cdef object _write
    cdef object _owed_pong
    cdef bytes _early
    cdef Py_ssize_t _unsent_bytes
    cdef bint _is_deaf
    cdef bint _is_pinged

    @cython.locals(events=list)
    cpdef data_received(self, data)

    cpdef write(self, frame)
