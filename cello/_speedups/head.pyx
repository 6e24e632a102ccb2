"""One pass over a request head: grammar checked, offsets kept, nothing copied or decoded.

`scan_head` is what the fast lane calls on its own buffer. It is strict by itself (line ends, folding, grammar), so that
whatever it accepts, `cello.wire.h1` accepts with the same meaning; whatever it refuses is judged again there.
`parse_head` is the head scanner of the tier `cello.wire.h1_compiled`, on a complete head.

Rule 1. `data[size]` is readable and no token character: bytes objects end in NUL, and so must other buffers. The
        grammar loops stop there by themselves and test the size once, after the loop.
Rule 2. Offsets are counted from the first byte of the head and fit 32 bits.
Rule 3. This module imports nothing of cello: `cello._speedups` loads it while cello is being imported.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    #include <stddef.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    enum { CELLO_TOKEN = 1, CELLO_VISIBLE = 2, CELLO_VALUE = 4 };

    /* RFC 9110 5.6.2 tchar; RFC 9112 3.2 target bytes 0x21-0x7E; RFC 9110 5.5 value bytes with tab and obs-text. */
    #define V4 4,4,4,4
    #define V16 V4,V4,V4,V4
    static const unsigned char cello_kind[256] = {
        0,0,0,0, 0,0,0,0, 0,4,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0,
        4,7,6,7, 7,7,7,7, 6,6,7,7, 6,7,7,6,   7,7,7,7, 7,7,7,7, 7,7,6,6, 6,6,6,6,
        6,7,7,7, 7,7,7,7, 7,7,7,7, 7,7,7,7,   7,7,7,7, 7,7,7,7, 7,7,7,6, 6,6,7,7,
        7,7,7,7, 7,7,7,7, 7,7,7,7, 7,7,7,7,   7,7,7,7, 7,7,7,7, 7,7,7,6, 7,6,7,0,
        V16,V16,V16,V16, V16,V16,V16,V16
    };
    #undef V16
    #undef V4

    /* Where the run of bytes of one kind that begins at p ends. */
    static inline size_t cello_run(const unsigned char *data, size_t p, unsigned char kind) {
        while (cello_kind[data[p]] & kind) p++;
        return p;
    }

    /* Where a field value ends: the first byte that is a control other than tab, or the size. */
    static inline size_t cello_value_run(const unsigned char *data, size_t p, size_t size) {
    #if defined(__SSE2__)
        const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8(0x09), del = _mm_set1_epi8(0x7f);
        while (p + 16 <= size) {
            __m128i v = _mm_loadu_si128((const __m128i *)(data + p));
            __m128i stop = _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), _mm_cmpeq_epi8(_mm_min_epu8(v, low), v));
            int mask = _mm_movemask_epi8(_mm_or_si128(stop, _mm_cmpeq_epi8(v, del)));
            if (mask) return p + (size_t)__builtin_ctz((unsigned)mask);
            p += 16;
        }
    #endif
        return cello_run(data, p, CELLO_VALUE);
    }

    /* Whether `size` bytes equal a lower-case name but for ASCII case. Only letters are folded: setting bit 5 on every
       byte would take '^' for '~'. */
    static inline int cello_same_name(const unsigned char *data, const unsigned char *name, size_t size) {
        size_t i;
        for (i = 0; i < size; i++) {
            unsigned char c = data[i];
            if (c >= 'A' && c <= 'Z') c |= 0x20;
            if (c != name[i]) return 0;
        }
        return 1;
    }
    """
    enum:
        TOKEN "CELLO_TOKEN"
        VISIBLE "CELLO_VISIBLE"

    size_t run "cello_run"(const unsigned char* data, size_t p, unsigned char kind) noexcept nogil
    size_t value_run "cello_value_run"(const unsigned char* data, size_t p, size_t size) noexcept nogil
    bint same_name "cello_same_name"(const unsigned char* data, const unsigned char* name, size_t size) noexcept nogil


cdef inline Py_ssize_t fault(Scan* scan, int status, size_t offset, const char* reason) noexcept nogil:
    scan.status = status
    scan.offset = <Py_ssize_t>offset
    scan.reason = reason
    return FAULTY


cdef Py_ssize_t scan_head(
    const unsigned char* data, Py_ssize_t size, Scan* scan, Field* fields, int capacity
) noexcept nogil:
    """Scan the head at the start of `data`.

    Returns:
        The size of the head, its empty line included; or INCOMPLETE; or FAULTY, with status, offset and reason set; or
        CROWDED, when it has more fields than `capacity`.
    """
    cdef Py_ssize_t line_size = scan_line(data, size, scan)
    if line_size <= 0:
        return line_size
    return scan_fields(data, size, line_size, scan, fields, capacity)


