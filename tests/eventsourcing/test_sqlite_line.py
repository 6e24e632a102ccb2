"""Appends to SQLite that are committed together: each has its own outcome, and who is cancelled holds up nobody."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cello.database import Database, DatabaseConfig, IntegrityError, TransactionConflict
from cello.eventsourcing import ConcurrencyError, DuplicateEvent, Event, EventSourcingConfig, EventStore
from tests.eventsourcing.test_sqlite import config as config
from tests.eventsourcing.test_sqlite import old
from tests.eventsourcing.test_sqlite import url as url


class Held:
    """The lock of the file, held by somebody else, so that appends stand in line."""

    def __init__(self, tmp_path: Path) -> None:
        self.raw = sqlite3.connect(tmp_path / "events.db", isolation_level=None)

    def __enter__(self) -> "Held":
        self.raw.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_: object) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")
        self.raw.close()


async def in_line(store: EventStore, *appends: Any) -> list[asyncio.Task[Any]]:
    """Return tasks of appends, the first of which is being written while the others stand in line."""
    line = store._journal._line  # type: ignore[attr-defined]
    tasks = [asyncio.ensure_future(append) for append in appends]
    while len(line._entries) < len(tasks) - 1:
        await asyncio.sleep(0)
    return tasks


async def test_each_append_of_a_batch_has_an_outcome_of_its_own(tmp_path: Path, config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:
        await store.append("a", Event("X", id="taken"))
        with Held(tmp_path):
            tasks = await in_line(
                store,
                store.append("lead", old()),
                store.append("a", old(2), 1),
                store.append("a", old(), 1),  # too late
                store.append("b", [Event("X", id="new"), Event("X", id="taken")]),  # undone, both
                store.append("b", Event("X", id="new"), 0),
                store.append("b", Event("X", id="taken"), 1),
                store.append("c", old(3)),
                store.append("a", Event("X", id="taken"), 0),  # a repetition
            )
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes]
        assert kinds == [1, 3, ConcurrencyError, DuplicateEvent, 1, DuplicateEvent, 3, 1]
        found = [(position, event.aggregate_id, event.version) async for position, event in store.feed()]
        assert found == [
            *[(1, "a", 1), (2, "lead", 1), (3, "a", 2), (4, "a", 3)],
            *[(5, "b", 1), (6, "c", 1), (7, "c", 2), (8, "c", 3)],
        ]


async def test_many_at_once_lose_and_double_nothing(config: EventSourcingConfig) -> None:
    async with await EventStore.connect(config) as store:

        async def write(number: int) -> None:
            for _ in range(5):
                await store.append(f"own-{number % 50}", old(1 + number % 3))

        await asyncio.gather(*[write(number) for number in range(150)])
        assert [position async for position, _ in store.feed()] == list(range(1, 1_501))
        for number in range(50):
            versions = [event.version for event in await store.get_events(f"own-{number}")]
            assert versions == list(range(1, len(versions) + 1))


async def test_without_a_thread_an_append_fails_and_the_next_goes_on(
    config: EventSourcingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await EventStore.connect(config) as store:
        driver = store._journal._line._driver  # type: ignore[attr-defined]

        def start(_: Any) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(driver._threads, "start", start)
            async with asyncio.timeout(10):
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await store.append("a", old())
        async with asyncio.timeout(10):
            assert await store.append("a", old()) == 1


CANCELLED = {
    "who is being written": {0},
    "some in line": {1, 3},
    "who is being written and the next": {0, 1},
    "all": {0, 1, 2, 3},
}


@pytest.mark.parametrize("cancelled", CANCELLED.values(), ids=CANCELLED.keys())
async def test_who_is_cancelled_holds_up_nobody(
    tmp_path: Path, config: EventSourcingConfig, cancelled: set[int]
) -> None:
    async with await EventStore.connect(config) as store:
        with Held(tmp_path):
            tasks = await in_line(store, *[store.append(f"own-{number}", old()) for number in range(4)])
            for number in cancelled:
                tasks[number].cancel()
            await asyncio.wait([tasks[number] for number in cancelled])
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [
            asyncio.CancelledError if number in cancelled else int for number in range(4)
        ]
        assert await store.append("next", old()) == 1
        positions = [position async for position, _ in store.feed()]
        assert positions == list(range(1, len(positions) + 1))
        assert [await store.version(f"own-{number}") for number in range(4) if number not in cancelled] == [1] * (
            4 - len(cancelled)
        )
        line = store._journal._line  # type: ignore[attr-defined]
        assert (line._entries, line._is_busy) == ([], False)


async def test_a_lock_that_is_not_to_be_had_is_told_to_all(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cello.eventsourcing.sql.ATTEMPTS", 1)
    async with await Database.connect(DatabaseConfig(url, connection_timeout_secs=0.05)) as database:
        store = await EventStore.connect(EventSourcingConfig("sqlite"), database=database)
        with Held(tmp_path):
            tasks = await in_line(store, *[store.append(f"own-{number}", old()) for number in range(3)])
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TransactionConflict] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        assert await store.append("own-0", old()) == 1


async def test_a_trigger_of_somebody_elses_that_rolls_back_undoes_the_batch(
    tmp_path: Path, config: EventSourcingConfig
) -> None:
    async with await EventStore.connect(config) as store:
        await store.database.execute(
            "CREATE TRIGGER strict BEFORE INSERT ON cello_events WHEN NEW.event_type = 'Bad' "
            "BEGIN SELECT RAISE(ROLLBACK, 'not that'); END"
        )
        with Held(tmp_path):
            tasks = await in_line(store, store.append("lead", old()), store.append("a", Event("Bad")))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes[1], IntegrityError)
        assert await store.append("b", old()) == 1
        positions = [position async for position, _ in store.feed()]
        assert positions == list(range(1, len(positions) + 1))
