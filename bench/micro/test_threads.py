"""A hop to a worker thread and back: `WorkerThreads.run` against `loop.run_in_executor` of the standard library."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from cello.pipeline.threads import WorkerThreads

HOPS = 200


async def by_cello(threads):
    for _ in range(HOPS):
        await threads.run(int)


async def by_executor(executor):
    loop = asyncio.get_running_loop()
    for _ in range(HOPS):
        await loop.run_in_executor(executor, int)


@pytest.mark.parametrize(
    ("hop", "pool"), [(by_cello, WorkerThreads), (by_executor, ThreadPoolExecutor)], ids=["cello", "stdlib"]
)
def test_hop(benchmark, hop, pool):
    benchmark.group = f"{HOPS} hops"
    threads = pool(4)
    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(hop(threads)))
    threads.shutdown()
