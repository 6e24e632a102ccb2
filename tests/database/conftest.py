"""Fixtures of the database tests: `url` multiplies a test over the three kinds of database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.database.servers import reachable

KINDS = ("sqlite", "postgresql", "mysql")


@pytest.fixture(scope="session")
def server_urls() -> Iterator[Any]:
    """Return the URL of a server of a kind, started at most once."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        known: dict[str, str] = {}

        def url_of(kind: str) -> str:
            if kind not in known:
                known[kind] = stack.enter_context(reachable(kind))
            return known[kind]

        yield url_of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database."""
    return str(request.param)


@pytest.fixture
def url(kind: str, server_urls: Any, tmp_path: Path) -> str:
    """Return the URL of a database of the kind at hand."""
    return f"sqlite:///{tmp_path}/cello.db" if kind == "sqlite" else str(server_urls(kind))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """Return a name that no other test uses for a table."""
    import os

    words = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    return f"t{os.getpid()}_{abs(hash(words)) % 10**8}"


@pytest.fixture
def redis_url(server_urls: Any) -> str:
    """Return the URL of a Redis server."""
    return str(server_urls("redis"))
