"""cello on its own server; which build, parser and loop, the environment says."""

import asyncio
import os
import time

from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting

from cello import App
from cello.pipeline.middleware import Middleware

app = App()


@app.get("/")
def home(request):
    return TEXT


@app.get("/json")
def json_greeting(request):
    return greeting()


@app.get("/users/{id}")
def user(request):
    return {"id": request.params["id"]}


@app.post("/echo")
def echo(request):
    return request.json()


@app.get("/async")
async def async_greeting(request):
    return greeting()


@app.get("/suspend")
async def suspended_greeting(request):
    await asyncio.sleep(0)
    return greeting()


@app.websocket("/ws")
async def websocket(ws):
    async for message in ws:
        await ws.send(message)


@app.websocket("/ws-def")
def plain_websocket(ws):
    while (message := ws.recv()) is not None:
        ws.send(message)


def other(request):
    return {"ok": True}


for path in filler_paths():
    app.get(path)(other)


class Timing(Middleware):
    def before(self, request):
        request.context["started"] = time.perf_counter()

    def after(self, request, response):
        response.headers["X-Response-Time"] = f"{(time.perf_counter() - request.context['started']) * 1000:.3f}"


if WITH_MIDDLEWARE:
    # Where a switch is missing the check before timing says so.
    if hasattr(app, "enable_cors"):
        app.enable_cors(origins=[ORIGIN])
    if hasattr(app, "enable_request_id"):
        app.enable_request_id()
    app.use(Timing())


def limit_requests():
    from cello import RateLimitConfig  # what only one switch needs is not weighed with the others

    app.enable_rate_limit(RateLimitConfig.token_bucket(10**9, 1))


# One switch of cello's, thrown alone, with limits that are never reached.
SWITCHES = {
    "request_id": lambda: app.enable_request_id(),
    "cors": lambda: app.enable_cors([ORIGIN]),
    "logging": lambda: app.enable_logging(),
    "security_headers": lambda: app.enable_security_headers(),
    "trusted_hosts": lambda: app.enable_trusted_hosts(["127.0.0.1"]),
    "compression": lambda: app.enable_compression(),
    "session": lambda: app.enable_session(),
    "rate_limit": limit_requests,
    "caching": lambda: app.enable_caching(),
    "circuit_breaker": lambda: app.enable_circuit_breaker(),
    "prometheus": lambda: app.enable_prometheus(),
}
if SWITCH := os.environ.get("BENCH_SWITCH"):
    SWITCHES[SWITCH]()

if __name__ == "__main__":
    app.run(port=PORT, env="production", workers=1, logs=False)
