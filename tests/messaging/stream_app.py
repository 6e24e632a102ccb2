"""An application that consumes from Kafka or SQS and notes what it does in a file, for processes that are killed."""

import asyncio
import os
from typing import Any

from cello import App, KafkaConfig, SqsConfig
from cello.messaging import Message
from tests.messaging.kafka_cluster import bear_with_the_mock

KIND, ADDRESS, TOPIC = (os.environ[f"CELLO_TEST_{name}"] for name in ("KIND", "ADDRESS", "TOPIC"))
LOG, SECONDS = os.environ["CELLO_TEST_LOG"], float(os.environ["CELLO_TEST_SECONDS"])

app = App()
app.enable_health_checks()
options: dict[str, Any] = {"concurrency": 2}
if KIND == "kafka":
    timeout_ms = int(os.environ["CELLO_TEST_SESSION_MS"])
    bear_with_the_mock()
    app.enable_messaging(KafkaConfig(brokers=[ADDRESS], group_id="workers", session_timeout_ms=timeout_ms))
    options["ordered_by"] = "key"
else:
    app.enable_sqs(
        SqsConfig(
            region="us-west-2", endpoint_url=ADDRESS, access_key_id="test", secret_access_key="test",
            visibility_timeout_secs=2,
        )
    )  # fmt: skip


def note(*words: object) -> None:
    with open(LOG, "a") as log:
        log.write(" ".join(map(str, words)) + "\n")


@getattr(app, KIND).consumer(TOPIC, **options)
async def work(message: Message) -> None:
    note("began", message.id)
    await asyncio.sleep(SECONDS)
    note("ended", message.id)


@app.on_event("shutdown")
def stopped() -> None:
    note("stopped", "-")
