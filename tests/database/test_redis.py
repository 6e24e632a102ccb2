"""Redis in both colours, on a server, on a cluster, over TLS, and while servers come and go."""

import asyncio
import inspect
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, Depends, RedisConfig
from cello.database import LockError, Redis, RedisError, RedisMessage, RedisUnavailable, WrongColour
from cello.testing import TestClient
from tests.database.servers import RedisServer, command, redis_cluster, running
from tests.integration.hosts import free_port

pytest.importorskip("redis")


@pytest.fixture
def prefix(table: str) -> str:
    return f"{table}:"


@pytest.fixture
async def redis(redis_url: str, prefix: str) -> AsyncIterator[Redis]:
    async with await Redis.connect(RedisConfig(redis_url, key_prefix=prefix)) as client:
        yield client
        async for key in client.scan():
            await client.delete(key)


@pytest.fixture
def call(redis: Redis, colour: str) -> Callable[..., Any]:
    """Call a method in the colour at hand, off the loop where it blocks."""

    async def by_name(name: str, *args: Any, **named: Any) -> Any:
        if colour == "async":
            return await getattr(redis, name)(*args, **named)
        return await asyncio.to_thread(getattr(redis.blocking, name), *args, **named)

    return by_name


async def test_values(call: Callable[..., Any]) -> None:
    assert await call("ping") is True
    assert await call("get", "a") is None
    assert await call("set", "a", "ünï") is True
    assert await call("get", "a") == "ünï"
    assert await call("set", "a", "2", nx=True) is False
    assert await call("set", "b", "2", xx=True) is False
    assert await call("set", "raw", b"\xff\x00") is True
    assert await call("get_bytes", "raw") == b"\xff\x00"
    assert (await call("get", "raw")).encode("utf-8", "surrogateescape") == b"\xff\x00"
    assert await call("mget", "a", "none", "raw") == ["ünï", None, "\udcff\x00"]
    assert await call("mget", ["a"]) == ["ünï"]
    assert await call("exists", "a", "raw", "none") == 2
    assert await call("delete", "a", "none") == 1
    assert await call("command", "ECHO", "x") == b"x"


async def test_ttls(call: Callable[..., Any]) -> None:
    assert await call("ttl", "t") == -2
    await call("set", "t", 1)
    assert await call("ttl", "t") == -1
    assert await call("expire", "t", 100) is True
    assert 98 <= await call("ttl", "t") <= 100
    assert await call("expire", "none", 5) is False
    for named in ({"ttl": 50}, {"ex": 50}, {"px": 50_000}, {"ttl": timedelta(seconds=50)}, {"ttl": 49.7}):
        await call("set", "t", 1, **named)
        assert 48 <= await call("ttl", "t") <= 50
    await call("set", "t", 2, keep_ttl=True)
    assert await call("ttl", "t") > 40
    assert await call("setex", "t", 70, "x") is True
    assert 68 <= await call("ttl", "t") <= 70


async def test_numbers_hashes_lists_and_sets(call: Callable[..., Any]) -> None:
    assert [await call("incr", "n"), await call("incrby", "n", 5), await call("decr", "n")] == [1, 6, 5]
    assert await call("decrby", "n", 3) == 2
    assert await call("hset", "h", "a", 1) == 1
    assert await call("hset", "h", {"b": "2"}, c=3.5) == 2
    assert await call("hget", "h", "b") == "2"
    assert await call("hget", "h", "none") is None
    assert await call("hgetall", "h") == {"a": "1", "b": "2", "c": "3.5"}
    assert await call("hgetall", "none") == {}
    assert await call("hdel", "h", "a", "x") == 1
    assert await call("rpush", "l", "b", "c") == 2
    assert await call("lpush", "l", "a") == 3
    assert await call("lrange", "l") == ["a", "b", "c"]
    assert await call("lrange", "l", 1, 1) == ["b"]
    assert [await call("lpop", "l"), await call("rpop", "l"), await call("llen", "l")] == ["a", "c", 1]
    assert await call("lpop", "none") is None
    assert await call("sadd", "s", "x", "y", "x") == 2
    assert await call("smembers", "s") == {"x", "y"}
    assert await call("sismember", "s", "x") is True
    assert await call("srem", "s", "x", "z") == 1


async def test_lua(call: Callable[..., Any], prefix: str) -> None:
    script = "redis.call('SET', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], 7}"
    assert await call("eval", script, ["k"], ["v"]) == [f"{prefix}k", "v", 7]
    sha = await call("script_load", script)
    assert await call("evalsha", sha, ["k"], ["w"]) == [f"{prefix}k", "w", 7]
    assert await call("get", "k") == "w"
    with pytest.raises(RedisError, match=r"NOSCRIPT|No matching script"):
        await call("evalsha", "0" * 40)


