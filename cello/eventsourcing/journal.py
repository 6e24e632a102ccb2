"""Where records are kept: what a store asks of memory or a database.

Rule 1: versions of a stream, and positions of the feed, count from 1 without gaps, and positions are given in the order
of commits: who reads up to a position has seen all that will ever be before it.
Rule 2: an append happens whole or not at all.
Rule 3: archived records are read like others.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from cello.eventsourcing.event import Record

PAGE = 1_000
"""Records that are read at a time."""


class Placed(NamedTuple):
    """What became of an append: the last version of the stream, and the last position of the feed."""

    version: int
    position: int


class Kept(NamedTuple):
    """A snapshot as it is stored: its version, form, state as JSON, and time in milliseconds since 1970."""

    version: int
    schema_version: int
    state: str
    taken_ms: int


class Checkpoint(NamedTuple):
    """How far a projection has come.

    Attributes:
        position: The last event that it has seen.
        generation: How often it was rebuilt.
        is_fresh: Whether it is to begin anew: to be reset before its next event.
        fault: Why it does not go on, or None.
        updated_ms: When it was written, in milliseconds since 1970.
    """

    position: int
    generation: int
    is_fresh: bool
    fault: str | None
    updated_ms: int


class Conflict(Exception):
    """The stream is not at the expected version, or has no room, or the id of an event is in the store already."""


class Holding(Protocol):
    """Gives out leases, as `cello.database.lease.Leases` does."""

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        """Hold a name; return the token, or None where another holds it."""

    async def renew(self, name: str, owner: str, token: int, seconds: float) -> bool:
        """Hold it on; False where it has passed to another."""

    async def release(self, name: str, owner: str, token: int) -> None:
        """Hold it no more."""

    async def holder(self, name: str) -> str | None:
        """Return who holds it."""


class Journal(Protocol):
    """Keeps records."""

    @property
    def leases(self) -> Holding:
        """Who of those that use the same journal does what only one may do."""

    @property
    def database(self) -> Any:
        """Where the records are, a `Database`; memory has none."""

    async def open(self) -> None:
        """Make it ready; make its tables where they are missing."""

    async def close(self) -> None:
        """Let go of what it holds."""

    async def append(self, records: Sequence[Record], expected: int | None, most: int) -> Placed:
        """Append records of one stream; their versions and positions are decided here.

        Args:
            records: In order.
            expected: The version that the stream must have; None for any.
            most: Records that the stream may have in the end; 0 for any number.

        Raises:
            Conflict: It has another version, or no room, or the id of a record is there already.
        """

    async def places(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Return id → (aggregate, version), for those that are there."""

    async def version(self, aggregate_id: str) -> int:
        """Return the version of a stream; 0 where there is none."""

    async def stream(self, aggregate_id: str, since: int, most: int = PAGE) -> list[Record]:
        """Return at most so many records of a stream after a version, in order."""

    async def load(self, aggregate_id: str) -> tuple[Kept | None, list[Record]]:
        """Return the newest snapshot, and at most `PAGE` records after it."""

    async def feed(self, after: int, most: int = PAGE) -> list[Record]:
        """Return at most so many records of all streams after a position, in order."""

    async def head(self) -> int:
        """Return the last position."""

    async def save_snapshot(self, aggregate_id: str, kept: Kept) -> None:
        """Keep a snapshot, unless there is a newer one of the same form."""

    async def get_snapshot(self, aggregate_id: str) -> Kept | None:
        """Return the newest snapshot."""

    async def archive(self, before_ms: int, most: int) -> int:
        """Move the first records of the feed that are older to the archive, at most so many; return how many."""

    async def archived(self) -> int:
        """Return the last position in the archive."""

    async def checkpoint(self, name: str) -> Checkpoint:
        """Return how far a projection has come; where nothing is known of it, make it begin."""

    async def advance(self, name: str, epoch: int, known: Checkpoint, fault: str | None = None) -> bool:
        """Note how far the projection has come, if nobody with a later epoch does and it was not rebuilt meanwhile."""

    async def take(self, name: str, epoch: int) -> bool:
        """Have only `epoch` and later ones advance a projection; False where a later one does."""

    async def rewind(self, name: str) -> None:
        """Have a projection begin anew."""
