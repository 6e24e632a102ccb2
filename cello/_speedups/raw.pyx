"""The C-level seam between a transport and a protocol, where both are compiled: the same two calls as asyncio's.

PERF: without it a request costs two calls by way of Python objects more, and a bytes object for its answer; 12 % of the
instructions of a plain request (bench/instructions.py).
"""


cdef class RawTransport:
    """A transport that takes plain memory."""

    cdef int send_raw(self, const char* data, Py_ssize_t size) except -1:
        """Do what `write` does; `data` is free to be used again afterwards."""
        raise NotImplementedError

    cdef int send_raw_soon(self, const char* data, Py_ssize_t size) except -1:
        """Do the same when all that is ready has been read, if that is soon."""
        raise NotImplementedError


cdef class RawProtocol:
    """A protocol that is called without Python."""

    cdef int take(self, bytes data) except -1:
        """Do what `data_received` does. Whatever escapes has ended the connection already."""
        raise NotImplementedError