cdef Py_ssize_t scan_line(const unsigned char* data, Py_ssize_t size, Scan* scan) noexcept nogil:
    """Scan the request line at the start of `data`; return its size, line end included, or INCOMPLETE or FAULTY."""
    cdef size_t end = <size_t>size
    cdef size_t p, start

    p = run(data, 0, TOKEN)
    if p >= end:
        return INCOMPLETE
    if p == 0 or data[p] != c" ":
        return fault(scan, 400, p, b"a request line begins with a method and one space")
    scan.method_size = <unsigned int>p
    start = p + 1
    p = run(data, start, VISIBLE)
    if p >= end:
        return INCOMPLETE
    if p == start or data[p] != c" ":
        return fault(scan, 400, p, b"a method is followed by a target and one space")
    scan.target_start = <unsigned int>start
    scan.target_size = <unsigned int>(p - start)
    p += 1
    if p + 10 > end:
        return INCOMPLETE
    if (
        memcmp(data + p, b"HTTP/", 5) != 0
        or not c"0" <= data[p + 5] <= c"9"
        or data[p + 6] != c"."
        or not c"0" <= data[p + 7] <= c"9"
        or data[p + 8] != c"\r"
        or data[p + 9] != c"\n"
    ):
        return fault(scan, 400, p, b"a request line ends in HTTP/ and a version of two digits")
    scan.major = data[p + 5] - c"0"
    scan.minor = data[p + 7] - c"0"
    if scan.major != 1:
        return fault(scan, 505, p, b"only HTTP/1.0 and HTTP/1.1 are spoken here")
    return <Py_ssize_t>(p + 10)


cdef Py_ssize_t scan_fields(
    const unsigned char* data, Py_ssize_t size, Py_ssize_t begin, Scan* scan, Field* fields, int capacity
) noexcept nogil:
    """Scan the field lines that begin in `data` at `begin`; return what `scan_head` does."""
    cdef size_t end = <size_t>size
    cdef size_t p = <size_t>begin, start, value_end
    cdef int count = 0
    cdef Field* field
    scan.host = scan.content_length = scan.transfer_encoding = ABSENT
    scan.connection = scan.expect = scan.upgrade = ABSENT
    while True:
        if data[p] == c"\r" and p < end:
            if p + 1 >= end:
                return INCOMPLETE
            if data[p + 1] != c"\n":
                return fault(scan, 400, p, b"a line ends in something else than CRLF")
            scan.count = count
            return <Py_ssize_t>(p + 2)
        if count == capacity:
            return CROWDED
        field = &fields[count]
        start = p
        p = run(data, p, TOKEN)
        if p >= end:
            return INCOMPLETE
        if p == start or data[p] != c":":
            return fault(scan, 400, p, b"a field line is a name, a colon and a value")
        field.name_start = <unsigned int>start
        field.name_size = <unsigned int>(p - start)
        p += 1
        while data[p] == c" " or data[p] == c"\t":
            p += 1
        start = p
        p = value_run(data, p, end)
        if p + 1 >= end:
            return INCOMPLETE
        if data[p] != c"\r" or data[p + 1] != c"\n":
            return fault(scan, 400, p, b"a field value holds a control character")
        value_end = p
        while value_end > start and (data[value_end - 1] == c" " or data[value_end - 1] == c"\t"):
            value_end -= 1
        field.value_start = <unsigned int>start
        field.value_size = <unsigned int>(value_end - start)
        p += 2
        note(data + field.name_start, field.name_size, count, scan)
        count += 1


cdef inline void note(const unsigned char* name, size_t size, int index, Scan* scan) noexcept nogil:
    """Remember where a field is that decides about framing or the connection."""
    if size == 4:
        if same_name(name, b"host", 4):
            scan.host = index if scan.host == ABSENT else REPEATED
    elif size == 6:
        if same_name(name, b"expect", 6):
            scan.expect = index if scan.expect == ABSENT else REPEATED
    elif size == 7:
        if same_name(name, b"upgrade", 7):
            scan.upgrade = index if scan.upgrade == ABSENT else REPEATED
    elif size == 10:
        if same_name(name, b"connection", 10):
            scan.connection = index if scan.connection == ABSENT else REPEATED
    elif size == 14:
        if same_name(name, b"content-length", 14):
            scan.content_length = index if scan.content_length == ABSENT else REPEATED
    elif size == 17:
        if same_name(name, b"transfer-encoding", 17):
            scan.transfer_encoding = index if scan.transfer_encoding == ABSENT else REPEATED


