"""Whose turn it is: order by key, the oldest first."""

import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.messaging import Message
from cello.messaging.schedule import Schedule


def message(number: int, key: str | None) -> Message:
    return Message(str(number), order_key=key)


def ids(messages: list[Message]) -> list[str]:
    return [each.id for each in messages]


def filled(*keys: str | None) -> Schedule:
    schedule = Schedule()
    for number, key in enumerate(keys):
        schedule.add(message(number, key))
    return schedule


def test_the_oldest_whose_key_is_free_is_next() -> None:
    schedule = filled("a", "a", "b", None)
    (first,) = schedule.take()
    assert ids(schedule.take() + schedule.take()) == ["2", "3"]
    assert not schedule.has_ready
    schedule.done(first)
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
    schedule.done(first)
    assert ids(schedule.take() + schedule.take()) == ["1", "2"]


def test_what_waits_is_dropped_in_order() -> None:
    schedule = filled("a", "a", None, "b")
    (taken,) = schedule.take()
    assert ids(schedule.drop_all()) == ["1", "2", "3"]
    assert len(schedule) == 0
    schedule.done(taken)
    assert not schedule.has_ready


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
    while running or schedule.has_ready:
        while len(running) < hands and schedule.has_ready:
            running.append(schedule.take(size))
        busy = [{each.order_key for each in batch} - {None} for batch in running]
        assert len(set().union(*busy)) == sum(map(len, busy))
        for each in running.pop(chance.randrange(len(running))):
            handled[each.order_key].append(int(each.id))
            schedule.done(each)
    assert sum(map(len, handled.values())) == len(keys)
    for key, numbers in handled.items():
        assert key is None or numbers == sorted(numbers)
