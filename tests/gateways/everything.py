"""One application that does a little of everything, in either colour, for every gateway and every host."""

import asyncio
import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from cello import (
    App,
    BackgroundTasks,
    Blueprint,
    Depends,
    Header,
    HTTPError,
    Middleware,
    Query,
    Request,
    Response,
    StaticFilesConfig,
)
from cello.guards import AuthenticatedGuard
from cello.pipeline.middleware import IDENTIFY

FILE_BYTES = bytes(range(256)) * 1200
"""More than one chunk of every gateway."""


class Spilt(Exception):
    """An error with a handler of its own."""


class Unwell(Exception):
    """An error without one."""


class Painter:
    """Gives handlers a colour: "def", "async", or "mixed" for each in turn."""

    def __init__(self, colour: str) -> None:
        self.colours = itertools.cycle(["async", "def"] if colour == "mixed" else [colour])

    def __call__(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler in the next colour."""
        return painted(next(self.colours), handler)


def painted(colour: str, handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return `handler` in a colour, with the same signature."""
    if colour == "def":
        return handler
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for item in handler(*args, **kwargs):
                await asyncio.sleep(0)
                yield item

        return generator

    @functools.wraps(handler)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return handler(*args, **kwargs)

    return coroutine


def make_app(colour: str, folder: Path) -> App:
    """Build the application; files are served from `folder`."""
    app = App()
    paint = Painter(colour)
    log: list[str] = []
    app.state.log = log
    (folder / "letters.txt").write_text("abcdefghijklmnopqrstuvwxyz")
    (folder / "big.bin").write_bytes(FILE_BYTES)
    (folder / "empty.txt").write_bytes(b"")
    add_values(app, paint)
    add_routing(app, paint)
    add_bodies(app, paint)
    add_faults(app, paint)
    add_payloads(app, paint, folder)
    add_surroundings(app, paint, log)
    return app


def add_values(app: App, paint: Callable[..., Any]) -> None:
    """What a handler may return."""
    values: dict[str, Any] = {
        "dict": {"a": 1, "ü": "é"},
        "list": [1, 2, 3],
        "text": "plain ünïcode",
        "bytes": b"\x00\xff",
        "none": None,
        "created": ({"id": 7}, 201),
        "headed": ("x", 200, {"X-One": "1"}),
        "number": 42,
        "truth": True,
    }
    for name, value in values.items():
        app.get(f"/value/{name}", name=f"value-{name}")(paint(functools.partial(returning, value)))

    def response() -> Response:
        made = Response.json({"ok": True}, status=202)
        made.set_header("X-Custom", "yes")
        made.append_header("X-Many", "1")
        made.append_header("X-Many", "2")
        return made

    def empty() -> Response:
        return Response("", status=200)

    def no_content() -> Response:
        return Response.no_content()

    def not_modified() -> Response:
        return Response("", status=304, headers={"ETag": '"v1"'})

    app.get("/value/response")(paint(response))
    app.get("/value/empty")(paint(empty))
    app.get("/value/no-content")(paint(no_content))
    app.get("/value/not-modified")(paint(not_modified))
    app.get("/value/redirect")(paint(lambda: Response.redirect("/value/dict")))
    app.get("/value/permanent")(paint(lambda: Response.redirect("/value/dict", status=308)))


def returning(value: Any) -> Any:
    """Return the value: the handler of a table row."""
    return value


def add_routing(app: App, paint: Callable[..., Any]) -> None:
    """Paths, methods, query, headers and cookies."""

    def params(request: Request) -> Any:
        return {"path": request.path, **request.params}

    for path in ("/users/{id}", "/users/{id:int}/posts", "/files/{*rest}", "/mixed/{kind}/end", "/trailing/"):
        app.get(path)(paint(params))
    app.get("/users/me")(paint(lambda: "it is me"))

    def typed(id: int, limit: int = Query(10)) -> Any:
        return {"id": id, "limit": limit}

    def queried(request: Request) -> Any:
        return {"last": dict(request.query), "all": request.query.get_all("a"), "raw": request.query_string}

    def bound(page: int = Query(1, ge=1), token: str = Header("none", alias="X-Token")) -> Any:
        return {"page": page, "token": token}

    def headers(request: Request) -> Any:
        return {
            "agent": request.headers.get("user-agent"),
            "X-TEST": request.headers.get("X-TEST"),
            "missing": request.headers.get("x-missing"),
            "host": request.host + "",
            "is_there": "x-test" in request.headers,
        }

    def cookies(request: Request) -> Any:
        answer = Response.json(dict(request.cookies))
        answer.set_cookie("seen", "yes", path="/", httponly=True, samesite="Lax")
        answer.delete_cookie("old")
        return answer

    def line(request: Request) -> Any:
        return {
            "method": request.method, "path": request.path, "raw_path": request.raw_path,
            "scheme": request.scheme, "version": request.http_version,
        }  # fmt: skip

    app.get("/typed/{id}")(paint(typed))
    app.get("/queried")(paint(queried))
    app.get("/bound")(paint(bound))
    app.get("/headers")(paint(headers))
    app.get("/cookies")(paint(cookies))
    app.route("/line/{*rest}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])(paint(line))
    app.head("/own-head")(paint(lambda: Response("", headers={"X-Head": "own"})))
    app.get("/own-head")(paint(lambda: "got"))
    app.options("/own-options")(paint(lambda: Response.text("mine")))
    app.post("/only-post")(paint(lambda: "posted"))


def add_bodies(app: App, paint: Callable[..., Any]) -> None:
    """What comes in."""

    def form(request: Request) -> Any:
        return dict(request.form())

    def upload(request: Request) -> Any:
        data = request.form()
        file = data.get_file("file")
        return {
            "title": data.get("title"), "name": file.filename, "type": file.content_type,
            "size": file.size(), "sum": sum(file.read()),
        }  # fmt: skip

    app.post("/body/size")(paint(lambda request: {"size": len(request.body()), "sum": sum(request.body())}))
    app.post("/body/echo")(paint(lambda request: request.body()))
    app.post("/body/json")(paint(lambda request: {"got": request.json()}))
    app.post("/body/text")(paint(lambda request: request.text()))
    app.post("/body/form")(paint(form))
    app.post("/body/upload")(paint(upload))
    app.post("/body/small", max_body_size=10)(paint(lambda request: {"size": len(request.body())}))
    app.get("/body/unread")(paint(lambda: "unread"))


def add_faults(app: App, paint: Callable[..., Any]) -> None:
    """What goes wrong."""

    def teapot() -> None:
        raise HTTPError(418, "short and stout", headers={"X-Tea": "green"})

    def unwell() -> None:
        raise Unwell("secret details")

    def spilt() -> None:
        raise Spilt("milk")

    def on_spilt(request: Request, error: Spilt) -> Any:
        return {"spilt": str(error)}, 409

    app.get("/fault/teapot")(paint(teapot))
    app.get("/fault/unwell")(paint(unwell))
    app.get("/fault/spilt")(paint(spilt))
    app.get("/fault/bad-value")(paint(lambda: object()))
    app.get("/fault/bad-header")(paint(lambda: Response("x", headers={"X-Bad": "a\r\nb: c"})))
    app.exception_handler(Spilt)(paint(on_spilt))


def add_payloads(app: App, paint: Callable[..., Any], folder: Path) -> None:
    """Files and streams."""

    def counted() -> Iterator[str]:
        for number in range(3):
            yield f"line {number}\n"

    def echo_stream(request: Request) -> Any:
        return {"size": sum(len(chunk) for chunk in request.stream())}

    async def echo_stream_async(request: Request) -> Any:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return {"size": size}

    def early_answer(request: Request) -> Any:
        return "not interested"

    is_async = inspect.iscoroutinefunction(paint(early_answer))
    shared = folder / "shared"
    (shared / "below").mkdir(parents=True, exist_ok=True)
    (shared / "letters.txt").write_text("abcdefghijklmnopqrstuvwxyz")
    (shared / "letters.txt.gz").write_bytes(b"compressed before")
    (shared / "big.bin").write_bytes(FILE_BYTES)
    (shared / "below" / "index.html").write_text("<h1>below</h1>")
    app.enable_static_files(StaticFilesConfig(shared, prefix="/shared"))
    app.get("/file/letters")(paint(lambda: Response.sendfile(folder / "letters.txt")))
    app.get("/file/big")(paint(lambda: Response.sendfile(folder / "big.bin")))
    app.get("/file/empty")(paint(lambda: Response.sendfile(folder / "empty.txt")))
    app.get("/file/attached")(paint(lambda: Response.file(folder / "letters.txt", filename="abc.txt")))
    app.get("/stream/counted")(paint(counted))
    app.get("/stream/response")(paint(lambda: Response.stream(iter([b"a", b"", b"b"]), content_type="text/x-ab")))
    app.post("/stream/echo", stream=True)(echo_stream_async if is_async else echo_stream)
    app.post("/stream/small", stream=True, max_body_size=10)(echo_stream_async if is_async else echo_stream)
    app.post("/stream/early", stream=True)(paint(early_answer))


def add_surroundings(app: App, paint: Callable[..., Any], log: list[str]) -> None:
    """Dependencies, guards, hooks, blueprints, background tasks."""

    def connection() -> Iterator[str]:
        log.append("open")
        yield "connected"
        log.append("close")

    def depending(value: str = Depends(paint(connection)), name: str = Depends("name")) -> Any:
        return {"value": value, "name": name}

    def later(request: Request) -> Any:
        answer = Response.text("accepted", status=202)
        answer.background = BackgroundTasks()
        answer.background.add_task(paint(lambda: log.append("done later")))
        return answer

    def identify(request: Request) -> None:
        if request.headers.get("authorization") == "Bearer ok":
            request.context["user"] = {"name": "ada"}

    class Identify(Middleware):
        band = IDENTIFY
        before = staticmethod(paint(identify))

    def stamp(request: Request, response: Response) -> None:
        response.set_header("X-Stamp", request.method)

    def stop(request: Request) -> Any:
        return ("stopped", 403) if request.headers.get("x-stop") else None

    app.register_singleton("name", "cello")
    app.get("/depending")(paint(depending))
    app.get("/later")(paint(later))
    app.get("/log")(paint(lambda: list(log)))
    app.use(Identify())
    app.before_request(paint(stop))
    app.after_request(paint(stamp))
    app.get("/guarded", guards=[AuthenticatedGuard()])(paint(lambda request: request.context["user"]))
    app.get("/denied", guards=[paint(lambda request: False)])(paint(lambda: "never"))
    inner = Blueprint("/inner")
    inner.get("/{id}")(paint(lambda request: {"inner": request.params["id"]}))
    outer = Blueprint("/outer/")
    outer.register(inner)
    outer.get("/")(paint(lambda: "outer"))
    app.register_blueprint(outer)
