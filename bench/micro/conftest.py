"""Fixtures of the micro-benchmarks: `python -m pytest bench/micro`, see bench/README.md for the method.

Every file compares the two builds of one thing (`impl`: py or c) or a thing with its rival, in one run.
"""

import pytest

from cello import _speedups


@pytest.fixture(params=["py", "c"])
def impl(request: pytest.FixtureRequest) -> str:
    """Each build of what is measured; the compiled one is skipped where it is not there."""
    if request.param == "c" and not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    return str(request.param)
