"""The application that every host serves: all of the shared table's, and a life to watch.

The environment says where it may write (CELLO_TEST_FOLDER) and in which colour its handlers are (CELLO_TEST_COLOUR).
`started.txt` and `stopped.txt` get a line per start-up and shutdown, `left.txt` one per stream whose client has gone.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from flask import Flask
from flask import request as flask_request

from cello import WebSocket
from tests.gateways.everything import make_app

folder = Path(os.environ["CELLO_TEST_FOLDER"])
app = make_app(os.environ.get("CELLO_TEST_COLOUR", "mixed"), folder)
old = Flask("old")


@app.on_event("startup")
async def note_start() -> None:
    app.state.started = getattr(app.state, "started", 0) + 1
    note("started.txt")


@app.on_event("shutdown")
async def note_stop() -> None:
    note("stopped.txt")


def note(name: str) -> None:
    """Add a line to one of the files."""
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


@app.get("/life")
def life() -> object:
    return {"started": app.state.started, "pid": os.getpid()}


@app.get("/endless")
def endless() -> Iterator[bytes]:
    try:
        while True:
            yield b"x" * 65_536
    finally:
        note("left.txt")


@app.get("/endless-async")
async def endless_async() -> object:
    try:
        while True:
            yield b"x" * 65_536
    finally:
        note("left.txt")


@app.get("/wait-for-file")
async def wait_for_file() -> object:
    note("waiting.txt")
    while not (folder / "go.txt").exists():
        await asyncio.sleep(0.01)
    return {"pid": os.getpid()}


@app.websocket("/ws/def", subprotocols=["chat"])
def converse(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)
    note("left.txt")


@app.websocket("/ws/async", subprotocols=["chat"], guards=[lambda request: "deny" not in request.query])
async def converse_async(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
    note("left.txt")


@old.route("/", methods=["GET"])
def old_root() -> str:
    return f"old root at {flask_request.script_root}"


@old.route("/echo", methods=["POST"])
def old_echo() -> bytes:
    return flask_request.get_data()


app.mount("/old", old)
