"""Keeping entries: bounded by what they weigh, and written down for others so that they read the same."""

import pytest

from cello.features.cache.entry import Entry, Varied, dump_names
from cello.features.cache.store import LocalGenerations, MemoryStore, slot_of


def finish(course):
    with pytest.raises(StopIteration) as end:
        next(course)
    return end.value.value


def entry(body=b"", stamps=(0,), **changes):
    given = {
        "stored_s": 1000.0, "age_s": 0.0, "lifetime_s": 60.0, "stale_s": 0.0, "error_s": 0.0, "may_be_stale": True,
        "is_public": False, **changes,
    }  # fmt: skip
    return Entry(200, (("x-own", (b"X-Own", b"\xe9")),), body, stamps=stamps, **given)


def kept(store, names):
    return [name for name in names if finish(store.fetch(name, (1,)))[0] is not None]


def test_the_least_recently_used_goes_first():
    dropped = []
    store = MemoryStore(4 * entry(b"x" * 1000).size_bytes, LocalGenerations(), dropped.append)
    for name in "abc":
        finish(store.keep(name, entry(b"x" * 1000), 60))
    assert kept(store, "a") == ["a"]
    finish(store.keep("d", entry(b"x" * 1000), 60))
    assert kept(store, "abcd") == ["a", "c", "d"]
    assert sum(dropped) == 1


def test_it_never_weighs_more_than_it_may():
    store = MemoryStore(50_000, LocalGenerations())
    for number in range(500):
        finish(store.keep(f"key {number % 90}", entry(b"x" * (number * 37 % 9000)), 60))
        assert store.shelf.used_bytes <= 50_000
    assert store.shelf.used_bytes == sum(each.size_bytes + len(key) for key, (each, _) in store.shelf._held.items())
    assert len(store.shelf) > 3


def test_a_later_generation_makes_an_entry_worthless():
    store = MemoryStore(50_000, LocalGenerations())
    slots = (slot_of("a"), slot_of("b"))
    _, stamps = finish(store.fetch("key", slots))
    finish(store.keep("key", entry(stamps=stamps), 60))
    assert finish(store.fetch("key", slots))[0] is not None
    store.invalidate((slot_of("b"),))
    assert finish(store.fetch("key", slots))[0] is None
    assert (store.shelf.used_bytes, len(store.shelf)) == (0, 0)


def test_an_entry_is_read_as_it_was_written():
    first = entry(b"body\nwith lines\x00", (1, 2**60), stale_s=5.0, is_public=True)
    second = Entry.load(first.dump())
    assert isinstance(second, Entry)
    assert {name: getattr(second, name) for name in Entry.__slots__} == {
        name: getattr(first, name) for name in Entry.__slots__
    }
    varied = Entry.load(dump_names(Varied(("accept", "foo"))))
    assert isinstance(varied, Varied)
    assert varied.names == ("accept", "foo")


@pytest.mark.parametrize("raw", [b"", b"\n", b"{}\n", b"[1]\nx", b'{"status": 200}\n', b"\xff\n", entry().dump()[5:]])
def test_what_cannot_be_read_is_nothing(raw):
    assert Entry.load(raw) is None
