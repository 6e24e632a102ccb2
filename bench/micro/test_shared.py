"""What shared words, tables and limits take in one process: each check alone, and as a switch around a request.

`python -m pytest bench/micro/test_shared.py`: "a check" is one call on a key that is there already; in "a hundred
requests" the difference to "nothing", divided by a hundred, is what a switch costs one request. Memory is an arena
in a file, as several workers have it; "private" is that of one process.
"""

import asyncio
import os
import time

import pytest

from cello import App, RateLimitConfig, Request, Response
from cello.features.bucket import Bucket, PureBucket
from cello.features.circuit_breaker.machine import SUCCESS, Breaker
from cello.features.rate_limit.windows import ExactWindow, SteppedWindow
from cello.http.head import FieldList
from cello.http.peer import Peer
from cello.shared.arena import Arena, PrivateMemory
from cello.shared.generations import Generations
from cello.shared.layouts import StoreLayout, TableLayout, as_text
from cello.shared.slots import PureSlots, Slots
from cello.shared.table import PureTable, Table

HOUR = 3_600 * 10**9
NOW = time.monotonic_ns()


@pytest.fixture(params=["arena", "private"])
def memory(request):
    if request.param == "private":
        yield PrivateMemory()
        return
    fd = os.memfd_create("cello-bench")
    yield Arena(fd)
    os.close(fd)


def make_table(impl, memory, capacity=100_000, width=1):
    slots_kind, table_kind = (PureSlots, PureTable) if impl == "py" else (Slots, Table)
    layout = TableLayout(capacity=capacity, width=width)
    block = memory.claim("bench", impl, as_text(layout), layout.size)
    slots = slots_kind(block.memory[: layout.size], block.gate, block.secret)
    return table_kind(slots, block.gate, (capacity + 7) // 8, width)


@pytest.mark.benchmark(group="a word")
@pytest.mark.parametrize("way", ["get", "add", "swap"])
def test_a_word(benchmark, impl, memory, way):
    slots = make_table(impl, memory, 64).slots
    do = {"get": lambda: slots.get(9), "add": lambda: slots.add(9, 1), "swap": lambda: slots.swap(9, 0, 0)}[way]
    benchmark(do)


@pytest.mark.benchmark(group="a check")
def test_a_token_bucket_passes(benchmark, impl, memory):
    bucket = (PureBucket if impl == "py" else Bucket)(make_table(impl, memory))
    assert benchmark(bucket.take, "default\x00203.0.113.77", NOW, 1, 1 << 60) > 0


@pytest.mark.benchmark(group="a check")
def test_a_token_bucket_refuses(benchmark, impl, memory):
    bucket = (PureBucket if impl == "py" else Bucket)(make_table(impl, memory))
    bucket.take("default\x00203.0.113.77", NOW, HOUR, HOUR)
    assert benchmark(bucket.take, "default\x00203.0.113.77", NOW, HOUR, HOUR) < 0


@pytest.mark.benchmark(group="a check")
def test_a_token_bucket_of_a_new_key(benchmark, impl, memory):
    bucket = (PureBucket if impl == "py" else Bucket)(make_table(impl, memory, capacity=1_000_000))
    keys = iter(range(100_000_000))
    benchmark(lambda: bucket.take(f"{next(keys)}", NOW, 1, 1 << 60))


@pytest.mark.benchmark(group="a check")
@pytest.mark.parametrize("limit", [100, 1_000])
def test_an_exact_window(benchmark, impl, memory, limit):
    window = ExactWindow(make_table(impl, memory, 64, 1 + limit), limit, 1)
    now = iter(range(NOW, NOW + 10**9))
    benchmark(lambda: window.take("203.0.113.77", next(now)))


@pytest.mark.benchmark(group="a check")
def test_a_stepped_window(benchmark, impl, memory):
    window = SteppedWindow(make_table(impl, memory, 64, SteppedWindow.WIDTH), 1 << 29, HOUR)
    benchmark(window.take, "203.0.113.77", NOW)


@pytest.mark.benchmark(group="a check")
def test_a_closed_breaker(benchmark, impl, memory):
    table = make_table(impl, memory, 64)
    breaker = Breaker(table.slots, table.place("GET /", NOW), 5, 30_000, 3)

    def pass_through():
        permit = breaker.pass_closed()
        if not breaker.is_unchanged(permit):
            breaker.leave(permit, SUCCESS, 1)

    benchmark(pass_through)


@pytest.mark.benchmark(group="a check")
def test_a_generation_of_two_tags(benchmark, impl, memory):
    generations = Generations(make_table(impl, memory, 64))
    generations.bump("users")
    stamp = generations.stamp()
    assert benchmark(generations.is_current, stamp, ("users", "books"))


@pytest.mark.benchmark(group="a value")
@pytest.mark.parametrize("way", ["get", "set"])
def test_a_value_of_a_kilobyte(benchmark, memory, way):
    layout = StoreLayout(size_bytes=1 << 24)
    store = layout.open(memory.claim("bench", "store", as_text(layout), layout.size))
    store.set("key", bytes(1_000))
    benchmark(store.get, "key") if way == "get" else benchmark(store.set, "key", bytes(1_000))


SWITCHES = {
    "nothing": lambda app: None,
    "rate limit, token bucket": lambda app: app.enable_rate_limit(RateLimitConfig.token_bucket(10**9, 1)),
    "rate limit, without headers": lambda app: app.enable_rate_limit(
        RateLimitConfig.token_bucket(10**9, 1), headers=False
    ),
    "rate limit, sliding window": lambda app: app.enable_rate_limit(RateLimitConfig.sliding_window(1_000, 0.000_001)),
    "rate limit, adaptive": lambda app: app.enable_rate_limit(RateLimitConfig.adaptive(10**9, 1)),
    "circuit breaker": lambda app: app.enable_circuit_breaker(),
}


@pytest.mark.benchmark(group="a hundred requests")
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch(benchmark, name):
    app = App()
    SWITCHES[name](app)
    app.get("/")(lambda: Response.text("hello"))
    asyncio.run(app.lifecycle.startup())
    dispatcher = app.freeze()
    head, peer = FieldList([(b"Host", b"localhost")]), Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))

    def answer():
        for _ in range(100):
            request = Request.incoming("GET", "/", "", head, peer)
            response = dispatcher.answer(dispatcher.plan_for(request), request)
        return response

    try:
        assert benchmark(answer).status == 200
    finally:
        asyncio.run(app.lifecycle.shutdown())
