"""One piece of memory for all workers, and the directory of the regions in it.

An arena is a sparse file, mapped whole: untouched pages take no memory. Regions are claimed by owner, name and layout;
whoever claims the same gets the same bytes, whoever claims another layout gets another region. What a generation of the
code left behind is taken back when room is needed: each process locks the entries that it uses (shared, for its life),
so an entry that can be locked for itself is nobody's.

Rule 1: the directory is read and written under its lock. An entry counts from the moment its state word is set, last;
one that was half-written when its process died is free.
Rule 2: locks of POSIX belong to a process and a file, and closing any descriptor of that file gives all of them up.
So an arena maps once and stays mapped while the process lives, or until `close`, which is the end of all its regions.

The file: 4 KiB of head, 120 entries of 512 bytes, then regions, each at a multiple of 4 KiB. Locks by offset: a
region's gate uses the offsets of its own bytes, entry n the offset of its first byte, the directory offset 0.
"""

import logging
import mmap
import os
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from cello import _speedups
from cello.errors import ConfigError
from cello.shared.gate import Gate

try:
    import fcntl
except ImportError:  # Windows: there is private memory only
    fcntl = None  # type: ignore[assignment]  # not reached without a file

logger = logging.getLogger("cello")

PAGE = 4_096
DEFAULT_SIZE = 1 << 30
"""Bytes of address space; memory is taken as it is touched."""

_MAGIC = b"cello-arena-1\0\0"
_ENTRY = struct.Struct("<qqq16s128s320s")  # state, offset, size, digest, name, layout
_ENTRIES = 120
_FIRST = PAGE + _ENTRIES * 512
_FIRST_REGION = (_FIRST + PAGE - 1) // PAGE * PAGE
_USED = 1


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes of one region, and what guards them.

    Attributes:
        memory: Zeroes at first; its length is the layout's size.
        gate: Locks by number, below the number of bytes.
        secret: 16 bytes, the same in all processes of the arena.
        fd: The arena's file, or None where the memory is this process's own.
    """

    memory: memoryview
    gate: Gate
    secret: bytes
    fd: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the directory says of a region."""

    name: str
    layout: str
    offset: int
    size: int


class Memory(Protocol):
    """Where regions come from."""

    def claim(self, owner: str, name: str, layout: str, size: int) -> Block:
        """Return the block of a region, zeroes where nobody has claimed it before."""

    def close(self) -> None:
        """Give everything back."""


class PrivateMemory:
    """Regions of one process."""

    def __init__(self) -> None:
        self._secret = os.urandom(16)
        self._blocks: dict[tuple[str, str, str], Block] = {}

    def claim(self, owner: str, name: str, layout: str, size: int) -> Block:
        """Return the block of a region."""
        key = (owner, name, layout)
        if key not in self._blocks:
            memory = memoryview(mmap.mmap(-1, _pages(size)))[:size]
            self._blocks[key] = Block(memory, Gate(None, 0), self._secret, None)
        return self._blocks[key]

    def close(self) -> None:
        """Forget all regions; their memory goes when nobody refers to it."""
        self._blocks.clear()


