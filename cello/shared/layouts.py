"""What a region may hold: layouts say how large it is, and open it.

A layout is frozen and says all that decides about its bytes, so that equal layouts are the same region in every worker.
"""

import dataclasses
import json
from typing import Any, Protocol, TypeVar

from cello.config import config, field
from cello.shared.arena import Block
from cello.shared.generations import Generations
from cello.shared.slabs import Slabs
from cello.shared.slots import Slots
from cello.shared.store import Store
from cello.shared.table import Table

T_co = TypeVar("T_co", covariant=True)


class Layout(Protocol[T_co]):
    """What a region holds."""

    @property
    def size(self) -> int:
        """How many bytes it takes."""

    def open(self, block: Block) -> T_co:
        """Return what reads and writes the region."""

    def fill(self, block: Block) -> str:
        """Return in a few words how full it is, touching little of it."""


@config
class WordsLayout:
    """A row of 64-bit words.

    Attributes:
        count: How many.
    """

    count: int = field(at_least=1)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return 8 * self.count

    def open(self, block: Block) -> Slots:
        """Return the words."""
        return Slots(block.memory[: self.size], block.gate, block.secret)

    def fill(self, block: Block) -> str:
        """Say how many words there are."""
        return f"{self.count:,} words"


@config
class TableLayout:
    """Words by key.

    Attributes:
        capacity: Most keys; rounded up to a multiple of 8. Keys are not spread perfectly, so a few are dropped before
            it is full: 0.14 % of them when a third of it is in use.
        width: Words per key.
    """

    capacity: int = field(at_least=1)
    width: int = field(default=1, at_least=1, at_most=65_536)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return 8 * (8 + self._groups * 8 * (2 + self.width))

    @property
    def _groups(self) -> int:
        return (self.capacity + 7) // 8

    def open(self, block: Block) -> Table:
        """Return the table."""
        slots = Slots(block.memory[: self.size], block.gate, block.secret)
        return Table(slots, block.gate, self._groups, self.width)

    def fill(self, block: Block) -> str:
        """Say how many keys there are, and how many had to go."""
        table = self.open(block)
        return f"{table.used:,} of {table.capacity:,} keys, {table.evicted:,} dropped"


@config
class GenerationsLayout:
    """Generation counters by name.

    Attributes:
        capacity: Most names that are told apart; beyond, what depends on any name counts as changed now and then.
    """

    capacity: int = field(default=8_192, at_least=1)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return TableLayout(self.capacity).size

    def open(self, block: Block) -> Generations:
        """Return the counters."""
        return Generations(TableLayout(self.capacity).open(block))

    def fill(self, block: Block) -> str:
        """Say how many names there are."""
        return TableLayout(self.capacity).fill(block)


@config
class SlabLayout:
    """One slab of words for each process.

    Attributes:
        slabs: Most processes at a time.
        words: Words of each.
    """

    slabs: int = field(default=64, at_least=1)
    words: int = field(at_least=1, default=512)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.slabs * Slabs.stride(self.words)

    def open(self, block: Block) -> Slabs:
        """Return the slabs."""
        return Slabs(block, self.slabs, self.words)

    def fill(self, block: Block) -> str:
        """Say how many slabs there are."""
        return f"{self.slabs} slabs of {self.words:,} words"


@config
class StoreLayout:
    """Values by key.

    Attributes:
        size_bytes: Bytes for values; each takes 40 to 47 more than its own.
        capacity: Most keys.
    """

    size_bytes: int = field(at_least=4_096)
    capacity: int = field(default=16_384, at_least=1)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self._ring + self._ring_size

    @property
    def _ring(self) -> int:
        return 64 + TableLayout(self.capacity).size

    @property
    def _ring_size(self) -> int:
        return (self.size_bytes + 7) // 8 * 8

    def open(self, block: Block) -> Store:
        """Return the values."""
        table = TableLayout(self.capacity)
        inner = Block(block.memory[64 : self._ring], block.gate.shifted(64), block.secret, block.fd)
        return Store(block, self._ring, self._ring_size, table.open(inner))

    def fill(self, block: Block) -> str:
        """Say how many bytes and keys there are."""
        store = self.open(block)
        return f"{store.used_bytes:,} of {store.size:,} bytes, at most {store.keys:,} of {self.capacity:,} keys"


KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (WordsLayout, TableLayout, GenerationsLayout, SlabLayout, StoreLayout)
}
"""The layouts that `cello shared` can look into."""


def as_text(layout: object) -> str:
    """Return a layout as the directory keeps it: equal texts are equal layouts."""
    fields = dataclasses.asdict(layout) if dataclasses.is_dataclass(layout) and not isinstance(layout, type) else {}
    return f"{type(layout).__name__} {json.dumps(fields, sort_keys=True)}"


def from_text(text: str) -> Layout[Any] | None:
    """Return the layout that a text stands for, or None where its kind is a feature's own."""
    kind, _, fields = text.partition(" ")
    if kind not in KINDS:
        return None
    made: Layout[Any] = KINDS[kind](**json.loads(fields))
    return made
