"""A table of words by key, of fixed size, in which what was not used for longest makes room for what is new.

This source is compiled a second time as `cello._speedups.table`, typed by a `table.pxd` there.

Strategy: groups of 8 places. A key's digest names its group; within it the key takes the first free place or the one
that was used least recently. So a look-up reads one cache line of digests, and no list or pointer can be torn.

Rule 1: looking up takes no lock. Making a place takes the group's lock, looks again, and writes the digest last: what
was half made when its process died is a free place.
Rule 2: a place may be given to another key while somebody holds its index. A change by `swap` whose expected value is
not zero fails then, because a new place begins with zeroes; changes of several words belong under `locked`.
Rule 3: before a place is taken from a key, the largest first word that was ever dropped is noted (`floor`).

Words: 8 of head, then per group 8 digests, 8 stamps and 8 × width values. Locks: group g by the number of its first
word, plus 1.
"""

from importlib import import_module

from cello import _speedups
from cello.shared.gate import Gate
from cello.shared.hold import Hold
from cello.shared.slots import Slots


class Table:
    """Words by key.

    Args:
        slots: The words of the region.
        gate: Its locks.
        groups: How many groups of 8 keys there are.
        width: Words per key.

    Attributes:
        slots: For reading and changing the words of a place by index.
        capacity: Most keys.
        width: Words per key.
    """

    __slots__ = ("_gate", "_groups", "_stride", "capacity", "slots", "width")

    def __init__(self, slots: Slots, gate: Gate, groups: int, width: int) -> None:
        self.slots = slots
        self._gate = gate
        self._groups = groups
        self._stride = 8 * (2 + width)
        self.capacity = 8 * groups
        self.width = width

    def find(self, key: str) -> int:
        """Return the index of the first word of `key`, or -1."""
        digest = self.slots.digest(key)
        first = 8 + digest % self._groups * self._stride
        for way in range(8):
            if self.slots.get(first + way) == digest:
                return first + 16 + way * self.width
        return -1

    def place(self, key: str, now: int) -> int:
        """Return the index of the first word of `key`, making its place (zeroes) where it has none.

        Args:
            key: Any text.
            now: When it is used: any number that grows, the same kind for the whole table.
        """
        slots = self.slots
        digest = slots.digest(key)
        first = 8 + digest % self._groups * self._stride
        for way in range(8):
            if slots.get(first + way) == digest:
                slots.set(first + 8 + way, now)
                return first + 16 + way * self.width
        self._gate.hold(8 * first + 1)
        try:
            return self._make(digest, first, now)
        finally:
            self._gate.release(8 * first + 1)

    def _make(self, digest: int, first: int, now: int) -> int:
        """Return the place of a digest in a group whose lock is held."""
        slots = self.slots
        free = chosen = -1
        oldest = now
        for way in range(8):
            held = slots.get(first + way)
            if held == digest:
                slots.set(first + 8 + way, now)
                return first + 16 + way * self.width
            if held == 0:
                if free < 0:
                    free = way
                continue
            stamp = slots.get(first + 8 + way)
            if chosen < 0 or stamp < oldest:
                chosen = way
                oldest = stamp
        if free >= 0:
            chosen = free
        place = first + 16 + chosen * self.width
        if free < 0:
            value = slots.get(place)
            if value > slots.get(2):
                slots.set(2, value)
            slots.add(1, 1)
            slots.set(first + chosen, 0)
        else:
            slots.add(0, 1)
        for word in range(self.width):
            slots.set(place + word, 0)
        slots.set(first + 8 + chosen, now)
        slots.set(first + chosen, digest)
        return place

    def get(self, key: str, default: int = 0) -> int:
        """Return the first word of `key`, or `default` where it has no place."""
        slots = self.slots
        digest = slots.digest(key)
        first = 8 + digest % self._groups * self._stride
        for way in range(8):
            if slots.get(first + way) == digest:
                value = slots.get(first + 16 + way * self.width)
                if slots.get(first + way) == digest:
                    return value
        return default

    def remove(self, key: str) -> bool:
        """Free the place of `key`; return whether it had one."""
        slots = self.slots
        digest = slots.digest(key)
        first = 8 + digest % self._groups * self._stride
        self._gate.hold(8 * first + 1)
        try:
            for way in range(8):
                if slots.get(first + way) == digest:
                    slots.set(first + way, 0)
                    slots.add(0, -1)
                    return True
            return False
        finally:
            self._gate.release(8 * first + 1)

    def hold(self, key: str, now: int) -> int:
        """Lock the group of `key` and return the index of its first word; `release(key)` must follow.

        While it is locked nobody else makes, drops or holds a place of the group.
        """
        digest = self.slots.digest(key)
        first = 8 + digest % self._groups * self._stride
        self._gate.hold(8 * first + 1)
        try:
            return self._make(digest, first, now)
        except BaseException:
            self._gate.release(8 * first + 1)
            raise

    def release(self, key: str) -> None:
        """Unlock the group of `key`."""
        self._gate.release(8 * (8 + self.slots.digest(key) % self._groups * self._stride) + 1)

    def locked(self, key: str, now: int) -> Hold:
        """Hold the place of `key` within a `with` block, whose target is the index of its first word."""
        return Hold(self, key, now)

    @property
    def used(self) -> int:
        """How many keys have a place; a killed process may leave it off by one."""
        return self.slots.get(0)

    @property
    def evicted(self) -> int:
        """How many keys were dropped to make room."""
        return self.slots.get(1)

    @property
    def floor(self) -> int:
        """The largest first word that a dropped key had."""
        return self.slots.get(2)


PureTable = Table
if _speedups.enabled:
    # By way of the dict: a name that is a compiled class cannot be assigned to, and this source is compiled too.
    globals()["Table"] = import_module("cello._speedups.table").Table
