"""What the lanes of one worker share: which bytes are a plain request, whose it is, and the ready parts of heads.

Plain is a request that is complete within 64 KiB, has an origin-form target and no Expect, Upgrade or
Transfer-Encoding, keeps its connection, and whose route takes the body whole and answers on the loop's thread. What is
not plain, or not understood at once, is left to the general lane untouched; so every refusal is worded in one place,
and nothing here has to be tolerant.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_REFCNT
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.string cimport memchr, memcmp, memcpy

from cello._speedups.ascii cimport ascii_text
from cello._speedups.head cimport ABSENT, Field, HeadFields, Scan, make_head_fields, method_name, scan_fields, scan_line
from cello._speedups.late_task cimport Starter
from cello._speedups.paths cimport Match, PathIndex, values_of
from cello._speedups.request cimport Request
from cello._speedups.runner cimport JSON, TEXT, Kind, PlanView
from cello._speedups.slot cimport slot, slot_is_true, slot_offset, slot_pointer
from cello._speedups.tree cimport Tree

from cello.errors import BadRequest
from cello.gateways.native.state import TICK_S, ServerState
from cello.http.response import BINARY_FIELD, JSON_FIELD, TEXT_FIELD
from cello.wire.response_head import response_head, status_line

cdef extern from *:
    """
    /* Whether there are weak references to an object of a type that has room for them. */
    static inline int cello_is_watched(PyObject *object) {
        return *(PyObject **)((char *)object + Py_TYPE(object)->tp_weaklistoffset) != NULL;
    }
    """
    bint is_watched "cello_is_watched"(object) noexcept

cdef enum:
    MAX_FIELDS = 128
    MAX_HELD_BYTES = 65536  # of a request; a longer one is the general lane's
    MAX_HOST = 255

cdef Py_ssize_t DRAINING = slot_offset(ServerState, "draining")
cdef Py_ssize_t COMMON_FIELDS = slot_offset(ServerState, "common_fields")
cdef Py_ssize_t NOW = slot_offset(ServerState, "now")
cdef bytes NO_BODY = b""


cdef class Outlet(RawProtocol):
    """A connection that has answers in the track's buffer."""

    cdef flush(self):
        """Write what is queued."""
        raise NotImplementedError


