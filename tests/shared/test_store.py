"""Values by key, bounded by bytes: what is read is what was written, or nothing."""

import os
import random
import signal
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cello.shared import store as store_module
from cello.shared.arena import Arena, PrivateMemory
from cello.shared.layouts import StoreLayout, as_text


def make_store(size_bytes=4_096, capacity=64, memory=None):
    layout = StoreLayout(size_bytes=size_bytes, capacity=capacity)
    return layout.open((memory or PrivateMemory()).claim("app", "values", as_text(layout), layout.size))


def test_values_are_kept_replaced_and_forgotten():
    store = make_store()
    assert store.get("a") is None
    assert store.set("a", b"one")
    assert store.set("b", b"")
    assert store.set("a", b"two, longer")
    assert (store.get("a"), store.get("b")) == (b"two, longer", b"")
    assert store.delete("a")
    assert not store.delete("a")
    assert store.get("a") is None


def test_a_value_expires(monkeypatch):
    now = time.monotonic_ns()
    store = make_store()
    store.set("a", b"one", ttl_s=10)
    monkeypatch.setattr(store_module.time, "monotonic_ns", lambda: now + 9 * 10**9)
    assert store.get("a") == b"one"
    monkeypatch.setattr(store_module.time, "monotonic_ns", lambda: now + 11 * 10**9)
    assert store.get("a") is None


def test_what_is_too_large_is_not_stored_and_replaces_what_was():
    store = make_store()
    store.set("a", b"small")
    assert not store.set("a", bytes(2_000))
    assert store.get("a") is None


def test_what_is_used_stays_and_what_is_not_goes():
    store = make_store(size_bytes=4_096)
    store.set("used", b"u" * 100)
    store.set("unused", b"n" * 100)
    for number in range(200):
        store.set(f"key {number % 40}", b"x" * 100)
        assert store.get("used") == b"u" * 100
    assert store.get("unused") is None
    assert store.used_bytes == 4_096


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.binary(max_size=1_100)), max_size=60)


@settings(max_examples=1_000)
@given(STEPS)
def test_a_key_has_its_last_value_or_none(steps):
    store, model = make_store(), {}
    for key, value in steps:
        if value is None:
            store.delete(key)
        else:
            store.set(key, value)
        model[key] = value
        for name, last in model.items():
            assert store.get(name) in (last, None)
        if value is not None and len(value) < 900:
            assert store.get(key) == value


@pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")
def test_killed_writers_leave_no_torn_value(arena_fd):
    """Writers that are killed at random while a reader looks: every value read is a whole one of its key."""
    Arena(arena_fd, 1 << 20)
    dice = random.Random(5)

    def write():
        store = make_store(16_384, memory=Arena(arena_fd))
        chooser = random.Random(os.getpid())
        while True:
            key = chooser.choice("abcdefgh")
            store.set(key, (key * chooser.randint(1, 2_000)).encode())

    def start():
        pid = os.fork()
        if pid == 0:
            try:
                write()
            finally:
                os._exit(1)
        return pid

    store = make_store(16_384, memory=Arena(arena_fd))
    writers = [start(), start()]
    seen = 0
    try:
        for _ in range(25):
            for _ in range(dice.randint(20, 200)):
                for key in "abcdefgh":
                    value = store.get(key)
                    if value is not None:
                        seen += 1
                        assert set(value.decode()) == {key}
            os.kill(writers[0], signal.SIGKILL)
            os.waitpid(writers.pop(0), 0)
            writers.append(start())
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert seen
    store.set("after", b"still writable")
    assert store.get("after") == b"still writable"
