"""Worker threads and the decision who needs them; no test waits for time to pass."""

import asyncio
import contextvars
import gc
import os
import re
import threading
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.config import ThreadPoolConfig
from cello.errors import ConfigError
from cello.pipeline.threads import RETURN_CALLS, RETURN_CALLS_MOST, Offload, WorkerThreads, offload_mode

MS = 0.001
QUICK = 0.00001


@pytest.fixture
def threads():
    pool = WorkerThreads(4)
    yield pool
    assert pool.shutdown()


def test_a_result_comes_back(threads):
    assert threads.submit(divmod, 7, 2).result() == (3, 1)
    assert threads.submit(int, "ff", base=16).result() == 255


def test_an_error_comes_back(threads):
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result()


async def test_a_result_and_an_error_come_back_to_a_coroutine(threads):
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)


async def test_even_a_system_exit_belongs_to_whoever_waits(threads):
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        threads.submit(leave).result()
    assert await threads.run(int) == 0, "the thread is still there"
    assert threads.started == 1


async def test_a_stop_iteration_does_not_end_the_coroutine(threads):
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(next, iter([]))
    with pytest.raises(RuntimeError, match="StopIteration"):
        threads.submit(next, iter([])).result()


def test_there_is_no_thread_before_the_first_call():
    assert WorkerThreads().started == 0


def test_calls_one_after_another_need_one_thread(threads):
    names = {threads.submit(threading.current_thread).result().name for _ in range(20)}
    assert names == {"cello-worker-0"}


def test_the_pool_grows_while_all_are_busy_up_to_its_size(threads):
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def wait():
        arrived.release()
        assert gate.wait(30)
        return threading.get_ident()

    futures = []
    for expected in (1, 2, 3, 4, 4, 4):
        futures.append(threads.submit(wait))
        assert threads.started == expected
    for _ in range(4):
        assert arrived.acquire(timeout=30)
    assert threads.pending == 6
    gate.set()
    assert len({future.result() for future in futures}) == 4
    assert threads.pending == 0


def test_threads_do_not_hold_the_process(threads):
    assert threads.submit(threading.current_thread).result().daemon


@pytest.mark.parametrize("way", ["submit", "run"])
async def test_a_call_sees_the_callers_context_and_keeps_its_own(threads, way):
    colour = contextvars.ContextVar("colour", default="none")

    def paint():
        seen = colour.get()
        colour.set("blue")
        return seen

    colour.set("red")
    result = threads.submit(paint).result() if way == "submit" else await threads.run(paint)
    assert result == "red"
    assert colour.get() == "red"
    assert threads.submit(colour.get).result() == "red", "nothing stays on the thread"


async def test_a_call_whose_waiter_left_before_it_started_is_never_made():
    threads = WorkerThreads(1)
    gate, made = threading.Event(), []
    first = threads.submit(gate.wait, 30)
    second = asyncio.ensure_future(threads.run(made.append, 1))
    third = threads.submit(made.append, 2)
    await asyncio.sleep(0)
    second.cancel()
    assert third.cancel()
    await asyncio.wait([second])
    gate.set()
    assert first.result()
    with pytest.raises(CancelledError):
        third.result()
    assert threads.shutdown()
    assert made == []
    assert threads.dropped == 0


