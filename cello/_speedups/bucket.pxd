"""Types for cello/features/bucket.py, compiled a second time as cello._speedups.bucket."""

import cython
from libc.stdint cimport int64_t

from cello._speedups.slots cimport Slots
from cello._speedups.table cimport Table as Places  # the source imports the other name


cdef class Bucket:
    cdef Places _table

    @cython.locals(slots=Slots, index=Py_ssize_t, held=int64_t, start=int64_t, room=int64_t)
    cpdef int64_t take(self, str key, int64_t now, int64_t interval, int64_t full) except? -1