cdef str method_name(const unsigned char* data, Py_ssize_t size):
    """Return the method as a string, the usual ones without making one."""
    if size == 3:
        if memcmp(data, b"GET", 3) == 0:
            return "GET"
        if memcmp(data, b"PUT", 3) == 0:
            return "PUT"
    elif size == 4:
        if memcmp(data, b"POST", 4) == 0:
            return "POST"
        if memcmp(data, b"HEAD", 4) == 0:
            return "HEAD"
    elif size == 6 and memcmp(data, b"DELETE", 6) == 0:
        return "DELETE"
    return PyUnicode_DecodeLatin1(<char*>data, size, NULL)


@cython.freelist(64)
cdef class HeadFields:
    """The field lines of one head, as offsets into its bytes: the compiled twin of `cello.http.headers.FieldList`."""

    def __dealloc__(self):
        if self.fields != self.inline_fields:
            PyMem_Free(self.fields)

    def __reduce__(self):
        from cello.http.headers import FieldList

        return FieldList, (self.raw(),)

    cdef bytes value_at(self, int index):
        cdef Field* field = &self.fields[index]
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.head) + self.base + field.value_start, field.value_size)

    def get(self, bytes name not None):
        """Return the value of a field by its lower-case name, repeated ones joined by `b", "`, or None."""
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(self.head) + self.base
        cdef const unsigned char* wanted = <const unsigned char*>PyBytes_AS_STRING(name)
        cdef unsigned int size = <unsigned int>PyBytes_GET_SIZE(name)
        cdef bytes value = None
        cdef int index
        for index in range(self.count):
            if self.fields[index].name_size == size and same_name(data + self.fields[index].name_start, wanted, size):
                if value is not None:
                    return b", ".join(self.get_all(name))
                value = self.value_at(index)
        return value

    def get_all(self, bytes name not None):
        """Return every value of a field by its lower-case name, in the order received."""
        cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(self.head) + self.base
        cdef const unsigned char* wanted = <const unsigned char*>PyBytes_AS_STRING(name)
        cdef unsigned int size = <unsigned int>PyBytes_GET_SIZE(name)
        cdef list values = []
        cdef int index
        for index in range(self.count):
            if self.fields[index].name_size == size and same_name(data + self.fields[index].name_start, wanted, size):
                values.append(self.value_at(index))
        return values

    def raw(self):
        """Return all fields as (name, value), as received."""
        cdef char* data = PyBytes_AS_STRING(self.head) + self.base
        cdef list pairs = []
        cdef Field* field
        cdef int index
        for index in range(self.count):
            field = &self.fields[index]
            pairs.append((PyBytes_FromStringAndSize(data + field.name_start, field.name_size), self.value_at(index)))
        return pairs


cdef HeadFields make_head_fields(bytes head, Py_ssize_t base, const Field* fields, int count):
    """Wrap scanned fields; their offsets count from `base` in `head`."""
    cdef HeadFields made = HeadFields.__new__(HeadFields)
    made.head = head
    made.base = base
    made.fields = made.inline_fields
    if count > INLINE_FIELDS:
        made.fields = <Field*>PyMem_Malloc(count * sizeof(Field))
        if made.fields == NULL:
            made.fields = made.inline_fields
            raise MemoryError()
    memcpy(made.fields, fields, count * sizeof(Field))
    made.count = count
    return made


cdef enum:
    STACK_FIELDS = 128


def parse_head(bytes head not None):
    """Scan one complete head.

    Returns:
        (method, target, minor, fields) as `cello.wire.h1` wants it from a tier; or, when the head breaks the grammar,
        (status, reason, offset, None).
    """
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(head)
    cdef Scan scan
    cdef Field on_stack[STACK_FIELDS]
    cdef Field* fields = on_stack
    cdef int capacity = STACK_FIELDS
    cdef Py_ssize_t size
    try:
        size = scan_head(data, PyBytes_GET_SIZE(head), &scan, fields, capacity)
        if size == CROWDED:
            capacity = head.count(b"\n")
            fields = <Field*>PyMem_Malloc(capacity * sizeof(Field))
            if fields == NULL:
                raise MemoryError()
            size = scan_head(data, PyBytes_GET_SIZE(head), &scan, fields, capacity)
        if size == FAULTY:
            return scan.status, scan.reason.decode("ascii"), scan.offset, None
        if size == INCOMPLETE or size != PyBytes_GET_SIZE(head):
            return 400, "the head ends too soon or not in its only empty line", PyBytes_GET_SIZE(head), None
        return (
            method_name(data, scan.method_size),
            PyUnicode_DecodeLatin1(<char*>data + scan.target_start, scan.target_size, NULL),
            1 if scan.minor else 0,
            make_head_fields(head, 0, fields, scan.count),
        )
    finally:
        if fields != on_stack:
            PyMem_Free(fields)
