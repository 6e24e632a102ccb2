"""The journal in memory: of one process, gone with it, for tests and for trying things out.

One lock around plain lists, so that it may be used from any thread and loop.
"""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

from cello.eventsourcing.event import Record
from cello.eventsourcing.journal import PAGE, Checkpoint, Conflict, Kept, Placed


class MemoryLeases:
    """Leases of one process: whoever comes first holds a name until he gives it back."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}
        self._tokens = itertools.count(1)

    async def acquire(self, name: str, owner: str, seconds: float) -> int | None:
        """Hold it, if nobody does."""
        token = next(self._tokens)
        return token if self._held.setdefault(name, (owner, token)) == (owner, token) else None

    async def renew(self, name: str, owner: str, token: int, seconds: float) -> bool:
        """Hold it on."""
        return self._held.get(name) == (owner, token)

    async def release(self, name: str, owner: str, token: int) -> None:
        """Give it back."""
        if await self.renew(name, owner, token, 0):
            del self._held[name]

    async def holder(self, name: str) -> str | None:
        """Look it up."""
        held = self._held.get(name)
        return None if held is None else held[0]


class MemoryJournal:
    """A journal (`journal.Journal`)."""

    database: Any = None

    def __init__(self) -> None:
        self.leases = MemoryLeases()
        self._lock = threading.Lock()
        self._feed: list[Record] = []
        self._streams: dict[str, list[Record]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._snapshots: dict[str, Kept] = {}
        self._checkpoints: dict[str, tuple[Checkpoint, int]] = {}
        self._archived = 0

    async def open(self) -> None:
        """It is ready."""

    async def close(self) -> None:
        """Nothing is held."""

    async def append(self, records: Sequence[Record], expected: int | None, most: int) -> Placed:
        """Append under the lock."""
        aggregate_id = records[0].aggregate_id
        with self._lock:
            stream = self._streams.get(aggregate_id, [])
            if any(record.event_id in self._places for record in records):
                raise Conflict
            if (expected is not None and len(stream) != expected) or 0 < most < len(stream) + len(records):
                raise Conflict
            self._streams[aggregate_id] = stream
            for record in records:
                placed = record._replace(position=len(self._feed) + 1, version=len(stream) + 1)
                self._feed.append(placed)
                stream.append(placed)
                self._places[record.event_id] = (aggregate_id, placed.version)
            return Placed(len(stream), len(self._feed))

    async def places(self, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Look them up."""
        with self._lock:
            return {each: self._places[each] for each in ids if each in self._places}

    async def version(self, aggregate_id: str) -> int:
        """Count them."""
        with self._lock:
            return len(self._streams.get(aggregate_id, ()))

    async def stream(self, aggregate_id: str, since: int, most: int = PAGE) -> list[Record]:
        """Cut it out."""
        with self._lock:
            return self._streams.get(aggregate_id, [])[since : since + most]

    async def load(self, aggregate_id: str) -> tuple[Kept | None, list[Record]]:
        """Both at once."""
        with self._lock:
            kept = self._snapshots.get(aggregate_id)
            since = 0 if kept is None else kept.version
            return kept, self._streams.get(aggregate_id, [])[since : since + PAGE]

    async def feed(self, after: int, most: int = PAGE) -> list[Record]:
        """Cut it out."""
        with self._lock:
            return self._feed[after : after + most]

    async def head(self) -> int:
        """Count them."""
        return len(self._feed)

    async def save_snapshot(self, aggregate_id: str, kept: Kept) -> None:
        """Keep it."""
        with self._lock:
            held = self._snapshots.get(aggregate_id)
            if held is None or held.version <= kept.version or held.schema_version != kept.schema_version:
                self._snapshots[aggregate_id] = kept

    async def get_snapshot(self, aggregate_id: str) -> Kept | None:
        """Look it up."""
        return self._snapshots.get(aggregate_id)

    async def archive(self, before_ms: int, most: int) -> int:
        """Move the line between what is archived and what is not."""
        with self._lock:
            first = self._archived
            while self._archived < len(self._feed) and self._feed[self._archived].created_ms < before_ms:
                if self._archived - first == most:
                    break
                self._archived += 1
            return self._archived - first

    async def archived(self) -> int:
        """Where the line is."""
        return self._archived

    async def checkpoint(self, name: str) -> Checkpoint:
        """Look it up."""
        with self._lock:
            fresh = Checkpoint(0, 0, is_fresh=False, fault=None, updated_ms=_now_ms())
            return self._checkpoints.setdefault(name, (fresh, 0))[0]

    async def advance(self, name: str, epoch: int, known: Checkpoint, fault: str | None = None) -> bool:
        """Write it down."""
        with self._lock:
            held, holder = self._checkpoints[name]
            if held.generation != known.generation or holder != epoch:
                return False
            self._checkpoints[name] = (known._replace(fault=fault, updated_ms=_now_ms()), holder)
            return True

    async def take(self, name: str, epoch: int) -> bool:
        """Note the epoch."""
        await self.checkpoint(name)
        with self._lock:
            held, holder = self._checkpoints[name]
            if epoch < holder:
                return False
            self._checkpoints[name] = (held, epoch)
            return True

    async def rewind(self, name: str) -> None:
        """Begin anew."""
        held = await self.checkpoint(name)
        with self._lock:
            fresh = Checkpoint(0, held.generation + 1, is_fresh=True, fault=None, updated_ms=_now_ms())
            self._checkpoints[name] = (fresh, self._checkpoints[name][1])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
