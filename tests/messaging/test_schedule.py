"""Whose turn it is: order by key, the oldest first."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.messaging import Message
from cello.messaging.schedule import Run, Schedule


def message(number: int, key: str | None) -> Message:
    return Message(str(number), order_key=key)


def ids(messages: list[Message]) -> list[str]:
    return [each.id for each in messages]


def filled(*keys: str | None) -> Schedule:
    schedule = Schedule()
    schedule.add([message(number, key) for number, key in enumerate(keys)])
    return schedule


def test_the_oldest_whose_key_is_free_is_next() -> None:
    schedule = filled("a", "a", "b", None)
    (first,) = schedule.take()
    assert ids(schedule.take() + schedule.take()) == ["2", "3"]
    assert not schedule.ready
    schedule.done([first])
    assert ids(schedule.take()) == ["1"]


def test_a_batch_takes_what_is_behind_its_own_keys() -> None:
    schedule = filled("a", "a", "b", "a")
    assert ids(schedule.take(3)) == ["0", "1", "3"]
    assert ids(schedule.take(3)) == ["2"]


def test_what_is_tried_again_keeps_its_key_and_its_place() -> None:
    schedule = filled("a", "a", "b")
    (first,) = schedule.take()
    schedule.again(first)
    assert ids(schedule.take()) == ["0"]
    schedule.done([first])
    assert ids(schedule.take() + schedule.take()) == ["1", "2"]


def test_a_run_is_of_one_key_and_what_is_left_of_it_comes_back_in_front() -> None:
    schedule = filled("a", "a", "b", "a", "a")
    run = schedule.take_run(3)
    assert ids(list(run.left)) == ["0", "1", "3"]
    assert len(schedule) == 2
    run.handled.append(run.left.popleft())
    schedule.put_back(run)
    assert not run.left
    assert len(schedule) == 4
    assert ids(schedule.take()) == ["2"], "the first of the run is not done yet"
    schedule.done_run(run)
    assert ids(schedule.take(9)) == ["1", "3", "4"]


def test_a_run_without_a_key_is_of_one_message() -> None:
    schedule = filled(None, None)
    run = schedule.take_run(3)
    assert ids(list(run.left)) == ["0"]
    schedule.put_back(run)
    assert ids(schedule.take(3)) == ["0", "1"]


def test_what_waits_is_dropped_in_order() -> None:
    schedule = filled("a", "a", None, "b")
    (taken,) = schedule.take()
    assert ids(schedule.drop_all()) == ["1", "2", "3"]
    assert len(schedule) == 0
    schedule.done([taken])
    assert not schedule.ready


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30), st.integers(1, 4), st.integers(1, 3), st.randoms()
)
@pytest.mark.timeout(60)
def test_no_key_is_in_two_hands_and_each_is_in_order(
    keys: list[str | None], hands: int, size: int, chance: random.Random
) -> None:
    schedule = filled(*keys)
    running: list[list[Message]] = []
    handled: dict[str | None, list[int]] = defaultdict(list)
    while running or schedule.ready:
        while len(running) < hands and schedule.ready:
            running.append(schedule.take(size))
        busy = [{each.order_key for each in batch} - {None} for batch in running]
        assert len(set().union(*busy)) == sum(map(len, busy))
        for each in running.pop(chance.randrange(len(running))):
            handled[each.order_key].append(int(each.id))
            schedule.done([each])
    assert sum(map(len, handled.values())) == len(keys)
    for key, numbers in handled.items():
        assert key is None or numbers == sorted(numbers)


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30), st.integers(1, 4), st.integers(1, 5), st.randoms()
)
@pytest.mark.timeout(60)
def test_runs_keep_the_order_of_each_key(keys: list[str | None], hands: int, size: int, chance: random.Random) -> None:
    schedule = filled(*keys)
    running: list[Run] = []
    handled: dict[str | None, list[int]] = defaultdict(list)
    while running or schedule.ready:
        while len(running) < hands and schedule.ready:
            running.append(schedule.take_run(size))
        busy = [run.line.key for run in running if run.line is not None]
        assert len(set(busy)) == len(busy)
        run = running.pop(chance.randrange(len(running)))
        for _ in range(chance.randint(1, len(run.left))):
            run.handled.append(run.left.popleft())
            handled[run.handled[-1].order_key].append(int(run.handled[-1].id))
        for end in chance.sample((schedule.put_back, schedule.done_run), 2):
            end(run)
    assert sum(map(len, handled.values())) == len(keys)
    assert len(schedule) == 0
    for key, numbers in handled.items():
        assert key is None or numbers == sorted(numbers)
