"""An application that writes an order and its message in one transaction, for processes that are killed."""

import os
import signal
from typing import Any

from cello import App, DatabaseConfig, RabbitMQConfig
from cello.database import transactional
from cello.messaging.outbox import Relay

app = App()
app.enable_database(DatabaseConfig(os.environ["CELLO_TEST_DATABASE_URL"]))
app.enable_rabbitmq(RabbitMQConfig(os.environ["CELLO_TEST_URL"]))
TABLE = os.environ["CELLO_TEST_TABLE"]
DIES = os.environ.get("CELLO_TEST_DIES", "")
app.enable_outbox("rabbitmq", TABLE, interval=0.05)

if DIES == "before sending":

    async def wait(self: Relay) -> int:
        return 0

    Relay.send_once = wait  # type: ignore[method-assign]  # it looks too late

if DIES == "after sending":

    async def die(self: Relay, ids: list[str]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Relay._forget = die  # type: ignore[method-assign]  # the moment between confirmation and deletion


@app.on_event("startup")
async def prepare() -> None:
    await app.database.execute(f"CREATE TABLE IF NOT EXISTS {TABLE}_orders (id INTEGER PRIMARY KEY)")


@app.post("/orders/{id}")
@transactional
async def order(id: int, tx: Any) -> None:
    await tx.execute(f"INSERT INTO {TABLE}_orders VALUES (:id)", id=id)
    await app.outbox.send(os.environ["CELLO_TEST_QUEUE"], {"id": id}, id=f"order-{id}")


@app.after_request
def die_after_the_commit(request: Any, response: Any) -> None:
    if DIES == "before sending" and request.path.endswith("/2"):
        os.kill(os.getpid(), signal.SIGKILL)
