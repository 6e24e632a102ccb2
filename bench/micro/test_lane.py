"""The two lanes: what a request costs from bytes to bytes, by kind of answer, and the JSON codecs and heads in it.

`py` is the general lane with the pure runner and response head, `c` the fast lane with the compiled ones; both behind a
transport that takes everything, so that no socket is in the figures.
"""

import asyncio
from importlib import import_module

import pytest

from cello import App, Response
from cello.gateways.native import Connection, ServerState, choose_tier
from cello.pipeline.run import run_sync
from cello.wire.response_head import response_head

KINDS = ("text", "json", "users/7", "headers", "hook", "async", "suspend")
GREETING = {"message": "Hello, World!"}
BODY = {"customer": "Ada", "items": [{"sku": f"A-{number}", "price": number * 1.25} for number in range(24)]}


class Nowhere:
    """A transport that takes everything."""

    def write(self, data):
        pass

    def get_extra_info(self, name):
        return None

    def set_protocol(self, protocol):
        pass


def make_app(*, hooked=False):
    app = App()

    @app.get("/text")
    def text(request):
        return "Hello, World!"

    @app.get("/json")
    def json(request):
        return {"message": "Hello, World!"}

    @app.get("/users/{id}")
    def user(request):
        return {"id": request.params["id"]}

    @app.get("/headers")
    def headers(request):
        response = Response.json(GREETING)
        response.headers["X-One"] = "1"
        return response

    @app.get("/hook")
    def hook(request):
        return "Hello, World!"

    @app.get("/async")
    async def coroutine(request):
        return {"message": "Hello, World!"}

    @app.get("/suspend")
    async def suspend(request):
        await asyncio.sleep(0)
        return {"message": "Hello, World!"}

    if hooked:

        @app.after_request
        def after(request, response):
            return None

    return app


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_requests(benchmark, impl, kind):
    dispatcher = make_app(hooked=kind == "hook").freeze()
    loop = asyncio.new_event_loop()
    state = ServerState(dispatcher, loop, choose_tier("compiled" if impl == "c" else "auto"))
    data = f"GET /{kind} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    if impl == "c":
        track = import_module("cello._speedups.track").Track(dispatcher, state)
        lane = import_module("cello._speedups.lane").Lane

    async def hundred():
        connection = lane(track) if impl == "c" else Connection(dispatcher, state)
        connection.connection_made(Nowhere())
        for _ in range(100):
            connection.data_received(data)
            if kind == "suspend":
                while state.tasks:
                    await asyncio.sleep(0)

    benchmark.group = f"a hundred requests, /{kind}"
    try:
        benchmark(lambda: loop.run_until_complete(hundred()))
    finally:
        loop.close()


@pytest.mark.benchmark(group="run a plan")
@pytest.mark.parametrize("hooked", [False, True], ids=["no hooks", "one hook"])
def test_the_runner(benchmark, hooked):
    dispatcher = make_app(hooked=hooked).freeze()
    request = dispatcher.request_class("GET", "/json")
    plan = dispatcher.plan_for(request)
    assert benchmark(run_sync, plan, request).status == 200


@pytest.mark.benchmark(group="a response head")
@pytest.mark.parametrize("count", [0, 8], ids=["no fields of its own", "eight more"])
def test_the_head(benchmark, count):
    response = Response.json(GREETING)
    for number in range(count):
        response.headers[f"X-{number}"] = "value"
    response.settle(None)
    fields = response.fields()
    common = (b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", b"Server: cello\r\n")
    assert benchmark(response_head, 200, fields, common).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("data", [GREETING, BODY], ids=["small", "1 KB"])
@pytest.mark.parametrize("way", ["encode", "decode"])
@pytest.mark.parametrize("codec", ["msgspec", "stdlib"])
def test_json(benchmark, codec, way, data):
    if codec == "msgspec":
        pytest.importorskip("msgspec")
    module = import_module(f"cello.http.json_{codec}")
    benchmark.group = f"{way} JSON, {'small' if data is GREETING else '1 KB'}"
    text = module.encode(data)
    if way == "encode":
        benchmark(module.encode, data)
    else:
        assert benchmark(module.decode, text) == data
