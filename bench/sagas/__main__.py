"""Steps of sagas per second on each kind of store, beside the bare writes that they cannot do without.

A saga of ten steps that do nothing is executed so many times, one after the other and fifty at once. The floor in the
same round is what the log must write: one INSERT and eleven UPDATEs of a row by its key for each execution, on the same
pool, by the same number of tasks. Rounds alternate; shown are the median and the spread (quartiles). Servers:
CELLO_TEST_POSTGRES, CELLO_TEST_MYSQL, or the usual ones on this machine.

    python -m bench.sagas [--rounds 5] [--executions 50] [--only postgresql]
"""

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable

from cello import DatabaseConfig, SagaConfig
from cello.database import Database
from cello.saga import Saga, SagaOrchestrator, SagaStep

STEPS = 10
TABLE = "cello_bench_sagas"
URLS = {
    "postgresql": os.environ.get("CELLO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"),
    "mysql": os.environ.get("CELLO_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test"),
    "sqlite": "",
    "memory": "sqlite://:memory:",
}


async def nothing(context: object) -> None:
    """Do nothing."""


async def times(count: int, at_once: int, work: Callable[[], Awaitable[object]]) -> float:
    """Do it so often, by so many tasks; return steps per second."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await work()

    began_s = time.perf_counter()
    await asyncio.gather(*[some() for _ in range(at_once)])
    return count * STEPS / (time.perf_counter() - began_s)


async def measure(kind: str, url: str, rounds: int, executions: int) -> None:
    """Print the lines of one kind of store."""
    config = DatabaseConfig(url, pool_size=10)
    saga = Saga(f"bench {uuid.uuid4()}")
    for number in range(STEPS):
        saga.add_step(SagaStep(f"step {number}", nothing))
    async with await Database.connect(config) as db, SagaOrchestrator(SagaConfig(store=config)) as sagas:
        sagas.register(saga)
        await db.execute(f"DROP TABLE IF EXISTS {TABLE}")
        await db.execute(
            f"CREATE TABLE {TABLE} (id VARCHAR(64) PRIMARY KEY, version INTEGER, context TEXT, steps TEXT)"
        )
        text = "x" * 600

        async def floor() -> None:
            key = str(uuid.uuid4())
            await db.execute(f"INSERT INTO {TABLE} VALUES ($1, 1, '{{}}', $2)", key, text)
            for version in range(1, STEPS + 2):
                await db.execute(
                    f"UPDATE {TABLE} SET version = $3, steps = $4 WHERE id = $1 AND version = $2",
                    key, version, version + 1, text,
                )  # fmt: skip

        for at_once in (1, 50):
            found: dict[str, list[float]] = {"sagas": [], "bare writes": []}
            for _ in range(rounds):
                found["bare writes"].append(await times(executions, at_once, floor))
                found["sagas"].append(await times(executions, at_once, lambda: sagas.execute(saga.name)))
            base = statistics.median(found["bare writes"])
            for name, rates in found.items():
                low, middle, high = statistics.quantiles(rates, n=4)
                print(
                    f"{kind:<11} {at_once:>3} at once  {name:<12} {middle:>9,.0f} steps/s  {middle / base:5.2f} ×  "
                    f"({low:,.0f}-{high:,.0f})"
                )
        await db.execute(f"DROP TABLE {TABLE}")
        await sagas.forget(0)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--executions", type=int, default=50)
    parser.add_argument("--only", choices=list(URLS))
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, sagas of {STEPS} steps")
    for kind, url in URLS.items():
        if arguments.only in (None, kind):
            with tempfile.TemporaryDirectory() as folder:
                where = url or f"sqlite:///{folder}/bench.db"
                asyncio.run(measure(kind, where, arguments.rounds, arguments.executions))


if __name__ == "__main__":
    main()
