"""Eight processes append a thousand events each while a reader follows the feed: nothing is lost or doubled."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from cello.eventsourcing import EventSourcingConfig, EventStore
from tests.eventsourcing.conftest import IN_DATABASES
from tests.eventsourcing.writer import SHARED, SHARED_EVERY

PROCESSES = 8
EACH = 1_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_eight_processes_lose_and_double_nothing(make_config: Callable[..., EventSourcingConfig]) -> None:
    config = make_config()
    async with await EventStore.connect(config) as store:
        writers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.eventsourcing.writer",
                    json.dumps(asdict(config)),
                    str(number),
                    str(EACH),
                ],  # type: ignore[call-overload]
                cwd=Path(__file__).parents[2],
            )
            for number in range(PROCESSES)
        ]
        seen: list[tuple[int, str, int, int]] = []
        # A late commit that was passed by would never be seen, and a gap would end the feed with an error.
        async for position, event in store.subscribe(after=0):
            seen.append((position, event.aggregate_id or "", event.data["by"], event.data["n"]))
            if position == PROCESSES * EACH:
                break
        codes = [await asyncio.to_thread(writer.wait, 60) for writer in writers]
        assert codes == [0] * PROCESSES
        assert await store.head() == PROCESSES * EACH
        assert [position for position, *_ in seen] == list(range(1, PROCESSES * EACH + 1))
        for number in range(PROCESSES):
            assert [n for _, _, by, n in seen if by == number] == list(range(EACH))
        per_stream = Counter(stream for _, stream, *_ in seen)
        assert per_stream[SHARED] == PROCESSES * len(range(0, EACH, SHARED_EVERY))
        for stream, count in per_stream.items():
            assert [event.version for event in await store.get_events(stream)] == list(range(1, count + 1))
