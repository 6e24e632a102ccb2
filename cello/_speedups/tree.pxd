"""Types for cello/routing/tree.py, compiled a second time as cello._speedups.tree.

What is searched for is typed `str`, which refuses subclasses: every gateway makes exact ones. PERF: a sixth of a search
with one parameter (5.4 against 6.0 thousand instructions); bench/micro/test_router.py.
"""

import cython


cdef class Node:
    cdef public dict static
    cdef public list checks
    cdef public Node plain
    cdef public dict ends
    cdef public dict rest
    cdef public bint forks


cdef class Tree:
    cdef public Node root
    cdef public dict static

    @cython.locals(node=Node, ends=dict)
    cpdef add(self, method, pattern, value)

    @cython.locals(child=Node, place=Py_ssize_t)
    cdef Node _child(self, Node node, segment)

    @cython.locals(ends=dict, end=tuple, segments=list, index=Py_ssize_t)
    cpdef find_raw(self, str method, str raw_path)

    @cython.locals(values=list, end=tuple, names=tuple, params=dict, index=Py_ssize_t)
    cpdef find(self, str method, list segments)

    @cython.locals(found=set)
    cpdef set methods(self, list segments)

    @cython.locals(count=Py_ssize_t, held=Py_ssize_t, child=Node, checked=Node, end=tuple, segment=str)
    cdef tuple _walk(self, Node node, str method, list segments, Py_ssize_t index, list values)

    @cython.locals(child=Node, checked=Node)
    cdef _collect(self, Node node, list segments, Py_ssize_t index, set found)
