"""Granian (Rust) under a bare RSGI callable: no framework, no routes."""

import asyncio
import json

from granian import Granian
from granian.constants import Interfaces, Loops
from shared_routes import PORT, TEXT, greeting

JSON_FIELDS = [("content-type", "application/json")]
TEXT_FIELDS = [("content-type", "text/plain; charset=utf-8")]


def encode(value):
    return json.dumps(value, separators=(",", ":"))


async def app(scope, protocol):
    if scope.proto == "ws":
        await echo_messages(protocol)
        return
    path = scope.path
    if path == "/":
        protocol.response_str(200, TEXT_FIELDS, TEXT)
        return
    if path == "/suspend":
        await asyncio.sleep(0)
    if path in ("/json", "/async", "/suspend"):
        protocol.response_str(200, JSON_FIELDS, encode(greeting()))
    elif path.startswith("/users/"):
        protocol.response_str(200, JSON_FIELDS, encode({"id": path[7:]}))
    elif path == "/echo":
        protocol.response_str(200, JSON_FIELDS, encode(json.loads(await protocol())))
    else:
        protocol.response_empty(404, [])


async def echo_messages(protocol):
    websocket = await protocol.accept()
    while (message := await websocket.receive()).kind != 0:
        await websocket.send_str(message.data)


if __name__ == "__main__":
    Granian(
        "granian_app:app",
        port=PORT,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        workers=1,
        runtime_threads=1,
        log_enabled=False,
    ).serve()
