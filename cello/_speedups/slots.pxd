"""Types of the compiled words, for those that use them from C."""

from libc.stdint cimport int64_t, uint64_t


cdef class Slots:
    cdef int64_t* words
    cdef readonly Py_ssize_t count
    cdef object _memory
    cdef uint64_t _k0
    cdef uint64_t _k1

    cpdef int64_t get(self, Py_ssize_t index) except? -1
    cpdef set(self, Py_ssize_t index, int64_t value)
    cpdef int64_t add(self, Py_ssize_t index, int64_t number) except? -1
    cpdef bint swap(self, Py_ssize_t index, int64_t expected, int64_t value) except -1
    cpdef int64_t digest(self, str key) except -1
