"""The bare WSGI callable: what a server costs with no framework on it. It has three ways to answer and no routes."""

import json
import os

from shared_routes import TEXT, greeting

if os.environ.get("BENCH_JSON") == "msgspec":
    import msgspec

    encode, decode = msgspec.json.encode, msgspec.json.decode
else:
    decode = json.loads

    def encode(value):
        """Encode as the standard library does, compactly."""
        return json.dumps(value, separators=(",", ":")).encode()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        body, media_type = TEXT.encode(), "text/plain; charset=utf-8"
    elif path == "/json":
        body, media_type = encode(greeting()), "application/json"
    elif path.startswith("/users/"):
        body, media_type = encode({"id": path[7:]}), "application/json"
    elif path == "/echo":
        data = decode(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        body, media_type = encode(data), "application/json"
    else:
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]
    start_response("200 OK", [("Content-Type", media_type), ("Content-Length", str(len(body)))])
    return [body]
