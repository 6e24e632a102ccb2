"""Sockets without a tour through the event loop: our own epoll descriptor, nested in whichever loop runs.

The loop watches one descriptor, the poller's; when it is readable the poller takes all that is ready in one go and
calls the protocols. A connection's bytes so cost one `recv` and one `send`, and nothing of the loop's own machinery
(handles, write queues, contexts). Timers, tasks, threads, TLS and everything else stay the loop's.

`Transport` is an `asyncio.Transport` in all but ancestry: the same methods, the same promises about their order, the
same calls of the protocol, so the lanes cannot tell the difference.

Rule 1. `connection_lost` is called once, from the loop, never from inside a call of the protocol's own.
Rule 2. A closed descriptor is forgotten before it is closed: its number may be another connection's at once, and an
        event left over from before finds nobody, or at worst causes one vain `recv`.
Rule 3. Edge-triggered: the kernel says once that there is something, and does not look at every socket a second time to
        find it empty. Who leaves something behind (a full buffer, an end behind the bytes) asks to be told `again`, so
        every turn can be bounded.
Rule 4. Answers of one turn go out one right after the other at its end, or after a tenth of a millisecond: while one
        client is being woken, those of all others follow. Whatever else is done to a connection sends its own first.

Linux only. `cello.gateways.native.accepting` decides when it is used.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cello._speedups.raw cimport RawProtocol, RawTransport
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

import errno as error_numbers
import os
import socket
from collections import deque
from queue import Empty

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    enum:
        EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLPRI, EPOLLRDHUP, EPOLLET

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT, MSG_NOSIGNAL

    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec

    enum:
        CLOCK_MONOTONIC, CLOCK_REALTIME

    int clock_gettime(int clock, timespec* now)

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

    int sem_init(sem_t* semaphore, int is_shared, unsigned int value)
    int sem_destroy(sem_t* semaphore)
    int sem_post(sem_t* semaphore)
    int sem_wait(sem_t* semaphore)
    int sem_timedwait(sem_t* semaphore, const timespec* until)

cdef enum:
    EVENTS = 256
    READ_BYTES = 131072  # a message of 64 KiB and its header in one go
    TURNS = 4  # looks at the descriptor before the loop has its turn again
    WORTH_A_TURN = 4  # so many events make another look likely to find some
    ACCEPTED_AT_ONCE = 128
    HIGH_BYTES = 65536
    SOON_BYTES = 16384  # more than this of one connection is sent at once
    UNSENT_BYTES = 131072  # of all connections

cdef uint32_t READING = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET
cdef uint32_t MORE = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR  # a recv stops before the end, and before urgent data
cdef long SOON_NS = 100_000  # how long an answer may wait for others

cdef char[READ_BYTES] incoming  # only ever used between a recv and the copy behind it, with the GIL held

PAUSE_S = 1.0
"""How long nothing is accepted when no descriptor is left."""


cdef long now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef class Poller:
    """The sockets of one worker.

    Args:
        loop: Whatever can watch a descriptor.
    """

    cdef object loop
    cdef list watched  # descriptor → Transport, Listening or None
    cdef char* unsent  # what is to be sent at the end of this turn
    cdef Py_ssize_t unsent_bytes
    cdef long unsent_since  # nanoseconds
    cdef list unsent_of  # whose it is
    cdef list waking  # mailboxes that got something for a thread that waits
    cdef int epoll
    cdef bint is_polling, is_alone  # alone: one connection is all there is in this turn

    def __cinit__(self):
        self.unsent = <char*>PyMem_Malloc(UNSENT_BYTES)
        if self.unsent == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.unsent)

    def __init__(self, loop):
        self.loop = loop
        self.watched = []
        self.unsent_of = []
        self.waking = []
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        loop.add_reader(self.epoll, self.poll)

    def listen(self, listener, make_protocol):
        """Accept what arrives at a listening socket, until the returned object is closed."""
        return Listening(self, listener, make_protocol)

    def adopt(self, sock, protocol):
        """Return the transport of a connected socket; `connection_made` has been called."""
        return open_transport(self, sock, protocol)

    def close(self):
        """Drop whatever is still open; `connection_lost` is called right here."""
        if self.epoll < 0:
            return
        self.loop.remove_reader(self.epoll)
        for watched in self.watched:
            if watched is not None:
                watched.drop()
        os.close(self.epoll)
        self.epoll = -1

    def poll(self):
        """Serve what is ready."""
        cdef epoll_event events[EVENTS]
        cdef int count, turn, index = 0
        for turn in range(TURNS):
            count = epoll_wait(self.epoll, events, EVENTS, 0)
            self.is_polling = True
            self.is_alone = count == 1
            try:
                for index in range(count):
                    watched = self.watched[events[index].data.fd]
                    if watched is None:
                        continue
                    if type(watched) is Transport:
                        (<Transport>watched).on_ready(events[index].events)
                    else:
                        (<Listening>watched).accept()
                    if self.unsent_bytes and now_ns() - self.unsent_since > SOON_NS:
                        self.send_unsent()
            except BaseException:
                for index in range(index + 1, count):  # nobody would be told of them any more
                    self.again(self.watched[events[index].data.fd])
                raise
            finally:
                self.is_polling = False
                self.send_unsent()
                if self.waking:
                    self.wake()
            if count < WORTH_A_TURN or self.epoll < 0:
                return

    cdef send_unsent(self):
        """Send what was written during a turn, one connection right after the other.

        PERF: 64 clients of WebSockets that echo cost 10-20 % less, and plain requests 4 % (bench/load).
        """
        cdef Py_ssize_t at = 0
        cdef list unsent_of = self.unsent_of
        while at < len(unsent_of):
            (<Transport>unsent_of[at]).send_unsent()
            at += 1
        unsent_of.clear()
        self.unsent_bytes = 0

    cdef wake(self):
        """Wake the threads that got something in this turn, without the interpreter's lock.

        PERF: woken while the lock is held they would only wait for that, and each be woken twice.
        """
        cdef sem_t* semaphores[EVENTS]
        cdef list waking = self.waking
        cdef Py_ssize_t at = 0
        cdef int count, index
        self.waking = []
        while at < len(waking):
            count = 0
            while at < len(waking) and count < EVENTS:
                semaphores[count] = &(<Mailbox>waking[at]).filled
                count += 1
                at += 1
            with nogil:
                for index in range(count):
                    sem_post(semaphores[index])

    cdef watch(self, int fd, object who, uint32_t mask, int operation):
        cdef epoll_event event
        event.events = mask
        event.data.fd = fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        if operation == EPOLL_CTL_ADD:
            while len(self.watched) <= fd:
                self.watched.append(None)
            self.watched[fd] = who

    cdef again(self, watched):
        """Have what is left of a connection reported once more."""
        if self.epoll >= 0 and type(watched) is Transport and not (<Transport>watched).is_over:
            self.watch((<Transport>watched).fd, watched, (<Transport>watched).mask, EPOLL_CTL_MOD)

    cdef forget(self, int fd):
        cdef epoll_event event
        event.events = 0
        if self.epoll >= 0:
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, fd, &event)
        self.watched[fd] = None


cdef class Mailbox:
    """A queue from the loop to threads, as `queue.SimpleQueue` is one; but who waits is woken at the end of a turn.

    The interpreter's lock guards everything but the waiting itself. A semaphore may have been posted for somebody who
    had stopped waiting; whoever that wakes later finds nothing and waits again.
    """

    cdef Poller poller
    cdef object items
    cdef sem_t filled
    cdef int waiting, posted

    def __cinit__(self, Poller poller not None):
        self.poller = poller
        self.items = deque()
        if sem_init(&self.filled, 0, 0) < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        sem_destroy(&self.filled)

    def put(self, item):
        """Add something; never waits."""
        self.items.append(item)
        if self.waiting > self.posted:
            self.posted += 1
            if self.poller.is_polling:
                self.poller.waking.append(self)
            else:
                sem_post(&self.filled)

    def get(self, block=True, timeout=None):
        """Take what has been there longest; wait for it.

        Raises:
            Empty: Nothing came within `timeout` seconds.
        """
        cdef timespec until
        cdef int result, why
        if timeout is not None:
            clock_gettime(CLOCK_REALTIME, &until)
            whole = int(timeout)
            until.tv_sec += whole
            until.tv_nsec += <long>((timeout - whole) * 1e9)
            if until.tv_nsec >= 1_000_000_000:
                until.tv_sec += 1
                until.tv_nsec -= 1_000_000_000
        while not self.items:
            self.waiting += 1
            if timeout is None:
                with nogil:
                    result = sem_wait(&self.filled)
                    why = errno
            else:
                with nogil:
                    result = sem_timedwait(&self.filled, &until)
                    why = errno
            self.waiting -= 1
            if self.posted:
                self.posted -= 1
            if result < 0 and why != EINTR and not self.items:
                raise Empty
        return self.items.popleft()

    def empty(self):
        """Whether there is nothing."""
        return not self.items

    def qsize(self):
        """Return how much there is."""
        return len(self.items)


cdef class Listening:
    """A listening socket in a poller."""

    cdef Poller poller
    cdef object listener, make_protocol, pause
    cdef int fd

    def __init__(self, Poller poller not None, listener, make_protocol):
        self.poller = poller
        self.listener = listener
        self.make_protocol = make_protocol
        self.fd = listener.fileno()
        listener.setblocking(False)
        self.go_on()

    def go_on(self):
        """Begin to accept, or begin again."""
        self.pause = None
        self.poller.watch(self.fd, self, EPOLLIN, EPOLL_CTL_ADD)

    def close(self):
        """Accept nothing any more; the socket stays its owner's."""
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None
        elif self.fd >= 0:
            self.poller.forget(self.fd)
        self.fd = -1

    def drop(self):
        """Do the same, when the poller closes."""
        self.close()

    cdef accept(self):
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _ = self.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self.out_of_descriptors(error)
                return
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            open_transport(self.poller, sock, self.make_protocol())

    cdef out_of_descriptors(self, error):
        """Pause, as asyncio does, instead of being told of the same waiting connection for ever."""
        loop = self.poller.loop
        loop.call_exception_handler({
            "message": "socket.accept() out of system resource", "exception": error, "socket": self.listener,
        })
        if error.errno in (error_numbers.EMFILE, error_numbers.ENFILE, error_numbers.ENOBUFS, error_numbers.ENOMEM):
            self.poller.forget(self.fd)
            self.pause = loop.call_later(PAUSE_S, self.go_on)


