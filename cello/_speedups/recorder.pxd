"""Types for cello/features/prometheus/recorder.py, compiled a second time as cello._speedups.recorder."""

import cython

from cello._speedups.request cimport Request


cdef class Recorder:
    cdef public double[::1] cells
    cdef double[::1] _durations
    cdef double[::1] _sizes
    cdef object _find_gauge
    cdef object _find_cells
    cdef object _leave_later
    cdef dict _tracks

    cpdef restart(self, cells)

    @cython.locals(at=Py_ssize_t, key=tuple, track=tuple, memo=dict)
    cpdef begin(self, Request request)

    @cython.locals(memo=dict, received=Py_ssize_t)
    cpdef leave(self, Request request, response)

    @cython.locals(took_s=double, at=Py_ssize_t, key=tuple, found=tuple, track=tuple, places=dict)
    cpdef finish(self, tuple mark, status, Py_ssize_t received, Py_ssize_t sent)

    @cython.locals(count=Py_ssize_t, bucket=Py_ssize_t)
    cdef add(self, Py_ssize_t at, double[::1] bounds, double value)
