"""Generation counters by name: has anything of that name been declared invalid since?

One clock counts all declarations. Whoever stores something notes the clock *before* it computes it (`stamp`); it is
current while no name that it depends on was bumped later. A name that the table had to drop is covered by the table's
floor, the latest bump of any dropped name: at worst something current is computed anew, never the reverse.
"""

from collections.abc import Iterable

from cello.shared.table import Table

_CLOCK = 3
"""A word of the table's head that the table itself does not use."""


class Generations:
    """Counters by name.

    Args:
        table: One word per name, zeroes at first.
    """

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    def stamp(self) -> int:
        """Return the clock: read it before computing what is to be stored."""
        return self._table.slots.get(_CLOCK)

    def bump(self, name: str) -> int:
        """Declare invalid all that depends on `name` and was stamped before; return the clock after."""
        slots = self._table.slots
        with self._table.locked(name, slots.get(_CLOCK)) as index:
            # Within the lock: two bumps of a name must not be noted in the reverse order.
            now = slots.add(_CLOCK, 1)
            slots.set(index, now)
        return now

    def is_current(self, stamp: int, names: Iterable[str]) -> bool:
        """Return whether none of `names` was bumped after `stamp`."""
        table = self._table
        for name in names:
            if table.get(name) > stamp:
                return False
        # After the names: a name is dropped only after the floor was raised to its last bump.
        return table.floor <= stamp
