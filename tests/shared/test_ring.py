"""The ring of messages: what readers get, who is overtaken, who is rung, and what a killed writer leaves behind."""

import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.shared import ring as ring_module
from cello.shared.arena import Arena, PrivateMemory
from cello.shared.ring import RECORD, Ring, RingLayout

SIZE = 4096


@pytest.fixture
def make_ring() -> Iterator[Callable[..., Ring]]:
    """A function that makes a ring in this process's own memory."""
    made: list[Ring] = []

    def make(size: int = SIZE) -> Ring:
        layout = RingLayout(size_bytes=size)
        made.append(layout.open(PrivateMemory().claim("test", "ring", str(size), layout.size)))
        return made[-1]

    yield make
    for ring in made:
        ring.close()


@pytest.fixture
def opened(arena_fd: int) -> Iterator[Callable[[], Ring]]:
    """A function that opens one and the same ring in a file, as each process does."""
    layout = RingLayout(size_bytes=1 << 16)
    made: list[Ring] = []

    def open_it() -> Ring:
        made.append(layout.open(Arena(arena_fd, 1 << 20).claim("test", "ring", "", layout.size)))
        return made[-1]

    yield open_it
    for ring in made:
        ring.close()


def test_a_reader_gets_what_comes_after_it_in_order(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    ring.publish(b"before")
    first = ring.reader()
    ring.publish(b"one")
    second = ring.reader()
    ring.publish(b"")
    ring.publish(b"x" * 99)
    assert first.take() == [b"one", b"", b"x" * 99]
    assert second.take() == [b"", b"x" * 99]
    assert first.take() == second.take() == []
    for reader in (first, second):
        assert reader.lost == 0
        reader.close()


def test_it_goes_round_for_as_long_as_one_likes(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    reader = ring.reader()
    for number in range(2000):
        message = b"%d " % number * (number % 40)
        ring.publish(message)
        assert reader.take() == [message]
    assert reader.lost == 0
    reader.close()


def test_a_reader_that_is_overtaken_goes_on_with_the_next_and_knows_how_many_it_lost(
    make_ring: Callable[..., Ring],
) -> None:
    ring = make_ring()
    reader = ring.reader()
    for number in range(500):
        ring.publish(b"%03d" % number + bytes(50))
    assert reader.take() == []
    ring.publish(b"next")
    assert reader.take() == [b"next"]
    assert reader.lost == 500
    reader.close()


def test_what_is_being_written_over_is_not_read(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    reader = ring.reader()
    ring.publish(b"old")
    ring._words.set(0, ring._words.get(1) + SIZE)  # a writer has reserved that room
    assert reader.take() == []
    reader.close()


def test_a_torn_record_is_not_read(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    reader = ring.reader()
    ring.publish(b"whole")
    ring._ring[RECORD.size] = ord("W")
    assert reader.take() == []
    reader.close()


def test_a_message_that_would_drive_out_all_others_is_refused(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    ring.publish(bytes(ring.max_bytes))
    with pytest.raises(ValueError, match=f"{ring.max_bytes:,} bytes"):
        ring.publish(bytes(ring.max_bytes + 1))


def test_a_sleeping_reader_is_rung_once_until_it_answers(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    left, reader = ring.reader(), ring.reader()
    left.close()  # the place before it is free
    for _ in range(3):
        ring.publish(b"x")
    assert select.select([reader.wake], [], [], 10)[0]
    assert len(reader.wake.recv(16)) == 1
    assert not select.select([reader.wake], [], [], 0)[0], "rung once"
    reader.answer()
    ring.publish(b"y")
    assert select.select([reader.wake], [], [], 10)[0], "and again after the answer"
    reader.close()


def test_places_of_listeners_are_given_again_and_bounded(make_ring: Callable[..., Ring], monkeypatch: Any) -> None:
    monkeypatch.setattr(ring_module, "WORDS", 4 + 2 * 3)
    ring = make_ring()
    readers = [ring.reader() for _ in range(3)]
    with pytest.raises(ConfigError, match="listen"):
        ring.reader()
    readers.pop().close()
    readers.append(ring.reader())
    for reader in readers:
        reader.close()


def test_one_whose_process_has_died_is_forgotten(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring()
    reader = ring.reader()
    reader.wake.close()  # all that is left of it are its words
    ring.publish(b"x")
    assert ring._words.get(4) == 0


def test_threads_may_publish_together(make_ring: Callable[..., Ring]) -> None:
    ring = make_ring(1 << 20)
    reader = ring.reader()
    threads = [
        threading.Thread(target=lambda m=mark: [ring.publish(b"%c%d" % (m, n)) for n in range(300)]) for mark in b"ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = reader.take()
    for mark in b"ab":
        assert [message for message in taken if message[0] == mark] == [b"%c%d" % (mark, n) for n in range(300)]
    reader.close()


def _publish(open_ring: Callable[[], Ring], mark: bytes, count: int) -> None:
    ring = open_ring()
    for number in range(count):
        ring.publish(mark + b"%d" % number)


def test_processes_share_it(opened: Callable[[], Ring]) -> None:
    ring = opened()
    reader = ring.reader()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_publish, args=(opened, mark, 200)) for mark in (b"a", b"b")]
    for child in children:
        child.start()
    taken: list[bytes] = []
    while len(taken) < 400:
        assert select.select([reader.wake], [], [], 20)[0], "nobody rang"
        reader.answer()
        taken += reader.take()
    for child in children:
        child.join()
    for mark in (b"a", b"b"):
        assert [message for message in taken if message[:1] == mark] == [mark + b"%d" % n for n in range(200)]
    assert reader.lost == 0
    reader.close()


def _publish_for_ever(open_ring: Callable[[], Ring], pipe: int) -> None:
    ring = open_ring()
    os.write(pipe, b"!")
    while True:
        ring.publish(b"x" * 500)


def test_a_writer_that_is_killed_leaves_a_ring_that_works(opened: Callable[[], Ring]) -> None:
    ring = opened()
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        reading, writing = os.pipe()
        child = context.Process(target=_publish_for_ever, args=(opened, writing))
        child.start()
        os.read(reading, 1)
        while ring.published < SIZE:
            pass
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        reader = ring.reader()
        ring.publish(b"still here")
        assert reader.take() == [b"still here"]
        reader.close()
        os.close(reading)
        os.close(writing)
