"""Falcon on bjoern (C, libev)."""

import time

import bjoern
import falcon
from shared_routes import ORIGIN, PORT, TEXT, WITH_MIDDLEWARE, filler_paths, greeting, new_request_id


class Home:
    def on_get(self, req, resp):
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = TEXT


class Greeting:
    def on_get(self, req, resp):
        resp.media = greeting()


class User:
    def on_get(self, req, resp, id):
        resp.media = {"id": id}


class Echo:
    def on_post(self, req, resp):
        resp.media = req.get_media()


class Other:
    def on_get(self, req, resp, id=None):
        resp.media = {"ok": True}


class RequestId:
    def process_response(self, req, resp, resource, req_succeeded):
        resp.set_header("X-Request-ID", req.get_header("X-Request-ID") or new_request_id())


class Timing:
    def process_request(self, req, resp):
        req.context.started = time.perf_counter()

    def process_response(self, req, resp, resource, req_succeeded):
        resp.set_header("X-Response-Time", f"{(time.perf_counter() - req.context.started) * 1000:.3f}")


app = falcon.App(
    middleware=[falcon.CORSMiddleware(allow_origins=[ORIGIN]), RequestId(), Timing()] if WITH_MIDDLEWARE else None
)
app.add_route("/", Home())
app.add_route("/json", Greeting())
app.add_route("/users/{id}", User())
app.add_route("/echo", Echo())
for path in filler_paths():
    app.add_route(path, Other())

if __name__ == "__main__":
    bjoern.run(app, "127.0.0.1", PORT)
