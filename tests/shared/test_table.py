"""Words by key: places, dropping, and what depends on generations."""

from hypothesis import given
from hypothesis import strategies as st

from cello.shared.gate import Gate
from cello.shared.generations import Generations
from cello.shared.slots import Slots
from cello.shared.table import Table
from tests.shared.conftest import SECRET


def test_a_key_keeps_its_words(make_table):
    table = make_table(groups=4, width=3)
    for number in range(12):
        index = table.place(f"key {number}", now=number)
        table.slots.set(index, number + 1)
        table.slots.set(index + 2, -number)
    assert table.used == 12 - table.evicted
    found = {f"key {number}": table.find(f"key {number}") for number in range(12)}
    kept = {key: index for key, index in found.items() if index >= 0}
    assert len(kept) == table.used
    assert all(table.slots.get(index) == int(key[4:]) + 1 for key, index in kept.items())
    assert table.get("another", default=-5) == -5


def test_what_was_not_used_for_longest_makes_room(make_table):
    table = make_table(groups=1)
    for number in range(8):
        table.slots.set(table.place(f"key {number}", now=number), 10 + number)
    table.place("key 0", now=8)
    fresh = table.place("new", now=9)
    assert table.slots.get(fresh) == 0
    assert (table.find("key 1"), table.find("key 0") >= 0) == (-1, True)
    assert (table.used, table.evicted, table.floor) == (8, 1, 11)


def test_a_removed_key_leaves_room(make_table):
    table = make_table(groups=1)
    table.slots.set(table.place("a", now=1), 7)
    assert table.remove("a")
    assert not table.remove("a")
    assert (table.find("a"), table.used) == (-1, 0)
    assert table.slots.get(table.place("a", now=2)) == 0


def test_a_key_has_one_place_also_when_one_before_it_is_free(make_table):
    table = make_table(groups=1)
    table.place("first", now=1)
    index = table.place("second", now=2)
    table.slots.set(index, 7)
    table.remove("first")
    with table.locked("second", 3) as held:
        assert held == index
    assert table.remove("second")
    assert table.find("second") == -1
    assert table.used == 0


def test_a_held_place_is_zeroes_at_first_and_stays(make_table):
    table = make_table(groups=2, width=2)
    with table.locked("a", 1) as index:
        assert [table.slots.get(index), table.slots.get(index + 1)] == [0, 0]
        table.slots.set(index + 1, 5)
    with table.locked("a", 2) as index:
        assert table.slots.get(index + 1) == 5


KEYS = st.sampled_from([f"k{number}" for number in range(40)])


@given(st.lists(st.tuples(st.sampled_from(["bump", "ask"]), KEYS), max_size=80))
def test_what_was_bumped_later_is_never_current(steps):
    """With room for 8 names: whatever is dropped, nothing stale passes for current."""
    groups = 1
    slots = Slots(memoryview(bytearray(8 * (8 + groups * 24))), Gate(None, 0), SECRET)
    generations = Generations(Table(slots, Gate(None, 0), groups, 1))
    stamps = {}
    bumped = {}
    for what, key in steps:
        if what == "bump":
            bumped[key] = generations.bump(key)
        else:
            stamps[key] = generations.stamp()
        for name, stamp in stamps.items():
            if bumped.get(name, 0) > stamp:
                assert not generations.is_current(stamp, [name])
            elif len(bumped) <= 8:
                assert generations.is_current(stamp, [name])
