"""The C-level door to tasks that begin late; what the words mean is said in late_task.pyx."""


cdef class Steps:
    cdef object coroutine, context, task, value
    cdef int state
    cdef bint is_begun


cdef class Starter:
    cdef object loop
    cdef dict keywords
    cdef Steps current
    cdef object __weakref__

    cdef object step(self, coroutine, context, bint* is_waiting)
    cdef object wait(self, Steps steps)
    cdef begin(self, task)
    cdef finish(self, task, Steps steps)
    cdef initialise(self, task, coroutine, context, bint eager_start)
