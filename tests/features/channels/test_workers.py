"""Channels over the workers of one machine: cello's own, and those of foreign hosts."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hosts import TcpTransport
from tests.serve.program import Program, free_port

APP = """
import os
from cello import App, Response

app = App()


@app.websocket("/room")
async def room(ws):
    async with app.channel("room").join(ws):
        await ws.send_json({"pid": os.getpid()})
        async for message in ws:
            await app.channel("room").publish({"said": message.text, "by": os.getpid()})


@app.websocket("/def")
def plain_room(ws):
    with app.channel("room").join(ws):
        ws.send_json({"pid": os.getpid()})
        for message in ws:
            app.channel("room").publish({"said": message.text, "by": os.getpid()})


@app.get("/events")
async def events(request):
    async def listen():
        async with app.channel("room").subscribe() as subscription:
            yield {"pid": os.getpid()}
            async for item in subscription:
                yield item

    return Response.sse(listen())


@app.post("/say")
def say(request):
    app.channel("room").publish({"said": "by post", "by": os.getpid()})
"""

HOSTS = {
    "cello": "cello run app.py --port {port} --env production --workers 2",
    "uvicorn": "uvicorn app:app --port {port} --workers 2 --log-level warning",
    "hypercorn": "hypercorn app:app --bind 127.0.0.1:{port} --workers 2",
    "gunicorn": "gunicorn app:app -b 127.0.0.1:{port} -w 2 -k cello.serve.gunicorn.CelloWorker",
}


async def sockets_of_two_workers(transport: Any, url: str) -> list[Any]:
    """Open WebSockets until two workers have one; return one of each."""
    from cello.testing.session import Session

    session = Session(transport, url, None, None)
    found: dict[int, Any] = {}
    path = "/room"
    while len(found) < 2:
        socket = await session.connect(path, ())
        path = "/def" if path == "/room" else "/room"  # both colours hear one another
        pid = json.loads((await socket.recv(10)).content)["pid"]
        if pid in found:
            await socket.close()
        else:
            found[pid] = socket
    return [*found.values()]


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX servers")
@pytest.mark.parametrize("module", HOSTS)
def test_who_listens_in_one_worker_hears_who_speaks_in_the_other(module: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (tmp_path / "app.py").write_text(APP)
    port = free_port()

    async def talk() -> None:
        async with asyncio.timeout(60):
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    first, second = await sockets_of_two_workers(TcpTransport(port), url)
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)  # a host of another project says nothing when it is ready
            for number in range(20):
                speaker, hearer = (first, second) if number % 2 else (second, first)
                await speaker.send(str(number))
                heard = json.loads((await hearer.recv(10)).content)
                assert heard["said"] == str(number)
                assert json.loads((await speaker.recv(10)).content) == heard
            for socket in (first, second):
                await socket.close()

    with Program("-m", *HOSTS[module].format(port=port).split(), folder=tmp_path) as program:
        try:
            asyncio.run(talk())
        except BaseException:
            print(program.output)
            raise
