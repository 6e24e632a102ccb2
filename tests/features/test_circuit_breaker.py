"""The circuit breaker: its states against a model, and routes that fail, rest and recover."""

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cello import App, ConfigError, HTTPError, Response
from cello.features import circuit_breaker as feature_module
from cello.features.circuit_breaker.machine import (
    CLOSED,
    FAILURE,
    HALF_OPEN,
    NOTHING,
    OPEN,
    SUCCESS,
    Breaker,
    State,
)
from cello.shared.gate import Gate
from cello.shared.slots import Slots

THRESHOLD, RESET_MS, TARGET = 3, 1_000, 2


class BreakerMachine(RuleBasedStateMachine):
    """A breaker and a model of it, with requests that come and end in any order, or never."""

    def __init__(self):
        super().__init__()
        slots = Slots(memoryview(bytearray(8)), Gate(None, 0), bytes(16))
        self.breaker = Breaker(slots, 0, THRESHOLD, RESET_MS, TARGET)
        self.now = 10_000
        self.kind, self.period, self.since = CLOSED, 0, 0
        self.count = self.trials = 0
        self.inside = []

    def begin(self, kind):
        self.kind, self.period, self.since = kind, self.period + 1, self.now
        self.count = self.trials = 0

    @rule(by=st.integers(0, 700))
    def time_passes(self, by):
        self.now += by + 1  # two states never begin in one millisecond here

    @rule()
    def a_request_comes(self):
        entry = self.breaker.enter(self.now)
        waited = self.now - self.since >= RESET_MS
        if self.kind == CLOSED:
            assert entry.permit is not None
        elif self.kind == HALF_OPEN and self.trials < TARGET:
            assert entry.permit is not None
            self.trials += 1
        elif waited:
            assert entry.permit is not None
            assert entry.change == (None if self.kind == HALF_OPEN else (OPEN, HALF_OPEN))
            self.begin(HALF_OPEN)
            self.trials = 1
        else:
            assert (entry.permit, entry.wait_ms) == (None, self.since + RESET_MS - self.now)
            return
        self.inside.append((entry.permit, self.period))
        self.now += 1

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 10**6), outcome=st.sampled_from([SUCCESS, SUCCESS, FAILURE, FAILURE, NOTHING]))
    def a_request_ends(self, which, outcome):
        permit, period = self.inside.pop(which % len(self.inside))
        before = self.kind
        change = self.breaker.leave(permit, outcome, self.now)
        if period == self.period:
            if before == CLOSED and outcome == FAILURE:
                self.count += 1
                if self.count == THRESHOLD:
                    self.begin(OPEN)
            elif before == CLOSED and outcome == SUCCESS:
                self.count = 0
            elif before == HALF_OPEN and outcome == FAILURE:
                self.begin(OPEN)
            elif before == HALF_OPEN and outcome == NOTHING:
                self.trials -= 1
            elif before == HALF_OPEN:
                self.count += 1
                if self.count == TARGET:
                    self.begin(CLOSED)
        assert change == (None if before == self.kind else (before, self.kind))
        self.now += 1

    @precondition(lambda self: self.inside)
    @rule()
    def a_worker_is_killed(self):
        self.inside.pop()

    @invariant()
    def both_agree(self):
        state = self.breaker.state()
        assert (state.kind, state.counted) == (self.kind, self.count)
        assert state.trials == (self.trials if self.kind == HALF_OPEN else 0)
        assert state.trials <= TARGET


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase


