"""The C-level seam between a transport and a protocol; what the words mean is said in raw.pyx."""


cdef class RawTransport:
    cdef int send_raw(self, const char* data, Py_ssize_t size) except -1
    cdef int send_raw_soon(self, const char* data, Py_ssize_t size) except -1


cdef class RawProtocol:
    cdef int take(self, bytes data) except -1
