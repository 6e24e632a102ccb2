"""Moves events that are older than `event_ttl_secs` to the archive, while the application runs; one process does it."""

import asyncio
import logging

from cello.eventsourcing.store import EventStore

logger = logging.getLogger("cello.eventsourcing")

SHORTEST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 60.0


async def keep_archiving(store: EventStore, owner: str) -> None:
    """Archive now and then, ten times in the life of an event, until cancelled.

    Args:
        store: Whose events.
        owner: The name of this process among those who could do it too.
    """
    pause_s = min(max(store.config.event_ttl_secs / 10, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
    leases, name = store._journal.leases, f"{store.config.table_prefix}archive"
    while True:
        try:
            token = await leases.acquire(name, owner, LONGEST_PAUSE_S * 2)
            if token is not None:
                await store.archive()
                await leases.release(name, owner, token)
        except Exception:
            logger.exception("old events could not be archived; it is tried again")
        await asyncio.sleep(pause_s)
