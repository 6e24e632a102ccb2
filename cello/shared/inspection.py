"""What shared memory there is on this machine, seen from outside: for `cello shared`."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cello.errors import ConfigError
from cello.shared.arena import Arena
from cello.shared.layouts import from_text
from cello.shared.origin import DIRECTORY, NAME


class Found(NamedTuple):
    """A region that a server keeps.

    Attributes:
        arena: Where: a file, or the process that holds a nameless one.
        name: The region's.
        layout: What it holds.
        size: Bytes of address space.
        fill: How full it is.
    """

    arena: str
    name: str
    layout: str
    size: int
    fill: str


def find_regions() -> list[Found]:
    """Return every region of this user's servers, arena by arena."""
    found: list[Found] = []
    for where, path in _arenas():
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # it ended just now, or belongs to somebody else
        try:
            if os.fstat(fd).st_size:
                found += _regions(where, Arena(fd, is_guest=True))
        except ConfigError:
            found.append(Found(where, "-", "-", 0, "made by another version of cello"))
        finally:
            os.close(fd)
    return found


def _regions(where: str, arena: Arena) -> Iterator[Found]:
    for entry in arena.entries():
        layout = from_text(entry.layout)
        block = arena.peek(entry)
        fill = "-" if layout is None or layout.size > entry.size else layout.fill(block)
        yield Found(where, entry.name, entry.layout, entry.size, fill)


def _arenas() -> Iterator[tuple[str, str]]:
    """Yield what to call each arena and where to open it."""
    folders = dict.fromkeys([os.environ.get(DIRECTORY, "/dev/shm"), "/dev/shm", tempfile.gettempdir()])
    for folder in folders:
        for path in sorted(Path(folder).glob(f"{NAME}-*-*-*")):
            yield str(path), str(path)
    seen: set[tuple[int, int]] = set()
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            for path in (process / "fd").iterdir():
                if not os.readlink(path).startswith(f"/memfd:{NAME}"):
                    continue
                state = path.stat()
                if (state.st_dev, state.st_ino) not in seen:
                    seen.add((state.st_dev, state.st_ino))
                    yield f"process {process.name}", str(path)
