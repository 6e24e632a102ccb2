"""Channels: what publishing costs, by who listens and by bus; `pytest bench/micro/test_channels.py`."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from cello import WebSocket
from cello.features.channels import Channels
from cello.features.channels.bus import LocalBus
from cello.features.channels.feature import Here
from cello.features.channels.hub import Hub
from cello.features.channels.ring_bus import RingBus
from cello.shared.arena import Arena
from cello.shared.ring import RingLayout


@pytest.fixture(params=["one process", "ring"])
def channels(request: pytest.FixtureRequest) -> Iterator[Channels]:
    hub, layout = Hub(), RingLayout()
    made = Channels()
    fd = os.memfd_create("cello-bench")
    ring = layout.open(Arena(fd, 1 << 24).claim("bench", "ring", "", layout.size))
    made._here = Here(os.getpid(), hub, RingBus(hub, ring) if request.param == "ring" else LocalBus(hub))
    yield made
    made.close()
    os.close(fd)


def test_publish_to_nobody(benchmark: Any, channels: Channels) -> None:
    benchmark(channels.channel("room").publish, "hello")


@pytest.mark.parametrize("count", [1, 100])
def test_publish_to_subscriptions(benchmark: Any, channels: Channels, count: int) -> None:
    room = channels.channel("room")
    listening = [room.subscribe() for _ in range(count)]
    benchmark(room.publish, "hello")
    assert all(each.waiting for each in listening)


def test_publish_to_a_hundred_members(benchmark: Any, channels: Channels) -> None:
    room = channels.channel("room")
    sockets = [WebSocket() for _ in range(100)]
    for socket in sockets:
        room.join(socket)
    benchmark.pedantic(room.publish, ("hello",), rounds=500)


def test_publish_and_read(benchmark: Any, channels: Channels) -> None:
    room = channels.channel("room")
    listening = room.subscribe()

    def once() -> Any:
        room.publish({"user": "ada", "text": "hello"})
        return listening.get()

    assert benchmark(once) == {"user": "ada", "text": "hello"}