WRONG: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], str]] = {
    "two ends of life": ("set", ("a", 1), {"ex": 1, "px": 1}, "one of ttl, ex, px"),
    "contradicting conditions": ("set", ("a", 1), {"nx": True, "xx": True}, "one of nx and xx"),
    "a ttl that is none": ("set", ("a", 1), {"ttl": 0}, "above 0"),
    "a key that is none": ("get", (7,), {}, "a key is text"),
    "a value that is none": ("set", ("a", {"x": 1}), {}, "Invalid input|must be str"),
    "another type": ("command", ("NOSUCHCOMMAND",), {}, "unknown command"),
    "a hash without fields": ("hset", ("a",), {}, "needs a field"),
}


@pytest.mark.parametrize(("name", "args", "named", "words"), WRONG.values(), ids=WRONG.keys())
async def test_what_cannot_work_is_a_redis_error(
    call: Callable[..., Any], name: str, args: tuple[Any, ...], named: dict[str, Any], words: str
) -> None:
    with pytest.raises(RedisError, match=words):
        await call(name, *args, **named)


async def test_keys_have_the_prefix_of_the_config(redis: Redis, redis_url: str, prefix: str) -> None:
    await redis.set("a", "1")
    async with await Redis.connect(redis_url) as plain:
        assert await plain.get(f"{prefix}a") == "1"
    assert [key async for key in redis.scan("a*")] == ["a"]
    assert await asyncio.to_thread(lambda: list(redis.blocking.scan("a*"))) == ["a"]


async def test_keys_live_as_long_as_the_config_says(redis_url: str, prefix: str) -> None:
    async with await Redis.connect(RedisConfig(redis_url, key_prefix=prefix, default_ttl=40)) as redis:
        await redis.set("d", 1)
        assert 38 <= await redis.ttl("d") <= 40
        await redis.set("d", 1, ttl=90)
        assert await redis.ttl("d") > 80
        await redis.delete("d")


async def test_pipelines_answer_in_order(redis: Redis) -> None:
    async with redis.pipeline() as pipe:
        pipe.set("p", 1).incr("p").get("p").hset("ph", a=1).hgetall("ph").smembers("none")
        assert len(pipe) == 6
        assert await pipe.execute() == [True, 2, "2", 1, {"a": "1"}, set()]
        assert await pipe.execute() == []

    def blocking() -> Any:
        with redis.blocking.pipeline(transaction=False) as pipe:
            return pipe.incr("p").get("p").execute()

    assert await asyncio.to_thread(blocking) == [3, "3"]
    pipe = redis.pipeline()
    pipe.set("q", "text").lpush("q", 1).set("r", 1)
    with pytest.raises(RedisError, match="WRONGTYPE"):
        await pipe.execute()
    assert await redis.get("r") == "1"


async def test_messages_are_an_iterator(redis: Redis) -> None:
    async with redis.subscribe("news", patterns=["log.*"]) as messages:
        assert await redis.publish("news", "a") == 1
        await redis.publish("log.web", b"\xff")
        found = []
        async for message in messages:
            found.append(message)
            if len(found) == 2:
                break
    assert found == [RedisMessage("news", "a", b"a", None), RedisMessage("log.web", "\udcff", b"\xff", "log.*")]

    heard: list[str] = []
    with redis.blocking.subscribe("news", timeout=20) as plain:
        await redis.publish("news", "b")
        for message in plain:
            heard.append(message.data)
            break
    assert heard == ["b"]
    assert [message for message in redis.blocking.subscribe("news", timeout=0.05)] == []  # noqa: C416


async def test_locks_exclude_each_other(redis: Redis) -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        async with redis.lock("l", ttl=20):
            seen.append(name)
            await asyncio.sleep(0.01)
            seen.append(name)

    await asyncio.gather(*(work(str(number)) for number in range(4)))
    assert all(seen[at] == seen[at + 1] for at in range(0, 8, 2))
    async with redis.lock("l"):
        with pytest.raises(LockError, match="was not free within 0"):
            async with redis.lock("l", wait=0):
                pass

        def blocking() -> None:
            with redis.blocking.lock("l", wait=0.05):
                pass

        with pytest.raises(LockError):
            await asyncio.to_thread(blocking)
    with pytest.raises(LockError):
        async with redis.lock("l"):
            await redis.delete("l")
    assert await redis.exists("l") == 0


