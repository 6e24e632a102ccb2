"""The C-level door to the request-head scanner; what the words mean is said in head.pyx."""

cdef struct Field:
    unsigned int name_start
    unsigned int name_size
    unsigned int value_start
    unsigned int value_size


cdef enum:
    ABSENT = -1
    REPEATED = -2


cdef struct Scan:
    unsigned int method_size
    unsigned int target_start
    unsigned int target_size
    int major
    int minor
    int count
    # The index of the field, or ABSENT, or REPEATED.
    int host
    int content_length
    int transfer_encoding
    int connection
    int expect
    int upgrade
    # What went wrong, when scan_head returned FAULTY.
    int status
    Py_ssize_t offset
    const char* reason


cdef enum:
    INCOMPLETE = 0
    FAULTY = -1
    CROWDED = -2


cdef Py_ssize_t scan_head(
    const unsigned char* data, Py_ssize_t size, Scan* scan, Field* fields, int capacity
) noexcept nogil

cdef Py_ssize_t scan_line(const unsigned char* data, Py_ssize_t size, Scan* scan) noexcept nogil

cdef Py_ssize_t scan_fields(
    const unsigned char* data, Py_ssize_t size, Py_ssize_t begin, Scan* scan, Field* fields, int capacity
) noexcept nogil

cdef str method_name(const unsigned char* data, Py_ssize_t size)


cdef enum:
    INLINE_FIELDS = 12


cdef class HeadFields:
    cdef bytes head
    cdef Py_ssize_t base  # where in `head` the offsets begin to count
    cdef int count
    cdef Field* fields
    cdef Field inline_fields[INLINE_FIELDS]

    cdef bytes value_at(self, int index)


cdef HeadFields make_head_fields(bytes head, Py_ssize_t base, const Field* fields, int count)
