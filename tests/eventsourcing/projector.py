"""A process that runs projections: `python -m tests.eventsourcing.projector CONFIG KIND TABLE`, until it is killed.

KIND "tx" writes each event to TABLE in the transaction of its checkpoint; "plain" writes by itself, by `event.id`.
"""

import json
import os
import sys
import time
from typing import Any

from cello import App
from cello.eventsourcing import Event, EventSourcingConfig
from cello.testing import TestClient


def make_app(config: EventSourcingConfig, kind: str, table: str) -> App:
    app = App()
    app.enable_event_sourcing(config)

    async def write(queries: Any, event: Event) -> None:
        await queries.execute(f"INSERT INTO {table} VALUES ($1, $2, $3)", event.position, event.id, os.getpid())

    if kind == "tx":

        @app.projection("writing", batch=7)
        async def writing(event: Event, tx: Any) -> None:
            await write(tx, event)

    else:

        @app.projection("writing", batch=7)
        async def writing_twice_perhaps(event: Event) -> None:
            await write(app.event_store.aio.database, event)

    return app


if __name__ == "__main__":
    with TestClient(make_app(EventSourcingConfig(**json.loads(sys.argv[1])), *sys.argv[2:])):
        print("running", flush=True)
        while True:
            time.sleep(3600)
