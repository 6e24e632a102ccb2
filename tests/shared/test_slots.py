"""Words of 64 bits, in both twins."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello import _speedups
from cello.shared.gate import Gate
from cello.shared.slots import PureSlots, Slots
from tests.shared.conftest import SECRET

MOST, LEAST = 2**63 - 1, -(2**63)


def test_words_are_read_and_changed(make_slots):
    slots = make_slots(4)
    assert [slots.get(index) for index in range(slots.count)] == [0, 0, 0, 0]
    slots.set(1, LEAST)
    assert slots.add(2, 5) == 5
    assert slots.add(2, -7) == -2
    assert slots.swap(3, 0, MOST)
    assert not slots.swap(3, 0, 1)
    assert [slots.get(index) for index in range(4)] == [0, LEAST, -2, MOST]


def test_addition_wraps(make_slots):
    slots = make_slots(1)
    slots.set(0, MOST)
    assert slots.add(0, 1) == LEAST


@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_there_are_no_words_beyond_the_row(make_slots, index):
    slots = make_slots(4)
    for use in (
        lambda: slots.get(index),
        lambda: slots.set(index, 1),
        lambda: slots.add(index, 1),
        lambda: slots.swap(index, 0, 1),
    ):
        with pytest.raises(IndexError):
            use()


@pytest.mark.parametrize("key", ["", "a", "1234567", "12345678", "123456789", "é" * 40, "\ud800", "a\0b"])
def test_a_digest_is_positive_and_belongs_to_its_key(make_slots, key):
    slots = make_slots(1)
    assert 0 < slots.digest(key) <= MOST
    assert slots.digest(key) == make_slots(1).digest(key)
    assert slots.digest(key) != slots.digest(key + "x")


def test_a_digest_depends_on_the_secret(impl):
    kind = PureSlots if impl == "py" else Slots
    memory = memoryview(bytearray(8))
    assert kind(memory, Gate(None, 0), bytes(16)).digest("a") != kind(memory, Gate(None, 0), SECRET).digest("a")


def test_threads_lose_no_addition(make_slots):
    slots = make_slots(1)
    threads = [threading.Thread(target=lambda: [slots.add(0, 1) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slots.get(0) == 8_000


STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "add", "swap"]), st.integers(0, 2), st.integers(LEAST, MOST), st.integers(-2, 2)),
    max_size=30,
)


@pytest.mark.skipif(not _speedups.enabled, reason="no compiled modules")
@given(STEPS)
def test_the_twins_agree(steps):
    rows = [kind(memoryview(bytearray(24)), Gate(None, 0), SECRET) for kind in (PureSlots, Slots)]
    for what, index, value, other in steps:
        if what == "swap":
            assert rows[0].swap(index, other, value) == rows[1].swap(index, other, value)
        else:
            assert getattr(rows[0], what)(index, value) == getattr(rows[1], what)(index, value)
        assert [rows[0].get(at) for at in range(3)] == [rows[1].get(at) for at in range(3)]
