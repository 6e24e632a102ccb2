"""Event sync: a command that appended events returns when the projections have seen them, so that queries show them."""

import asyncio
import logging
from typing import Any

from cello.eventsourcing.causes import cause_now
from cello.eventsourcing.projections import Projections
from cello.eventsourcing.store import EventStore

logger = logging.getLogger("cello.cqrs")


class EventSync:
    """Waits for the projections of an application.

    A projection that stands still, or is slow, holds nobody up for longer than `limit_ms`: the command has succeeded
    all the same. Commands that a projection dispatches do not wait: it would be for itself.

    Args:
        store: Where events are appended.
        projections: What is made of them.
        limit_ms: Milliseconds to wait at most.
    """

    def __init__(self, store: EventStore, projections: Projections, limit_ms: float) -> None:
        self._store = store
        self._projections = projections
        self._limit_s = limit_ms / 1000

    def mark(self) -> int:
        """Return what tells later whether events were appended here since."""
        return self._store.bell.count

    async def follow(self, mark: int) -> None:
        """Wait until all that was appended so far has been seen, if anything was since `mark`."""
        if self._store.bell.count == mark or "causation_id" in cause_now():
            return
        head = await self._store.head()
        names = self._projections.names()
        late = await asyncio.gather(*[self._await_one(name, head) for name in names])
        if any(late):
            said = ", ".join(name for name, is_late in zip(names, late, strict=True) if is_late)
            logger.warning("event sync: projections that are behind after %g s: %s", self._limit_s, said)

    async def _await_one(self, name: str, position: int) -> bool:
        """Wait for one projection; return whether it is late."""
        status: Any = await self._projections.status(name)
        if status.fault is not None:
            return False
        try:
            await self._projections.wait(name, position, timeout=self._limit_s)
        except TimeoutError:
            return True
        return False
