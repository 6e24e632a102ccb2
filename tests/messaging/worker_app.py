"""An application whose consumer notes what it does in a file, for processes that are killed."""

import asyncio
import os
import time

from cello import App, RabbitMQConfig
from cello.messaging import Message

app = App()
app.enable_rabbitmq(
    RabbitMQConfig(os.environ["CELLO_TEST_URL"]), consumers=os.environ.get("CELLO_TEST_CONSUMERS", "worker")
)
LOG = os.environ["CELLO_TEST_LOG"]
SECONDS = float(os.environ.get("CELLO_TEST_SECONDS", "0"))


def note(*words: object) -> None:
    with open(LOG, "a") as log:
        log.write(" ".join(map(str, words)) + "\n")


if os.environ.get("CELLO_TEST_COLOUR") == "def":

    @app.rabbitmq.consumer(os.environ["CELLO_TEST_QUEUE"], concurrency=2)
    def work(message: Message) -> None:
        note("began", message.id, os.getpid())
        time.sleep(SECONDS)
        note("ended", message.id, os.getpid())

else:

    @app.rabbitmq.consumer(os.environ["CELLO_TEST_QUEUE"], concurrency=2)
    async def work(message: Message) -> None:
        note("began", message.id, os.getpid())
        await asyncio.sleep(SECONDS)
        note("ended", message.id, os.getpid())


@app.on_event("startup")
def started() -> None:
    note("started", app.role, os.getpid())


@app.on_event("shutdown")
def stopped() -> None:
    note("stopped", app.role, os.getpid())
