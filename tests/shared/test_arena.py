"""The arena: regions by name and layout, and processes that come, go and are killed."""

import os
import signal
import sys

import pytest

from cello import ConfigError
from cello.shared.arena import Arena, PrivateMemory
from cello.shared.layouts import GenerationsLayout, SlabLayout, TableLayout, WordsLayout, as_text, from_text
from cello.shared.regions import Shared

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


def in_child(work):
    """Run `work` in a forked child; return its exit code, which is what `work` returns."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def claim(arena, name, layout, owner="app"):
    return layout.open(arena.claim(owner, name, as_text(layout), layout.size))


def test_equal_claims_are_one_region_and_others_are_not(arena_fd):
    arena = Arena(arena_fd, 1 << 20)
    words = claim(arena, "a", WordsLayout(count=4))
    words.set(0, 7)
    assert claim(arena, "a", WordsLayout(count=4)).get(0) == 7
    assert claim(arena, "b", WordsLayout(count=4)).get(0) == 0
    assert claim(arena, "a", WordsLayout(count=5)).get(0) == 0
    assert claim(arena, "a", WordsLayout(count=4), owner="other").get(0) == 0
    assert [entry.name for entry in arena.entries()] == ["a", "b", "a", "a"]


def test_processes_see_each_other(arena_fd):
    os.ftruncate(arena_fd, 0)

    def count():
        words = claim(Arena(arena_fd, 1 << 20), "n", WordsLayout(count=1))
        for _ in range(500):
            words.add(0, 1)

    assert [in_child(count) for _ in range(3)] == [0, 0, 0]
    assert claim(Arena(arena_fd), "n", WordsLayout(count=1)).get(0) == 1_500


def test_untouched_memory_is_not_taken(arena_fd):
    arena = Arena(arena_fd, 1 << 30)
    claim(arena, "large", TableLayout(capacity=1_000_000))
    assert os.fstat(arena_fd).st_blocks * 512 < 1 << 20


def test_what_nobody_uses_makes_room(arena_fd):
    def leave():
        table = claim(Arena(arena_fd, 1 << 20), "old", TableLayout(capacity=20_000))
        table.slots.set(table.place("a", 1), 5)

    assert in_child(leave) == 0
    arena = Arena(arena_fd)
    table = claim(arena, "new", TableLayout(capacity=21_000))
    assert [entry.name for entry in arena.entries()] == ["new"]
    assert (table.used, table.find("a")) == (0, -1)


def test_what_is_used_stays_and_a_full_arena_says_what_to_do(arena_fd):
    arena = Arena(arena_fd, 1 << 20)
    claim(arena, "mine", TableLayout(capacity=20_000))

    def want_more(arena):
        with pytest.raises(ConfigError, match=r"no room for the region 'more' of .* set CELLO_SHARED_SIZE"):
            claim(arena, "more", TableLayout(capacity=21_000))

    want_more(arena)
    assert in_child(lambda: want_more(Arena(arena_fd))) == 0


def test_another_twin_is_refused(arena_fd, monkeypatch):
    Arena(arena_fd, 1 << 20)
    monkeypatch.setattr("cello._speedups.enabled", not __import__("cello")._speedups.enabled)
    with pytest.raises(ConfigError, match="do not all use the same cello"):
        Arena(arena_fd)
    assert Arena(arena_fd, is_guest=True).entries() == []


def test_a_slab_goes_on_where_a_killed_process_stopped(arena_fd):
    layout = SlabLayout(slabs=2, words=3)
    Arena(arena_fd, 1 << 20)

    def count():
        slab = claim(Arena(arena_fd), "counters", layout).claim()
        slab[0] += 1
        os.kill(os.getpid(), signal.SIGKILL)

    assert [in_child(count) for _ in range(3)] == [-signal.SIGKILL] * 3
    slabs = claim(Arena(arena_fd), "counters", layout)
    assert [row[0] for row in slabs.all()] == [3, 0]
    slabs.claim()

    def claim_second():
        return claim(Arena(arena_fd), "counters", layout).claim_index()

    assert in_child(claim_second) == 1


def test_regions_of_one_process(impl):
    shared = Shared("app")
    region = shared.region("a", WordsLayout(count=2))
    assert shared.region("a", WordsLayout(count=2)) is region
    with pytest.raises(ConfigError, match=r"'a' is WordsLayout .*2.* already, not"):
        shared.region("a", WordsLayout(count=3))
    region.open().set(0, 3)
    assert region.open().get(0) == 3
    shared.close()
    assert region.open().get(0) == 0


@pytest.mark.parametrize(
    "layout", [WordsLayout(3), TableLayout(9, width=2), GenerationsLayout(), SlabLayout(slabs=2, words=3)], ids=as_text
)
def test_a_layout_is_written_and_read_back(layout):
    assert from_text(as_text(layout)) == layout
    block = PrivateMemory().claim("app", "a", as_text(layout), layout.size)
    assert layout.fill(block)
    layout.open(block)
    assert from_text("OwnLayout {}") is None
