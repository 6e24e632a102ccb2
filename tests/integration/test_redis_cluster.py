"""What keeps its state in Redis, on a cluster of three nodes: keys of one feature lie on all of them."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cello import App, RateLimitConfig, RedisConfig, cache
from tests.database.servers import RedisServer, redis_cluster

redis = pytest.importorskip("redis")
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster() as nodes:
        yield nodes


@pytest.fixture
def config(cluster: list[RedisServer]) -> RedisConfig:
    return RedisConfig.cluster(
        nodes=[f"127.0.0.1:{node.port}" for node in cluster], pool_size=4, key_prefix=f"{uuid.uuid4().hex}:"
    )


def nodes_with_keys(cluster: list[RedisServer], config: RedisConfig) -> int:
    """Return how many nodes hold something of this test."""
    found = 0
    for node in cluster:
        with redis.Redis(port=node.port) as client:
            found += any(client.scan_iter(f"{config.key_prefix}*", count=10_000))
    return found


LIMITS = {
    "token bucket": RateLimitConfig.token_bucket(3, 3_600),
    "exact window": RateLimitConfig.sliding_window(3, 3_600),
    "adaptive": RateLimitConfig.adaptive(3, 3_600),
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_limits_of_many_clients_are_exact(
    serve: Any, coloured: Any, cluster: list[RedisServer], config: RedisConfig, limit: RateLimitConfig
) -> None:
    app = App()
    app.enable_rate_limit(
        limit, redis=config, redis_timeout_ms=20_000, key_func=lambda request: request.query.get("client")
    )
    app.get("/users/{id}")(coloured(lambda id: id))
    with serve(app) as client:
        for name in range(12):
            answers = [client.get(f"/users/{n}?client={name}").status for n in range(4)]
            assert answers == [200, 200, 200, 429]
    assert nodes_with_keys(cluster, config) == 3


def test_a_high_limit_is_counted_in_steps(client: Any, config: RedisConfig) -> None:
    app = App()
    limit = RateLimitConfig.sliding_window(1_001, 3_600)
    app.enable_rate_limit(limit, redis=config, redis_timeout_ms=20_000, key_func=lambda request: "one")
    app.get("/")(lambda: "hello")
    with client(app) as opened:
        statuses = [opened.get("/").status for _ in range(1_003)]
    assert statuses == [200] * 1_001 + [429] * 2


def make_shop(coloured: Any, store: Any, calls: list[str]) -> App:
    app = App()
    app.enable_caching(store=store)

    @coloured
    def item(id: str) -> Any:
        calls.append(id)
        return {"id": id, "calls": len(calls)}

    app.get("/items/{id}")(cache(tags=["items"])(item))
    app.post("/drop")(coloured(lambda: app.invalidate_cache(["items"]) and None))
    return app


def test_a_cache_is_one_for_all_machines(
    client: Any, gateway: str, coloured: Any, cluster: list[RedisServer], config: RedisConfig
) -> None:
    calls: list[str] = []
    here, there = (client(make_shop(coloured, config, calls), gateway) for _ in range(2))
    paths = [f"/items/{number}" for number in range(20)]
    for path in paths:
        assert [each.get(path).headers.get("x-cache") for each in (here, there)] == ["MISS", "HIT"]
    assert len(calls) == 20
    assert nodes_with_keys(cluster, config) == 3
    assert there.post("/drop").status == 204
    assert [here.get(path).headers.get("x-cache") for path in paths] == ["MISS"] * 20
    assert len(calls) == 40


def test_the_cache_of_an_application_that_has_the_cluster(serve: Any, coloured: Any, config: RedisConfig) -> None:
    app = make_shop(coloured, "redis", [])
    app.enable_redis(config)
    with serve(app) as client:
        assert [client.get("/items/1").headers.get("x-cache") for _ in range(2)] == ["MISS", "HIT"]
        assert client.post("/drop").status == 204
        assert client.get("/items/1").headers.get("x-cache") == "MISS"
