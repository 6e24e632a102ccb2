"""Where entries are kept: what a store is, and the one in this process's memory.

The cache's own logic is written once, as courses that yield an `Operation` where something has to be waited for. Two
drivers run them: on a thread, which blocks, and on an event loop, which awaits. A store in memory never yields.
"""

import random
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, Protocol, TypeVar
from zlib import crc32

from cello.features.cache.entry import Entry, Varied

T = TypeVar("T")
V = TypeVar("V")

GENERATIONS = 65_536
"""How many counters there are. Two names on one counter are dropped together, which costs a recomputation."""


class StoreFailed(Exception):  # a signal between store and cache, which decides what follows
    """The store cannot be reached, or answers nonsense; says why."""


class Operation(Protocol):
    """Something to wait for."""

    def block(self) -> Any:
        """Wait for it on this thread."""

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for it on the running loop."""


Course = Generator[Operation, Any, T]
Stamps = tuple[int, ...]
Found = tuple[Entry | Varied | None, Stamps]


def drive_blocking(course: Course[T], operation: Operation) -> T:
    """Run the rest of `course`, which stands at `operation`, on this thread."""
    while True:
        try:
            try:
                value = operation.block()
            except StoreFailed as error:  # raised where it belongs: in the course
                operation = course.throw(error)
            else:
                operation = course.send(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a course of T returns T


async def drive_waiting(course: Course[T], operation: Operation) -> T:
    """Run the rest of `course`, which stands at `operation`, on the running loop."""
    try:
        while True:
            try:
                try:
                    value = await operation.wait()
                except StoreFailed as error:  # raised where it belongs: in the course
                    operation = course.throw(error)
                else:
                    operation = course.send(value)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a course of T returns T
    finally:
        course.close()  # a cancelled request's course ends here, and lets go of what it holds


def slot_of(name: str) -> int:
    """Return the counter of what entries depend on: a tag, or a URL."""
    return crc32(name.encode("utf-8", "surrogatepass")) % GENERATIONS


class Store(Protocol):
    """Keeps entries by key, and the generations that they depend on."""

    @property
    def shelf(self) -> "Shelf[Any] | None":
        """What this process holds as objects, None where it holds nothing."""

    def fetch(self, key: str, slots: tuple[int, ...]) -> Course[Found]:
        """Return what is kept under `key`, if anything, and the generations of `slots` now."""

    def claim(self, key: str) -> Course[Operation | None]:
        """Claim the making of `key` for this process until `release`; or return what to wait for: another makes it."""

    def release(self, key: str) -> Course[None]:
        """Give up a claim."""

    def keep(self, key: str, entry: Entry | Varied, useful_s: float) -> Course[None]:
        """Keep an entry for so many seconds."""

    @property
    def owes(self) -> bool:
        """Whether there are invalidations that others have not been told."""

    def invalidate(self, slots: tuple[int, ...]) -> None:
        """Make everything that depends on one of `slots` worthless: at once here, by `flush` for others."""

    def flush(self) -> Course[None]:
        """Tell others what was invalidated."""


class Generations(Protocol):
    """Counters that all processes see that share a cache's fate."""

    def read(self, slots: tuple[int, ...]) -> Stamps:
        """Return their numbers."""

    def advance(self, slots: tuple[int, ...]) -> None:
        """Change their numbers to ones they never had."""


class LocalGenerations:
    """The counters of one process."""

    def __init__(self) -> None:
        self._numbers = array("Q", bytes(8 * GENERATIONS))

    def read(self, slots: tuple[int, ...]) -> Stamps:
        """Return their numbers."""
        numbers = self._numbers
        return tuple([numbers[slot] for slot in slots])

    def advance(self, slots: tuple[int, ...]) -> None:
        """Change their numbers; two that do so at once may count as one, which is enough."""
        for slot in slots:
            self._numbers[slot] += 1


class Shelf(Generic[V]):
    """A mapping bounded by weight: the least recently used goes when there is no room. Safe for threads.

    Args:
        most_bytes: What all may weigh together.
        on_evicted: Called with how many were dropped for want of room.
    """

    def __init__(self, most_bytes: int, on_evicted: Callable[[int], None] = lambda count: None) -> None:
        self._most_bytes = most_bytes
        self._on_evicted = on_evicted
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> V | None:
        """Return what is held under `key`, which is used by that, or None."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
        return found[0]

    def put(self, key: str, value: V, size_bytes: int) -> None:
        """Hold `value`, and let go of others until there is room."""
        dropped = 0
        with self._lock:
            self._drop(key)
            self._held[key] = (value, size_bytes)
            self.used_bytes += size_bytes
            while self.used_bytes > self._most_bytes:
                self._drop(next(iter(self._held)))
                dropped += 1
        if dropped:
            self._on_evicted(dropped)

    def drop(self, key: str) -> None:
        """Let go of `key`."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._held.pop(key, None)
        if found is not None:
            self.used_bytes -= found[1]


class MemoryStore:
    """Entries in this process.

    Args:
        most_bytes: What all may weigh together.
        generations: What tells whether an entry is still worth something.
        on_evicted: Called with how many were dropped for want of room.
    """

    def __init__(
        self, most_bytes: int, generations: Generations, on_evicted: Callable[[int], None] = lambda count: None
    ) -> None:
        self._generations = generations
        self.shelf: Shelf[Entry | Varied] = Shelf(most_bytes, on_evicted)

    def fetch(self, key: str, slots: tuple[int, ...]) -> Course[Found]:
        """Return what is kept under `key`, if anything, and the generations of `slots` now."""
        stamps = self._generations.read(slots)
        found = self.shelf.get(key)
        if found.__class__ is Entry and found.stamps != stamps:
            self.shelf.drop(key)
            return None, stamps
        return found, stamps
        yield

    def claim(self, key: str) -> Course[Operation | None]:
        """Return None: there are no other processes."""
        return None
        yield

    def release(self, key: str) -> Course[None]:
        """Do nothing: there are no claims."""
        return
        yield

    def keep(self, key: str, entry: Entry | Varied, useful_s: float) -> Course[None]:
        """Keep an entry until there is no room; who looks at it knows when its time is over."""
        self.shelf.put(key, entry, entry.size_bytes + len(key))
        return
        yield

    owes = False

    def invalidate(self, slots: tuple[int, ...]) -> None:
        """Make everything that depends on one of `slots` worthless; it goes when it is next asked for."""
        self._generations.advance(slots)

    def flush(self) -> Course[None]:
        """Do nothing: everybody sees the generations."""
        return
        yield


def new_stamp() -> int:
    """Return a number that no generation has had."""
    return random.getrandbits(62)
