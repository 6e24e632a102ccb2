"""The routes once more, as flat tables that are searched on the raw bytes of a request, without an object made.

The tree (`cello.routing.tree`) is what decides where a path leads. This index is made from a complete tree and knows
the plain part of it: static text and whole-segment parameters. `find` goes the way that the tree would go, and where it
would come upon anything else (converters, mixed segments, wildcards, escapes) it finds nothing, and the tree is asked.

PERF: 0.03 µs for a static path and 0.06 with a parameter, where the tree takes 0.12 and 0.35, and neither key nor
segments are made; bench/micro/test_router.py.

Rule 1. What it finds, the tree finds; what it does not find says nothing. tests/parity/test_paths.py.
Rule 2. Only an application's own texts are in the tables, so no client can crowd them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp

from cello._speedups.ascii cimport ascii_text
from cello._speedups.tree cimport Node, Tree

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* A hash for tables of our own making, eight bytes a step; not for what a client may choose. */
    static inline uint64_t cello_hash(const unsigned char *p, size_t size, uint64_t seed) {
        const uint64_t odd = 0x9E3779B97F4A7C15ull;
        uint64_t word, hash = (seed + size) * odd;
        while (size >= 8) {
            memcpy(&word, p, 8);
            hash = (hash ^ word) * odd;
            hash ^= hash >> 29;
            p += 8;
            size -= 8;
        }
        word = 0;
        if (size >= 4) {
            uint32_t low, high;
            memcpy(&low, p, 4);
            memcpy(&high, p + size - 4, 4);
            word = ((uint64_t)high << 32) | low;
        } else if (size) {
            word = ((uint64_t)p[0] << 16) | ((uint64_t)p[size >> 1] << 8) | p[size - 1];
        }
        hash = (hash ^ word) * odd;
        return hash ^ (hash >> 32);
    }
    """
    uint64_t mix "cello_hash"(const unsigned char* data, size_t size, uint64_t seed) noexcept nogil


