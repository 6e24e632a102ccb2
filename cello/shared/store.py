"""Values by key, bounded by bytes: a ring of records, and a table of where each key's last one stands.

Strategy: a value is appended where the ring's end is, over what was written longest ago. A key that is read while its
record is in the older half is appended anew, so what is used stays and what is not used goes.

Rule 1: one writer at a time, under the ring's lock. It moves the end first, then writes the record, then notes its
position with the key. Killed in between it leaves bytes that no key leads to.
Rule 2: readers take no lock. A record is good if, after it was copied, the end has not come round to it, it names its
own position and key, and its checksum is right; anything else is a missing key.

Words: 8 of head (the end), then the table (one word per key: position + 1), then the ring. A record is five words
(position, digest, length, when it expires by the monotonic clock or 0, checksum) and the value, padded to 8 bytes.
"""

import struct
import time
from zlib import crc32

from cello.shared.arena import Block
from cello.shared.gate import Gate
from cello.shared.slots import Slots
from cello.shared.table import Table

HEAD = struct.Struct("<qqqqq")
_WRITING = 3
"""The number of the ring's lock; it is taken before that of a group, never after."""


class Store:
    """Values by key.

    Args:
        block: The region.
        ring: Where the ring begins in it.
        size: How many bytes the ring has.
        table: Where records stand.
    """

    __slots__ = ("_block", "_gate", "_ring", "_slots", "_table", "size")

    def __init__(self, block: Block, ring: int, size: int, table: Table) -> None:
        self._block = block
        self._gate: Gate = block.gate
        self._slots = Slots(block.memory[:64], block.gate, block.secret)
        self._ring = block.memory[ring : ring + size]
        self._table = table
        self.size = size

    def get(self, key: str) -> bytes | None:
        """Return the value of `key`, or None where it has none, it has expired, or it had to make room."""
        found = self._read(key)
        if found is None:
            return None
        value, expires, position = found
        if self._slots.get(0) - position > self.size // 2:
            self._append(key, value, expires, if_still=position + 1)
        return value

    def set(self, key: str, value: bytes, ttl_s: float | None = None, if_version: int | None = None) -> bool:
        """Store a value.

        Args:
            key: Any text.
            value: Its bytes.
            ttl_s: Seconds until it expires; None for never.
            if_version: What `version` must still return for the key; None stores in any case.

        Returns:
            Whether it was stored: values beyond a quarter of the ring are not, and the key has none then.
        """
        expires = 0 if ttl_s is None else time.monotonic_ns() + int(ttl_s * 1e9)
        return self._append(key, value, expires, if_still=if_version)

    def version(self, key: str) -> int:
        """Return a number that is another one whenever `key` was written anew, or 0: it has no value.

        For those who keep what they read. What is asked for so stays as if it were read; expiry shows in `get` only.
        """
        version = self._table.get(key)
        age = self._slots.get(0) - version + 1
        if version == 0 or age > self.size:
            return 0
        if age > self.size // 2:
            return self._table.get(key) if self.get(key) is not None else 0
        return version

    def delete(self, key: str) -> bool:
        """Forget the value of `key`; return whether it had one."""
        has_one = self._read(key) is not None
        with self._gate.held(_WRITING):
            return self._table.remove(key) and has_one

    @property
    def used_bytes(self) -> int:
        """How much of the ring was ever written."""
        return min(self._slots.get(0), self.size)

    @property
    def keys(self) -> int:
        """How many keys are known, those included whose values have expired or made room."""
        return self._table.used

    def _read(self, key: str) -> tuple[bytes, int, int] | None:
        """Return value, expiry and position of a key's record."""
        position = self._table.get(key) - 1
        if position < 0 or self._slots.get(0) - position > self.size:
            return None
        at = position % self.size
        named, digest, length, expires, checksum = HEAD.unpack_from(self._ring, at)
        if named != position or digest != self._slots.digest(key) or not 0 <= length <= self.size - at - HEAD.size:
            return None
        value = bytes(self._ring[at + HEAD.size : at + HEAD.size + length])
        if self._slots.get(0) - position > self.size or crc32(value) != checksum:
            return None
        if expires and expires <= time.monotonic_ns():
            return None
        return value, expires, position

    def _append(self, key: str, value: bytes, expires: int, if_still: int | None = None) -> bool:
        """Write a record, unless the key leads elsewhere by now than where it is expected to."""
        taken = HEAD.size + (len(value) + 7) // 8 * 8
        with self._gate.held(_WRITING):
            if if_still is not None and self._table.get(key) != if_still:
                return False
            if taken > self.size // 4:
                self._table.remove(key)
                return False
            position = self._slots.get(0)
            at = position % self.size
            if at + taken > self.size:  # a record is in one piece: the rest of this round stays unused
                position += self.size - at
                at = 0
            self._slots.set(0, position + taken)
            HEAD.pack_into(self._ring, at, position, self._slots.digest(key), len(value), expires, crc32(value))
            self._ring[at + HEAD.size : at + HEAD.size + len(value)] = value
            with self._table.locked(key, position) as index:
                self._table.slots.set(index, position + 1)
        return True
