"""Entries that all workers of one machine have in common, in shared memory.

An entry is written down once and read by every worker; what a worker has read it keeps as an object, together with the
number that the shared store gives to each writing. So a hit costs a look at that number and at the generations.

A claim is two words for a key: until when it holds, by the monotonic clock, and whose it is. That of a process which is
gone holds nobody up.
"""

import asyncio
import os
import time
from collections.abc import Callable

from cello.features.cache.entry import Entry, Varied, dump_names
from cello.features.cache.flights import MOST_WAIT_S
from cello.features.cache.store import Course, Found, Operation, Shelf, Stamps
from cello.shared.regions import Region
from cello.shared.slots import Slots
from cello.shared.store import Store as SharedStore
from cello.shared.table import Table

CLAIMS = 4_096
_LOOK_AGAIN_S = 0.005


class SharedGenerations:
    """Counters in shared memory."""

    def __init__(self, region: Region[Slots]) -> None:
        self._words = region.open()

    def read(self, slots: tuple[int, ...]) -> Stamps:
        """Return their numbers."""
        get = self._words.get
        return tuple([get(slot) for slot in slots])

    def advance(self, slots: tuple[int, ...]) -> None:
        """Change their numbers."""
        for slot in slots:
            self._words.add(slot, 1)


class Pause:
    """A moment after which to look again at what another process does."""

    def block(self) -> None:
        """Let the moment pass on this thread."""
        time.sleep(_LOOK_AGAIN_S)

    async def wait(self) -> None:
        """Let the moment pass on the running loop."""
        await asyncio.sleep(_LOOK_AGAIN_S)


class ArenaStore:
    """Entries in shared memory.

    Args:
        values: The entries, written down.
        claims: Who makes which; two words each.
        generations: What tells whether an entry is still worth something.
        near_bytes: What the objects of this process may weigh.
        on_evicted: Called with how many of those were dropped for want of room.
    """

    def __init__(
        self,
        values: SharedStore,
        claims: Table,
        generations: SharedGenerations,
        near_bytes: int,
        on_evicted: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._values = values
        self._claims = claims
        self._generations = generations
        self.shelf: Shelf[tuple[int, Entry | Varied]] = Shelf(near_bytes, on_evicted)
        self._pid = os.getpid()

    def fetch(self, key: str, slots: tuple[int, ...]) -> Course[Found]:
        """Return what is kept under `key`, if anything, and the generations of `slots` now."""
        stamps = self._generations.read(slots)
        version = self._values.version(key)
        if version == 0:
            return None, stamps
        held = self.shelf.get(key)
        if held is None or held[0] != version:
            raw = self._values.get(key)
            read = None if raw is None else Entry.load(raw)
            if read is None:
                return None, stamps
            held = (version, read)
            self.shelf.put(key, held, read.size_bytes + len(key))
        found = held[1]
        if found.__class__ is Entry and found.stamps != stamps:
            self._values.delete(key)
            return None, stamps
        return found, stamps
        yield

    def claim(self, key: str) -> Course[Operation | None]:
        """Claim the making of `key`, or return a pause: another process makes it."""
        words = self._claims.slots
        now_ns = time.monotonic_ns()
        index = self._claims.place(key, now_ns)
        until_ns = words.get(index)
        if until_ns > now_ns and _is_alive(words.get(index + 1)):
            return Pause()
        if not words.swap(index, until_ns, now_ns + int(MOST_WAIT_S * 1e9)):
            return Pause()
        words.set(index + 1, self._pid)
        return None
        yield

    def release(self, key: str) -> Course[None]:
        """Give up a claim, if it is still this process's."""
        words = self._claims.slots
        index = self._claims.find(key)
        if index >= 0 and words.get(index + 1) == self._pid:
            words.set(index + 1, 0)
            words.set(index, 0)
        return
        yield

    def keep(self, key: str, entry: Entry | Varied, useful_s: float) -> Course[None]:
        """Keep an entry for so many seconds."""
        self._values.set(key, dump_names(entry) if isinstance(entry, Varied) else entry.dump(), useful_s)
        return
        yield

    owes = False

    def invalidate(self, slots: tuple[int, ...]) -> None:
        """Make everything that depends on one of `slots` worthless."""
        self._generations.advance(slots)

    def flush(self) -> Course[None]:
        """Do nothing: everybody sees the generations."""
        return
        yield


def _is_alive(pid: int) -> bool:
    """Return whether a process may still be there; 0 is one that has not said who it is."""
    if pid == 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
