"""Rate limits in a real Redis: one limit over several machines, a restart in the middle, and both ways to fail."""

import asyncio
import logging
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from cello import App, ConfigError, RateLimitConfig, RedisConfig
from cello.features.rate_limit import redis_store
from cello.features.rate_limit.redis_store import RedisStore
from tests.integration.redis_server import RedisServer
from tests.serve.program import Program, free_port, get

pytest.importorskip("redis")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


def make_app(redis, config, coloured=lambda handler: handler, **options):
    app = App()
    name = uuid.uuid4().hex
    options = {"redis_timeout_ms": 10_000, **options}  # a busy machine is not what is tested
    app.enable_rate_limit(config, redis=redis.url, key_func=lambda request: name, **options)
    app.get("/")(coloured(lambda: "hello"))
    return app


CONFIGS = {
    "token bucket": RateLimitConfig.token_bucket(3, 60),
    "sliding window": RateLimitConfig.sliding_window(3, 60),
    "adaptive": RateLimitConfig.adaptive(3, 60),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_limit_in_redis_is_the_same_everywhere(serve, coloured, redis, config):
    with serve(make_app(redis, config, coloured)) as client:
        answers = [client.get("/") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    expected = 60 if config.algorithm == "sliding_window" else 20
    assert int(answers[3].headers["retry-after"]) in (expected, expected - 1)


def test_the_redis_of_the_application_will_do(client, redis):
    app = App()
    app.enable_rate_limit("1/hour", redis=True, redis_timeout_ms=10_000, key_func=lambda request: "client")
    app.enable_redis(RedisConfig(url=redis.url, key_prefix="mine:"))
    app.get("/")(lambda: "hello")
    app.get("/users/{id}", rate_limit="1/hour")(lambda id: id)
    with client(app, "asgi") as opened:
        assert [opened.get("/").status for _ in range(2)] == [200, 429]
        assert [opened.get(f"/users/{number}").status for number in range(2)] == [200, 429]


def test_without_redis_there_is_none_to_take(client):
    app = App()
    app.enable_rate_limit("1/hour", redis=True)
    with pytest.raises(ConfigError, match=r"call enable_redis\(\)"), client(app, "asgi"):
        pass


def test_machines_share_one_limit(redis):
    async def ask(store, count):
        config = RateLimitConfig.token_bucket(50, 3_600)
        taken = [await store.take("shared", config, 50, "client") for _ in range(count)]
        return sum(1 for each in taken if each is not None and each.wait_ns == 0)

    async def ask_all():
        stores = [RedisStore(redis.url, 30) for _ in range(3)]
        passed = await asyncio.gather(*(ask(store, 40) for store in stores))
        for store in stores:
            await store.close()
        return sum(passed)

    assert asyncio.run(ask_all()) == 50


def test_high_limits_are_counted_in_steps(redis):
    async def ask():
        store = RedisStore(redis.url, 30)
        config = RateLimitConfig.sliding_window(1_001, 3_600)
        taken = [await store.take("high", config, 1_001, "client") for _ in range(1_003)]
        await store.close()
        return taken

    taken = asyncio.run(ask())
    assert [each.wait_ns == 0 for each in taken] == [True] * 1_001 + [False] * 2
    assert 3_500 * 10**9 < taken[-1].wait_ns <= 3_660 * 10**9


def test_a_window_moves_on_by_the_clock_of_redis(redis):
    async def ask():
        store = RedisStore(redis.url, 30)
        config = RateLimitConfig.sliding_window(2, 0.2)
        first = [await store.take("moving", config, 2, "client") for _ in range(3)]
        await asyncio.sleep(first[2].wait_ns / 1e9)
        again = await store.take("moving", config, 2, "client")
        await store.close()
        return [each.wait_ns == 0 for each in (*first, again)]

    assert asyncio.run(ask()) == [True, True, False, True]


@pytest.mark.parametrize("failing", ["open", "closed"])
def test_a_restart_is_survived(tmp_path, client, monkeypatch, caplog, failing):
    monkeypatch.setattr(redis_store, "PAUSE_S", 0.0)
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        app = make_app(redis, RateLimitConfig.token_bucket(2, 3_600), on_redis_failure=failing)
        with client(app, "asgi") as opened:
            assert [opened.get("/").status for _ in range(3)] == [200, 200, 429]
            redis.kill()
            with caplog.at_level(logging.WARNING, "cello"):
                lost = [opened.get("/") for _ in range(3)]
            assert "rate limits cannot be counted, Redis does not answer" in caplog.text
            assert {answer.status for answer in lost} == {200 if failing == "open" else 503}
            if failing == "closed":
                assert lost[0].headers["retry-after"] == "1"
            redis.start()
            # It has forgotten counts and scripts: the limit begins anew, the script is sent again.
            assert [opened.get("/").status for _ in range(3)] == [200, 200, 429]
    finally:
        redis.kill()


def test_a_redis_that_is_down_is_not_asked_for_a_while(tmp_path):
    redis = RedisServer(tmp_path)
    redis.start()
    redis.kill()
    url = redis.url

    async def ask():
        store = RedisStore(url, 30)
        config = RateLimitConfig.token_bucket(1, 60)
        first = await store.take("down", config, 1, "client")
        clients = dict(store._clients)
        store._clients.clear()
        second = await store.take("down", config, 1, "client")
        asked_again = bool(store._clients)
        store._clients.update(clients)
        await store.close()
        return first, second, asked_again, store.failures

    assert asyncio.run(ask()) == (None, None, False, 2)


APP = """
import os
from cello import App

app = App()
app.enable_rate_limit("60/day", redis=os.environ["TEST_REDIS"], on_redis_failure="closed", redis_timeout_ms=10_000)
app.get("/")(lambda: "hello")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_two_machines_of_two_workers_share_one_limit(tmp_path, redis):
    (tmp_path / "app.py").write_text(APP)
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        for port in ports:
            words = ("-m", "cello", "run", "app:app", "--workers", "2", "--no-logs", "--port", str(port))
            stack.enter_context(Program(*words, folder=tmp_path, environment={"TEST_REDIS": redis.url})).listening()
        with ThreadPoolExecutor(6) as threads:
            asked = [threads.submit(get, f"http://127.0.0.1:{ports[number % 2]}", "/") for number in range(90)]
            statuses = [each.result()[0] for each in asked]
    assert (statuses.count(200), statuses.count(429)) == (60, 30)
