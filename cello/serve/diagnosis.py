"""What a serving process tells about itself on SIGUSR1: the stack of every thread and task, and its state.

The stacks of threads are written by `faulthandler`, from inside the signal itself: also of a process whose loop hangs
or whose handler computes for ever. The rest follows when the loop has its turn.
"""

import asyncio
import contextlib
import faulthandler
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from cello.gateways.native import ServerState
from cello.serve import console

_FRAMES_OF_A_TASK = 12
_TASKS_SHOWN = 100


def answer_sigusr1(loop: asyncio.AbstractEventLoop, name: str, state: ServerState) -> None:
    """Have SIGUSR1 print stacks and state; call it in the main thread."""
    if not hasattr(signal, "SIGUSR1"):
        return
    loop.add_signal_handler(signal.SIGUSR1, lambda: console.say(report(name, state)))
    faulthandler.unregister(signal.SIGUSR1)
    with contextlib.suppress(io.UnsupportedOperation):  # standard error is no file: the stacks cannot be written
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True, chain=True)


def report(name: str, state: ServerState) -> str:
    """Return the state of a process and where its tasks wait, one fact or frame a line."""
    tasks = asyncio.all_tasks(state.loop)
    lines = [
        f"{name} (process {os.getpid()}): {state.requests} requests, {len(state.connections)} connections, "
        f"{len(tasks)} tasks, {state.refused_connections} connections refused, "
        f"{state.abandoned_handlers} handlers abandoned, {memory_mb():.0f} MiB, {open_descriptors()} descriptors"
        + (", draining" if state.draining else "")
    ]
    for task in sorted(tasks, key=lambda task: task.get_name())[:_TASKS_SHOWN]:
        lines.append(f"  {task.get_name()}: {task.get_coro()!r:.200}")
        for frame in list(waiting_frames(task.get_coro()))[-_FRAMES_OF_A_TASK:]:
            lines += ["    " + line for line in traceback.format_stack(frame, limit=1)[0].rstrip().splitlines()]
    if len(tasks) > _TASKS_SHOWN:
        lines.append(f"  and {len(tasks) - _TASKS_SHOWN} tasks more")
    return "\n".join(lines)


def waiting_frames(awaitable: Any) -> Iterator[FrameType]:
    """Yield where a coroutine waits: its own frame, then that of what it awaits, down to what is no Python code.

    `Task.get_stack` tells the outermost frame alone.
    """
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)


def memory_mb() -> float:
    """Return the resident memory of this process, in MiB; its peak where the system does not tell the present."""
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def open_descriptors() -> int:
    """Return how many descriptors this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:
        return 0
