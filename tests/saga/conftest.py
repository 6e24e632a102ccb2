"""Fixtures of the tests of sagas: a store of every kind."""

from pathlib import Path
from typing import Any

import pytest

from tests.database.conftest import server_urls

__all__ = ["server_urls", "store", "url"]

STORES = ("memory", "sqlite", "postgresql", "mysql")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, server_urls: Any, tmp_path: Path) -> str:
    """Return where executions are kept."""
    if request.param == "memory":
        return "memory"
    return f"sqlite:///{tmp_path}/sagas.db" if request.param == "sqlite" else str(server_urls(request.param))


@pytest.fixture(params=STORES[1:])
def url(request: pytest.FixtureRequest, server_urls: Any, tmp_path: Path) -> str:
    """Return a store that several processes can have."""
    return f"sqlite:///{tmp_path}/sagas.db" if request.param == "sqlite" else str(server_urls(request.param))
