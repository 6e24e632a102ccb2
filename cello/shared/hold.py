"""A place of a table that is held within a `with` block."""

from typing import Protocol


class Holdable(Protocol):
    """What has places to hold: a table."""

    def hold(self, key: str, now: int) -> int:
        """Lock the place of `key` and return its index."""

    def release(self, key: str) -> None:
        """Unlock it."""


class Hold:
    """Holds a place; the target of `with` is the index of its first word."""

    __slots__ = ("_key", "_now", "_table")

    def __init__(self, table: Holdable, key: str, now: int) -> None:
        self._table = table
        self._key = key
        self._now = now

    def __enter__(self) -> int:
        return self._table.hold(self._key, self._now)

    def __exit__(self, *raised: object) -> None:
        self._table.release(self._key)
