"""uvicorn with h11 and asyncio under a bare ASGI callable: no framework, no routes, nothing compiled."""

import asyncio
import json

from shared_asgi import serve_with_uvicorn
from shared_routes import TEXT, greeting


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


async def read_body(receive):
    body = b""
    while (event := await receive()).get("more_body"):
        body += event["body"]
    return body + event.get("body", b"")


async def app(scope, receive, send):
    path, status, media_type = scope["path"], 200, b"application/json"
    if path == "/suspend":
        await asyncio.sleep(0)
    if path == "/":
        body, media_type = TEXT.encode(), b"text/plain; charset=utf-8"
    elif path in ("/json", "/async", "/suspend"):
        body = encode(greeting())
    elif path.startswith("/users/"):
        body = encode({"id": path[7:]})
    elif path == "/echo":
        body = encode(json.loads(await read_body(receive)))
    else:
        status, body = 404, b"{}"
    fields = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve_with_uvicorn(app, http="h11", loop="asyncio")