async def test_more_callers_than_connections_wait(redis_url: str) -> None:
    async with await Redis.connect(RedisConfig(redis_url, pool_size=3)) as redis:
        assert await asyncio.gather(*(redis.command("ECHO", str(n)) for n in range(200))) == [
            str(n).encode() for n in range(200)
        ]
        assert len(await redis.raw.client_list()) >= 1

        def many() -> Any:
            found: list[Any] = []
            threads = [threading.Thread(target=lambda: found.append(redis.blocking.ping())) for _ in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            return found

        assert await asyncio.to_thread(many) == [True] * 50


async def test_an_exhausted_pool_is_a_clear_error(redis_url: str, prefix: str) -> None:
    config = RedisConfig(redis_url, pool_size=1, connection_timeout_secs=0.3, key_prefix=prefix)
    async with await Redis.connect(config) as redis:
        pool = redis.raw.connection_pool
        try:
            held = await pool.get_connection()
        except TypeError:  # before redis-py 5.3 it wanted to know what for
            held = await pool.get_connection("PING")
        try:
            with pytest.raises(RedisUnavailable, match="No connection available"):
                await redis.ping()
        finally:
            await redis.raw.connection_pool.release(held)
        assert await redis.ping()


async def test_a_killed_connection_is_replaced(redis_url: str, prefix: str, colour: str) -> None:
    async with (
        await Redis.connect(RedisConfig(redis_url, key_prefix=prefix)) as redis,
        await Redis.connect(redis_url) as admin,
    ):
        ask = redis.ping if colour == "async" else lambda: asyncio.to_thread(redis.blocking.ping)
        own = (lambda: redis.command("CLIENT", "ID")) if colour == "async" else (lambda: asyncio.to_thread(redis.blocking.command, "CLIENT", "ID"))  # fmt: skip  # noqa: E501
        for _ in range(3):
            number = await own()
            await admin.command("CLIENT", "KILL", "ID", number)
            assert await ask() is True


def test_a_server_that_restarts(colour: str) -> None:
    async def scenario(server: RedisServer) -> None:
        async with await Redis.connect(RedisConfig(server.url, connection_timeout_secs=2)) as redis:

            async def ask() -> Any:
                return await (redis.ping() if colour == "async" else asyncio.to_thread(redis.blocking.ping))

            async with redis.subscribe("news") as messages:
                assert await ask()
                server.kill()
                with pytest.raises(RedisUnavailable):
                    await ask()
                server.start()
                assert await ask()
                heard = asyncio.create_task(anext(aiter(messages)))
                while not heard.done():  # until the subscription is there again
                    await redis.publish("news", "back")
                    await asyncio.sleep(0.02)
                assert heard.result().data == "back"

    with running(RedisServer()) as server:
        asyncio.run(scenario(server))  # type: ignore[arg-type]


# TLS


def make_certificates(folder: Path) -> None:
    """Make an authority, and a certificate for 127.0.0.1."""
    openssl = command("openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority", "-days", "2")
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
    run("x509", "-req", "-in", "server.csr", "-out", "server.crt", *signed)


async def test_tls_is_verified(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    port = free_port()
    files = ["--tls-cert-file", f"{tmp_path}/server.crt", "--tls-key-file", f"{tmp_path}/server.key"]
    options = ["--tls-port", str(port), *files, "--tls-auth-clients", "no", "--requirepass", "p:w"]
    with running(RedisServer(*options)):
        url = f"rediss://:p%3Aw@127.0.0.1:{port}"
        async with await Redis.connect(RedisConfig(url, tls_ca_file=f"{tmp_path}/ca.crt")) as redis:
            assert await redis.set("a", 1)
            assert await asyncio.to_thread(redis.blocking.get, "a") == "1"
        with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            await Redis.connect(RedisConfig(url))


# A cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    with redis_cluster() as nodes:
        yield nodes


async def test_a_cluster(cluster: list[RedisServer]) -> None:
    config = RedisConfig.cluster(nodes=[f"127.0.0.1:{node.port}" for node in cluster], pool_size=4)
    async with await Redis.connect(config) as redis:
        await asyncio.gather(*(redis.set(f"k{n}", n) for n in range(60)))
        assert await asyncio.gather(*(redis.get(f"k{n}") for n in range(60))) == [str(n) for n in range(60)]
        owners = {redis.raw.get_node_from_key(f"k{n}").port for n in range(60)}
        assert len(owners) == 3
        await redis.set("{user:1}:a", 1)
        await redis.set("{user:1}:b", 2)
        assert await redis.mget("{user:1}:a", "{user:1}:b") == ["1", "2"]
        with pytest.raises(RedisError, match="one hash tag"):
            await redis.mget("k1", "k2", "k3")
        assert await redis.eval("return {KEYS[1], ARGV[1]}", ["{x}k"], ["v"]) == ["{x}k", "v"]
        async with redis.pipeline() as pipe:
            assert await pipe.set("{u}a", 1).get("{u}a").execute() == [True, "1"]
        async with redis.lock("{u}lock"):
            assert await redis.exists("{u}lock") == 1
        blocking = redis.blocking
        assert await asyncio.to_thread(blocking.get, "k7") == "7"
        assert await asyncio.to_thread(lambda: blocking.mget("{user:1}:a", "{user:1}:b")) == ["1", "2"]
        assert len([key async for key in redis.scan("k*")]) == 60
        async with redis.subscribe("news") as messages:
            await redis.publish("news", "x")
            assert (await anext(aiter(messages))).data == "x"


async def test_a_cluster_by_its_url(cluster: list[RedisServer]) -> None:
    async with await Redis.connect(RedisConfig(cluster[1].url, cluster_mode=True, key_prefix="p:")) as redis:
        await redis.set("{a}", "1")
        assert await redis.get("{a}") == "1"


# The switch


def make_app(url: str, prefix: str, colour: str) -> App:
    app = App()
    app.enable_redis(RedisConfig(url, key_prefix=prefix))
    if colour == "def":

        @app.get("/by-request/{key}")
        def by_request(request: Any, key: str) -> Any:
            request.redis.incr(key)
            return {"value": request.app.redis.get(key)}

        @app.get("/by-name/{key}")
        def by_name(key: str, redis: Any = Depends("redis")) -> Any:
            return {"count": redis.delete(key)}

    else:

        @app.get("/by-request/{key}")
        async def by_request(request: Any, key: str) -> Any:
            await request.redis.incr(key)
            return {"value": await request.app.redis.get(key)}

        @app.get("/by-name/{key}")
        async def by_name(key: str, redis: Any = Depends("redis")) -> Any:
            return {"count": await redis.delete(key)}

    return app


def test_handlers_use_redis(serve: Callable[..., Any], redis_url: str, prefix: str, colour: str) -> None:
    client = serve(make_app(redis_url, prefix, colour))
    assert [client.get("/by-request/n").json() for _ in range(3)] == [{"value": str(n)} for n in (1, 2, 3)]
    assert client.get("/by-name/n").json() == {"count": 1}


def test_an_unreachable_redis_fails_the_start_or_is_503(serve: Callable[..., Any], colour: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    with pytest.raises(RedisUnavailable), TestClient(make_app(url, "", colour)):
        pass
    app = App()
    app.enable_redis(url, startup="lazy")
    if colour == "def":
        app.get("/")(lambda request: request.redis.ping())
    else:

        @app.get("/")
        async def ask(request: Any) -> Any:
            return await request.redis.ping()

    answer = serve(app).get("/")
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text


def test_a_redis_of_the_applications_own_says_how_def_handlers_use_it(
    serve: Callable[..., Any], redis_url: str
) -> None:
    app = App()

    @app.on_event("startup")
    async def start() -> None:
        app.state.cache = await Redis.connect(redis_url)

    @app.on_event("shutdown")
    async def stop() -> None:
        await app.state.cache.disconnect()

    @app.get("/def")
    def from_def(request: Any) -> Any:
        with pytest.raises(WrongColour, match=r"use \.blocking"):
            request.app.state.cache.get("a")
        return request.app.state.cache.blocking.ping()

    assert serve(app).get("/def").json() is True


def test_the_reference_pages_example_is_accepted(redis_url: str) -> None:
    app = App()
    app.enable_redis(RedisConfig(url="redis://localhost:6379", pool_size=10, cluster_mode=False))
    with pytest.raises(ConfigError, match=r"call app\.enable_redis\(\) first"):
        App().redis  # noqa: B018


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "another scheme": ({"url": "http://x"}, "must begin with"),
    "a database that is none": ({"url": "redis://x/abc"}, "database is a number"),
    "two databases": ({"url": "redis://x/1", "database": 2}, "says database 1"),
    "two passwords": ({"url": "redis://:a@x", "password": "b"}, "different passwords"),
    "an unknown option": ({"url": "redis://x?foo=1"}, "knows no option 'foo'"),
    "a cluster's database": ({"cluster_mode": True, "database": 1}, "database 0 only"),
    "nodes without a cluster": ({"nodes": ["x:1"]}, "cluster_mode=True"),
    "an authority without TLS": ({"tls_ca_file": "x"}, "without TLS"),
    "an unknown field": ({"poolsize": 1}, "pool_size"),
}


@pytest.mark.parametrize(("fields", "words"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_cannot_work_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RedisConfig(**fields)


def test_both_colours_have_the_same_methods() -> None:
    from cello.database.redis.blocking import BlockingRedis

    def names(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}

    assert names(Redis) - names(BlockingRedis) == {"aio", "connect"}
