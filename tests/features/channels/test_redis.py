"""Channels over Redis: two processes' worth of them, a server that goes and comes back, and errors that are said."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cello import App, ConfigError, MissingDependency
from cello.features.channels import ChannelError, Channels
from cello.features.channels.redis_bus import check_redis
from tests.features.channels.conftest import RedisServer


@pytest.fixture
def two(redis_server: RedisServer) -> Iterator[tuple[Channels, Channels]]:
    """What two machines have."""
    prefix = f"test-{uuid.uuid4()}:"
    made = Channels(redis_server.url, prefix=prefix), Channels(redis_server.url, prefix=prefix)
    yield made
    for each in made:
        each.close()


def test_what_one_machine_publishes_the_other_hears_and_itself(two: tuple[Channels, Channels]) -> None:
    here, there = two
    with here.channel("room").subscribe() as mine, there.channel("room").subscribe() as theirs:
        here.channel("room").publish({"from": "here"})
        there.channel("room").publish(b"from there")
        assert [mine.get(10), mine.get(10)] == [{"from": "here"}, b"from there"]
        assert [theirs.get(10), theirs.get(10)] == [{"from": "here"}, b"from there"]


async def test_the_same_from_coroutines(two: tuple[Channels, Channels]) -> None:
    here, there = two
    async with here.channel("room").subscribe() as mine, there.channel("room").subscribe() as theirs:
        await asyncio.gather(*[here.channel("room").publish(number) for number in range(20)])
        heard = [await mine.aget(10) for _ in range(20)]
        assert sorted(heard) == list(range(20))
        assert [await theirs.aget(10) for _ in range(20)] == heard, "all hear all in one order"


def test_a_channel_that_nobody_here_listens_to_any_more_is_left(two: tuple[Channels, Channels]) -> None:
    here, there = two
    for _ in range(3):
        with here.channel("room").subscribe() as mine:
            there.channel("room").publish("again")
            assert mine.get(10) == "again"
    assert here.here().hub.names() == []


@pytest.mark.timeout(60)
def test_a_server_that_comes_back_is_listened_to_again(
    two: tuple[Channels, Channels], redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = two
    caplog.set_level(logging.ERROR, "cello.channels")
    with here.channel("room").subscribe() as mine:
        redis_server.stop()
        with pytest.raises(ChannelError, match="Redis"):
            there.channel("room").publish("into the void")
        redis_server.start()
        heard: Any = None
        while heard is None:  # until the listening connection stands again
            there.channel("room").publish("back")
            try:
                heard = mine.get(0.1)
            except TimeoutError:
                continue
        assert heard == "back"
    assert "the connection to Redis is lost" in caplog.text


def test_handlers_of_two_applications_meet(
    client: Callable[..., Any], gateway: str, coloured: Callable[..., Any], redis_server: RedisServer
) -> None:
    prefix = f"test-{uuid.uuid4()}:"
    apps = [App(), App()]
    for app in apps:
        app.enable_channels(redis_server.url, prefix=prefix)

    def say(request: Any) -> str:
        apps[0].channel("room").publish("hello")
        return "said"

    async def say_async(request: Any) -> str:
        await apps[0].channel("room").publish("hello")
        return "said"

    apps[0].post("/def")(say)
    apps[0].post("/async")(say_async)
    with client(apps[0], gateway) as first, client(apps[1], gateway), apps[1].channel("room").subscribe() as theirs:
        assert [first.post("/def").text, first.post("/async").text] == ["said", "said"]
        assert [theirs.get(10), theirs.get(10)] == ["hello", "hello"]


def test_a_bad_url_is_refused_when_it_is_switched_on() -> None:
    with pytest.raises(ConfigError, match="URL"):
        App().enable_channels("http://example.com")


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(MissingDependency, match=r"cello\[redis\]"):
        check_redis("redis://localhost")
