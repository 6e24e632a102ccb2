"""The algorithms against plain models of what they promise, on a clock of the test's own."""

from collections import deque
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cello import _speedups
from cello.features.bucket import Bucket, PureBucket
from cello.features.rate_limit.adaptation import WORDS, Adaptation
from cello.features.rate_limit.config import RateLimitConfig
from cello.features.rate_limit.limits import read_room, shrinking_bucket
from cello.features.rate_limit.windows import STEPS, ExactWindow, SteppedWindow, Taken
from cello.shared.gate import Gate
from cello.shared.slots import PureSlots, Slots
from cello.shared.table import PureTable, Table

SECRET = bytes(16)
BEGIN = 10**15
STEPS_IN_TIME = st.lists(st.integers(0, 3 * 10**9), min_size=1, max_size=60)


def make_table(width=1, groups=4, *, pure=False):
    slots_kind, table_kind = (PureSlots, PureTable) if pure else (Slots, Table)
    slots = slots_kind(memoryview(bytearray(8 * (8 + groups * 8 * (2 + width)))), Gate(None, 0), SECRET)
    return table_kind(slots, Gate(None, 0), groups, width)


class BucketModel:
    """A bucket as one would explain it: tokens that come back evenly."""

    def __init__(self, capacity, interval):
        self.capacity, self.interval = capacity, interval
        self.tokens, self.seen = Fraction(capacity), None

    def take(self, now):
        if self.seen is not None:
            self.tokens = min(Fraction(self.capacity), self.tokens + Fraction(now - self.seen, self.interval))
        self.seen = now
        if self.tokens < 1:
            wait = (1 - self.tokens) * self.interval
            return Taken(wait, 0, (self.capacity - self.tokens) * self.interval)
        self.tokens -= 1
        return Taken(0, int(self.tokens), (self.capacity - self.tokens) * self.interval)


@pytest.mark.parametrize(
    "pure", [True, pytest.param(False, marks=pytest.mark.skipif(not _speedups.enabled, reason="pure"))]
)
@given(st.integers(1, 9), st.integers(1, 10**9), STEPS_IN_TIME)
def test_a_bucket_is_what_tokens_that_come_back_are(pure, capacity, interval, pauses):
    bucket = (PureBucket if pure else Bucket)(make_table(pure=pure))
    model, now = BucketModel(capacity, interval), BEGIN
    for pause in pauses:
        now += pause
        room = bucket.take("key", now, interval, interval * capacity)
        assert read_room(room, interval, interval * capacity) == model.take(now)


class WindowModel:
    """A window as one would explain it: the moments of what passed."""

    def __init__(self, limit, window):
        self.limit, self.window, self.passed = limit, window, deque()

    def take(self, now):
        while self.passed and now - self.passed[0] >= self.window:
            self.passed.popleft()
        if len(self.passed) >= self.limit:
            return Taken(self.passed[0] + self.window - now, 0, self.passed[-1] + self.window - now)
        self.passed.append(now)
        return Taken(0, self.limit - len(self.passed), self.window)


@given(st.integers(1, 9), st.integers(1, 10**10), STEPS_IN_TIME)
def test_an_exact_window_is_the_moments_of_what_passed(limit, window, pauses):
    taking, model, now = ExactWindow(make_table(1 + limit), limit, window), WindowModel(limit, window), BEGIN
    for pause in pauses:
        now += pause
        assert taking.take("key", now) == model.take(now)


