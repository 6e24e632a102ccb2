"""An application with an event store and a projection, for hosts in processes of their own."""

import json
import os
from typing import Any

from cello import App, Depends, EventSourcingConfig
from cello.eventsourcing import Aggregate, Event, event_handler

config = EventSourcingConfig(**json.loads(os.environ["CELLO_TEST_EVENTS"]))
TABLE = f"{config.table_prefix}seen"

app = App()
app.enable_event_sourcing(config)


class Counter(Aggregate):
    count = 0

    def to_snapshot(self) -> Any:
        return self.count

    def from_snapshot(self, state: Any) -> None:
        self.count = state

    @event_handler("Counted")
    def on_counted(self, event: Event) -> None:
        self.count += 1


app.repository(Counter, "counters")


@app.projection("seen", batch=5)
async def seen(event: Event, tx: Any) -> None:
    await tx.execute(f"INSERT INTO {TABLE} VALUES ($1, $2)", event.position, os.getpid())


@app.post("/def/{id}")
def count(id: str, counters: Any = Depends("counters")) -> Any:
    return counters.update(id, lambda counter: counter.apply(Event("Counted")), create=True, attempts=50).count


@app.post("/async/{id}")
async def count_async(id: str, counters: Any = Depends("counters")) -> Any:
    changed = await counters.update(id, lambda counter: counter.apply(Event("Counted")), create=True, attempts=50)
    return changed.count
