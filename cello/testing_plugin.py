"""The pytest plugin: the fixture `client`, which makes test clients and closes them after the test.

Rule: loading it imports nothing of the framework, since pytest loads it in every run, also in projects that only
have cello installed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cello.testing import TestClient


@pytest.fixture
def client() -> "Iterator[Callable[..., TestClient]]":
    """Make test clients: `client(app)`, `client(app, gateway="native")`, with the options of `TestClient`.

    Each is open when it is returned, and is closed (the application is shut down) when the test ends.
    """
    with ExitStack() as opened:

        def make(app: Any, gateway: str = "asgi", **options: Any) -> "TestClient":
            from cello.testing import TestClient

            return opened.enter_context(TestClient(app, gateway, **options))

        yield make