@given(st.integers(1, 9), st.integers(10**9, 10**11), STEPS_IN_TIME)
def test_a_stepped_window_is_never_shorter_and_at_most_a_sixtieth_longer(limit, window, pauses):
    taking, now = SteppedWindow(make_table(SteppedWindow.WIDTH), limit, window), BEGIN
    passed = []
    for pause in pauses:
        now += pause
        strict = sum(1 for moment in passed if now - moment < window)
        longer = sum(1 for moment in passed if now - moment < window + -(-window // STEPS) + STEPS)
        taken = taking.take("key", now)
        if taken.wait_ns == 0:
            assert strict < limit
            passed.append(now)
        else:
            assert longer >= limit
            again = SteppedWindow(taking._table, limit, window)
            assert again.take("key", now + taken.wait_ns - 1).wait_ns > 0


def test_a_request_may_pass_exactly_when_it_was_told():
    for taking in (
        ExactWindow(make_table(4), 3, 1_000),
        SteppedWindow(make_table(SteppedWindow.WIDTH), 3, 60 * 10**9),
    ):
        waits = [taking.take("key", BEGIN + number).wait_ns for number in range(4)]
        assert waits[:3] == [0, 0, 0]
        assert taking.take("key", BEGIN + 3 + waits[3] - 1).wait_ns > 0
        assert taking.take("key", BEGIN + 3 + waits[3]).wait_ns == 0


def test_keys_do_not_share():
    bucket = Bucket(make_table())
    assert bucket.take("a", BEGIN, 10, 10) == 0
    assert bucket.take("b", BEGIN, 10, 10) == 0
    assert bucket.take("a", BEGIN, 10, 10) == -10


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_a_million_keys_would_take_no_more_memory(seed):
    """A thousand in place of a million, in a table of eight: old keys go, counted; a new one has all its tokens."""
    table = make_table(groups=1)
    bucket = Bucket(table)
    for number in range(1_000):
        assert bucket.take(f"{seed} {number}", BEGIN + number, 10**9, 2 * 10**9) == 10**9
    assert (table.used, table.evicted) == (8, 992)


def seconds(adaptation, begin, count, *, failed, taken_ns=1_000_000):
    for second in range(begin, begin + count):
        for _ in range(10):
            adaptation.note(second * 10**9, taken_ns, failed=failed)


@pytest.mark.parametrize("trouble", ["errors", "latency", "cpu", "memory"])
def test_an_adaptive_limit_falls_in_trouble_and_recovers(trouble, monkeypatch):
    share = {"cpu": 0.1, "memory": 0.1}
    monkeypatch.setattr("cello.features.rate_limit.adaptation.cpu_share", lambda: share["cpu"])
    monkeypatch.setattr("cello.features.rate_limit.adaptation.memory_share", lambda: share["memory"])
    config = RateLimitConfig.adaptive(
        100, 60, min_requests=20, latency_threshold_ms=50, cpu_threshold=0.9, memory_threshold=0.9
    )
    adaptation = Adaptation(Slots(memoryview(bytearray(8 * WORDS)), Gate(None, 0), SECRET), config)
    seconds(adaptation, 1, 3, failed=False)
    assert adaptation.capacity() == 100
    share[trouble] = 0.95
    seconds(adaptation, 4, 3, failed=trouble == "errors", taken_ns=10**8 if trouble == "latency" else 10**6)
    assert adaptation.capacity() == {"errors": 44, "latency": 44, "cpu": 29, "memory": 29}[trouble]
    seconds(adaptation, 7, 20, failed=trouble == "errors", taken_ns=10**8 if trouble == "latency" else 10**6)
    assert adaptation.capacity() == 20
    share[trouble] = 0.1
    seconds(adaptation, 27, 12, failed=False)
    assert adaptation.capacity() == 100


class AdaptiveMachine(RuleBasedStateMachine):
    """An adaptive limit and a model of it, which keeps every answer of a second and every request that passed.

    The model says what is promised: a second is judged by all of its answers when the next one begins; a bad one takes
    a third of what holds, any other gives a tenth of the whole back, between the minimum and the limit. A request
    passes when what is held by those that passed leaves room for it at the capacity of the moment.
    """

    CAPACITY, MINIMUM, WINDOW_NS = 30, 4, 60 * 10**9

    def __init__(self):
        super().__init__()
        config = RateLimitConfig.adaptive(
            self.CAPACITY, 60, min_requests=self.MINIMUM, error_threshold=0.2, latency_threshold_ms=100
        )
        self.adaptation = Adaptation(Slots(memoryview(bytearray(8 * WORDS)), Gate(None, 0), SECRET), config)
        self.take = shrinking_bucket(Bucket(make_table()), "limit", config, self.adaptation)
        self.now = BEGIN
        self.level, self.judged, self.answers = 1_000, 0, []
        self.full_at = 0

    def capacity(self):
        return max(self.MINIMUM, self.CAPACITY * self.level // 1_000)

    @rule(by=st.integers(1, 3 * 10**9))
    def time_passes(self, by):
        self.now += by

    @rule(failed=st.booleans(), taken_ms=st.sampled_from([1, 90, 110, 5_000]), times=st.integers(1, 12))
    def answers_leave(self, failed, taken_ms, times):
        for _ in range(times):
            self.adaptation.note(self.now, taken_ms * 10**6, failed=failed)
            if self.now // 10**9 > self.judged:
                self.judge()
                self.judged = self.now // 10**9
            self.answers.append((failed, taken_ms))

    def judge(self):
        answers, self.answers = self.answers, []
        count = len(answers)
        errors = sum(failed for failed, _ in answers)
        too_many = count >= 5 and errors / count > 0.2
        too_slow = count > 0 and sum(ms for _, ms in answers) / count > 100
        least = 1_000 * self.MINIMUM // self.CAPACITY
        self.level = max(least, self.level * 2 // 3) if too_many or too_slow else min(1_000, self.level + 100)

    @rule()
    def a_request_comes(self):
        interval = -(-self.WINDOW_NS // self.capacity())
        full_at = max(self.full_at, self.now) + interval
        room = interval * self.capacity() - (full_at - self.now)
        taken = self.take("client", self.now)
        assert (taken.wait_ns == 0) == (room >= 0)
        if room >= 0:
            self.full_at = full_at
            assert taken.remaining == room // interval
        else:
            assert (taken.wait_ns, taken.remaining) == (-room, 0)

    @invariant()
    def both_agree(self):
        assert self.adaptation.capacity() == self.capacity()
        assert self.MINIMUM <= self.capacity() <= self.CAPACITY


AdaptiveMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestAdaptiveMachine = AdaptiveMachine.TestCase
