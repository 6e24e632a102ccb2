"""The threads of long work: as many as are busy, no more than allowed, and none when there is nothing to do."""

import threading

from cello.pipeline.long_threads import LongThreads


def test_every_long_call_has_a_thread_of_its_own_up_to_the_bound() -> None:
    threads = LongThreads(3)
    meeting = threading.Barrier(4)
    calls = [threads.offer(meeting.wait, 30) for _ in range(3)]
    assert all(call is not None for call in calls)
    assert threads.offer(print) is None, "all three are busy"
    assert threads.started == 3
    meeting.wait(30)
    assert all(call is not None and call.result(30) in range(4) for call in calls)
    assert threads.shutdown()


def test_what_is_handed_in_beyond_the_bound_waits() -> None:
    threads = LongThreads(1)
    gate = threading.Event()
    first, second = threads.submit(gate.wait, 30), threads.submit(lambda: "done")
    assert not second.done()
    gate.set()
    assert (first.result(30), second.result(30)) == (True, "done")
    assert threads.shutdown()


def test_threads_without_work_end() -> None:
    threads = LongThreads(8, idle_s=0.01)
    gate = threading.Event()
    calls = [threads.submit(gate.wait, 30) for _ in range(8)]
    crew = list(threads._crew.threads)
    gate.set()
    for call in calls:
        call.result(30)
    for thread in crew:
        thread.join(30)
    assert threads.started == 0
    assert threads.submit(lambda: "again").result(30) == "again"
    assert threads.shutdown()


def test_a_thread_is_used_again_while_it_waits_for_work() -> None:
    threads = LongThreads(8, idle_s=30)
    names = {threads.submit(threading.get_ident).result(30) for _ in range(20)}
    assert len(names) == 1
    assert threads.shutdown()