cdef Transport open_transport(Poller poller, sock, protocol):
    cdef Transport transport = Transport.__new__(Transport)
    transport.poller = poller
    transport.sock = sock
    transport.fd = sock.fileno()
    transport.high = HIGH_BYTES
    transport.low = HIGH_BYTES // 4
    transport.mask = READING
    transport.waiting = []
    transport.set_protocol(protocol)
    poller.watch(transport.fd, transport, transport.mask, EPOLL_CTL_ADD)
    try:
        protocol.connection_made(transport)
    except Exception as error:
        transport.fail(error, "protocol.connection_made() call failed")
    return transport


cdef class Transport(RawTransport):
    """One connected socket; see `asyncio.Transport` and `asyncio.WriteTransport` for what its methods promise."""

    cdef Poller poller
    cdef object sock, protocol, received
    cdef RawProtocol taker  # the protocol, where it is compiled
    cdef list waiting  # bytes that the socket did not take
    cdef Py_ssize_t waiting_bytes, high, low
    cdef uint32_t mask
    cdef int fd
    cdef Py_ssize_t unsent_at, unsent_bytes  # in the poller's memory: what is to be sent at the end of the turn
    cdef bint is_closing_, is_over, is_blocked, wants_eof, has_sent_eof, has_read_eof
    cdef object __weakref__

    def get_protocol(self):
        return self.protocol

    def set_protocol(self, protocol):
        self.protocol = protocol
        self.received = protocol.data_received
        self.taker = protocol if isinstance(protocol, RawProtocol) else None

    def get_extra_info(self, str name, default=None):
        if name == "socket":
            return self.sock
        try:
            if name == "peername":
                return self.sock.getpeername()
            if name == "sockname":
                return self.sock.getsockname()
        except OSError:
            return default
        return default

    def mailbox(self):
        """Return a queue from this connection to a thread."""
        return Mailbox(self.poller)

    # -- reading --

    def is_reading(self):
        return bool(self.mask & EPOLLIN)

    def pause_reading(self):
        self.set_mask(self.mask & ~READING | <uint32_t>EPOLLET)

    def resume_reading(self):
        if not self.is_closing_ and not self.has_read_eof:
            self.set_mask(self.mask | READING)

    cdef set_mask(self, uint32_t mask):
        if mask != self.mask and not self.is_over:
            self.mask = mask
            self.poller.watch(self.fd, self, mask, EPOLL_CTL_MOD)

    cdef on_ready(self, uint32_t events):
        if events & EPOLLOUT and self.waiting_bytes:
            self.send_waiting()
        if self.is_over:
            return
        if self.mask & EPOLLIN:
            if events & (EPOLLIN | EPOLLHUP | EPOLLERR):
                self.read(events)
        elif events & (EPOLLHUP | EPOLLERR):
            self.lose(self.pending_error())  # nobody reads, and it would be reported for ever

    cdef pending_error(self):
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    cdef read(self, uint32_t events):
        cdef ssize_t size = recv(self.fd, incoming, READ_BYTES, MSG_DONTWAIT)
        if size > 0:
            if size == READ_BYTES or events & MORE:
                self.poller.again(self)
            try:
                if self.taker is not None:
                    self.taker.take(PyBytes_FromStringAndSize(incoming, size))
                else:
                    self.received(PyBytes_FromStringAndSize(incoming, size))
            except Exception as error:
                self.fail(error, "protocol.data_received() call failed")
        elif size == 0:
            self.has_read_eof = True
            self.pause_reading()
            try:
                stays_open = self.protocol.eof_received()
            except Exception as error:
                self.fail(error, "protocol.eof_received() call failed")
                return
            if not stays_open:
                self.close()
        elif errno == EINTR:
            self.poller.again(self)
        elif errno != EAGAIN:
            self.lose(OSError(errno, os.strerror(errno)))

    # -- writing --

    def write(self, data):
        cdef bytes piece = <bytes>data if type(data) is bytes else bytes(data)
        self.send_raw(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))

    cdef int send_raw(self, const char* data, Py_ssize_t size) except -1:
        cdef ssize_t sent = 0
        if self.wants_eof or self.has_sent_eof:
            raise RuntimeError("cannot write after write_eof()")
        if self.is_closing_ and (self.is_over or not self.waiting_bytes):
            return 0
        if size == 0:
            return 0
        if self.unsent_bytes:
            self.send_unsent()
            if self.is_over:
                return 0
        if not self.waiting_bytes:
            sent = send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent == size:
                return 0
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.lose(OSError(errno, os.strerror(errno)))
                    return 0
                sent = 0
        self.waiting.append(PyBytes_FromStringAndSize(data + sent, size - sent))
        self.waiting_bytes += size - sent
        self.set_mask(self.mask | <uint32_t>EPOLLOUT)
        self.check_high()
        return 0

    def write_soon(self, data):
        """Write, with all that is written during the same turn; at once outside of one, or when it is much."""
        cdef bytes piece = <bytes>data if type(data) is bytes else bytes(data)
        self.gather(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))

    cdef int send_raw_soon(self, const char* data, Py_ssize_t size) except -1:
        return self.send_raw(data, size) if self.poller.is_alone else self.gather(data, size)

    cdef int gather(self, const char* data, Py_ssize_t size) except -1:
        cdef Poller poller = self.poller
        if (
            not poller.is_polling or self.waiting_bytes or self.unsent_bytes + size > SOON_BYTES
            or self.is_closing_ or self.wants_eof or self.has_sent_eof
        ):
            return self.send_raw(data, size)
        if poller.unsent_bytes + size > UNSENT_BYTES:
            poller.send_unsent()
            return self.gather(data, size)
        if self.unsent_bytes and self.unsent_at + self.unsent_bytes != poller.unsent_bytes:
            self.send_unsent()  # others' bytes are behind its own by now
            return self.gather(data, size)
        if poller.unsent_bytes == 0:
            poller.unsent_since = now_ns()
        if self.unsent_bytes == 0:
            self.unsent_at = poller.unsent_bytes
            poller.unsent_of.append(self)
        memcpy(poller.unsent + poller.unsent_bytes, data, size)
        poller.unsent_bytes += size
        self.unsent_bytes += size
        return 0

    cdef send_unsent(self):
        """Send what was to be sent at the end of the turn."""
        cdef Py_ssize_t size = self.unsent_bytes
        self.unsent_bytes = 0
        if size and not self.is_over:
            self.send_raw(self.poller.unsent + self.unsent_at, size)

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    cdef send_waiting(self):
        cdef ssize_t sent
        cdef bytes piece = <bytes>self.waiting[0] if len(self.waiting) == 1 else b"".join(self.waiting)
        sent = send(self.fd, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece), MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno == EINTR:
                self.poller.again(self)
            elif errno != EAGAIN:
                self.lose(OSError(errno, os.strerror(errno)))
                return
            self.waiting = [piece]
            return
        self.waiting_bytes = PyBytes_GET_SIZE(piece) - sent
        if self.waiting_bytes:
            self.waiting = [piece[sent:]]
        else:
            self.waiting.clear()
            self.set_mask(self.mask & ~<uint32_t>EPOLLOUT)
        if self.is_blocked and self.waiting_bytes <= self.low:
            self.is_blocked = False
            try:
                self.protocol.resume_writing()
            except Exception as error:
                self.fail(error, "protocol.resume_writing() call failed")
                return
        if not self.waiting_bytes and not self.is_over:
            if self.is_closing_:
                self.lose(None)
            elif self.wants_eof:
                self.wants_eof = False
                self.shut_down()

    cdef check_high(self):
        if self.waiting_bytes > self.high and not self.is_blocked:
            self.is_blocked = True
            try:
                self.protocol.pause_writing()
            except Exception as error:
                self.fail(error, "protocol.pause_writing() call failed")

    def get_write_buffer_size(self):
        return self.waiting_bytes + self.unsent_bytes

    def get_write_buffer_limits(self):
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        self.check_high()

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.send_unsent()
        if self.is_closing_ or self.wants_eof or self.has_sent_eof:
            return
        if self.waiting_bytes:
            self.wants_eof = True
        else:
            self.shut_down()

    cdef shut_down(self):
        self.has_sent_eof = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.lose(error)

    # -- the end --

    def is_closing(self):
        return self.is_closing_

    def close(self):
        self.send_unsent()
        if self.is_closing_:
            return
        self.is_closing_ = True
        if self.waiting_bytes:
            self.pause_reading()
        else:
            self.lose(None)

    def abort(self):
        self.lose(None)

    def drop(self):
        """Be lost right here, when the poller closes."""
        if not self.is_over:
            self.leave()
            self.say_goodbye(None)

    cdef fail(self, error, str what):
        """End after the protocol raised."""
        if not self.is_over:
            self.poller.loop.call_exception_handler({
                "message": f"Fatal error: {what}.", "exception": error, "transport": self, "protocol": self.protocol,
            })
            self.lose(error)

    cdef lose(self, error):
        """Stop everything now, and tell the protocol in a moment."""
        if not self.is_over:
            self.leave()
            self.poller.loop.call_soon(self.say_goodbye, error)

    cdef leave(self):
        self.is_over = self.is_closing_ = True
        self.waiting = []
        self.waiting_bytes = self.unsent_bytes = 0
        self.poller.forget(self.fd)

    def say_goodbye(self, error):
        try:
            self.protocol.connection_lost(error)
        finally:
            self.protocol = self.received = self.taker = None
            self.sock.close()
