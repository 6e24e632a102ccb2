"""Locks between the threads and processes that share a region.

A lock is one byte of the arena's file, by `fcntl.lockf`: the kernel releases it when its holder dies, at whatever
instruction, so nothing that is locked here can stay locked. Such locks belong to processes, so one lock per gate keeps
the threads of a process apart first. Whoever finds the memory half-written by a dead holder must be able to tell: each
user of a gate says how.

Rule 1: who waits for a second number while holding one takes them in one order, which the holder of both states; so
no circle of waiting is possible. (The kernel sees processes where threads wait and may suspect one all the same; then
the wait is begun again.)
"""

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows: one process, threads only
    fcntl = None  # type: ignore[assignment]  # asked for before each use

CAN_LOCK_PROCESSES = fcntl is not None
"""Whether this system has locks between processes."""


class Gate:
    """The locks of one region, by number.

    Args:
        fd: The arena's file, or None where one process has the memory to itself.
        base: Where the region's numbers begin in the file.
    """

    __slots__ = ("_base", "_fd", "_threads")

    def __init__(self, fd: int | None, base: int) -> None:
        self._fd = fd if CAN_LOCK_PROCESSES else None
        self._base = base
        self._threads = threading.RLock()

    def shifted(self, by: int) -> "Gate":
        """Return the gate of a part of the region that begins `by` bytes into it; its threads wait for one another."""
        part = Gate(self._fd, self._base + by)
        part._threads = self._threads
        return part

    def hold(self, number: int) -> None:
        """Take lock `number`; wait for whoever has it."""
        self._threads.acquire()
        if self._fd is None:
            return
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, self._base + number)
            except OSError as error:
                if error.errno == errno.EDEADLK:
                    time.sleep(0)  # Rule 1: a false suspicion
                    continue
                self._threads.release()
                raise
            except BaseException:
                self._threads.release()
                raise
            return

    def release(self, number: int) -> None:
        """Give lock `number` back."""
        try:
            if self._fd is not None:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._base + number)
        finally:
            self._threads.release()

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Hold lock `number` within a `with` block."""
        self.hold(number)
        try:
            yield
        finally:
            self.release(number)

    def keep(self, number: int) -> bool:
        """Take lock `number` for the rest of this process's life, if no other process has it; say whether."""
        if self._fd is None:
            return True
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._base + number)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True
