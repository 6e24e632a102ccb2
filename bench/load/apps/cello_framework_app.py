"""cello-framework, the Rust package whose API cello speaks."""

import asyncio
import time

from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id

from cello import App, Response

app = App()


def timed(handler):
    """Do what the package has no Python middleware for: a request id and the time taken."""

    def wrapper(request):
        started = time.perf_counter()
        response = handler(request)
        response.set_header("X-Request-ID", request.get_header("x-request-id") or new_request_id())
        response.set_header("X-Response-Time", f"{(time.perf_counter() - started) * 1000:.3f}")
        return response

    return wrapper


def home(request):
    return Response.text(TEXT)


app.get("/")(timed(home) if WITH_MIDDLEWARE else home)


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
    while (message := await ws.arecv()) is not None:
        if message.is_text():
            await ws.asend_text(message.content)
        else:
            await ws.asend_binary(message.data)


@app.websocket("/ws-def")
def plain_websocket(ws):
    while (message := ws.recv()) is not None:
        if message.is_text():
            ws.send_text(message.content)
        else:
            ws.send_binary(message.data)


def other(request):
    return {"ok": True}


for path in filler_paths():
    app.get(path)(other)

if WITH_MIDDLEWARE:
    app.enable_cors([ORIGIN])

if __name__ == "__main__":
    app.run(port=PORT, env="production", workers=1, logs=False)