def test_a_word_holds_a_state():
    state = State(2**40, HALF_OPEN, 1_023, 1_022)
    assert State.of(state.word()) == state
    assert state.word() < 2**63
    assert State.of(0) == State(0, CLOSED)


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` lets time pass."""
    passed = [0]

    class Clock:
        monotonic_ns = staticmethod(lambda: 5_000 * 10**9 + passed[0])

    monkeypatch.setattr(feature_module, "time", Clock)

    def wait(seconds):
        passed[0] += int(seconds * 10**9)

    return wait


FAILURES = {
    "an exception": lambda: (_ for _ in ()).throw(RuntimeError("no")),
    "a status": lambda: Response("no", 502),
    "an error of http": lambda: (_ for _ in ()).throw(HTTPError(503)),
}


def make_app(coloured, fail, **options):
    app = App()
    app.state.works = False
    app.enable_circuit_breaker(3, 10, 2, **options)

    @app.get("/items/{id}")
    @coloured
    def item(id: str):
        return {"id": id} if app.state.works else fail()

    app.get("/other")(coloured(lambda: "other"))
    return app


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES.keys())
def test_a_route_that_fails_rests_and_recovers(serve, coloured, clock, fail):
    changes = []
    app = make_app(coloured, fail, on_change=lambda *change: changes.append(change))
    with serve(app) as client:
        first = [client.get(f"/items/{number}").status for number in range(3)]
        assert 503 not in first or first == [503] * 3
        resting = client.get("/items/4")
        assert (resting.status, resting.headers["retry-after"]) == (503, "10")
        assert resting.headers["content-type"] == "application/problem+json"
        assert "rests; try again in 10 s" in resting.json()["detail"]
        assert client.get("/other").status == 200
        clock(9.5)
        assert client.get("/items/5").headers["retry-after"] == "1"
        clock(0.5)
        app.state.works = True
        assert [client.get("/items/6").status for _ in range(3)] == [200, 200, 200]
    name = "GET /items/{id}"
    assert changes == [(name, "closed", "open"), (name, "open", "half-open"), (name, "half-open", "closed")]


def test_a_failed_trial_opens_again(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"])
    with serve(app) as client:
        for _ in range(3):
            client.get("/items/1")
        clock(10)
        assert client.get("/items/1").status == 502
        assert client.get("/items/1").headers["retry-after"] == "10"
        assert app.feature("circuit_breaker").states()["GET /items/{id}"] == "open"


def test_changes_and_refusals_are_metrics(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"])
    app.enable_prometheus()
    with serve(app) as client:
        for _ in range(5):
            client.get("/items/1")
        text = client.get("/metrics").text
    route = 'route="GET /items/{id}"'
    assert f'circuit_breaker_changes_total{{{route},before="closed",after="open"}} 1' in text
    assert f"circuit_breaker_refused_total{{{route}}} 2" in text


def test_failures_must_be_in_a_row(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"])
    with serve(app) as client:
        for works in (False, False, True, False, False, True):
            app.state.works = works
            client.get("/items/1")
        app.state.works = True
        assert client.get("/items/1").status == 200


def test_refusals_are_no_failures_and_errors_may_be_handled(serve, coloured, clock):
    app = make_app(coloured, lambda: (_ for _ in ()).throw(LookupError("no such item")))
    app.exception_handler(LookupError)(lambda request, error: ({"error": "missing"}, 404))
    with serve(app) as client:
        assert [client.get("/items/1").status for _ in range(5)] == [404] * 5


def test_only_the_codes_that_are_listed_are_failures(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"], failure_codes=[429])
    with serve(app) as client:
        assert [client.get("/items/1").status for _ in range(5)] == [502] * 5


def test_an_exception_is_a_failure_whatever_the_codes(serve, coloured, clock):
    app = make_app(coloured, FAILURES["an exception"], failure_codes=[429])
    with serve(app) as client:
        assert [client.get("/items/1").status for _ in range(4)] == [500, 500, 500, 503]


@pytest.mark.parametrize("interface", ["asgi", "native"])
def test_what_takes_too_long_is_a_failure(client, interface):
    import asyncio

    app = App()
    app.enable_circuit_breaker(2, 60, failure_codes=[500])

    @app.get("/slow", timeout=0.01)
    async def slow():
        await asyncio.Event().wait()

    with client(app, interface, raise_server_exceptions=False) as opened:
        answers = [opened.get("/slow") for _ in range(3)]
    assert [answer.status for answer in answers] == [503] * 3
    assert ["retry-after" in answer.headers for answer in answers] == [False, False, True]


@pytest.mark.parametrize("interface", ["asgi", "native"])
def test_what_takes_too_long_on_a_thread_is_a_failure_too(client, interface):
    """Nobody can end a thread: the client is answered in time, and the route rests while it is still at it."""
    app = App()
    app.enable_circuit_breaker(2, 60, failure_codes=[500])
    begun, go_on = [], threading.Event()

    def wait():
        begun.append(1)
        go_on.wait(30)
        return "late"

    app.get("/slow", timeout=0.05, blocking=True)(wait)
    with client(app, interface, raise_server_exceptions=False) as opened:
        try:
            answers = [opened.get("/slow") for _ in range(4)]
        finally:
            go_on.set()
    assert [answer.status for answer in answers] == [503] * 4
    assert ["retry-after" in answer.headers for answer in answers] == [False, False, True, True]
    assert len(begun) == 2


def test_excluded_paths_have_no_breaker(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"], exclude_paths=["/items"])
    with serve(app) as client:
        assert [client.get("/items/1").status for _ in range(5)] == [502] * 5


def test_a_listener_that_fails_hurts_nobody(serve, coloured, clock, caplog):
    app = make_app(coloured, FAILURES["a status"], on_change=lambda: None)
    with serve(app) as client:
        assert [client.get("/items/1").status for _ in range(4)] == [502, 502, 502, 503]
    assert "on_change of the circuit breaker failed" in caplog.text


def test_health_shows_a_route_that_rests(serve, coloured, clock):
    app = make_app(coloured, FAILURES["a status"])
    app.enable_health_checks()
    with serve(app) as client:
        for _ in range(3):
            client.get("/items/1")
        health = client.get("/health")
        assert '"GET /items/{id}":"open"' in health.text
        assert client.get("/health/ready").status == 200


REFUSED = {
    "no failures": ({"failure_threshold": 0}, "failure_threshold is a whole number of 1 to 1023, not 0"),
    "too many trials": ({"half_open_target": 2_000}, "half_open_target is a whole number"),
    "no time": ({"reset_timeout": 0}, "reset_timeout is a number of seconds above 0"),
    "a success": ({"failure_codes": [200]}, "statuses of 400 to 599"),
    "a listener": ({"on_change": "print"}, "on_change is a function"),
    "a path": ({"exclude_paths": ["items"]}, "exclude_paths is a list of paths"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_circuit_breaker(**options)
