"""Types for cello/gateways/native/socket_task.py, compiled a second time as cello._speedups.socket_task."""

import cython

from cello._speedups.socket_link cimport SocketLink as Link  # the source imports the other name


cdef class Received:
    cdef TaskPort _port
    cdef bint _iterates


cdef class Sent:
    cdef object _nothing


cdef class TaskPort:
    cdef object __weakref__
    cdef public object room
    cdef public object when_left
    cdef public bint was_left
    cdef public bint _asyncio_future_blocking
    cdef Link _link
    cdef object _encode
    cdef object _next
    cdef object _held
    cdef Py_ssize_t _count
    cdef Py_ssize_t _held_bytes
    cdef bint _is_over
    cdef Received _received
    cdef Received _iteration
    cdef Sent _sent
    cdef object _callback
    cdef object _context
    cdef bint _is_waiting
    cdef bint _is_cancelled

    cpdef bint deliver(self, message) except -1

    @cython.locals(link=Link)
    cpdef send(self, message)

    cpdef take(self)
    cpdef begin_wait(self)
    cpdef _resume(self)