class Arena:
    """An arena in a file.

    Args:
        fd: The file, open for reading and writing; kept, not closed.
        size: How long it is to be, if it is empty; what stands in it already goes before.
        is_guest: Only look at what is there, be it made by compiled or by pure workers.
    """

    def __init__(self, fd: int, size: int = DEFAULT_SIZE, *, is_guest: bool = False) -> None:
        self.fd = fd
        self._directory = Gate(fd, 0)
        self._own: set[int] = set()
        with self._directory.held(0):
            if os.fstat(fd).st_size == 0:
                os.ftruncate(fd, max(size, 2 * _FIRST_REGION) // PAGE * PAGE)
            self.size = os.fstat(fd).st_size
            self._map = mmap.mmap(fd, self.size)
            self._begin(is_guest=is_guest)
        self._bytes = memoryview(self._map)

    def _begin(self, *, is_guest: bool) -> None:
        """Write the head of a new file, or check that of an old one."""
        twin = b"c" if _speedups.enabled else b"p"
        head = _MAGIC + twin
        if self._map[:1] == b"\0" and not is_guest:
            self._map[16:32] = os.urandom(16)
            self._map[1:16] = head[1:]
            self._map[:1] = head[:1]  # last: it says that the rest is there
        elif self._map[:16] != head and not (is_guest and self._map[:15] == _MAGIC):
            raise ConfigError(
                "the workers of this application do not all use the same cello: shared memory was made by "
                f"{bytes(self._map[:16])!r}, this process is {head!r}; set CELLO_SPEEDUPS alike for all and restart"
            )
        self.secret = bytes(self._map[16:32])

    def entries(self) -> list[Entry]:
        """Return every region, in the order of their places."""
        with self._directory.held(0):
            found = [self._read(number) for number in range(_ENTRIES)]
        return sorted((entry for entry, _ in found if entry is not None), key=lambda entry: entry.offset)

    def claim(self, owner: str, name: str, layout: str, size: int) -> Block:
        """Return the block of a region, zeroes where nobody has claimed it before.

        Raises:
            ConfigError: There is no room for it.
        """
        digest = blake2b(f"{owner}\0{name}\0{layout}\0{size}".encode(), digest_size=16).digest()
        with self._directory.held(0):
            number = self._number_of(digest)
            if number is None:
                number = self._make(digest, name, layout, _pages(size))
            entry, _ = self._read(number)
            assert entry is not None
            fcntl.lockf(self.fd, fcntl.LOCK_SH, 1, PAGE + 512 * number)
            self._own.add(PAGE + 512 * number)
        memory = self._bytes[entry.offset : entry.offset + size]
        return Block(memory, Gate(self.fd, entry.offset), self.secret, self.fd)

    def peek(self, entry: Entry) -> Block:
        """Return the block of a region that the directory names, without using it for this process."""
        memory = self._bytes[entry.offset : entry.offset + entry.size]
        return Block(memory, Gate(self.fd, entry.offset), self.secret, self.fd)

    def close(self) -> None:
        """Leave the memory mapped for those who still refer to it; the file is its owner's to close."""

    def _read(self, number: int) -> tuple[Entry | None, bytes]:
        state, offset, size, digest, name, layout = _ENTRY.unpack_from(self._map, PAGE + 512 * number)
        if state != _USED:
            return None, b""
        return Entry(_text(name), _text(layout), offset, size), digest

    def _number_of(self, digest: bytes) -> int | None:
        return next((number for number in range(_ENTRIES) if self._read(number)[1] == digest), None)

    def _make(self, digest: bytes, name: str, layout: str, size: int) -> int:
        number, offset = self._find_room(size) or (None, 0)
        if number is None:
            self._drop_unused()
            number, offset = self._find_room(size) or (None, 0)
        if number is None:
            raise ConfigError(
                f"shared memory has no room for the region {name!r} of {size:,} bytes: it holds {self.size:,} in all; "
                "set CELLO_SHARED_SIZE to more bytes"
            )
        self._check_space(size)
        at = PAGE + 512 * number
        named, said = name.encode()[:128], layout.encode()[:320]
        _ENTRY.pack_into(self._map, at, 0, offset, size, digest, named, said)
        struct.pack_into("<q", self._map, at, _USED)
        return number

    def _find_room(self, size: int) -> tuple[int, int] | None:
        """Return a free entry and the first gap that is large enough."""
        entries = [self._read(number)[0] for number in range(_ENTRIES)]
        free = next((number for number, entry in enumerate(entries) if entry is None), None)
        offset = _FIRST_REGION
        for entry in sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.offset):
            if entry.offset - offset >= size:
                break
            offset = max(offset, entry.offset + entry.size)
        return None if free is None or offset + size > self.size else (free, offset)

    def _drop_unused(self) -> None:
        """Free the regions that no living process uses, and make them zeroes again."""
        for number in range(_ENTRIES):
            entry, _ = self._read(number)
            if entry is None or not self._is_unused(PAGE + 512 * number):
                continue
            struct.pack_into("<q", self._map, PAGE + 512 * number, 0)
            self._clear(entry)

    def _is_unused(self, offset: int) -> bool:
        """Whether nobody uses an entry: its lock can be had. This process could always have its own."""
        if offset in self._own:
            return False
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError:
            return False
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, offset)
        return True

    def _clear(self, entry: Entry) -> None:
        """Make a region zeroes; where the system can, by giving its memory back."""
        if hasattr(mmap, "MADV_REMOVE"):
            try:
                self._map.madvise(mmap.MADV_REMOVE, entry.offset, entry.size)
            except OSError as error:  # not on this file system
                logger.debug("the memory of %s is overwritten: %s", entry.name, error)
            else:
                return
        for start in range(entry.offset, entry.offset + entry.size, PAGE):
            self._bytes[start : start + PAGE] = bytes(PAGE)

    def _check_space(self, size: int) -> None:
        """Refuse a region that its file system cannot hold: touching it would kill the process (SIGBUS).

        Raises:
            ConfigError: There is no space left.
        """
        space = os.fstatvfs(self.fd)
        if space.f_blocks and space.f_bavail * space.f_frsize < size:
            raise ConfigError(
                f"the file system of the shared memory has no {size:,} bytes left; set CELLO_SHARED_DIR to a larger one"
            )


def _pages(size: int) -> int:
    return max(PAGE, (size + PAGE - 1) // PAGE * PAGE)


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("utf-8", "replace")