cdef class Track:
    """One per worker.

    Args:
        dispatcher: Answers requests; its `request_class` is the compiled Request or a subclass.
        state: The worker's.

    Attributes:
        served: Requests that were answered in the lanes.
    """

    def __init__(self, dispatcher, state):
        limits, timeouts = dispatcher.limits, dispatcher.timeouts
        if not isinstance(state, ServerState):
            raise TypeError(f"{state!r:.80} is not a ServerState")
        self.dispatcher = dispatcher
        self.state = state
        self.loop = state.loop
        self.tasks = state.tasks
        self.starter = Starter(state.loop)
        self.app = dispatcher.app
        self.request_class = dispatcher.request_class
        self.is_own_request = self.request_class is Request
        self.plan_for = dispatcher.plan_for
        self.max_fields = min(limits.max_fields, MAX_FIELDS)
        self.max_requests = limits.max_requests_per_connection
        self.max_pipelined = limits.max_pipelined
        self.max_connections = limits.max_connections
        self.max_spool_memory = limits.max_spool_memory
        self.max_line = limits.max_request_line
        self.max_head = limits.max_header_size
        self.idle_s, self.write_s, self.tick_s = timeouts.idle, timeouts.write, TICK_S
        self.json_start = start_of_head(JSON_FIELD)
        self.text_start = start_of_head(TEXT_FIELD)
        self.binary_start = start_of_head(BINARY_FIELD)
        self.views = {}
        self.tree = None
        if not dispatcher.has_mounts:  # mounts go before whatever is in the tree
            self.tree = dispatcher.tree
            self.index = PathIndex(self.tree, lambda plan, path: self.view_of(plan) if path is None else PlanView(plan, path))
        self.out = <char*>PyMem_Malloc(OUT_BYTES)
        if self.out == NULL:
            raise MemoryError()

    def __dealloc__(self):
        PyMem_Free(self.out)

    cdef bint is_draining(self) noexcept:
        return slot_is_true(self.state, DRAINING)

    cdef double now(self) except? -1.0:
        """The state's clock, in seconds."""
        return <double>slot(self.state, NOW)

    cdef PlanView view_of(self, object plan):
        view = self.views.get(plan)
        if view is None:
            view = self.views[plan] = PlanView(plan)
        return <PlanView>view

    # -- from bytes to a request --

    cdef Request read(self, bytes data, Py_ssize_t at, object peer, Reading* reading):
        """Return the request that begins in `data` at `at`, or None; `reading` says how much it took, or why not."""
        cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(data) + at
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data) - at
        cdef Scan scan
        cdef Field fields[MAX_FIELDS]
        cdef Py_ssize_t line_size, head_size, body_size = 0
        cdef const unsigned char* target
        cdef const unsigned char* query
        cdef unsigned int path_size
        cdef PlanView view = None
        cdef Request request
        cdef Match match
        cdef void* indexed = NULL
        cdef str method, path, query_string = ""
        cdef HeadFields head = None
        cdef object params = None

        if 0 < self.last_size <= size and memcmp(start, self.last_start, self.last_size) == 0:
            return self.repeat(peer, reading)
        reading.used = FOREIGN
        head_size = line_size = scan_line(start, size, &scan)
        if line_size > 0 and scan.minor and self.is_known_rest(start + line_size, size - line_size):
            head = self.known_fields
            head_size = line_size + self.known_size
            body_size = self.known_body_size
        elif line_size > 0:
            head_size = scan_fields(start, size, line_size, &scan, fields, self.max_fields)
        if head_size <= 0:
            # Beyond the shorter limit the general lane tells which one it breaks, and waits for the rest if none.
            if head_size == 0 and size <= min(self.max_line, self.max_head):
                reading.used = INCOMPLETE
            return None
        if head_size > self.max_head or scan.target_start + scan.target_size + 9 > self.max_line:
            return None
        if head is None:
            body_size = plain_body_size(start, &scan, fields)
        if body_size < 0 or body_size > self.max_spool_memory or head_size + body_size > MAX_HELD_BYTES:
            return None
        target = start + scan.target_start
        if target[0] != c"/" or memchr(target, c"#", scan.target_size) != NULL:
            return None
        if scan.method_size == 7 and memcmp(start, b"CONNECT", 7) == 0:
            return None
        query = <const unsigned char*>memchr(target, c"?", scan.target_size)
        path_size = scan.target_size if query == NULL else <unsigned int>(query - target)

        # Where it goes: "GET /path" lies there as it is looked up.
        if self.index is not None:
            indexed = self.index.find_line(start, scan.target_start + path_size)
        method = method_name(start, scan.method_size)
        if indexed != NULL:
            view = <PlanView>indexed
            path = view.path
        else:
            path = ascii_text(target, path_size)
            if self.index is not None:
                indexed = self.index.find(start, scan.method_size, target, path_size, &match)
            if indexed != NULL:
                view = <PlanView>indexed
                params = values_of(&match, target)
            elif self.tree is not None:
                try:
                    found = self.tree.find_raw(method, path)
                except BadRequest:
                    found = None  # `plan_for` finds the plan that says so
                if found is not None:
                    view = self.view_of((<tuple>found)[0])
                    params = (<tuple>found)[1]
        if view is not None and view.is_for_general(body_size):
            return None
        if head_size + body_size > size:
            reading.used = INCOMPLETE
            return None

        if query != NULL:
            query_string = ascii_text(query + 1, scan.target_size - path_size - 1)
        if head is None:
            head = make_head_fields(data, at, fields, scan.count)
            self.known_start, self.known_size = start + line_size, head_size - line_size
            self.known_fields, self.known_body_size = head, body_size
        if self.is_own_request:
            # PERF: what `Request._receive` does, but for what is None already: 0.02 µs.
            request = self.blank()
            request.method = method
            request.raw_path = path
            request.query_string = query_string
            request.http_version = "1.1"
            request._head = head
            request._peer = peer
            request._params = params
        else:
            request = <Request?>self.request_class.incoming(method, path, query_string, head, peer, "1.1")
        if body_size:
            request._body = PyBytes_FromStringAndSize(<const char*>start + head_size, body_size)
        if view is None:
            request.app = request.route = None
            view = self.view_of(self.plan_for(request))
            if view.is_for_general(body_size):
                return None
        else:
            request.app = self.app
            request.route = view.route
            if params is not None and not self.is_own_request:
                request.params = params
            if view.path is not None and body_size == 0 and self.is_own_request:
                self.last_data, self.last_start, self.last_size, self.last_fields = data, start, head_size, head
                self.last_method, self.last_path, self.last_query = method, path, query_string
                self.last_view = view
        reading.used = head_size + body_size
        reading.view = <void*>view
        return request

    cdef bint is_known_rest(self, const unsigned char* rest, Py_ssize_t size) noexcept nogil:
        """Whether the fields of the last request that was scanned come once more, byte for byte.

        PERF: a client that asks for one thing after another says the rest of its head again and again.
        """
        return 0 < self.known_size <= size and memcmp(rest, self.known_start, self.known_size) == 0

    cdef Request repeat(self, object peer, Reading* reading):
        """Return the request of a head that is the last one once more, byte for byte; or None, as `read` does.

        PERF: clients on a kept connection, and above all those that pipeline, send the same head again and again; it is
        compared in a tenth of what scanning it, looking for its route and noting its fields take.
        """
        cdef Request request
        if self.last_view.is_for_general(0):
            reading.used = FOREIGN
            return None
        request = self.blank()
        request.method = self.last_method
        request.raw_path = self.last_path
        request.query_string = self.last_query
        request.http_version = "1.1"
        request._head = self.last_fields
        request._peer = peer
        request.app = self.app
        request.route = self.last_view.route
        reading.used = self.last_size
        reading.view = <void*>self.last_view
        return request

    cdef Request blank(self):
        """Return a request without anything of its own."""
        cdef Request request = self.spare
        if request is not None:
            self.spare = None
            return request
        request = Request.__new__(Request)
        request._body = NO_BODY
        return request

    cdef recycle(self, Request request):
        """Make the next request of one that has been answered, and that nobody else has or watches.

        What every request gets anew stays in it until then. PERF: making and dropping one costs 450 instructions,
        emptying it 70.
        """
        if not self.is_own_request or Py_REFCNT(request) != 1 or is_watched(request):
            return
        request._gateway = None
        if request._body is not NO_BODY:
            request._body = NO_BODY
        if request._params is not None:
            request._params = None
        if request._source is not None:
            request._source = None
        if request._afterwork is not None:
            request._afterwork = None
        if request._headers is not None:
            request._headers = None
        if request._query is not None:
            request._query = None
        if request._context is not None:
            request._context = None
        if request._memo is not None:
            request._memo = None
        self.spare = request

    # -- from an answer to bytes --

    cdef char* room(self, Outlet owner, Py_ssize_t size) except NULL:
        """Return where the next `size` bytes of `owner` go, at most OUT_BYTES; what is in the way is written first."""
        cdef Outlet other = self.out_owner
        if other is not owner:
            if self.out_size:
                other.flush()
            self.out_owner = owner
        elif self.out_size + size > OUT_BYTES:
            owner.flush()
        self.out_size += size
        return self.out + self.out_size - size

    cdef int put_plain(self, Outlet owner, Kind kind, object body, bint without_body) except -1:
        """Queue a plain 200; return 0 when it is too large for that."""
        cdef const char* content
        cdef Py_ssize_t size = 0, kept
        cdef char* out
        if type(body) is bytes:
            content = PyBytes_AS_STRING(<bytes>body)
            size = PyBytes_GET_SIZE(<bytes>body)
        else:
            content = PyUnicode_AsUTF8AndSize(body, &size)
        if self.tail_is_stale() or kind != self.plain_kind or size != self.plain_length:
            self.make_plain_head(kind, size)
        kept = 0 if without_body else size
        if self.plain_size + kept > OUT_BYTES:
            return 0
        out = self.room(owner, self.plain_size + kept)
        memcpy(out, self.plain, self.plain_size)
        memcpy(out + self.plain_size, content, kept)
        return 1

    cdef make_plain_head(self, Kind kind, Py_ssize_t length):
        """Put together the head of a plain 200; it serves until another kind, length or second comes.

        PERF: many answers in a row have the same head: one copy of 130 bytes for four small ones and a number.
        """
        cdef bytes start = self.start_of(kind), tail = self.tail_of_head()
        cdef char digits[20]
        cdef Py_ssize_t at = 20, rest = length
        cdef Py_ssize_t start_size = PyBytes_GET_SIZE(start), tail_size = PyBytes_GET_SIZE(tail)
        while True:
            at -= 1
            digits[at] = <char>(c"0" + rest % 10)
            rest //= 10
            if rest == 0:
                break
        self.plain_kind, self.plain_length, self.plain_size = kind, length, start_size + 20 - at + tail_size
        memcpy(self.plain, PyBytes_AS_STRING(start), start_size)
        memcpy(self.plain + start_size, digits + at, 20 - at)
        memcpy(self.plain + start_size + 20 - at, PyBytes_AS_STRING(tail), tail_size)

    cdef bytes start_of(self, Kind kind):
        """Return what comes before the length in the head of a plain 200."""
        return self.json_start if kind == JSON else self.text_start if kind == TEXT else self.binary_start

    cdef bytes render_plain(self, Kind kind, object body, bint without_body):
        """Return a plain 200 as bytes, of any size."""
        cdef bytes content = body if type(body) is bytes else (<str>body).encode()
        return b"%b%d%b%b" % (self.start_of(kind), len(content), self.tail_of_head(), b"" if without_body else content)

    cdef bint tail_is_stale(self) noexcept:
        """Whether `tail_of_head` has to make another one."""
        return <void*>self.common != slot_pointer(self.state, COMMON_FIELDS)

    cdef bytes tail_of_head(self):
        """Return what comes behind the length in the head of a plain answer, renewed once a second."""
        cdef object common = slot(self.state, COMMON_FIELDS)
        if common is not self.common:
            self.common = common
            self.tail = b"\r\n" + common[0] + common[1] + b"\r\n"
        return self.tail

    cdef int put_head(self, Outlet owner, object response) except -1:
        """Queue the head of a settled response that keeps the connection; return 0 when it is no usual one."""
        cdef list fields = response.fields()
        cdef tuple common = slot(self.state, COMMON_FIELDS)
        cdef bytes line = status_line(response.status), date = common[0], server = common[1], name, value
        cdef Py_ssize_t total = PyBytes_GET_SIZE(line) + 2, size
        cdef tuple field
        cdef char* out
        if response.status == 426:
            return 0
        for field in fields:
            name = field[0]
            value = field[1]
            size = PyBytes_GET_SIZE(name)
            if size == 4 and name.lower() == b"date":
                date = b""
            elif size == 6 and name.lower() == b"server":
                server = b""
            total += size + PyBytes_GET_SIZE(value) + 4
        total += PyBytes_GET_SIZE(date) + PyBytes_GET_SIZE(server)
        if total > OUT_BYTES:
            return 0
        out = put(self.room(owner, total), line)
        for field in fields:
            out = put(out, field[0])
            out[0] = c":"
            out[1] = c" "
            out = put(out + 2, field[1])
            out[0] = c"\r"
            out[1] = c"\n"
            out += 2
        out = put(put(out, date), server)
        out[0] = c"\r"
        out[1] = c"\n"
        return 1

    cdef bytes render_head(self, object response):
        """Return the head of a settled response that keeps the connection."""
        return response_head(response.status, response.fields(), slot(self.state, COMMON_FIELDS))


