"""BlackSheep (Cython) on Granian (Rust) as ASGI server."""

import asyncio
import time

from blacksheep import Application, Content, Request, Response, Router, text
from granian import Granian
from granian.constants import Interfaces, Loops
from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id

# A router of its own: granian imports this module a second time, and the default router is shared.
app = Application(router=Router())


@app.router.get("/")
async def home():
    return text(TEXT)


@app.router.get("/json")
def json_greeting():
    return greeting()


@app.router.get("/users/{id}")
async def user(id: str):
    return {"id": id}


@app.router.post("/echo")
async def echo(request: Request):
    return await request.json()


@app.router.get("/async")
async def async_greeting():
    return greeting()


@app.router.get("/suspend")
async def suspended_greeting():
    await asyncio.sleep(0)
    return greeting()


async def other(request: Request):
    return Response(200, None, Content(b"application/json", b'{"ok":true}'))


for path in filler_paths():
    app.router.add_get(path, other)


async def request_id(request, handler):
    response = await handler(request)
    response.add_header(b"x-request-id", request.get_first_header(b"x-request-id") or new_request_id().encode())
    return response


async def timing(request, handler):
    started = time.perf_counter()
    response = await handler(request)
    response.add_header(b"x-response-time", f"{(time.perf_counter() - started) * 1000:.3f}".encode())
    return response


if WITH_MIDDLEWARE:
    app.use_cors(allow_methods="*", allow_origins=ORIGIN, allow_headers="*")
    app.middlewares.append(request_id)
    app.middlewares.append(timing)

if __name__ == "__main__":
    Granian(
        "blacksheep_app:app",
        port=PORT,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=1,
        runtime_threads=1,
        log_enabled=False,
    ).serve()
