"""Tasks for coroutines that mostly do not wait: real ones, which are initialised at the first wait.

While a coroutine takes its first step, `asyncio.current_task()` is a task whose `__init__` has not run. It runs when the
coroutine waits; and before somebody asks the task what only `__init__` can tell, or wants to be called back, or cancels.

PERF: `asyncio.Task(coroutine, eager_start=True)` costs 6,600 instructions, this 1,900; nearly all handlers return without
having waited.

Rule 1. Whoever looks at the task sees an ordinary one. Only `asyncio.all_tasks` does not list it until it waits.
Rule 2. A task that somebody has kept beyond a first and last step ends with what came of that.
Rule 3. No task serves twice.
"""

from cpython.contextvars cimport PyContext_CopyCurrent
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_REFCNT

import asyncio
import cython
from asyncio import CancelledError, Task
from functools import wraps
from weakref import WeakKeyDictionary

try:
    from _asyncio import _swap_current_task as swap_current_task
except ImportError:  # Python 3.11, which has no eager tasks either: nothing here is used there
    swap_current_task = None

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(object iterator, object value, PyObject** result) except PYGEN_ERROR

cdef extern from *:
    """
    /* A reference that a function has handed over: Cython gives it back when it is done. */
    #define cello_handed_over(object) (object)

    /* An instance whose __init__ has not run; a call of __new__ by name takes 250 instructions more. */
    static inline PyObject *cello_uninitialised(PyObject *type, PyObject *no_arguments) {
        return ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_arguments, NULL);
    }

    static inline int cello_initialise(PyObject *type, PyObject *object, PyObject *arguments, PyObject *keywords) {
        return ((PyTypeObject *)type)->tp_init(object, arguments, keywords);
    }

    /* Cython makes the slots of awaitable types, but has no word for this one. */
    #define cello_let_send(type, send) (((PyTypeObject *)type)->tp_as_async->am_send = (sendfunc)send)
    """
    object handed_over "cello_handed_over"(PyObject* object)
    object uninitialised "cello_uninitialised"(object type, tuple no_arguments)
    int initialise "cello_initialise"(object type, object made, tuple arguments, dict keywords) except -1
    void let_send "cello_let_send"(object type, PySendResult (*send)(Steps, object, PyObject**) except PYGEN_ERROR)

cdef enum:
    RUNNING
    WAITING  # for `value`, which its task does not know yet
    RETURNED  # `value`
    RAISED  # `value`

cdef object starters = WeakKeyDictionary()  # by loop
cdef tuple NOTHING = ()


class LateTask(Task):
    """The task of a first step."""

    __slots__ = ()


def of_a_begun_one(method):
    """Return a method of Task that initialises the task first."""

    @wraps(method)
    def begin_first(self, *args, **kwargs):
        if self._loop is None:
            (<Starter?>starters[asyncio.get_running_loop()]).begin(self)
        return method(self, *args, **kwargs)

    return begin_first


for name in (
    *("add_done_callback", "remove_done_callback", "cancel", "get_loop", "get_name", "set_name", "get_coro"),
    *("get_context", "get_stack", "print_stack", "__await__", "__iter__", "__repr__"),
):
    if hasattr(Task, name):
        setattr(LateTask, name, of_a_begun_one(getattr(Task, name)))


@cython.freelist(8)
cdef class Steps:
    """A coroutine that a task takes over after its first step, as the coroutine of that task."""

    def send(self, value):
        """Take the next step."""
        cdef PyObject* result = NULL
        cdef PySendResult sent = take_step(self, value, &result)
        came = handed_over(result)
        if sent == PYGEN_NEXT:
            return came
        raise StopIteration(came)

    def throw(self, error, *rest):
        """Raise in the coroutine, if that is not over."""
        if self.state == RETURNED or self.state == RAISED:
            raise error
        if self.state == WAITING:
            pending, self.value, self.state = self.value, None, RUNNING
            if asyncio.isfuture(pending) and pending.cancel(*error.args):
                return pending  # as a task does that is cancelled before it waits: what it waits for ends first
        return self.coroutine.throw(error, *rest)

    def close(self):
        """Close the coroutine."""
        self.coroutine.close()

    def __await__(self):
        return self.coroutine.__await__()

    def __getattr__(self, str name):
        return getattr(self.coroutine, name)  # its name, its frame, what it awaits


cdef PySendResult take_step(Steps steps, value, PyObject** result) except PYGEN_ERROR:
    """Take the next step; first of all tell what the first one came to. PERF: a task calls this itself, as `am_send`."""
    if steps.state == RUNNING:
        return PyIter_Send(steps.coroutine, value, result)
    if steps.state == RAISED:
        raise steps.value
    came, steps.value = steps.value, None
    Py_INCREF(came)
    result[0] = <PyObject*>came
    if steps.state == RETURNED:
        return PYGEN_RETURN
    steps.state = RUNNING
    return PYGEN_NEXT


let_send(Steps, take_step)


cdef class Starter:
    """Takes the first steps of one loop's coroutines.

    Args:
        loop: It.
    """

    def __cinit__(self, loop not None):
        self.loop = loop
        self.keywords = {"loop": loop}
        starters[loop] = self

    cdef object step(self, coroutine, context, bint* is_waiting):
        """Let a coroutine take its first step; `context` is the current one.

        Returns:
            What the coroutine returned; or with `is_waiting` what `wait` makes its task of, once the context is left.

        Raises:
            BaseException: What the coroutine raised.
        """
        cdef PyObject* result = NULL
        cdef PySendResult sent = PYGEN_RETURN
        cdef Steps outer = self.current, steps = Steps.__new__(Steps)
        error = None
        task = uninitialised(LateTask, NOTHING)
        steps.coroutine, steps.context, steps.task = coroutine, context, task
        self.current = steps
        previous = swap_current_task(self.loop, task)
        try:
            sent = PyIter_Send(coroutine, None, &result)
        except BaseException as raised:
            error = raised
        swap_current_task(self.loop, previous)
        self.current = outer
        if error is None:
            steps.value = handed_over(result)
            steps.state = RETURNED if sent == PYGEN_RETURN else WAITING
        elif isinstance(error, (Exception, CancelledError)):
            steps.value, steps.state = error, RAISED
        else:
            steps.value, steps.state = CancelledError(), RAISED  # the error itself is for whoever runs the loop
            steps.task = None
            raise error
        if steps.state == WAITING or steps.is_begun:
            is_waiting[0] = True
            return steps
        steps.task = None
        value = steps.value
        if Py_REFCNT(task) > 1:
            self.finish(task, steps)
        if error is not None:
            raise error
        return value

    cdef object wait(self, Steps steps):
        """Return the task that goes on with what `step` has left."""
        task, steps.task = steps.task, None
        if not steps.is_begun:
            self.initialise(task, steps, steps.context, True)
        return task

    cdef begin(self, task):
        """Initialise the task whose first step is being taken."""
        cdef Steps steps = self.current
        steps.is_begun = True
        self.initialise(task, steps, steps.context, False)

    cdef finish(self, task, Steps steps):
        """Let a task that somebody has kept come to the end that its coroutine came to."""
        self.initialise(task, steps, PyContext_CopyCurrent(), True)
        if steps.state == RAISED and not task.cancelled():
            task.exception()  # which has been dealt with

    cdef initialise(self, task, coroutine, context, bint eager_start):
        """Do what `Task.__init__` does. PERF: called by name it would take 1,000 instructions more for its keywords."""
        self.keywords["context"], self.keywords["eager_start"] = context, eager_start
        try:
            initialise(Task, task, (coroutine,), self.keywords)
        finally:
            self.keywords["context"] = None
