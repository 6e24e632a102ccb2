"""aiohttp on its own server, with uvloop."""

import asyncio
import time

import uvloop
from aiohttp import web
from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id


async def home(request):
    return web.Response(text=TEXT)


async def user(request):
    return web.json_response({"id": request.match_info["id"]})


async def echo(request):
    return web.json_response(await request.json())


async def async_greeting(request):
    return web.json_response(greeting())


async def suspended_greeting(request):
    await asyncio.sleep(0)
    return web.json_response(greeting())


async def other(request):
    return web.json_response({"ok": True})


async def websocket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


@web.middleware
async def cors(request, handler):
    response = await handler(request)
    if request.headers.get("Origin") == ORIGIN:
        response.headers["Access-Control-Allow-Origin"] = ORIGIN
        response.headers["Vary"] = "Origin"
    return response


@web.middleware
async def request_id(request, handler):
    response = await handler(request)
    response.headers["X-Request-ID"] = request.headers.get("X-Request-ID") or new_request_id()
    return response


@web.middleware
async def timing(request, handler):
    started = time.perf_counter()
    response = await handler(request)
    response.headers["X-Response-Time"] = f"{(time.perf_counter() - started) * 1000:.3f}"
    return response


app = web.Application(middlewares=[cors, request_id, timing] if WITH_MIDDLEWARE else [])
app.add_routes(
    [
        web.get("/", home),
        web.get("/json", async_greeting),
        web.get("/users/{id}", user),
        web.post("/echo", echo),
        web.get("/async", async_greeting),
        web.get("/suspend", suspended_greeting),
        web.get("/ws", websocket),
        *(web.get(path, other) for path in filler_paths()),
    ]
)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None, loop=uvloop.new_event_loop())
