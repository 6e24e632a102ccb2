"""WebSocket routes through every gateway that can carry them, in both colours."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from cello import (
    App,
    Blueprint,
    ClientDisconnected,
    ConfigError,
    Depends,
    Forbidden,
    LimitsConfig,
    Query,
    Request,
    RouteError,
    ThreadPoolConfig,
    WebSocket,
    WebSocketMessage,
)
from cello.testing import TestClient, WebSocketClosed, WebSocketDenied
from tests.serve.program import until


@pytest.fixture(params=["asgi", "native"])
def gateway(request: pytest.FixtureRequest) -> str:
    """Those that can carry a WebSocket."""
    return str(request.param)


def echo(colour: str) -> Callable[..., Any]:
    """Return an echo handler of a colour."""

    def plain(ws: WebSocket) -> None:
        for message in ws:
            ws.send(message)

    async def coroutine(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    return plain if colour == "def" else coroutine


# -- the reference page --


def make_reference_app() -> App:
    app = App()

    @app.websocket("/ws")
    def websocket_handler(ws):  # type: ignore[no-untyped-def]  # as on the page
        ws.send_text("Connected!")
        while True:
            message = ws.recv()
            if message is None:
                break
            ws.send_text(f"Echo: {message.text}")

    return app


def test_the_handler_of_the_reference_page_works_as_written(serve: Callable[..., Any]) -> None:
    with serve(make_reference_app()).websocket_connect("/ws") as ws:
        assert ws.receive_text() == "Connected!"
        ws.send_text("one")
        ws.send_text("zwei")
        assert [ws.receive_text(), ws.receive_text()] == ["Echo: one", "Echo: zwei"]


def test_a_hundred_of_them_block_neither_each_other_nor_requests(serve: Callable[..., Any]) -> None:
    app = make_reference_app()
    app.get("/")(lambda request: "still here")
    client = serve(app)
    with _many(client, "/ws", 100) as sockets:
        assert client.get("/").text == "still here"
        for number, ws in enumerate(sockets):
            ws.send_text(str(number))
        for number, ws in enumerate(sockets):
            assert [ws.receive_text(), ws.receive_text()] == ["Connected!", f"Echo: {number}"]


class _many:
    def __init__(self, client: TestClient, path: str, count: int) -> None:
        self._opened = [client.websocket_connect(path) for _ in range(count)]

    def __enter__(self) -> list[Any]:
        return [opened.__enter__() for opened in self._opened]

    def __exit__(self, *exc_info: object) -> None:
        for opened in self._opened:
            opened.__exit__(None, None, None)


# -- messages --


def test_text_and_binary_come_back(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    app.websocket("/ws")(echo(colour))
    with serve(app).websocket_connect("/ws") as ws:
        for message in ("hello", "grüße 🎻", "", b"\x00\xff", b"", "x" * 100_000, bytes(100_000)):
            ws.send(message)
            answer = ws.recv()
            assert answer.content == message
            assert (answer.is_text(), answer.is_binary()) == (isinstance(message, str), isinstance(message, bytes))


def test_every_way_to_send(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    what = [
        ("send_text", "a"),
        ("send_binary", b"b"),
        ("send_bytes", bytearray(b"c")),
        ("send_json", {"d": 1}),
        ("send", "e"),
        ("send", b"f"),
        ("send", {"g": [1]}),
        ("send", WebSocketMessage.text("h")),
        ("send", WebSocketMessage.binary(b"i")),
    ]

    def plain(ws: WebSocket) -> None:
        for name, value in what:
            getattr(ws, name)(value)
        ws.send(WebSocketMessage.close())

    async def coroutine(ws: WebSocket) -> None:
        for name, value in what:
            await getattr(ws, name)(value)
        await ws.asend("aa")
        await ws.asend_text("ab")
        await ws.asend_binary(b"ac")
        await ws.send(WebSocketMessage.close())

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    received = []
    with serve(app).websocket_connect("/ws") as ws:
        while (message := ws.recv()) is not None:
            received.append(message.content)
        assert ws.close_code == 1000
    more = [] if colour == "def" else ["aa", "ab", b"ac"]
    assert received == ["a", b"b", b"c", '{"d":1}', "e", b"f", '{"g":[1]}', "h", b"i", *more]


def test_receiving_waits_no_longer_than_told(serve: Callable[..., Any], colour: str) -> None:
    app = App()

    def plain(ws: WebSocket) -> None:
        with suppress(TimeoutError):
            ws.recv(timeout=0.01)
            return
        ws.send_text("nothing came")
        ws.send_text(ws.recv(timeout=30).text)

    async def coroutine(ws: WebSocket) -> None:
        with suppress(TimeoutError):
            await ws.recv(timeout=0.01)
            return
        await ws.send_text("nothing came")
        await ws.send_text((await ws.arecv(timeout=30)).text)  # type: ignore[union-attr]  # it comes

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.receive_text() == "nothing came"
        ws.send_text("now")
        assert ws.receive_text() == "now"


def test_a_mistaken_value_is_refused_where_it_is_sent(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    raised: list[str] = []

    def attempt(ws: WebSocket) -> None:
        for call in (
            lambda: ws.send_text(b"x"),  # type: ignore[arg-type]  # on purpose
            lambda: ws.send_binary("x"),  # type: ignore[arg-type]  # on purpose
            lambda: ws.send_json(object()),
            lambda: ws.close(1005),
            lambda: ws.close(99),
        ):
            try:
                call()
            except (TypeError, ValueError) as error:
                raised.append(type(error).__name__)

    async def coroutine(ws: WebSocket) -> None:
        attempt(ws)

    app.websocket("/ws")(attempt if colour == "def" else coroutine)
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
    assert raised == ["TypeError", "TypeError", "TypeError", "ValueError", "ValueError"]


# -- the end --


def test_a_handler_that_returns_closes_normally(serve: Callable[..., Any], coloured: Callable[..., Any]) -> None:
    app = App()
    app.websocket("/ws")(coloured(lambda ws: None))
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
        assert (ws.close_code, ws.close_reason) == (1000, "")


def test_a_handler_that_raises_closes_1011_and_is_logged(
    serve: Callable[..., Any], coloured: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.websocket("/ws")
    @coloured
    def handler(ws: WebSocket) -> None:
        raise RuntimeError("a secret")

    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
        assert (ws.close_code, ws.close_reason) == (1011, "internal error")
    assert "RuntimeError: a secret" in caplog.text
    assert "/ws" in caplog.text


def test_the_test_client_raises_what_the_handler_raised(gateway: str, coloured: Callable[..., Any]) -> None:
    app = App()

    @app.websocket("/ws")
    @coloured
    def handler(ws: WebSocket) -> None:
        raise LookupError("this one")

    with (
        TestClient(app, gateway) as client,
        pytest.raises(LookupError, match="this one"),
        client.websocket_connect("/ws") as ws,
    ):
        ws.receive_text()


def test_a_handler_may_close_with_a_code(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    after: list[Any] = []

    def plain(ws: WebSocket) -> None:
        ws.close(4001, "go away")
        after.append(ws.recv())
        with pytest.raises(ClientDisconnected):
            ws.send_text("too late")
        after.append(ws.connected)

    async def coroutine(ws: WebSocket) -> None:
        await ws.close(4001, "go away")
        after.append(await ws.recv())
        with pytest.raises(ClientDisconnected):
            await ws.send_text("too late")
        after.append(ws.connected)

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
        assert (ws.close_code, ws.close_reason) == (4001, "go away")
        with pytest.raises(WebSocketClosed, match="4001 go away"):
            ws.receive_text()
    until(lambda: len(after) == 2)  # the handler's thread may be behind the client
    assert after == [None, False]


def test_a_client_that_closes_is_told_to_the_handler(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    seen: list[Any] = []
    done = threading.Event()

    def plain(ws: WebSocket) -> None:
        seen.append(ws.connected)
        ws.send_text("ready")  # what the client does from here on cannot be seen by the line above
        seen.append(ws.recv().text)
        seen.append(ws.recv())
        seen.append(ws.recv())
        seen.extend([ws.connected, ws.close_code, ws.close_reason])
        try:
            ws.send_text("x")
        except ClientDisconnected:
            done.set()

    async def coroutine(ws: WebSocket) -> None:
        seen.append(ws.connected)
        await ws.send_text("ready")
        seen.append((await ws.recv()).text)
        seen.append(await ws.recv())
        seen.append(await ws.recv())
        seen.extend([ws.connected, ws.close_code, ws.close_reason])
        try:
            await ws.send_text("x")
        except ClientDisconnected:
            done.set()

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.receive_text() == "ready"
        ws.send_text("bye")
        ws.close(4321, "enough")
    assert done.wait(30)
    assert seen == [True, "bye", None, None, False, 4321, "enough"]


@pytest.mark.parametrize("gateway", ["native"])
def test_a_client_that_closed_before_the_handler_looks_is_still_heard(
    serve: Callable[..., Any], colour: str, gateway: str
) -> None:
    app = App()
    seen: list[Any] = []
    closed, done = threading.Event(), threading.Event()

    def plain(ws: WebSocket) -> None:
        closed.wait(30)
        seen.extend([ws.connected, ws.close_code, ws.recv().text, ws.recv()])
        done.set()

    async def coroutine(ws: WebSocket) -> None:
        await asyncio.to_thread(closed.wait, 30)
        seen.extend([ws.connected, ws.close_code, (await ws.recv()).text, await ws.recv()])
        done.set()

    app.websocket("/ws")(plain if colour == "def" else coroutine)
    with serve(app).websocket_connect("/ws") as ws:
        ws.send_text("bye")
        ws.close(4321)
        assert ws.recv() is None  # the server has answered the close
        closed.set()
    assert done.wait(30)
    assert seen == [False, 4321, "bye", None]


def test_a_message_beyond_the_limit_closes_1009(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_ws_message=100))
    app.websocket("/ws")(echo(colour))
    with serve(app).websocket_connect("/ws") as ws:
        ws.send_text("x" * 100)
        assert ws.receive_text() == "x" * 100
        ws.send_text("ü" * 51)
        assert ws.recv() is None
        assert ws.close_code == 1009


def test_a_handler_is_cancelled_when_its_client_leaves_where_the_route_says_so(serve: Callable[..., Any]) -> None:
    app = App()
    ended: list[str] = []
    done = threading.Event()

    @app.websocket("/ws", cancel_on_disconnect=True)
    async def handler(ws: WebSocket) -> None:
        try:
            await ws.send_text((await ws.recv()).text)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            done.set()

    with serve(app).websocket_connect("/ws") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"
    assert done.wait(30)
    assert ended == ["cancelled"]


def test_a_handler_that_cancels_itself_closes_1011(serve: Callable[..., Any]) -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        raise asyncio.CancelledError

    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
        assert ws.close_code == 1011


# -- binding --


def test_a_handler_takes_what_handlers_take(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    app.register_singleton("greeting", "hello")
    ended = threading.Event()

    def resource(request: Request) -> Iterator[str]:
        yield f"for {request.path}"
        ended.set()

    def plain(
        ws: WebSocket,
        request: Request,
        room: str,
        id: int,
        page: Annotated[int, Query(ge=1)] = 1,
        greeting: str = Depends("greeting"),
        made: str = Depends(resource),
    ) -> None:
        ws.send_json([room, id, page, greeting, made, request.path, ws.params, ws.request is request])
        ws.recv()

    async def coroutine(
        ws: WebSocket,
        request: Request,
        room: str,
        id: int,
        page: Annotated[int, Query(ge=1)] = 1,
        greeting: str = Depends("greeting"),
        made: str = Depends(resource),
    ) -> None:
        await ws.send_json([room, id, page, greeting, made, request.path, ws.params, ws.request is request])
        await ws.recv()

    app.websocket("/rooms/{room}/{id}")(plain if colour == "def" else coroutine)
    client = serve(app)
    with client.websocket_connect("/rooms/a%20b/7", params={"page": 3}) as ws:
        path = "/rooms/a b/7"
        expected = ["a b", 7, 3, "hello", f"for {path}", path, {"room": "a b", "id": "7"}, True]
        assert ws.receive_json() == expected
        assert not ended.is_set(), "the resource lives as long as the conversation"
    assert ended.wait(30)
    with pytest.raises(WebSocketDenied) as denied, client.websocket_connect("/rooms/a/7?page=0"):
        pass
    assert denied.value.response.status_code == 422


NAMED: dict[str, Callable[..., Any]] = {
    "by any name, first": lambda conversation: conversation.send_text("here"),
    "by name, anywhere": lambda request, ws: ws.send_text("here"),
    "by keyword": lambda *, websocket: websocket.send_text("here"),
    "by what takes anything": lambda *args, **kwargs: args[0].send_text("here"),
}


@pytest.mark.parametrize("handler", NAMED.values(), ids=NAMED.keys())
def test_the_websocket_is_found(serve: Callable[..., Any], handler: Callable[..., Any]) -> None:
    app = App()
    app.add_websocket_route("/ws", handler)
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.receive_text() == "here"


def test_the_websocket_is_found_by_its_annotation(serve: Callable[..., Any]) -> None:
    app = App()

    @app.websocket("/{ws}")
    def handler(ws: str, conversation: WebSocket) -> None:
        conversation.send_text(ws)

    with serve(app).websocket_connect("/x") as ws:
        assert ws.receive_text() == "x"


def test_a_handler_need_not_want_it(serve: Callable[..., Any]) -> None:
    app = App()
    called = []
    app.add_websocket_route("/ws", lambda: called.append(True))
    with serve(app).websocket_connect("/ws") as ws:
        assert ws.recv() is None
    assert called


@dataclass
class Item:
    """A body, in an HTTP route."""

    name: str


def test_a_handler_that_cannot_be_bound_is_refused() -> None:
    app = App()

    def unknown(ws: WebSocket, limit: int) -> None: ...

    def with_body(ws: WebSocket, item: Item) -> None: ...

    with pytest.raises(ConfigError, match=r"unknown, parameter 'limit': cannot be bound"):
        app.websocket("/ws")(unknown)
    with pytest.raises(ConfigError, match="no body"):
        app.websocket("/ws")(with_body)
    with pytest.raises(ConfigError, match="must be a function"):
        app.websocket("/other")(7)  # type: ignore[type-var]  # on purpose


# -- before it is accepted --


def test_guards_are_asked_before(serve: Callable[..., Any], coloured: Callable[..., Any]) -> None:
    app = App()
    app.add_guard(coloured(lambda request: request.get_header("x-user") is not None))
    app.websocket("/ws", guards=[lambda request: request.query.get("key") == "1" or "no key"])(echo("def"))
    client = serve(app)
    with pytest.raises(WebSocketDenied) as denied, client.websocket_connect("/ws?key=1"):
        pass
    assert denied.value.response.status_code == 403
    with pytest.raises(WebSocketDenied, match="no key"), client.websocket_connect("/ws", headers={"X-User": "a"}):
        pass
    with client.websocket_connect("/ws?key=1", headers={"X-User": "a"}) as ws:
        ws.send_text("in")
        assert ws.receive_text() == "in"


def test_dependencies_may_refuse(serve: Callable[..., Any], coloured: Callable[..., Any]) -> None:
    app = App()
    called = []

    @coloured
    def user(request: Request) -> str:
        raise Forbidden("not you")

    def handler(ws: WebSocket, user: Any = Depends(user)) -> None:
        called.append(user)

    app.websocket("/ws")(handler)
    with pytest.raises(WebSocketDenied) as denied, serve(app).websocket_connect("/ws"):
        pass
    assert denied.value.response.status_code == 403
    assert denied.value.response.json()["detail"] == "not you"
    assert called == []


def test_middleware_sees_the_handshake(serve: Callable[..., Any], coloured: Callable[..., Any]) -> None:
    app = App()
    seen = []

    @app.before_request
    @coloured
    def before(request: Request) -> None:
        request.context["user"] = "ada"

    @app.after_request
    @coloured
    def after(request: Request, response: Any) -> None:
        seen.append(response.status)
        response.set_header("X-Seen", "yes")

    @app.websocket("/ws")
    def handler(ws: WebSocket) -> None:
        ws.send_text(ws.request.context["user"])

    with serve(app).websocket_connect("/ws") as ws:
        assert ws.headers["x-seen"] == "yes"
        assert ws.receive_text() == "ada"
    assert seen == [101]


ORIGINS: dict[str, tuple[list[str] | None, str | None, bool]] = {
    "no origin": (None, None, True),
    "its own": (None, "http://testserver", True),
    "its own, behind TLS": (None, "https://testserver", True),
    "another": (None, "https://evil.example", False),
    "another port": (None, "http://testserver:8080", False),
    "none to speak of": (None, "null", False),
    "no URL": (None, "testserver", False),
    "a bad port": (None, "http://testserver:x", False),
    "an allowed one": (["https://app.example.com"], "https://app.example.com", True),
    "in another case": (["https://App.example.com"], "https://app.EXAMPLE.com", True),
    "its own beside allowed ones": (["https://app.example.com"], "http://testserver", True),
    "one that is not allowed": (["https://app.example.com"], "https://app.example.com.evil.example", False),
    "any": (["*"], "https://evil.example", True),
    "null when allowed": (["null"], "null", True),
}


@pytest.mark.parametrize(("allowed", "origin", "passes"), ORIGINS.values(), ids=ORIGINS.keys())
def test_pages_of_other_origins_are_kept_out(
    serve: Callable[..., Any], allowed: list[str] | None, origin: str | None, passes: bool
) -> None:
    app = App()
    app.websocket("/ws", allowed)(echo("async"))
    connecting = serve(app).websocket_connect("/ws", headers={} if origin is None else {"Origin": origin})
    if passes:
        with connecting as ws:
            assert ws.close_code is None
        return
    with pytest.raises(WebSocketDenied) as denied, connecting:
        pass
    assert denied.value.response.status_code == 403


SUBPROTOCOLS: dict[str, tuple[list[str] | None, list[str], str | None]] = {
    "none": (None, [], None),
    "the client's are not ours": (["a"], ["b"], None),
    "ours alone": (["a"], [], None),
    "the one both speak": (["a", "b"], ["b", "c"], "b"),
    "our preference counts": (["a", "b"], ["b", "a"], "a"),
}


@pytest.mark.parametrize(("ours", "theirs", "chosen"), SUBPROTOCOLS.values(), ids=SUBPROTOCOLS.keys())
def test_a_subprotocol_is_agreed_on(
    serve: Callable[..., Any], ours: list[str] | None, theirs: list[str], chosen: str | None
) -> None:
    app = App()

    @app.websocket("/ws", subprotocols=ours)
    async def handler(ws: WebSocket) -> None:
        await ws.send_json(ws.subprotocol)

    with serve(app).websocket_connect("/ws", theirs) as ws:
        assert ws.subprotocol == chosen
        assert ws.receive_json() == chosen


@pytest.mark.parametrize("field", ["a b", "a,", "a, a"], ids=["no token", "an empty one", "twice"])
def test_malformed_subprotocols_are_400(serve: Callable[..., Any], field: str) -> None:
    app = App()
    app.websocket("/ws", subprotocols=["a"])(echo("async"))
    headers = {"Sec-WebSocket-Protocol": field}
    with pytest.raises(WebSocketDenied) as denied, serve(app).websocket_connect("/ws", headers=headers):
        pass
    assert denied.value.response.status_code == 400


def test_an_unknown_path_is_404(serve: Callable[..., Any]) -> None:
    with pytest.raises(WebSocketDenied) as denied, serve(App()).websocket_connect("/ws"):
        pass
    assert denied.value.response.status_code == 404


def test_beyond_the_threads_for_conversations_it_is_503(serve: Callable[..., Any]) -> None:
    app = App()
    app.set_threadpool(ThreadPoolConfig(max_long=1))
    app.websocket("/def")(echo("def"))
    app.websocket("/async")(echo("async"))
    client = serve(app)
    with client.websocket_connect("/def") as ws:
        ws.send_text("x")
        assert ws.receive_text() == "x"
        with pytest.raises(WebSocketDenied) as denied, client.websocket_connect("/def"):
            pass
        assert denied.value.response.status_code == 503
        with client.websocket_connect("/async") as other:
            other.send_text("y")
            assert other.receive_text() == "y"


# -- routes --


def test_a_page_may_stand_at_the_same_path(serve: Callable[..., Any]) -> None:
    app = App()
    app.get("/chat")(lambda request: "the page")
    app.websocket("/chat")(echo("async"))
    client = serve(app)
    assert client.get("/chat").text == "the page"
    with client.websocket_connect("/chat") as ws:
        ws.send_text("x")
        assert ws.receive_text() == "x"


def test_blueprints_have_websockets_too(serve: Callable[..., Any]) -> None:
    inner, outer = Blueprint("/rooms/{room}"), Blueprint("/api", guards=[lambda request: "x-user" in request.headers])

    @inner.websocket("/ws", name="room")
    async def handler(ws: WebSocket, room: str) -> None:
        await ws.send_text(room)

    outer.register(inner)
    app = App()
    app.register_blueprint(outer)
    client = serve(app)
    assert app.url_for("room", room="a") == "/api/rooms/a/ws"
    with pytest.raises(WebSocketDenied), client.websocket_connect("/api/rooms/a/ws"):
        pass
    with client.websocket_connect("/api/rooms/a/ws", headers={"X-User": "x"}) as ws:
        assert ws.receive_text() == "a"


def test_a_second_websocket_at_a_path_is_refused() -> None:
    app = App()
    app.websocket("/ws/{a}")(echo("def"))
    with pytest.raises(RouteError, match="WebSocket"):
        app.websocket("/ws/{b}")(echo("def"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"allowed_origins": "https://a"}, "list of strings"),
        ({"allowed_origins": ["app.example.com"]}, "https://app.example.com"),
        ({"allowed_origins": ["https://a/"]}, "an origin is written"),
        ({"subprotocols": ["a b"]}, "token"),
        ({"compress": 1}, "True or False"),
        ({"stream": True}, "unknown option 'stream'"),
    ],
    ids=str,
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        App().websocket("/ws", **options)


async def test_async_tests_converse_too(gateway: str) -> None:
    app = App()
    app.websocket("/ws")(echo("async"))
    async with TestClient(app, gateway) as client, client.websocket_connect("/ws") as ws:
        await ws.send_text("a")
        assert await ws.receive_text() == "a"
        await ws.send_json({"b": 1})
        assert await ws.receive_json() == {"b": 1}
        await ws.send_bytes(b"c")
        assert await ws.receive_bytes() == b"c"
        with pytest.raises(TimeoutError):
            await ws.recv(timeout=0.01)
        await ws.send_text("d")
        assert (await ws.recv()).content == "d"  # type: ignore[union-attr]  # it is there


def test_what_asgi_cannot_carry_says_so() -> None:
    app = App()

    @app.websocket("/ws")
    async def handler(ws: WebSocket) -> None:
        await ws.ping()

    with (
        TestClient(app) as client,
        pytest.raises(ConfigError, match="pings of their own"),
        client.websocket_connect("/ws") as ws,
    ):
        ws.receive_text()
