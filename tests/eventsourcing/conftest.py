"""Fixtures of the event store's tests: `config` multiplies a test over the four kinds of store."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cello.database import Database
from cello.eventsourcing import EventSourcingConfig, EventStore
from cello.eventsourcing.sql_tables import _TABLES
from tests.database.conftest import server_urls as server_urls

STORES = ("memory", "sqlite", "postgresql", "mysql")
IN_DATABASES = STORES[1:]
_numbers = itertools.count(1)


@pytest.fixture(params=STORES)
def store_type(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return str(request.param)


@pytest.fixture
def make_config(store_type: str, server_urls: Any, tmp_path: Path) -> Iterator[Callable[..., EventSourcingConfig]]:
    """Return configs of the store at hand, all of one prefix, whose tables are dropped in the end."""
    prefix = f"t{os.getpid()}_{next(_numbers)}_"
    url = None
    if store_type != "memory":
        url = f"sqlite:///{tmp_path}/events.db" if store_type == "sqlite" else server_urls(store_type)

    def make(**fields: Any) -> EventSourcingConfig:
        return EventSourcingConfig(store_type, connection_url=url, table_prefix=prefix, **fields)

    yield make
    if store_type in ("postgresql", "mysql"):
        asyncio.run(_drop(str(url), prefix))


async def _drop(url: str, prefix: str) -> None:
    async with await Database.connect(url) as database:
        for name in (*_TABLES, "leases"):
            await database.execute(f"DROP TABLE IF EXISTS {prefix}{name}")


@pytest.fixture
def config(make_config: Callable[..., EventSourcingConfig]) -> EventSourcingConfig:
    """Return the config of the store at hand."""
    return make_config()


@pytest_asyncio.fixture
async def store(config: EventSourcingConfig) -> AsyncIterator[EventStore]:
    """Return an open store of each kind."""
    async with await EventStore.connect(config) as opened:
        yield opened


@pytest_asyncio.fixture
async def open_store(make_config: Callable[..., EventSourcingConfig]) -> AsyncIterator[Callable[..., Any]]:
    """Open stores with further settings; in a database they are all the same store."""
    opened: list[EventStore] = []

    async def open_one(**fields: Any) -> EventStore:
        opened.append(await EventStore.connect(make_config(**fields)))
        return opened[-1]

    yield open_one
    for each in opened:
        await each.close()
