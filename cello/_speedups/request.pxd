"""Types for cello/http/request.py, compiled a second time as cello._speedups.request."""


import cython


@cython.freelist(64)
cdef class Request:
    cdef object __weakref__
    cdef public object method
    cdef public object raw_path
    cdef public object query_string
    cdef public object http_version
    cdef public object _params
    cdef public object route
    cdef public object app
    cdef public object _head
    cdef public object _peer
    cdef public object _body
    cdef public object _source
    cdef public object _gateway
    cdef public object _afterwork
    cdef public object _headers
    cdef public object _query
    cdef public object _context
    cdef public object _memo

    cpdef _receive(self, method, raw_path, query_string, head, peer, http_version)
