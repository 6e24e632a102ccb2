"""The application of the soak: a little of everything."""

import asyncio
import os

from cello import App, Response, SseEvent

app = App()


@app.get("/")
def index():
    return "in"


@app.get("/wait")
async def wait():
    await asyncio.sleep(0.005)
    return "waited"


@app.get("/thread", blocking=True)
def thread():
    return "threaded"


@app.get("/fail")
def fail():
    raise ValueError("as it should")


@app.get("/state")
async def state():
    return {"pid": os.getpid(), "tasks": len(asyncio.all_tasks())}


@app.post("/upload", stream=True)
async def upload(request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.get("/events")
async def events():
    async def tell():
        for number in range(20):
            yield SseEvent(str(number))
            await asyncio.sleep(0.02)

    return Response.sse(tell())


@app.websocket("/ws")
async def talk(ws):
    async for message in ws:
        await ws.send_text(message.text)
