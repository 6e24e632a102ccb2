"""What watching a `def` handler costs a request: two looks at the clock and `Offload.held`."""

from time import perf_counter

import pytest

from cello.pipeline.threads import Offload


def answer():
    """Stand for the handler."""


def unwatched(offload):
    answer()


def watched(offload):
    started = perf_counter()
    answer()
    offload.held(perf_counter() - started)


@pytest.mark.parametrize("way", [unwatched, watched], ids=lambda way: way.__name__)
def test_watching(benchmark, way):
    benchmark.group = "an inline call"
    benchmark(way, Offload())
