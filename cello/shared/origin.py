"""Where this process's shared memory comes from.

    cello's own supervisor      a file without a name, made before the zygote starts, and inherited
    gunicorn, uWSGI, mod_wsgi   a file named after the user, the application and the parent process
    another parent by           the same (uvicorn, hypercorn, granian)
      `multiprocessing`
    CELLO_SHARED_DIR is set     the same, under any host
    nobody                      plain memory: there is one process, or a test client

A file is removed by the last process that leaves, and by any later one that finds its parent process gone. SECURITY: it
is made with mode 0600 and O_EXCL, opened with O_NOFOLLOW, and refused if another user owns it.
"""

import contextlib
import hashlib
import json
import logging
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from cello.errors import ConfigError
from cello.shared.arena import DEFAULT_SIZE, Arena, Memory, PrivateMemory
from cello.shared.gate import CAN_LOCK_PROCESSES

logger = logging.getLogger("cello")

VARIABLE = "CELLO_ARENA"
"""The environment variable by which a zygote tells its workers of their arena, as JSON."""

DIRECTORY = "CELLO_SHARED_DIR"
SIZE = "CELLO_SHARED_SIZE"
NAME = "cello-arena"
_ROOMY = 1 << 29


@dataclass(frozen=True, slots=True)
class Origin:
    """The memory of this process and how it came about.

    Attributes:
        memory: Where regions come from.
        how: In words, for `cello shared` and logs.
        warning: What to say where there may be other workers that it does not reach, else None.
    """

    memory: Memory
    how: str
    warning: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether no other process can reach it."""
        return isinstance(self.memory, PrivateMemory)


def size_bytes() -> int:
    """Return how large an arena is to be.

    Raises:
        ConfigError: CELLO_SHARED_SIZE is no number of bytes, or less than a mebibyte.
    """
    said = os.environ.get(SIZE)
    if said is None:
        return DEFAULT_SIZE
    if not said.isdecimal() or int(said) < 1 << 20:
        raise ConfigError(f"{SIZE} is a number of bytes, at least {1 << 20}, not {said!r:.40}")
    return int(said)


def make_unnamed() -> int | None:
    """Return a descriptor of an empty file without a name, for a supervisor; None where workers cannot share one."""
    if not CAN_LOCK_PROCESSES:
        return None
    if hasattr(os, "memfd_create"):
        return os.memfd_create(NAME)
    import tempfile  # it brings all compressors; where there is memory it is not needed

    fd, path = tempfile.mkstemp(prefix=f"{NAME}-")
    os.unlink(path)
    return fd


def tell_children(fd: int) -> None:
    """Let the processes that this one forks know that `fd` is their arena."""
    found = os.fstat(fd)
    os.environ[VARIABLE] = json.dumps({"parent": os.getpid(), "fd": fd, "file": [found.st_dev, found.st_ino]})


def find(application: str, *, is_private: bool = False) -> Origin:
    """Return the memory of this process.

    Args:
        application: What tells this application from others of the same host: its file and line.
        is_private: Whether it is known that there is no other worker.

    Raises:
        ConfigError: The file cannot be made, or is not ours.
    """
    if is_private:
        return Origin(PrivateMemory(), "memory of this process")
    fd = _inherited()
    if fd is not None:
        return Origin(_inherited_arena(os.getpid(), fd), "memory of all workers of this server")
    host = _foreign_host()
    if host is None and DIRECTORY not in os.environ:
        return Origin(PrivateMemory(), "memory of this process")
    name, parent = host or ("this host", os.getppid())
    alone = f"limits, caches and sessions are per worker: {name}"
    if not CAN_LOCK_PROCESSES:
        return Origin(PrivateMemory(), "memory of this process", f"{alone} runs on a system without file locks")
    if parent == 0:
        return Origin(PrivateMemory(), "memory of this process", f"{alone} runs several processes without a master")
    path = _folder() / f"{NAME}-{os.getuid()}-{parent}-{_hashed(application, parent)}"
    try:
        remove_stale(path.parent)
        arena = _named_arena(path)
    except OSError as error:
        return Origin(PrivateMemory(), "memory of this process", f"{alone}'s workers cannot share {path}: {error}")
    return Origin(arena, f"{path}, for all workers of {name} (process {parent})")


def trouble() -> str | None:
    """Return what would keep workers on this machine from sharing memory, whoever started them; None if nothing."""
    if not CAN_LOCK_PROCESSES:
        return "this system has no file locks: limits, caches and sessions are per worker"
    folder = _folder()
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"{folder} cannot be written: under gunicorn, uWSGI and the like limits, caches and sessions are per "
            f"worker; set {DIRECTORY}"
        )
    return None


def _inherited() -> int | None:
    """Return the descriptor of the arena that this process's zygote was given, or None."""
    told = os.environ.get(VARIABLE)
    if told is None:
        return None
    plan: dict[str, Any] = json.loads(told)
    if plan["parent"] not in (os.getppid(), os.getpid()):
        return None  # inherited by a program that a worker started
    try:
        found = os.fstat(plan["fd"])
    except OSError:
        return None
    return plan["fd"] if [found.st_dev, found.st_ino] == plan["file"] else None


