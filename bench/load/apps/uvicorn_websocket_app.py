"""uvicorn with httptools, uvloop and wsproto under a bare ASGI callable that echoes: no framework, no routes."""

import uvicorn
from shared_routes import PORT, TEXT


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(TEXT))]})
        await send({"type": "http.response.body", "body": TEXT.encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=PORT,
        http="httptools",
        loop="uvloop",
        ws="wsproto",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
