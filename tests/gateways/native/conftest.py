"""Every test of the own server runs on asyncio's loop, on uvloop, and with cello's own poller in front of a loop.

And each does so through the general lane alone, and with the compiled one in front of it.
"""

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from cello import _speedups
from cello.gateways.native.accepting import is_polling_ours
from tests.gateways.native.lines import OwnPollerLoop, Worker
from tests.serve.conftest import make_certificate

__all__ = ["make_certificate"]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that pytest-asyncio runs each test on."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if find_spec("uvloop"):
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    if is_polling_ours():
        loops["poller"] = OwnPollerLoop
    return loops


@pytest.fixture(params=["general", "lane"], autouse=True)
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where connections go."""
    if request.param == "lane":
        if not _speedups.enabled:
            pytest.skip(f"no compiled modules: {_speedups.reason}")
        monkeypatch.setattr(Worker, "in_front", True)
    return str(request.param)