cdef class PathIndex:
    """An index of a tree that changes no more.

    Args:
        tree: All routes.
        value_of: Called with what a route leads to and, for a static path, with that path; says what to find instead.
    """

    def __cinit__(self, Tree tree not None, value_of):
        lines, places, edges, ends = [], [], [], []
        for path, methods in tree.static.items():
            for method, (value, _) in methods.items():
                lines.append((f"{method} {path}".encode("ascii"), value_of(value, path)))
        collect(tree.root, value_of, places, edges, ends)
        self.held = [lines, edges, ends]
        self.line_mask = table_size(len(lines)) - 1
        self.edge_mask = table_size(len(edges)) - 1
        self.place_count = <int>len(places)
        self.lines = <Line*>PyMem_Calloc(self.line_mask + 1, sizeof(Line))
        self.edges = <Edge*>PyMem_Calloc(self.edge_mask + 1, sizeof(Edge))
        self.places = <Place*>PyMem_Calloc(len(places), sizeof(Place))
        self.ends = <End*>PyMem_Calloc(len(ends) + 1, sizeof(End))
        if self.lines == NULL or self.edges == NULL or self.places == NULL or self.ends == NULL:
            raise MemoryError()
        self.fill(lines, places, edges, ends)

    def __dealloc__(self):
        PyMem_Free(self.lines)
        PyMem_Free(self.edges)
        PyMem_Free(self.places)
        PyMem_Free(self.ends)

    cdef fill(self, list lines, list places, list edges, list ends):
        cdef uint64_t slot
        cdef Py_ssize_t index
        cdef bytes text
        cdef const unsigned char* data
        for text, value in lines:
            data = <const unsigned char*>PyBytes_AS_STRING(text)
            slot = mix(data, PyBytes_GET_SIZE(text), 0) & self.line_mask
            while self.lines[slot].text != NULL:
                slot = (slot + 1) & self.line_mask
            self.lines[slot].text = data
            self.lines[slot].size = PyBytes_GET_SIZE(text)
            self.lines[slot].value = <void*>value
        for parent, text, child in edges:
            data = <const unsigned char*>PyBytes_AS_STRING(text)
            slot = mix(data, PyBytes_GET_SIZE(text), <uint64_t>parent) & self.edge_mask
            while self.edges[slot].text != NULL:
                slot = (slot + 1) & self.edge_mask
            self.edges[slot].text = data
            self.edges[slot].size = PyBytes_GET_SIZE(text)
            self.edges[slot].parent = parent
            self.edges[slot].child = child
        for index, (plain, first_end, end_count, has_edges, is_odd) in enumerate(places):
            self.places[index].plain = plain
            self.places[index].first_end = first_end
            self.places[index].end_count = end_count
            self.places[index].has_edges = has_edges
            self.places[index].is_odd = is_odd
        for index, (text, value, names) in enumerate(ends):
            self.ends[index].method = <const unsigned char*>PyBytes_AS_STRING(text)
            self.ends[index].size = PyBytes_GET_SIZE(text)
            self.ends[index].value = <void*>value
            self.ends[index].names = <void*>names

    cdef void* find_line(self, const unsigned char* line, Py_ssize_t size) noexcept nogil:
        """Return what "METHOD /path", all static, leads to, or NULL."""
        cdef uint64_t slot = mix(line, size, 0) & self.line_mask
        while self.lines[slot].text != NULL:
            if self.lines[slot].size == size and memcmp(self.lines[slot].text, line, size) == 0:
                return self.lines[slot].value
            slot = (slot + 1) & self.line_mask
        return NULL

    cdef void* find(
        self, const unsigned char* method, Py_ssize_t method_size, const unsigned char* path, Py_ssize_t size, Match* match
    ) noexcept nogil:
        """Return what a method and a raw path lead to, and in `match` the parameters, or NULL."""
        cdef End* end
        match.count = 0
        if size == 0 or path[0] != c"/" or memchr(path, c"%", size) != NULL:
            return NULL
        end = self.walk(0, method, method_size, path, 1, size, match)
        if end == NULL:
            return NULL
        match.names = end.names
        return end.value

    cdef End* walk(
        self, int at, const unsigned char* method, Py_ssize_t method_size, const unsigned char* path, Py_ssize_t begin,
        Py_ssize_t size, Match* match
    ) noexcept nogil:
        """Return the end that the text from `begin` on leads to; `match.count` is -1 when only the tree can tell.

        No place is visited twice: each stands at one depth only.
        """
        cdef Place* place
        cdef Edge* edge
        cdef End* end
        cdef const unsigned char* slash
        cdef Py_ssize_t stop
        cdef uint64_t slot
        cdef int child, held
        while True:
            place = &self.places[at]
            slash = <const unsigned char*>memchr(path + begin, c"/", size - begin)
            stop = size if slash == NULL else slash - path
            child = -1
            if place.has_edges:
                slot = mix(path + begin, stop - begin, <uint64_t>at) & self.edge_mask
                while self.edges[slot].text != NULL:
                    edge = &self.edges[slot]
                    if edge.parent == at and edge.size == stop - begin and memcmp(edge.text, path + begin, edge.size) == 0:
                        child = edge.child
                        break
                    slot = (slot + 1) & self.edge_mask
            if child >= 0 and (place.plain >= 0 or place.is_odd):
                held = match.count
                end = self.end_of(child, method, method_size) if stop == size else self.walk(
                    child, method, method_size, path, stop + 1, size, match
                )
                if end != NULL or match.count < 0:
                    return end
                match.count = held
                child = -1
            if child < 0:
                if place.is_odd:
                    match.count = -1
                    return NULL
                if place.plain < 0 or stop == begin:
                    return NULL
                if match.count == MAX_VALUES:
                    match.count = -1
                    return NULL
                match.spans[match.count].start = <unsigned int>begin
                match.spans[match.count].size = <unsigned int>(stop - begin)
                match.count += 1
                child = place.plain
            if stop == size:
                return self.end_of(child, method, method_size)
            at = child
            begin = stop + 1

    cdef End* end_of(self, int at, const unsigned char* method, Py_ssize_t method_size) noexcept nogil:
        cdef Place* place = &self.places[at]
        cdef End* end
        cdef int index
        for index in range(place.first_end, place.first_end + place.end_count):
            end = &self.ends[index]
            if end.size == method_size and memcmp(end.method, method, method_size) == 0:
                return end
        return NULL

    def look_up(self, bytes method not None, bytes path not None):
        """Return (value, parameters) or None; for tests and benchmarks."""
        cdef Match match
        if not path.isascii():
            return None  # no request line has it
        cdef void* found = self.find(
            <const unsigned char*>PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method),
            <const unsigned char*>PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path), &match,
        )
        return None if found == NULL else (<object>found, values_of(&match, <const unsigned char*>PyBytes_AS_STRING(path)))

    def look_up_line(self, bytes line not None):
        """Return the value that a static "METHOD /path" leads to, or None; for tests and benchmarks."""
        cdef void* found = self.find_line(<const unsigned char*>PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        return None if found == NULL else <object>found


cdef Py_ssize_t table_size(Py_ssize_t count):
    """Return a power of two that leaves at least half of a table empty."""
    cdef Py_ssize_t size = 2
    while size < 2 * count:
        size *= 2
    return size


cdef collect(Node root, value_of, list places, list edges, list ends):
    """Number the nodes of a tree and write down what leads where."""
    cdef Node node
    waiting = [root]
    while len(places) < len(waiting):
        node = waiting[len(places)]
        here = len(places)
        own = {text: child for text, child in node.static.items() if text.isascii()}  # no raw path has others
        for text, child in own.items():
            edges.append((here, text.encode("ascii"), len(waiting)))
            waiting.append(child)
        plain = -1
        if node.plain is not None:
            plain = len(waiting)
            waiting.append(node.plain)
        first_end = len(ends)
        for method, (value, names) in node.ends.items():
            ends.append((method.encode("ascii"), value_of(value, None), names))
        places.append((plain, first_end, len(ends) - first_end, bool(own), bool(node.checks or node.rest)))


cdef dict values_of(const Match* match, const unsigned char* path):
    """Return the parameters of a match by name."""
    cdef tuple names = <tuple>match.names
    cdef dict values = {}
    cdef int index
    for index in range(match.count):
        values[<object>PyTuple_GET_ITEM(names, index)] = ascii_text(path + match.spans[index].start, match.spans[index].size)
    return values
