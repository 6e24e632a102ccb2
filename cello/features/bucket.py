"""The token bucket as one word: the generic cell rate algorithm over shared memory.

This source is compiled a second time as `cello._speedups.bucket`, typed by a `bucket.pxd` there.

A key's word is the moment at which its bucket will be full again, in nanoseconds of the monotonic clock. A request
moves it `interval` further; it may not go further than `full` from now. The word changes by compare-and-swap or not at
all, so the limit is exact over processes and a process that is killed leaves nothing behind.
"""

from importlib import import_module

from cello import _speedups
from cello.shared.table import Table


class Bucket:
    """Token buckets by key.

    Args:
        table: One word per key.
    """

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    def take(self, key: str, now: int, interval: int, full: int) -> int:
        """Take one token; return the room that is left, or minus the time to wait for it.

        Args:
            key: Whose bucket.
            now: The moment, in nanoseconds of the monotonic clock.
            interval: Nanoseconds in which one token comes back.
            full: `interval` times the bucket's capacity.

        Returns:
            Nanoseconds: at least 0, the request may pass, and `room // interval` more could follow; below 0, nothing
            was taken, and a token is there after that many.
        """
        slots = self._table.slots
        index = self._table.place(key, now)
        while True:
            held = slots.get(index)
            start = held if held > now else now
            room = full - (start + interval - now)
            if room < 0 or slots.swap(index, held, start + interval):
                return room


PureBucket = Bucket
if _speedups.enabled:
    # By way of the dict: a name that is a compiled class cannot be assigned to, and this source is compiled too.
    globals()["Bucket"] = import_module("cello._speedups.bucket").Bucket
