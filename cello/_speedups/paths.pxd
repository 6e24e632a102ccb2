"""The C-level door to the index of paths; what the words mean is said in paths.pyx."""

from libc.stdint cimport uint64_t


cdef enum:
    MAX_VALUES = 16


cdef struct Span:
    unsigned int start
    unsigned int size


cdef struct Match:
    int count
    Span spans[MAX_VALUES]
    void* names  # a tuple of str; the index keeps it alive


cdef struct Line:
    const unsigned char* text
    Py_ssize_t size
    void* value


cdef struct Edge:
    const unsigned char* text
    Py_ssize_t size
    int parent
    int child


cdef struct End:
    const unsigned char* method
    Py_ssize_t size
    void* value
    void* names


cdef struct Place:
    int plain  # the place behind any text but the empty one, or -1
    int first_end
    int end_count
    bint has_edges
    bint is_odd  # something the tree must decide is here


cdef class PathIndex:
    cdef list held
    cdef Line* lines
    cdef Edge* edges
    cdef Place* places
    cdef End* ends
    cdef uint64_t line_mask, edge_mask
    cdef int place_count

    cdef void* find_line(self, const unsigned char* line, Py_ssize_t size) noexcept nogil
    cdef void* find(
        self, const unsigned char* method, Py_ssize_t method_size, const unsigned char* path, Py_ssize_t size, Match* match
    ) noexcept nogil
    cdef End* end_of(self, int at, const unsigned char* method, Py_ssize_t method_size) noexcept nogil
    cdef fill(self, list lines, list places, list edges, list ends)
    cdef End* walk(
        self, int at, const unsigned char* method, Py_ssize_t method_size, const unsigned char* path, Py_ssize_t begin,
        Py_ssize_t size, Match* match
    ) noexcept nogil


cdef dict values_of(const Match* match, const unsigned char* path)
