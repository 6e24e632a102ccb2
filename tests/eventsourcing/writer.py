"""A process that appends: `python -m tests.eventsourcing.writer CONFIG NUMBER COUNT`, as tests start eight of.

Every tenth append goes to a stream that all of them write to, at the version that it is expected to have, tried again
until it wins; the others go to a stream of its own.
"""

import asyncio
import json
import sys

from cello.eventsourcing import ConcurrencyError, Event, EventSourcingConfig, EventStore

SHARED = "shared"
SHARED_EVERY = 10


async def write(config: EventSourcingConfig, number: int, count: int) -> None:
    async with await EventStore.connect(config) as store:
        for done in range(count):
            event = Event("Written", {"by": number, "n": done})
            if done % SHARED_EVERY:
                await store.append(f"own-{number}", event)
                continue
            while True:
                version = await store.version(SHARED)
                try:
                    await store.append(SHARED, event, version)
                except ConcurrencyError:
                    continue
                break


if __name__ == "__main__":
    asyncio.run(write(EventSourcingConfig(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])))