async def test_a_result_that_nobody_waits_for_is_dropped_and_counted(threads):
    started, gate = threading.Event(), threading.Event()

    def work():
        started.set()
        assert gate.wait(30)

    task = asyncio.ensure_future(threads.run(work))
    await threads.run(started.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    gate.set()
    while not threads.dropped:
        await threads.run(int)
    assert threads.dropped == 1


def test_a_loop_that_closed_meanwhile_is_no_harm(threads):
    gate, started = threading.Event(), threading.Event()

    def work():
        started.set()
        gate.wait(30)

    async def leave():
        asyncio.ensure_future(threads.run(work))  # noqa: RUF006  # left behind on purpose
        await threads.run(started.wait, 30)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    (left,) = asyncio.all_tasks(loop)
    left.cancel()
    loop.close()
    gate.set()
    assert threads.shutdown()
    assert threads.dropped == 1


def test_shutdown_finishes_what_was_handed_in():
    threads = WorkerThreads(1)
    done = []
    futures = [threads.submit(done.append, number) for number in range(10)]
    assert threads.shutdown()
    assert done == list(range(10))
    assert all(future.done() for future in futures)
    assert threads.started == 0


def test_shutdown_leaves_a_stuck_thread_behind_and_says_so():
    threads = WorkerThreads(2)
    gate = threading.Event()
    stuck = threads.submit(gate.wait, 30)
    assert not threads.shutdown(timeout_s=0)
    gate.set()
    assert stuck.result()


def test_after_a_shutdown_the_pool_grows_anew(threads):
    threads.submit(int).result()
    assert threads.shutdown()
    assert threads.shutdown(), "twice is once"
    assert threads.submit(int).result() == 0
    assert threads.started == 1


class Meeting:
    """A pool's lock; just before it is taken for the first time another thread shuts the pool down."""

    def __init__(self, threads):
        self.threads = threads
        self.lock = threads._crew.lock

    def __enter__(self):
        self.threads._crew.lock = self.lock
        with ThreadPoolExecutor(1) as other:
            assert other.submit(self.threads.shutdown).result()
        self.lock.acquire()

    def __exit__(self, *exc_info):
        self.lock.release()


def test_a_call_that_meets_a_shutdown_goes_to_the_next_threads(threads):
    threads.submit(int).result()
    threads._crew.lock = Meeting(threads)
    assert threads.submit(int, "7").result(timeout=30) == 7


def test_two_shutdowns_that_meet_are_one(threads):
    threads.submit(int).result()
    threads._crew.lock = Meeting(threads)
    assert threads.shutdown()
    assert threads.submit(int, "7").result(timeout=30) == 7


def test_a_thread_may_shut_down_its_own_pool():
    threads = WorkerThreads(1)
    assert threads.submit(threads.shutdown, 0).result() is False, "it is alive itself"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_over(threads):
    threads.submit(int).result()
    pid = os.fork()
    if pid == 0:
        try:
            assert threads.shutdown(), "nothing to wait for"
            os._exit(threads.submit(int, "7").result(timeout=30))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_when_the_system_refuses_another_thread_the_pool_goes_on_with_those_it_has(threads, monkeypatch):
    gate = threading.Event()
    first = threads.submit(gate.wait, 30)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = threads.submit(int)
    assert threads.started == 1
    gate.set()
    assert first.result()
    assert second.result() == 0
    with pytest.raises(RuntimeError, match="can't start"):
        WorkerThreads().submit(int)


async def test_a_waiting_thread_keeps_nothing_of_its_last_call_alive(threads):
    class Thing:
        def use(self):
            return 1

    thing = Thing()
    alive = weakref.ref(thing)
    assert await threads.run(thing.use) == 1
    del thing
    await threads.run(int)
    gc.collect()
    assert alive() is None


# The decision


def slow_calls_until_moved(offload, seconds, quick_between=0):
    for number in range(1, 1000):
        offload.held(seconds)
        if offload.on_thread:
            return number
        for _ in range(quick_between):
            offload.held(QUICK)
    return None


@pytest.mark.parametrize(
    ("seconds", "quick_between", "calls"),
    [
        pytest.param(10.0, 0, 2, id="ten seconds: the second call"),
        pytest.param(100 * MS, 0, 2, id="100 ms: the second call"),
        pytest.param(5 * MS, 0, 4, id="5 ms: the fourth"),
        pytest.param(2 * MS, 0, 11, id="2 ms: the eleventh"),
        pytest.param(1 * MS, 0, None, id="at the threshold: never"),
        pytest.param(0.5 * MS, 0, None, id="half the threshold: never"),
        pytest.param(100 * MS, 20, 2, id="100 ms among twenty quick ones: slow on average"),
        pytest.param(5 * MS, 10, None, id="5 ms among ten quick ones: quick on average"),
        pytest.param(12 * MS, 100, None, id="a busy host: preempted for 12 ms every hundredth call"),
    ],
)
def test_a_route_moves_when_its_calls_hold_the_loop_on_average(seconds, quick_between, calls):
    assert slow_calls_until_moved(Offload(MS), seconds, quick_between) == calls


@given(
    st.floats(min_value=0, max_value=1e6),
    st.lists(st.floats(min_value=0, max_value=MS), max_size=50),
    st.integers(0, 50),
)
def test_a_single_slow_call_never_moves_a_route(slow, quick, place):
    offload = Offload(MS)
    for seconds in [*quick[:place], slow, *quick[place:]]:
        offload.held(seconds)
    assert not offload.on_thread
    assert offload.moves == 0


def test_a_slow_first_call_is_forgotten_by_and_by():
    offload = Offload(MS)
    offload.held(60.0)
    for _ in range(300):
        offload.held(QUICK)
    offload.held(60.0)
    assert not offload.on_thread


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds
        return seconds


def moved():
    clock = Clock()
    offload = Offload(MS, clock=clock)
    assert slow_calls_until_moved(offload, 100 * MS) == 2
    return offload, clock


def quick_calls_until_back(offload, clock, seconds=QUICK):
    for number in range(1, 10 * RETURN_CALLS_MOST):
        assert offload.watch(clock.spend, seconds) == seconds
        if not offload.on_thread:
            return number
    return None


def test_a_route_that_became_quick_comes_back_each_time_later():
    offload, clock = moved()
    needed = RETURN_CALLS
    for moves in range(1, 7):
        assert offload.moves == moves
        assert quick_calls_until_back(offload, clock) == needed
        assert slow_calls_until_moved(offload, 100 * MS) == 2
        needed = min(needed * 4, RETURN_CALLS_MOST)


def test_a_route_that_is_slow_now_and_then_stays_on_the_threads():
    offload, clock = moved()
    for number in range(10_000):
        offload.watch(clock.spend, 100 * MS if number % 30 == 0 else QUICK)
    assert offload.on_thread


def test_a_route_just_below_the_threshold_stays_on_the_threads():
    offload, clock = moved()
    for _ in range(2 * RETURN_CALLS):
        offload.watch(clock.spend, 0.9 * MS)
    assert offload.on_thread


def test_a_call_that_raises_is_measured_too():
    offload, clock = moved()

    def fail():
        clock.spend(QUICK)
        raise LookupError

    for _ in range(RETURN_CALLS):
        with pytest.raises(LookupError):
            offload.watch(fail)
    assert not offload.on_thread


def test_a_route_seen_to_block_moves_at_once():
    offload = Offload(MS)
    offload.block()
    offload.block()
    assert offload.on_thread
    assert offload.moves == 1


@pytest.mark.parametrize(
    ("blocking", "adaptive", "mode", "on_thread", "may_change"),
    [
        pytest.param(None, True, None, False, True, id="nothing said"),
        pytest.param(None, False, None, False, False, id="adaptive=False"),
        pytest.param(None, False, "adaptive", False, True, id="the environment over the config"),
        pytest.param(None, True, "always", True, False, id="always"),
        pytest.param(None, True, "never", False, False, id="never"),
        pytest.param(True, True, None, True, False, id="blocking=True"),
        pytest.param(False, True, None, False, False, id="blocking=False"),
        pytest.param(True, True, "never", True, False, id="blocking=True over never"),
        pytest.param(False, True, "always", False, False, id="blocking=False over always"),
    ],
)
def test_who_decides(blocking, adaptive, mode, on_thread, may_change):
    offload = Offload.decide(blocking, ThreadPoolConfig(adaptive=adaptive), mode)
    assert (offload.on_thread, offload.adaptive) == (on_thread, may_change)
    for _ in range(10):
        offload.held(1.0)
    assert offload.watch(int, "7") == 7
    offload.block()
    assert offload.on_thread == (on_thread or may_change)


def test_the_threshold_comes_from_the_config():
    patient = Offload.decide(None, ThreadPoolConfig(offload_threshold_ms=50))
    assert slow_calls_until_moved(patient, 49 * MS) is None
    assert slow_calls_until_moved(patient, 500 * MS) == 3


@pytest.mark.parametrize(
    ("value", "mode"), [(None, None), ("", None), ("always", "always"), ("never", "never"), ("adaptive", "adaptive")]
)
def test_the_environment_is_read(value, mode):
    assert offload_mode({} if value is None else {"CELLO_OFFLOAD": value}) == mode


def test_a_misspelled_environment_is_refused():
    with pytest.raises(ConfigError, match=re.escape("CELLO_OFFLOAD must be adaptive, always or never, not 'Always'")):
        offload_mode({"CELLO_OFFLOAD": "Always"})
