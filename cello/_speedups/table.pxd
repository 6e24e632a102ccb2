"""Types for cello/shared/table.py, compiled a second time as cello._speedups.table."""

import cython
from libc.stdint cimport int64_t

from cello._speedups.slots cimport Slots as Words


cdef class Table:
    cdef public Words slots
    cdef public object _gate
    cdef Py_ssize_t _groups
    cdef Py_ssize_t _stride
    cdef public Py_ssize_t capacity
    cdef public Py_ssize_t width

    @cython.locals(digest=int64_t, first=Py_ssize_t, way=Py_ssize_t)
    cpdef Py_ssize_t find(self, str key) except? -2

    @cython.locals(slots=Words, digest=int64_t, first=Py_ssize_t, way=Py_ssize_t)
    cpdef Py_ssize_t place(self, str key, int64_t now) except -1

    @cython.locals(
        slots=Words, held=int64_t, stamp=int64_t, oldest=int64_t, value=int64_t, way=Py_ssize_t, free=Py_ssize_t,
        chosen=Py_ssize_t, place=Py_ssize_t, word=Py_ssize_t
    )
    cdef Py_ssize_t _make(self, int64_t digest, Py_ssize_t first, int64_t now) except -1

    @cython.locals(slots=Words, digest=int64_t, first=Py_ssize_t, way=Py_ssize_t, value=int64_t)
    cpdef get(self, str key, default=*)

    @cython.locals(slots=Words, digest=int64_t, first=Py_ssize_t, way=Py_ssize_t)
    cpdef bint remove(self, str key) except -1

    @cython.locals(digest=int64_t, first=Py_ssize_t)
    cpdef Py_ssize_t hold(self, str key, int64_t now) except -1

    cpdef release(self, str key)
