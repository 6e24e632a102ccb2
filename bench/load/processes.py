"""What a server's processes have used, from the operating system's accounting.

CPU time is user + system time of every process below the server's first one. For a living process it is read from its
CPU clock (nanoseconds, threads that ended included), since /proc shows the same account in ticks of 10 ms only; what
ended children used is in their parent's cutime and cstime.
"""

import os
import time
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return `pid` and all its living descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(map(int, children.read_text().split()))
            except FileNotFoundError:  # the thread ended meanwhile
                continue
    return found


def cpu_ns(pid: int) -> int:
    """Return the CPU time that the tree below `pid` has used, in nanoseconds.

    Raises:
        ProcessLookupError: `pid` itself is gone.
    """
    return sum(_own_cpu_ns(member) + _ended_children_ns(member) for member in tree(pid))


def resident_bytes(pid: int) -> int:
    """Return the resident memory of the tree below `pid`; pages that processes share count in each of them."""
    return sum(_resident_bytes(member) for member in tree(pid))


def _own_cpu_ns(pid: int) -> int:
    # clock_getcpuclockid(3): a process' clock id is made of its pid; 2 = CPUCLOCK_SCHED.
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error


def _ended_children_ns(pid: int) -> int:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cutime, cstime = after_name[13:15]
    return (int(cutime) + int(cstime)) * _TICK_NS


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