cdef inline char* put(char* out, bytes piece) noexcept:
    memcpy(out, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
    return out + PyBytes_GET_SIZE(piece)


cdef bytes start_of_head(tuple field):
    return status_line(200) + field[0] + b": " + field[1] + b"\r\nContent-Length: "


cdef Py_ssize_t plain_body_size(const unsigned char* start, const Scan* scan, const Field* fields) noexcept nogil:
    """Return the size of the body, or -1 when anything but Content-Length says something about it or the connection."""
    cdef const Field* field
    if scan.minor == 0 or scan.expect != ABSENT or scan.upgrade != ABSENT or scan.transfer_encoding != ABSENT:
        return -1
    if scan.host < 0:
        return -1
    field = &fields[scan.host]
    if not is_plain_host(start + field.value_start, field.value_size):
        return -1
    if scan.connection != ABSENT:
        if scan.connection < 0:
            return -1
        field = &fields[scan.connection]
        if not is_keep_alive(start + field.value_start, field.value_size):
            return -1
    if scan.content_length == ABSENT:
        return 0
    if scan.content_length < 0:
        return -1
    field = &fields[scan.content_length]
    return read_length(start + field.value_start, field.value_size)


cdef Py_ssize_t read_length(const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """Return the number, or -1 when it is none or has more digits than any body that waits here."""
    cdef Py_ssize_t value = 0, index
    if not 0 < size <= 9:
        return -1
    for index in range(size):
        if not c"0" <= text[index] <= c"9":
            return -1
        value = value * 10 + (text[index] - c"0")
    return value


cdef bint is_keep_alive(const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """Whether a Connection field says just "keep-alive", as clients write it."""
    return size == 10 and (text[0] == c"k" or text[0] == c"K") and memcmp(text + 1, b"eep-", 4) == 0 and (
        text[5] == c"a" or text[5] == c"A"
    ) and memcmp(text + 6, b"live", 4) == 0


cdef bint is_plain_host(const unsigned char* host, Py_ssize_t size) noexcept nogil:
    """Whether a Host is a name or an address with at most a port, without any of the rarer characters."""
    cdef Py_ssize_t index = 0, port
    cdef unsigned char byte
    if not 0 < size <= MAX_HOST:
        return False
    while index < size:
        byte = host[index]
        if not (
            c"a" <= byte <= c"z" or c"0" <= byte <= c"9" or c"A" <= byte <= c"Z" or byte == c"." or byte == c"-"
        ):
            break
        index += 1
    if index == size:
        return True
    port = index + 1
    if index == 0 or host[index] != c":" or size - port > 5:
        return False
    for index in range(port, size):
        if not c"0" <= host[index] <= c"9":
            return False
    return True
