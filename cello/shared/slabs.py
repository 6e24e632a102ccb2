"""One row of words for each process: written by it alone, read by all, so counting takes no lock.

A process claims a slab by a lock that the kernel releases when it dies; whoever claims that slab next goes on where its
predecessor stopped, so what was counted is never lost and sums never fall.
"""

from cello.errors import CelloError
from cello.shared.arena import PAGE, Block


class Slabs:
    """The slabs of a region.

    Args:
        block: Its bytes.
        slabs: How many.
        words: Words of each.
    """

    __slots__ = ("_gate", "_rows", "_stride")

    def __init__(self, block: Block, slabs: int, words: int) -> None:
        self._stride = self.stride(words)
        self._gate = block.gate
        begins = range(0, slabs * self._stride, self._stride)
        self._rows = [block.memory[begin : begin + 8 * words].cast("q") for begin in begins]

    @staticmethod
    def stride(words: int) -> int:
        """Return the bytes from one slab to the next: whole pages, so that nobody writes into another's cache line."""
        return (8 * words + PAGE - 1) // PAGE * PAGE

    def claim(self) -> memoryview:
        """Return the slab of this process, as signed 64-bit words.

        Raises:
            CelloError: More processes than there are slabs want one.
        """
        return self._rows[self.claim_index()]

    def claim_index(self) -> int:
        """Return which slab is this process's."""
        for index in range(len(self._rows)):
            if self._gate.keep(index * self._stride + 2):
                return index
        raise CelloError(f"all {len(self._rows)} slabs of shared memory belong to living processes")

    def all(self) -> list[memoryview]:
        """Return every slab; those that nobody ever claimed are zeroes."""
        return self._rows
