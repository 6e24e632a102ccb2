"""Lines on standard output and error that stay whole, though several processes write to the same pipe.

By default a pipe or file gets whatever fits a buffer, cut anywhere; with PYTHONUNBUFFERED even the end of a line comes
by itself. So each process writes a line at a time. The system keeps one write whole in a file; in a pipe or socket
only up to 4 KiB (POSIX `PIPE_BUF`), less than a traceback in a JSON log line. There a write takes a lock that the
processes have in common, and that the system releases for one that ends.
"""

import contextlib
import io
import os
import select
import stat
import sys
import threading
from collections.abc import Iterator
from typing import Any

if sys.platform != "win32":
    import fcntl

MOST_LINE_BYTES = 1 << 18
"""How long a line may be that is printed in pieces; one that is written at once may have any length."""

_thread_lock = threading.RLock()


def common_lock() -> int:
    """Return the descriptor of a new lock; processes that are forked from this one share it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cello-lines")
    import tempfile  # 1 MB with all that it imports

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def write_whole_lines(lock: int) -> None:
    """Have standard output and error write a line at a time, in one write that no other process comes between.

    Holds for the children too that are forked from this process. The streams are changed in place, since logging
    handlers hold them already. Threads that print in pieces (`print(a, b)`) can still mix among themselves.

    Args:
        lock: As `common_lock` returned it.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(line_buffering=True, write_through=False)
        with contextlib.suppress(OSError):  # it is no file, or is closed
            descriptor = stream.fileno()
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                _replace_end(stream, descriptor, lock)


def _replace_end(stream: io.TextIOWrapper, descriptor: int, lock: int) -> None:
    encoding, errors = stream.encoding, stream.errors
    end: Any = io.BufferedWriter(LockedEnd(descriptor, lock, stream.detach()), MOST_LINE_BYTES)
    stream.__init__(end, encoding, errors, line_buffering=True)  # type: ignore[misc]  # the object must stay


class LockedEnd(io.RawIOBase):
    """The writing end of a pipe or socket.

    Args:
        descriptor: Its own.
        lock: That of the lock.
        replaced: What wrote to it before; kept, because it may close the descriptor when it goes.
    """

    def __init__(self, descriptor: int, lock: int, replaced: object = None) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._replaced = replaced

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Write all of it, waiting for a reader that is slow."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        with _thread_lock, self._locked():
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
        return size

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)
