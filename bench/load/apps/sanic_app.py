"""Sanic on its own server, one process, with uvloop and httptools."""

import asyncio
import time

from sanic import Sanic
from sanic.response import json, text
from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id

app = Sanic("bench", configure_logging=False)


@app.get("/")
async def home(request):
    return text(TEXT)


@app.get("/json")
def json_greeting(request):
    return json(greeting())


@app.get("/users/<id:str>")
async def user(request, id):
    return json({"id": id})


@app.post("/echo")
async def echo(request):
    return json(request.json)


@app.get("/async")
async def async_greeting(request):
    return json(greeting())


@app.get("/suspend")
async def suspended_greeting(request):
    await asyncio.sleep(0)
    return json(greeting())


@app.websocket("/ws")
async def websocket(request, ws):
    async for message in ws:
        await ws.send(message)


async def other(request, id=None):
    return json({"ok": True})


for number, path in enumerate(filler_paths("<id:str>")):
    app.add_route(other, path, name=f"other_{number}")

if WITH_MIDDLEWARE:

    @app.on_request
    async def start_clock(request):
        request.ctx.started = time.perf_counter()

    @app.on_response
    async def add_fields(request, response):
        response.headers["X-Response-Time"] = f"{(time.perf_counter() - request.ctx.started) * 1000:.3f}"
        response.headers["X-Request-ID"] = request.headers.get("x-request-id") or new_request_id()
        if request.headers.get("origin") == ORIGIN:
            response.headers["Access-Control-Allow-Origin"] = ORIGIN
            response.headers["Vary"] = "Origin"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=PORT, single_process=True, access_log=False, motd=False)
