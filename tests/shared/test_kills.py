"""Processes that are killed at any instruction: what they share stays whole."""

import os
import random
import signal

import pytest

from cello.features.bucket import Bucket
from cello.features.rate_limit.windows import ExactWindow
from cello.shared.arena import Arena
from cello.shared.layouts import GenerationsLayout, TableLayout, WordsLayout
from tests.shared.test_arena import claim

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")

KEYS = 200
NOW = 10**15
HOUR = 3_600 * 10**9


def forked(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def kill_loop(work, rounds, alive=3):
    """Keep some processes at `work`, killing one after the other; return how many were killed."""
    dice = random.Random(7)
    pids = [forked(work) for _ in range(alive)]
    for _ in range(rounds):
        sum(range(dice.randint(1, 60_000)))
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids.pop(0), 0)
        pids.append(forked(work))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return rounds + alive


def test_no_kill_lets_more_through_or_loses_more_than_the_killed(arena_fd):
    limit = 40
    Arena(arena_fd, 1 << 22)

    def work():
        arena, dice = Arena(arena_fd), random.Random(os.getpid())
        bucket = Bucket(claim(arena, "buckets", TableLayout(capacity=4_096)))
        window = ExactWindow(claim(arena, "windows", TableLayout(capacity=2_048, width=1 + limit)), limit, HOUR)
        passed = claim(arena, "passed", WordsLayout(count=2 * KEYS))
        while True:
            number = dice.randrange(KEYS)
            if bucket.take(f"key {number}", NOW, HOUR, limit * HOUR) >= 0:
                passed.add(number, 1)
            if window.take(f"key {number}", NOW).wait_ns == 0:
                passed.add(KEYS + number, 1)

    killed = kill_loop(work, rounds=40)
    arena = Arena(arena_fd)
    bucket_table = claim(arena, "buckets", TableLayout(capacity=4_096))
    bucket = Bucket(bucket_table)
    window = ExactWindow(claim(arena, "windows", TableLayout(capacity=2_048, width=1 + limit)), limit, HOUR)
    passed = claim(arena, "passed", WordsLayout(count=2 * KEYS))
    for number in range(KEYS):  # what the processes left to take
        while bucket.take(f"key {number}", NOW, HOUR, limit * HOUR) >= 0:
            passed.add(number, 1)
        while window.take(f"key {number}", NOW).wait_ns == 0:
            passed.add(KEYS + number, 1)
    counts = [passed.get(number) for number in range(2 * KEYS)]
    assert max(counts) <= limit
    assert sum(limit - count for count in counts) <= 2 * killed
    assert bucket_table.evicted == 0
    assert abs(bucket_table.used - KEYS) <= killed


def test_generations_survive_kills(arena_fd):
    Arena(arena_fd, 1 << 20)
    layout = GenerationsLayout(capacity=64)

    def work():
        generations, dice = claim(Arena(arena_fd), "tags", layout), random.Random(os.getpid())
        while True:
            generations.bump(f"tag {dice.randrange(200)}")

    kill_loop(work, rounds=25)
    generations = claim(Arena(arena_fd), "tags", layout)
    stamp = generations.stamp()
    assert generations.is_current(stamp, [f"tag {number}" for number in range(200)])
    generations.bump("tag 5")
    assert not generations.is_current(stamp, ["tag 5"])
