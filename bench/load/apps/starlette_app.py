"""Starlette on uvicorn: httptools and uvloop, or with BENCH_PURE=1 h11 and asyncio."""

import asyncio
import os

from shared_asgi import RequestId, Timing, serve_with_uvicorn
from shared_routes import ORIGIN, TEXT, WITH_MIDDLEWARE, filler_paths, greeting
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute


async def home(request):
    return PlainTextResponse(TEXT)


def json_greeting(request):
    return JSONResponse(greeting())


async def user(request):
    return JSONResponse({"id": request.path_params["id"]})


async def echo(request):
    return JSONResponse(await request.json())


async def async_greeting(request):
    return JSONResponse(greeting())


async def suspended_greeting(request):
    await asyncio.sleep(0)
    return JSONResponse(greeting())


async def other(request):
    return JSONResponse({"ok": True})


async def websocket(ws):
    await ws.accept()
    async for message in ws.iter_text():
        await ws.send_text(message)


app = Starlette(
    routes=[
        Route("/", home),
        Route("/json", json_greeting),
        Route("/users/{id}", user),
        Route("/echo", echo, methods=["POST"]),
        Route("/async", async_greeting),
        Route("/suspend", suspended_greeting),
        WebSocketRoute("/ws", websocket),
        *(Route(path, other) for path in filler_paths()),
    ],
    middleware=[Middleware(CORSMiddleware, allow_origins=[ORIGIN]), Middleware(RequestId), Middleware(Timing)]
    if WITH_MIDDLEWARE
    else [],
)

if __name__ == "__main__":
    if os.environ.get("BENCH_PURE") == "1":
        serve_with_uvicorn(app, http="h11", loop="asyncio")
    else:
        serve_with_uvicorn(app)
