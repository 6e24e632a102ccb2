"""When a process says that it has had enough."""

import asyncio
from types import SimpleNamespace

import pytest

from cello.serve import heartbeat
from cello.serve.heartbeat import Heartbeat
from cello.serve.options import resolve

pytestmark = pytest.mark.asyncio


class Overseer:
    name = "worker 0"
    beat_every_s = 1000.0

    def __init__(self, has_successor=True):
        self.beats = 0
        self.why = []
        self.has_successor = has_successor

    def beat(self):
        self.beats += 1

    def spent(self, why):
        self.why.append(why)
        return self.has_successor


def make(overseer, **given):
    state = SimpleNamespace(requests=0, draining=False, loop=asyncio.get_running_loop())
    stop = asyncio.Event()
    return Heartbeat(state, resolve(given), overseer, stop), state, stop


async def test_it_is_spent_once_after_its_requests_and_the_jitter():
    overseer = Overseer()
    pulse, state, stop = make(overseer, max_requests=100, max_requests_jitter=20)
    state.requests = 99
    pulse.beat()
    assert overseer.why == []
    state.requests = 120
    pulse.beat()
    pulse.beat()
    assert overseer.why == ["120 requests (max_requests)"]
    assert overseer.beats == 3
    assert not stop.is_set()  # the successor's readiness ends it


async def test_workers_are_spent_at_different_times():
    limits = {make(Overseer(), max_requests=1000, max_requests_jitter=500)[0]._max_requests for _ in range(50)}
    assert len(limits) > 10
    assert min(limits) >= 1000
    assert max(limits) <= 1500


async def test_without_a_successor_it_ends_itself():
    pulse, state, stop = make(Overseer(has_successor=False), max_requests=1)
    state.requests = 1
    pulse.beat()
    assert stop.is_set()


async def test_who_drains_already_is_not_spent_again():
    overseer = Overseer()
    pulse, state, _ = make(overseer, max_requests=1)
    state.requests, state.draining = 5, True
    pulse.beat()
    assert overseer.why == []


async def test_memory_that_has_grown_spends_a_worker(monkeypatch):
    overseer = Overseer()
    monkeypatch.setattr(heartbeat, "memory_mb", lambda: 50.0)
    pulse, _, _ = make(overseer, max_rss_mb=100)
    pulse.beat()
    assert overseer.why == []
    monkeypatch.setattr(heartbeat, "memory_mb", lambda: 101.0)
    pulse.beat()
    assert overseer.why == ["101 MiB of memory (max_rss_mb=100)"]


async def test_a_limit_below_what_a_new_worker_takes_is_said_and_not_obeyed(monkeypatch, capsys):
    overseer = Overseer()
    monkeypatch.setattr(heartbeat, "memory_mb", lambda: 150.0)
    pulse, _, _ = make(overseer, max_rss_mb=100)
    pulse.beat()
    assert overseer.why == []
    assert "max_rss_mb=100 is not obeyed: a new worker takes 150 MiB already" in capsys.readouterr().err
