"""The same cache over several machines: in a real Redis, also while that is gone and when it comes back."""

import os
import uuid

import pytest

from cello import App, ConfigError, RedisConfig, cache
from cello.features.cache.feature import Caching
from cello.features.cache.redis import RedisStore
from tests.features.cache.rows import ROWS
from tests.features.cache.test_rules import EVERYWHERE, Clock, make_app, play
from tests.features.cache.test_workers import APP, ask
from tests.integration.redis_server import RedisServer, running
from tests.serve.program import Program, free_port


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
def prefix():
    return f"test-{os.getpid()}-{uuid.uuid4().hex[:8]}:"


@pytest.fixture
def own(tmp_path):
    """A Redis that may be stopped."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Ask Redis again at once after it failed."""
    monkeypatch.setattr("cello.features.cache.redis.PAUSE_S", 0.0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row(client, url, prefix, row):
    clock = Clock()
    row = with_redis(row, url, prefix)
    app = make_app(row, clock)
    play(client(app, raise_server_exceptions=False), app, row, clock)


@pytest.mark.parametrize("row", [row for row in ROWS if row.id in EVERYWHERE], ids=lambda row: row.id)
def test_a_row_everywhere(serve, coloured, url, prefix, row):
    clock = Clock()
    row = with_redis(row, url, prefix)
    app = make_app(row, clock, coloured)
    play(serve(app), app, row, clock)


def with_redis(row, url, prefix):
    return type(row)(row.id, row.section, row.answers, row.asks, row.ttl, {"store": url, "key_prefix": prefix})


def shop(coloured, store, prefix, **options):
    """Return an application that counts its calls, and drops them by tag."""
    app = App()
    app.enable_caching(store=store, key_prefix=prefix, **options)
    calls = []

    @coloured
    def item():
        calls.append(1)
        return {"calls": len(calls)}

    app.get("/item")(cache(tags=["item"])(item))
    app.post("/drop")(coloured(lambda: app.invalidate_cache(["item"]) and None))
    return app


def labels(client, times=2):
    return [client.get("/item").headers.get("x-cache") for _ in range(times)]


def test_one_machine_has_what_another_made_and_sees_what_it_drops(client, gateway, coloured, url, prefix):
    here, there = (client(shop(coloured, RedisConfig(url=url), prefix), gateway) for _ in range(2))
    assert labels(here) == ["MISS", "HIT"]
    assert labels(there) == ["HIT", "HIT"]
    assert there.post("/drop").status == 204
    assert labels(here) == ["MISS", "HIT"]
    assert labels(there) == ["HIT", "HIT"]


def test_the_applications_own_redis_serves(serve, coloured, url, prefix):
    app = shop(coloured, "redis", prefix)
    app.enable_redis(url)
    with serve(app) as client:
        assert labels(client) == ["MISS", "HIT"]
        client.post("/drop")
        assert labels(client) == ["MISS", "HIT"]


@pytest.mark.usefixtures("impatient")
def test_fail_open_runs_handlers_while_redis_is_gone(serve, coloured, own, prefix):
    with serve(shop(coloured, own.url, prefix)) as client:
        assert labels(client) == ["MISS", "HIT"]
        own.kill()
        assert labels(client) == ["BYPASS", "BYPASS"]
        assert client.post("/drop").status == 204
        own.start()
        assert labels(client, 3) == ["MISS", "HIT", "HIT"]
        assert client.get("/item").json() == {"calls": 4}


@pytest.mark.usefixtures("impatient")
def test_fail_closed_answers_503_while_redis_is_gone(serve, coloured, own, prefix):
    with serve(shop(coloured, own.url, prefix, fail="closed")) as client:
        assert labels(client) == ["MISS", "HIT"]
        own.kill()
        assert [client.get("/item").status for _ in range(2)] == [503, 503]
        own.start()
        assert labels(client) == ["MISS", "HIT"]


@pytest.mark.usefixtures("impatient")
def test_what_was_dropped_while_redis_was_out_of_reach_is_dropped_when_it_is_back(client, own, prefix):
    """The Redis keeps its data, as one behind a network that failed does."""
    app = shop(lambda handler: handler, own.url, prefix)
    opened = client(app)
    assert labels(opened) == ["MISS", "HIT"]
    store = app.feature("caching")._store
    reachable, store.redis = store.redis, type(store.redis)("redis://127.0.0.1:1")
    assert opened.post("/drop").status == 204
    store.redis = reachable
    assert labels(opened) == ["MISS", "HIT"]


def test_nobody_waits_for_a_redis_that_did_not_answer_a_moment_ago(client, prefix, monkeypatch):
    app = shop(lambda handler: handler, "redis://127.0.0.1:1", prefix)
    opened = client(app)
    asked = []
    monkeypatch.setattr(RedisStore, "failed", lambda self, error: asked.append(error))
    assert labels(opened) == ["BYPASS", "BYPASS"]
    assert asked == []


def test_generations_that_redis_lost_bring_nothing_back(client, own, prefix):
    import redis

    app = shop(lambda handler: handler, own.url, prefix)
    opened = client(app)
    assert labels(opened) == ["MISS", "HIT"]
    opened.post("/drop")
    redis.Redis.from_url(own.url).delete(f"{prefix}g")
    assert labels(opened) == ["MISS", "HIT"]


def test_a_claim_of_another_machine_is_waited_for_and_lapses(client, own, prefix):
    import redis

    app = shop(lambda handler: handler, own.url, prefix)
    opened = client(app)
    store = app.feature("caching")._store
    raw = redis.Redis.from_url(own.url)
    raw.set(store._claim("http://testserver/item"), "another", px=300)
    assert labels(opened) == ["MISS", "HIT"]
    assert raw.get(store._claim("http://testserver/item")) is None, "the claim was taken over, and given up"


def test_fail_closed_does_not_start_without_redis(prefix):
    app = shop(lambda handler: handler, "redis://127.0.0.1:1", prefix, fail="closed")
    with pytest.raises(Exception, match="Redis does not answer"):
        app.feature("caching")._start()


def test_the_applications_own_redis_must_be_there(prefix):
    app = shop(lambda handler: handler, "redis", prefix)
    with pytest.raises(ConfigError, match=r"needs app.enable_redis"):
        app.feature("caching")._start()


def test_a_word_that_is_no_store_is_refused():
    with pytest.raises(ConfigError, match="store is 'memory', 'redis', a URL or a RedisConfig, not 'disk'"):
        Caching(store="disk").install(App()._host)


def test_two_services_of_two_workers_have_one_cache(tmp_path, own, prefix):
    source = APP.replace("app.enable_caching()", f"app.enable_caching(store={own.url!r}, key_prefix={prefix!r})")
    (tmp_path / "shop.py").write_text(source)
    (tmp_path / "price").write_text("1")
    ports = [free_port(), free_port()]
    command = ["-m", "cello", "run", "shop:app", "--workers", "2", "--port"]
    with (
        Program(*command, str(ports[0]), folder=tmp_path) as one,
        Program(*command, str(ports[1]), folder=tmp_path) as two,
    ):
        urls = [one.listening(), two.listening()]
        assert ask(urls[0])[0] == "MISS"
        assert {ask(url)[0] for url in urls * 8} == {"HIT"}
        (tmp_path / "price").write_text("2")
        ask(urls[1], "/drop", "POST")
        assert ask(urls[0])[0] == "MISS"
        assert {ask(url) for url in urls * 8} == {("HIT", ask(urls[0])[1])}
        assert len((tmp_path / "calls").read_text().split()) == 2
