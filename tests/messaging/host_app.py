"""An application that sends and consumes in both colours, for hosts in processes of their own."""

import os
from typing import Any

from cello import App, RabbitMQConfig
from cello.messaging import Message

app = App()
app.enable_rabbitmq(RabbitMQConfig(os.environ["CELLO_TEST_URL"]))
QUEUE, BACK = os.environ["CELLO_TEST_QUEUE"], os.environ["CELLO_TEST_BACK"]


@app.post("/def/{number}")
def plain(number: str) -> Any:
    return {"id": app.rabbitmq.send(QUEUE, number, key="def").id, "pid": os.getpid()}


@app.post("/async/{number}")
async def coroutine(number: str) -> Any:
    return {"id": (await app.rabbitmq.send(QUEUE, number, key="async")).id, "pid": os.getpid()}


@app.rabbitmq.consumer(QUEUE, concurrency=3)
def hand_on(message: Message) -> None:
    app.rabbitmq.send(BACK, message.text, key=message.key, headers={"by": str(os.getpid())})
