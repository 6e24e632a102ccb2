"""A loop that its callers run in turn: who runs it when, and that nobody is left waiting."""

import asyncio
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cello.gateways.turns import TurnPortal, run_where_it_waits
from cello.pipeline.threads import WorkerThreads


@pytest.fixture
def portal() -> Iterator[TurnPortal]:
    portal = TurnPortal()
    yield portal
    portal.close()


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    threads = WorkerThreads(2)
    yield threads
    threads.shutdown()


def on_a_thread(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on a thread that is not the main one, which never runs the loop."""

    @functools.wraps(test)
    def run(**named: object) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(test, **named).result()

    return run


async def thread() -> int:
    await asyncio.sleep(0)
    return threading.get_ident()


def until_led(portal: TurnPortal) -> None:
    """Call until the calling thread runs the loop; the first call may find the portal's own thread in charge."""
    deadline_s = time.monotonic() + 30
    while portal.run(thread()) != threading.get_ident():
        assert time.monotonic() < deadline_s, "the portal's thread keeps the loop"


@on_a_thread
def test_one_thread_that_calls_runs_the_loop_itself(portal: TurnPortal) -> None:
    until_led(portal)


@on_a_thread
def test_a_call_among_others_is_run_by_whoever_has_the_turn(portal: TurnPortal) -> None:
    until_led(portal)
    running, told = threading.Event(), asyncio.Event()
    ran: list[int] = []

    async def wait() -> int:
        running.set()
        await told.wait()
        return threading.get_ident()

    async def tell() -> int:
        told.set()
        return threading.get_ident()

    leader = threading.Thread(target=lambda: ran.append(portal.run(wait())))
    leader.start()
    assert running.wait(30)
    assert portal.run(tell()) != threading.get_ident()
    leader.join(30)
    assert ran


@on_a_thread
def test_who_leaves_the_loop_leaves_it_to_those_who_wait(portal: TurnPortal) -> None:
    until_led(portal)
    told = asyncio.Event()
    waiting = threading.Event()

    async def wait() -> None:
        waiting.set()
        await told.wait()

    async def leave_when_somebody_waits() -> None:
        while not waiting.is_set():
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(0.001, told.set)  # its own time has passed by then

    waiter = threading.Thread(target=lambda: portal.run(wait()))
    starter = threading.Timer(0.005, waiter.start)
    starter.start()
    portal.run(leave_when_somebody_waits())
    starter.join(30)
    waiter.join(30)
    assert not waiter.is_alive()


@on_a_thread
def test_timers_are_served_while_nobody_calls(portal: TurnPortal) -> None:
    until_led(portal)
    rang = threading.Event()

    async def set_clock() -> None:
        asyncio.get_running_loop().call_later(0.001, rang.set)

    portal.run(set_clock())
    assert rang.wait(30)


@on_a_thread
def test_many_threads_at_once_all_get_their_answers(portal: TurnPortal, threads: WorkerThreads) -> None:
    found: list[tuple[int, int]] = []

    async def answer(number: int) -> int:
        await run_where_it_waits(threads, int)
        await asyncio.sleep(0)
        return await run_where_it_waits(threads, lambda: number)

    def call(first: int) -> None:
        found.extend((number, portal.run(answer(number))) for number in range(first, first + 200))

    callers = [threading.Thread(target=call, args=(at * 1000,)) for at in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(found) == 1600
    assert all(asked == answered for asked, answered in found)
    portal.run(thread())


@on_a_thread
def test_what_blocks_is_done_by_the_thread_that_waits(portal: TurnPortal, threads: WorkerThreads) -> None:
    until_led(portal)

    async def ask() -> int:
        return await run_where_it_waits(threads, threading.get_ident)

    assert portal.run(ask()) == threading.get_ident()
    assert threads.started == 0


@on_a_thread
def test_what_blocks_keeps_nobody_from_the_loop(portal: TurnPortal, threads: WorkerThreads) -> None:
    until_led(portal)
    begun, other_done = threading.Event(), threading.Event()

    def block() -> bool:
        begun.set()
        return other_done.wait(30)

    outcome: list[bool] = []

    async def ask() -> bool:
        return await run_where_it_waits(threads, block)

    blocked = threading.Thread(target=lambda: outcome.append(portal.run(ask())))
    blocked.start()
    assert begun.wait(30)
    portal.run(thread())
    other_done.set()
    blocked.join(30)
    assert outcome == [True]
    until_led(portal)


@on_a_thread
def test_an_errand_of_another_task_is_done_by_a_worker(portal: TurnPortal, threads: WorkerThreads) -> None:
    until_led(portal)

    async def ask() -> tuple[int, int]:
        here = run_where_it_waits(threads, threading.get_ident)
        there = asyncio.ensure_future(run_where_it_waits(threads, threading.get_ident))
        return await here, await there

    here, there = portal.run(ask())
    assert here == threading.get_ident() != there


@on_a_thread
def test_the_error_of_what_blocks_is_raised_where_it_was_awaited(portal: TurnPortal, threads: WorkerThreads) -> None:
    async def ask() -> str:
        try:
            await run_where_it_waits(threads, int, "seven")
        except ValueError as error:
            return str(error)
        return ""

    assert "seven" in portal.run(ask())


@on_a_thread
def test_a_call_that_ends_while_its_thread_is_away_leaves_the_loop_in_order(
    portal: TurnPortal, threads: WorkerThreads
) -> None:
    until_led(portal)
    ended = threading.Event()

    async def give_up() -> None:
        try:
            async with asyncio.timeout(0.01):
                await run_where_it_waits(threads, ended.wait, 30)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        portal.run(give_up())
    until_led(portal)


@on_a_thread
def test_closing_cancels_a_call_whose_thread_runs_the_loop(portal: TurnPortal) -> None:
    until_led(portal)
    running = threading.Event()
    outcome: list[str] = []

    async def hang() -> None:
        running.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            portal.run(hang())
        except asyncio.CancelledError:
            outcome.append("cancelled")

    async def last(log: list[str]) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    async def leave_behind() -> None:
        kept.append(source := last(outcome))
        await anext(source)

    kept: list[AsyncIterator[int]] = []
    portal.run(leave_behind())
    caller = threading.Thread(target=call)
    caller.start()
    assert running.wait(30)
    portal.close()
    caller.join(30)
    assert sorted(outcome) == ["cancelled", "cleaned up"]


async def test_on_a_thread_with_a_loop_the_portals_own_thread_runs_it(portal: TurnPortal) -> None:
    assert portal.run(thread()) != threading.get_ident()
    assert portal.run(thread()) != threading.get_ident()


@on_a_thread
def test_an_interrupt_strikes_the_call_and_the_loop_goes_on(portal: TurnPortal) -> None:
    until_led(portal)

    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portal.run(interrupted())
    until_led(portal)


def test_the_main_thread_never_runs_the_loop(portal: TurnPortal) -> None:
    assert [portal.run(thread()) == threading.get_ident() for _ in range(3)] == [False] * 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX signal")
def test_an_interrupt_of_the_main_thread_is_no_matter_to_others(portal: TurnPortal, threads: WorkerThreads) -> None:
    class Interrupted(BaseException):
        pass

    armed: list[bool] = []

    def interrupt(*_: object) -> None:
        if armed:
            armed.clear()
            raise Interrupted

    async def interrupted() -> None:
        armed.append(True)
        while True:  # a signal that comes right before the thread waits does not wake it
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0.005)

    async def work() -> int:
        await asyncio.sleep(0)
        return await run_where_it_waits(threads, int)

    def call() -> int:
        return sum(portal.run(work()) + 1 for _ in range(200))

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ThreadPoolExecutor(2) as pool:
            others = [pool.submit(call) for _ in range(2)]
            for _ in range(50):
                with pytest.raises(Interrupted):
                    portal.run(interrupted())
            assert [other.result(30) for other in others] == [200, 200]
    finally:
        signal.signal(signal.SIGUSR1, before)
