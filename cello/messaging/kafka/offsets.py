"""What a consumer has in hand of one partition, and up to where that may be committed.

Kafka remembers one number for a group and a partition: everything below it is done. Messages that are handled at the
same time end in any order, so what may be committed is the lowest offset that is not done: never past one in hand.
"""

from collections.abc import Sequence

MOST_BEHIND = 1024
"""How many offsets are kept although they are done, before they are taken out together."""


class Offsets:
    """The offsets of one partition during one assignment.

    Attributes:
        in_hand: How many were received and are not done.
        is_lost: Whether the partition went to others since.
        position: What may be committed: every offset below it is done. None where nothing was received.
    """

    __slots__ = ("_done", "_first", "_received", "committed", "is_lost", "position")

    def __init__(self) -> None:
        self._received: list[int] = []
        self._first = 0  # the place there of the first that is not done
        self._done: set[int] = set()
        self.is_lost = False
        self.position: int | None = None
        self.committed: int | None = None

    @property
    def in_hand(self) -> int:
        """How many were received and are not done."""
        return len(self._received) - self._first - len(self._done)

    @property
    def is_dirty(self) -> bool:
        """Whether there is something to commit."""
        return self.position != self.committed

    def receive(self, offsets: Sequence[int]) -> None:
        """Take note of messages, in the order of the partition; there may be gaps."""
        if offsets and self.position is None:
            self.position = self.committed = offsets[0]
        self._received.extend(offsets)

    def finish(self, offsets: list[int]) -> None:
        """Take note that messages are done; amortised O(1) for each."""
        received, done, first = self._received, self._done, self._first
        if not done and offsets == received[first : first + len(offsets)]:
            first += len(offsets)  # PERF: what is handled in order needs no set: 0.02 instead of 0.07 µs
        else:
            done.update(offsets)
            while first < len(received) and received[first] in done:
                done.remove(received[first])
                first += 1
        if first > self._first:
            self.position = received[first - 1] + 1
        if first > MOST_BEHIND:
            del received[:first]
            first = 0
        self._first = first
