"""The C-level door to what lanes share; what the words mean is said in track.pyx."""

from cello._speedups.head cimport HeadFields
from cello._speedups.late_task cimport Starter
from cello._speedups.paths cimport PathIndex
from cello._speedups.raw cimport RawProtocol
from cello._speedups.request cimport Request
from cello._speedups.runner cimport Kind, PlanView
from cello._speedups.tree cimport Tree


cdef enum:
    INCOMPLETE = 0
    FOREIGN = -1


cdef struct Reading:
    Py_ssize_t used  # bytes that the request takes; or INCOMPLETE, or FOREIGN: the general lane's
    void* view  # its PlanView; the Track keeps it alive


cdef enum:
    OUT_BYTES = 65536  # answers that wait to be written together
    PLAIN_BYTES = 512  # the head of a plain answer: three fixed pieces and a number


cdef class Outlet(RawProtocol):
    cdef flush(self)


cdef class Track:
    cdef readonly object dispatcher
    cdef readonly object state
    cdef readonly long long served
    cdef object loop, app, request_class, plan_for
    cdef set tasks
    cdef Starter starter
    cdef PathIndex index
    cdef dict views
    cdef Tree tree
    cdef bint is_own_request
    cdef int max_fields, max_requests, max_pipelined
    cdef Py_ssize_t max_connections, max_spool_memory
    cdef unsigned int max_line, max_head
    cdef tuple common
    cdef bytes tail
    cdef char* out  # answers that have not been written yet
    cdef Py_ssize_t out_size
    cdef Outlet out_owner  # whose they are
    cdef bytes json_start, text_start, binary_start
    # The head of the last plain answer, with its length in it.
    cdef char plain[PLAIN_BYTES]
    cdef Py_ssize_t plain_size, plain_length
    cdef Kind plain_kind
    cdef double idle_s, write_s, tick_s
    # The last head of a static route without a body, and what came of it.
    cdef bytes last_data
    cdef const unsigned char* last_start  # in `last_data`
    cdef Py_ssize_t last_size  # 0: there is none
    cdef str last_method, last_path, last_query
    cdef HeadFields last_fields
    cdef PlanView last_view
    # What came behind the last request line, and what it says of a body.
    cdef const unsigned char* known_start  # in the bytes that `known_fields` holds
    cdef Py_ssize_t known_size, known_body_size
    cdef HeadFields known_fields
    cdef Request spare  # for the next one

    cdef bint is_draining(self) noexcept
    cdef double now(self) except? -1.0
    cdef Request read(self, bytes data, Py_ssize_t at, object peer, Reading* reading)
    cdef bint is_known_rest(self, const unsigned char* rest, Py_ssize_t size) noexcept nogil
    cdef Request repeat(self, object peer, Reading* reading)
    cdef Request blank(self)
    cdef recycle(self, Request request)
    cdef PlanView view_of(self, object plan)
    cdef char* room(self, Outlet owner, Py_ssize_t size) except NULL
    cdef int put_plain(self, Outlet owner, Kind kind, object body, bint without_body) except -1
    cdef bytes render_plain(self, Kind kind, object body, bint without_body)
    cdef make_plain_head(self, Kind kind, Py_ssize_t length)
    cdef bytes start_of(self, Kind kind)
    cdef bint tail_is_stale(self) noexcept
    cdef bytes tail_of_head(self)
    cdef int put_head(self, Outlet owner, object response) except -1
    cdef bytes render_head(self, object response)
