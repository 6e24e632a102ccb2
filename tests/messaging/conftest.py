"""`rig`: each test once for every broker."""

from collections.abc import AsyncIterator

import pytest

from tests.messaging.rigs import RIGS, Rig
from tests.messaging.streams import KafkaRig, SqsRig

ALL: dict[str, type[Rig]] = {**RIGS, "kafka": KafkaRig, "sqs": SqsRig}


@pytest.fixture(params=sorted(ALL))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    made = ALL[request.param]()
    await made.open()
    try:
        yield made
    finally:
        await made.close()
