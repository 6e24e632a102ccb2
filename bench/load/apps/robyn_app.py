"""Robyn (Rust), one process, one worker."""

import asyncio
import sys
import time

from robyn import Headers, Response, Robyn
from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id

sys.argv[1:] = ["--processes", "1", "--workers", "1", "--log-level", "ERROR", "--disable-openapi"]
app = Robyn(__file__)


@app.get("/")
def home(request):
    return Response(status_code=200, headers=Headers({"content-type": "text/plain; charset=utf-8"}), description=TEXT)


@app.get("/json")
def json_greeting(request):
    return greeting()


@app.get("/users/:id")
def user(request):
    return {"id": request.path_params["id"]}


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


def other(request):
    return {"ok": True}


for path in filler_paths(":id"):
    app.get(path)(other)

if WITH_MIDDLEWARE:

    @app.before_request()
    def start_clock(request):
        request.headers.set("x-started", str(time.perf_counter()))
        return request

    @app.after_request()
    def add_fields(request, response):
        took = time.perf_counter() - float(request.headers.get("x-started"))
        response.headers.set("X-Response-Time", f"{took * 1000:.3f}")
        response.headers.set("X-Request-ID", request.headers.get("x-request-id") or new_request_id())
        if request.headers.get("origin") == ORIGIN:
            response.headers.set("Access-Control-Allow-Origin", ORIGIN)
        return response


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=PORT)
