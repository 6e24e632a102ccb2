"""The loop for code without one: results, errors, contexts, iterators, forks, and its end; with a thread or in turn."""

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from cello.gateways.portal import Portal
from cello.gateways.turns import TurnPortal

colour = contextvars.ContextVar("colour", default="none")


@pytest.fixture(params=[Portal, TurnPortal], ids=["a thread", "in turn"])
def kind(request: pytest.FixtureRequest) -> type[Portal]:
    found: type[Portal] = request.param
    return found


@pytest.fixture
def portal(kind: type[Portal]) -> Iterator[Portal]:
    portal = kind()
    yield portal
    portal.close()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def test_a_coroutine_gives_its_result(portal: Portal) -> None:
    assert portal.run(double(21)) == 42


def test_any_awaitable_is_taken(portal: Portal) -> None:
    class Later:
        def __await__(self) -> Iterator[object]:
            return double(4).__await__()

    assert portal.run(Later()) == 8


def test_its_error_is_raised_in_the_caller(portal: Portal) -> None:
    async def fail() -> None:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        portal.run(fail())


def test_every_call_runs_on_the_same_loop(portal: Portal) -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    first = portal.run(loop())
    seen: list[asyncio.AbstractEventLoop] = []
    threads = [threading.Thread(target=lambda: seen.append(portal.run(loop()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [first] * 4


def test_the_thread_starts_with_the_first_call(portal: Portal) -> None:
    assert not portal.is_running
    portal.run(double(1))
    assert portal.is_running


def test_callers_wait_for_each_other_on_the_loop(portal: Portal) -> None:
    async def make_event() -> asyncio.Event:
        return asyncio.Event()

    event = portal.run(make_event())
    waiter = threading.Thread(target=lambda: portal.run(event.wait()))
    waiter.start()

    async def set_event() -> None:
        event.set()

    portal.run(set_event())
    waiter.join()


def test_a_call_on_the_loops_own_thread_is_refused(portal: Portal) -> None:
    async def misuse() -> None:
        portal.run(double(1))

    with pytest.raises(RuntimeError, match="await the call instead"):
        portal.run(misuse())


def test_context_variables_cross_over_and_back(portal: Portal) -> None:
    async def paint() -> str:
        before = colour.get()
        colour.set("green")
        return before

    def caller() -> tuple[str, str]:
        colour.set("red")
        return portal.run(paint()), colour.get()

    assert contextvars.copy_context().run(caller) == ("red", "green")
    assert colour.get() == "none"


def test_context_variables_come_back_after_an_error_too(portal: Portal) -> None:
    async def paint_and_fail() -> None:
        colour.set("green")
        raise ValueError("spilt")

    def caller() -> str:
        with pytest.raises(ValueError, match="spilt"):
            portal.run(paint_and_fail())
        return colour.get()

    assert contextvars.copy_context().run(caller) == "green"


def test_a_cancelled_call_raises_cancelled_error(portal: Portal) -> None:
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        portal.run(cancel_itself())


def test_closing_cancels_what_still_runs(kind: type[Portal]) -> None:
    portal = kind()
    started = threading.Event()
    outcome: list[str] = []

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            portal.run(hang())
        except asyncio.CancelledError:
            outcome.append("cancelled")

    caller = threading.Thread(target=call)
    caller.start()
    started.wait()
    portal.close()
    caller.join()
    assert outcome == ["cancelled"]


def test_a_closed_portal_starts_again_when_called(kind: type[Portal]) -> None:
    portal = kind()
    portal.run(double(1))
    portal.close()
    assert not portal.is_running
    assert portal.run(double(3)) == 6
    portal.close()


def test_closing_a_portal_that_never_ran_does_nothing(kind: type[Portal]) -> None:
    kind().close()


async def count(log: list[str], last: int) -> AsyncIterator[int]:
    try:
        for number in range(last):
            log.append(f"made {number}")
            yield number
    finally:
        await asyncio.sleep(0)
        log.append("cleaned up")


def test_an_async_iterator_becomes_a_plain_one(portal: Portal) -> None:
    log: list[str] = []
    assert list(portal.iterate(count(log, 3))) == [0, 1, 2]
    assert log[-1] == "cleaned up"


def test_items_are_made_only_when_asked_for(portal: Portal) -> None:
    log: list[str] = []
    items = portal.iterate(count(log, 3))
    assert log == []
    next(items)
    portal.run(double(1))
    assert log == ["made 0"]
    items.close()


def test_an_iterator_left_early_is_cleaned_up(portal: Portal) -> None:
    log: list[str] = []
    items = portal.iterate(count(log, 3))
    next(items)
    items.close()
    items.close()
    assert log == ["made 0", "cleaned up"]
    with pytest.raises(StopIteration):
        next(items)


def test_an_iterator_never_begun_can_be_closed(portal: Portal) -> None:
    log: list[str] = []
    portal.iterate(count(log, 3)).close()
    assert log == []


def test_an_iterator_without_aclose_can_be_closed(portal: Portal) -> None:
    class Ticks:
        def __aiter__(self) -> "Ticks":
            return self

        async def __anext__(self) -> int:
            return 1

    items = portal.iterate(Ticks())
    assert next(items) == 1
    items.close()


def test_an_error_in_the_iterator_is_raised_to_the_reader(portal: Portal) -> None:
    async def fail_late() -> AsyncIterator[int]:
        yield 1
        raise OSError("disk full")

    items = portal.iterate(fail_late())
    assert next(items) == 1
    with pytest.raises(OSError, match="disk full"):
        next(items)


def test_an_error_in_the_clean_up_is_raised_by_close(portal: Portal) -> None:
    async def fail_at_end() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot flush")

    items = portal.iterate(fail_at_end())
    next(items)
    with pytest.raises(OSError, match="cannot flush"):
        items.close()


def test_an_iterator_stays_in_one_task(portal: Portal) -> None:
    async def tasks() -> AsyncIterator[object]:
        yield asyncio.current_task()
        async with asyncio.timeout(60):
            yield asyncio.current_task()
            yield asyncio.current_task()

    assert len(set(portal.iterate(tasks()))) == 1


def test_closing_the_portal_ends_its_iterators(kind: type[Portal]) -> None:
    portal = kind()
    log: list[str] = []
    items = portal.iterate(count(log, 3))
    untouched = portal.iterate(count(log, 3))
    next(items)
    portal.close()
    assert log == ["made 0", "cleaned up"]
    items.close()
    untouched.close()
    with pytest.raises(StopIteration):
        next(untouched)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_a_forked_child_gets_a_loop_of_its_own(kind: type[Portal]) -> None:
    program = """
        import asyncio, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: the point here
        from cello.gateways.MODULE import KIND as Portal

        async def pid():
            return os.getpid()

        portal = Portal()
        assert portal.run(pid()) == os.getpid()
        child = os.fork()
        if not child:
            assert not portal.is_running
            assert portal.run(pid()) == os.getpid()
            portal.close()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert portal.run(pid()) == os.getpid()
        portal.close()
        print("both worked")
    """
    program = program.replace("MODULE", kind.__module__.rpartition(".")[2]).replace("KIND", kind.__name__)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("both worked", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX signal")
def test_a_caller_that_is_interrupted_cancels_its_call(portal: Portal) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    cancelled = threading.Event()

    async def hang() -> None:
        try:
            while True:  # Python sleeps through a signal that comes in the moment before it goes to sleep
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.sleep(2)
        finally:
            cancelled.set()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            portal.run(hang())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cancelled.wait(30)


def test_a_loop_of_ones_own_choice_is_used(kind: type[Portal]) -> None:
    class Loop(asyncio.SelectorEventLoop):
        pass

    async def type_of_loop() -> type:
        return type(asyncio.get_running_loop())

    portal = kind(Loop)
    assert portal.run(type_of_loop()) is Loop
    portal.close()
