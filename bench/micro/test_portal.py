"""A call from a plain thread to a loop and back: a portal with a thread, and one that its callers run in turn.

By one thread, and by eight at once, where both have a thread of their own run the loop.
"""

import threading

import pytest

from cello.gateways.portal import Portal
from cello.gateways.turns import TurnPortal, run_where_it_waits
from cello.pipeline.threads import WorkerThreads

CALLS = 200


async def nothing(threads):
    return None


async def block(threads):
    await run_where_it_waits(threads, int)


def calls(portal, work, threads):
    for _ in range(CALLS):
        portal.run(work(threads))


def calls_by(count, portal, work, threads):
    callers = [threading.Thread(target=calls, args=(portal, work, threads)) for _ in range(count)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


@pytest.mark.parametrize("kind", [Portal, TurnPortal], ids=["a thread", "in turn"])
@pytest.mark.parametrize("work", [nothing, block], ids=["nothing", "what blocks"])
@pytest.mark.parametrize("callers", [1, 8], ids=["1 caller", "8 callers"])
def test_call(benchmark, kind, work, callers):
    benchmark.group = f"{CALLS} calls each of {callers}: {work.__name__}"
    portal, threads = kind(), WorkerThreads(4)
    benchmark.pedantic(lambda: calls_by(callers, portal, work, threads), rounds=15, warmup_rounds=2)
    portal.close()
    threads.shutdown()
