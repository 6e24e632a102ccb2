"""Which processes serve an application, as far as the system tells.

They are the children of this one's parent, where that is a manager of workers; else there is this one alone. Systems
without /proc tell of the one that answers.
"""

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Any

from cello.features.runtime import resident_bytes
from cello.shared.origin import Origin

_PROC = Path("/proc")


def workers(origin: Origin) -> list[dict[str, Any]]:
    """Return the facts of each worker, this one first.

    Args:
        origin: Where shared memory comes from, which is how workers know that they have siblings.
    """
    own = os.getpid()
    found = [_this()]
    if not origin.is_alone:
        found += [facts for pid in _children(os.getppid()) if pid != own and (facts := _of(pid)) is not None]
    return found


def _this() -> dict[str, Any]:
    return {
        "process": os.getpid(),
        "answered": True,
        "resident_bytes": resident_bytes(),
        "processor_seconds": round(time.process_time(), 2),
        "threads": threading.active_count(),
    }


def _children(parent: int) -> list[int]:
    found = []
    for path in _PROC.glob(f"{parent}/task/*/children"):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in path.read_text().split()]
    return sorted(found)


def _of(pid: int) -> dict[str, Any] | None:
    """Return what the system knows of another process (proc(5)); None where it has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, user, system, threads, pages = fields[0], fields[11], fields[12], fields[17], fields[21]
    if state in "ZX":
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        "process": pid,
        "answered": False,
        "resident_bytes": int(pages) * os.sysconf("SC_PAGE_SIZE"),
        "processor_seconds": round((int(user) + int(system)) / ticks, 2),
        "threads": int(threads),
    }
