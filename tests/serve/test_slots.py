"""When a dead worker is replaced, by a clock that the test turns."""

import pytest

from cello.serve.slots import HEALTHY_AFTER_S, RestartPolicy, Slot, Worker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def dead(slot: Slot, clock: Clock, lived_s: float | None) -> Worker:
    ready_at = None if lived_s is None else clock.now - lived_s
    slot.has_served = slot.has_served or ready_at is not None
    return Worker(1, slot, None, heard_at=clock.now, ready_at=ready_at)


def test_one_that_never_served_is_not_replaced(clock):
    slot = Slot(0, [])
    assert RestartPolicy(5, clock).pause_after(slot, dead(slot, clock, None)) is None


def test_who_dies_young_is_replaced_after_growing_pauses_until_it_is_enough(clock):
    slot, policy = Slot(0, []), RestartPolicy(9, clock)
    pauses = [policy.pause_after(slot, dead(slot, clock, 1.0)) for _ in range(10)]
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, None]


def test_a_healthy_life_forgives_the_deaths_before_it(clock):
    slot, policy = Slot(0, []), RestartPolicy(2, clock)
    lives = [1.0, 1.0, HEALTHY_AFTER_S, 1.0, 1.0, 1.0]
    assert [policy.pause_after(slot, dead(slot, clock, life)) for life in lives] == [0.0, 0.1, 0.0, 0.0, 0.1, None]


def test_none_is_forgiven_when_none_is_allowed(clock):
    slot = Slot(0, [])
    assert RestartPolicy(0, clock).pause_after(slot, dead(slot, clock, 1.0)) is None


def test_a_successor_that_does_not_start_counts_as_a_young_death(clock):
    slot, policy = Slot(0, [], has_served=True), RestartPolicy(1, clock)
    assert [policy.pause_after(slot, dead(slot, clock, None)) for _ in range(2)] == [0.0, None]
