"""Sessions in a real Redis: what is in it, and what happens when it goes away."""

import sys
from uuid import uuid4

import pytest
import redis

from cello import App, ConfigError, MissingDependency, SessionConfig
from tests.integration.redis_server import RedisServer, running


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis")) as url:
        yield url


def make_app(coloured, url, **fields):
    app = App()
    app.enable_session(SessionConfig(store=url, cookie_secure=False, **fields))

    @app.get("/count")
    @coloured
    def count(request):
        request.session["n"] = request.session.get("n", 0) + 1
        return request.session["n"]

    app.get("/end")(coloured(lambda request: request.session.destroy()))
    app.get("/blind")(coloured(lambda: "blind"))
    return app


def test_what_redis_holds_names_nobody_and_expires(serve, coloured, redis_url):
    name = f"sid-{uuid4().hex[:8]}"
    with (
        serve(make_app(coloured, redis_url, cookie_name=name, max_age=500)) as client,
        redis_client(redis_url) as redis,
    ):
        client.get("/count")
        (key,) = redis.keys(f"cello:session:{name}:*")
        cookie = client.cookies[name]
        assert cookie.encode() not in key
        assert 490 < redis.ttl(key) <= 500
        assert redis.zcard(f"cello:sessions:{name}") == 1
        assert client.get("/count").json() == 2
        client.get("/end")
        assert redis.keys(f"cello:session*:{name}*") == []


def test_two_applications_share_it(client, redis_url):
    name = f"sid-{uuid4().hex[:8]}"
    first, second = (client(make_app(lambda each: each, redis_url, cookie_name=name)) for _ in range(2))
    first.get("/count")
    second.cookies[name] = first.cookies[name]
    assert second.get("/count").json() == 2
    assert first.get("/count").json() == 3


def redis_client(url):
    return redis.Redis.from_url(url)


def test_an_outage_is_503_for_who_looks_and_ends_with_it(serve, coloured, tmp_path, caplog):
    server = RedisServer(tmp_path)
    server.start()
    try:
        with serve(make_app(coloured, server.url)) as client:
            assert client.get("/count").json() == 1
            server.kill()
            refused = client.get("/count")
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert "127.0.0.1" not in refused.text
            assert client.get("/blind").text == "blind"
            client.cookies.clear()
            assert client.get("/count").status == 503  # nothing to fetch, but nowhere to keep it
            assert "sessions cannot be reached in Redis" in caplog.text
            server.start()
            assert client.get("/count").json() == 1
            assert client.get("/count").json() == 2
    finally:
        server.kill()


async def test_health_checks_ask_redis(redis_url):
    app = make_app(lambda handler: handler, redis_url)
    (check,) = app._host.checks()
    assert (check.name, check.is_critical) == ("sessions", True)
    await check.run()
    await app.feature("session").store.stop()


def test_it_needs_redis(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingDependency, match=r"cello\[redis\]"):
        App().enable_session(SessionConfig(store="redis://127.0.0.1"))


def test_a_url_that_cannot_be_read_is_refused_without_its_password():
    with pytest.raises(ConfigError, match=r"SessionConfig.store: the Redis URL") as refused:
        App().enable_session(SessionConfig(store="redis://me:hunter2@host:port"))
    assert "hunter2" not in str(refused.value)
