# mypy: disable-error-code="import-not-found"
"""The same app for each framework: 200 routes, of which `/users/{id}` answers JSON. Loaded inside a peer's virtualenv.

Each function imports its own framework and returns the callable a server would call.
"""

import json
from collections.abc import Callable
from typing import Any

_NOUNS = ["orders", "invoices", "carts", "products", "reviews", "accounts", "teams", "projects"]
FILLER = [f"/api/v{n // 8}/{_NOUNS[n % 8]}" for n in range(99)]


def _encode(user: str) -> bytes:
    return json.dumps({"id": user}, separators=(",", ":")).encode()


def bare_wsgi() -> Any:
    """Answer without framework."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        body = _encode(environ["PATH_INFO"][7:])
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return app


def bare_asgi() -> Any:
    """Answer without framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = _encode(scope["path"][7:])
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    return app


def _cello(gateway: str) -> Any:
    from cello import App

    app = App()

    # Any: a return annotation that says more has cello hold the answer to it, which the others do not do.
    def user(request: Any) -> Any:
        return {"id": request.params["id"]}

    def other(request: Any) -> Any:
        return {"ok": True}

    app.get("/users/{id}")(user)
    for path in FILLER:
        app.get(path)(other)
        app.get(path + "/{id}")(other)
    app.get("/")(other)
    return getattr(app, gateway)


def cello_wsgi() -> Any:
    """Return cello's WSGI side."""
    return _cello("wsgi")


def cello_asgi() -> Any:
    """Return cello's ASGI side."""
    return _cello("asgi")


def _fill_falcon(app: Any, user: Any, other: Any) -> Any:
    app.add_route("/users/{id}", user)
    for path in FILLER:
        app.add_route(path, other)
        app.add_route(path + "/{id}", other)
    app.add_route("/", other)
    return app


def falcon_wsgi() -> Any:
    """Return falcon.App."""
    import falcon

    class User:
        def on_get(self, req: Any, resp: Any, id: str) -> None:
            resp.media = {"id": id}

    class Other:
        def on_get(self, req: Any, resp: Any, id: str = "") -> None:
            resp.media = {"ok": True}

    return _fill_falcon(falcon.App(), User(), Other())


def falcon_asgi() -> Any:
    """Return falcon.asgi.App."""
    import falcon.asgi

    class User:
        async def on_get(self, req: Any, resp: Any, id: str) -> None:
            resp.media = {"id": id}

    class Other:
        async def on_get(self, req: Any, resp: Any, id: str = "") -> None:
            resp.media = {"ok": True}

    return _fill_falcon(falcon.asgi.App(), User(), Other())


def flask_wsgi() -> Any:
    """Return flask.Flask."""
    import flask

    app = flask.Flask("bench")

    def user(id: str) -> dict[str, str]:
        return {"id": id}

    def other(id: str = "") -> dict[str, bool]:
        return {"ok": True}

    app.add_url_rule("/users/<id>", "user", user)
    for number, path in enumerate(FILLER):
        app.add_url_rule(path, f"list{number}", other)
        app.add_url_rule(path + "/<id>", f"one{number}", other)
    app.add_url_rule("/", "home", other)
    return app


def starlette_asgi() -> Any:
    """Return starlette.applications.Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def user(request: Any) -> Any:
        return JSONResponse({"id": request.path_params["id"]})

    async def other(request: Any) -> Any:
        return JSONResponse({"ok": True})

    pairs = [Route(path + tail, other) for path in FILLER for tail in ("", "/{id}")]
    return Starlette(routes=[Route("/", other), Route("/users/{id}", user), *pairs])


SUBJECTS: dict[str, Callable[[], Any]] = {
    "bare-wsgi": bare_wsgi,
    "bare-asgi": bare_asgi,
    "cello-wsgi": cello_wsgi,
    "cello-asgi": cello_asgi,
    "falcon-wsgi": falcon_wsgi,
    "falcon-asgi": falcon_asgi,
    "flask-wsgi": flask_wsgi,
    "starlette-asgi": starlette_asgi,
}