@lru_cache(maxsize=1)
def _inherited_arena(pid: int, fd: int) -> Arena:
    """Return the one arena of a process: several applications in it must not map the file twice (arena, Rule 2)."""
    return Arena(fd, size_bytes())


@lru_cache(maxsize=32)
def _named_arena_of(pid: int, path: Path) -> Arena:
    fd = _open(path)
    import atexit

    atexit.register(_leave, pid, path, fd)
    return Arena(fd, size_bytes())


def _named_arena(path: Path) -> Arena:
    return _named_arena_of(os.getpid(), path)


def _open(path: Path) -> int:
    """Return the file's descriptor, with the shared `flock` that says that it is in use."""
    import fcntl

    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            found = os.fstat(fd)
            if found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise PermissionError("it belongs to another user, or others may read it")
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == found.st_ino:
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the last one who used it has removed it meanwhile


def _leave(pid: int, path: Path, fd: int) -> None:
    """Remove the file if no other process uses it."""
    if pid == os.getpid():
        _remove_unused(path, fd)


def _remove_unused(path: Path, fd: int) -> None:
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_stale(folder: Path) -> None:
    """Remove this user's files whose parent process is gone and that nobody uses."""
    for path in folder.glob(f"{NAME}-{os.getuid()}-*"):
        parent = path.name.split("-")[3]
        if not parent.isdecimal() or _is_alive(int(parent)):
            continue
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _remove_unused(path, fd)
            finally:
                os.close(fd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder() -> Path:
    """Return where files go: the same for every worker, so it must not depend on what is free just now."""
    said = os.environ.get(DIRECTORY)
    if said is not None:
        return Path(said)
    import tempfile

    memory = Path("/dev/shm")
    try:
        space = os.statvfs(memory)
    except OSError:
        return Path(tempfile.gettempdir())
    is_roomy = space.f_blocks * space.f_frsize >= _ROOMY and os.access(memory, os.W_OK)
    return memory if is_roomy else Path(tempfile.gettempdir())


def _hashed(application: str, parent: int) -> str:
    return hashlib.blake2b(f"{application}\0{_started(parent)}".encode(), digest_size=8).hexdigest()


def _started(pid: int) -> str:
    """Return when a process started, in the system's words, so that a later one with its number is another."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _foreign_host() -> tuple[str, int] | None:
    """Return the name of the host that started this process among others, and the process that ties them together.

    Zero stands for none: there are other workers, but no common parent to be known by.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is not None:
        master = int(uwsgi.masterpid())
        return ("uWSGI", master) if master or uwsgi.numproc > 1 else None
    if "gunicorn.arbiter" in sys.modules and os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return "gunicorn", os.getppid()
    if "mod_wsgi" in sys.modules:
        return "mod_wsgi", os.getppid()
    if "multiprocessing.process" in sys.modules:
        parent = import_module("multiprocessing.process").parent_process()
        if parent is not None:
            return "the program that started this process", int(parent.pid)
    return None
