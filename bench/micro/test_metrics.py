"""What counting and caching cost a request, compiled and pure.

`python -m pytest bench/micro/test_metrics.py`: one request counted, and a hundred requests through the pipeline, where
the difference to "nothing", divided by a hundred, is what a switch costs one request. Pure: `CELLO_SPEEDUPS=0`.
"""

import asyncio

import pytest

from cello import App, Request, Response
from cello.features.prometheus import recorder
from cello.features.prometheus.feature import BUCKETS_BYTES, BUCKETS_S
from cello.http.head import FieldList
from cello.http.peer import Peer

HEAD = FieldList([
    (b"Host", b"localhost:8000"), (b"User-Agent", b"bench/1"), (b"Accept", b"*/*"), (b"Accept-Encoding", b"gzip, br"),
])  # fmt: skip
PEER = Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))
SWITCHES = {
    "nothing": lambda app: None,
    "prometheus": lambda app: app.enable_prometheus(),
    "caching, a hit": lambda app: app.enable_caching(),
    "caching, not kept": lambda app: app.enable_caching(ttl=0),
    "caching, a route without": lambda app: app.enable_caching(exclude_paths=["/"]),
}


@pytest.mark.benchmark(group="a request, counted in and out")
def test_counting_one_request(benchmark, impl):
    kind = recorder.PureRecorder if impl == "py" else recorder.Recorder
    counting = kind(
        (BUCKETS_S, BUCKETS_BYTES), lambda method, route: 0, lambda method, route, status: (1, 20, 40), print
    )
    counting.restart(memoryview(bytearray(8 * 64)).cast("d"))
    request = Request("GET", "/")
    response = Response("hello")
    response.settle(request)

    def count():
        for _ in range(1_000):
            counting.begin(request)
            counting.leave(request, response)

    benchmark(count)


@pytest.mark.benchmark(group="a request, not counted")
def test_the_loop_alone(benchmark):
    request = Request("GET", "/")

    def nothing(request, *numbers):
        return None

    def count():
        for _ in range(1_000):
            nothing(request)
            nothing(request, request)

    benchmark(count)


@pytest.mark.benchmark(group="a hundred requests")
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch(benchmark, name):
    app = App()
    SWITCHES[name](app)
    app.get("/item")(lambda: Response.text("hello"))
    asyncio.run(app.lifecycle.startup())
    dispatcher = app.freeze()

    def answer():
        for _ in range(100):
            request = Request.incoming("GET", "/item", "", HEAD, PEER)
            response = dispatcher.answer(dispatcher.plan_for(request), request)
        return response

    try:
        assert benchmark(answer).status == 200
    finally:
        asyncio.run(app.lifecycle.shutdown())
