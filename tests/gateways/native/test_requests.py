"""Requests on one connection: order, batches, bodies collected, and what is not read."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Callable

import pytest

from cello import App, Request, Response
from cello.config import LimitsConfig
from cello.errors import ProtocolError
from cello.http.body import Spool
from tests.gateways.native.lines import PROBE, turn, working

pytestmark = pytest.mark.asyncio

GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def post(target: str, body: bytes, head: str = "") -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


async def test_answers_come_in_the_order_of_the_requests_also_when_the_first_takes_longer() -> None:
    app = App()
    release = asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        await release.wait()
        return "slow"

    @app.get("/quick")
    def quick() -> str:
        return "quick"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET % b"/slow" + GET % b"/quick")
        await turn(10)
        assert worker.state.requests == 1
        release.set()
        assert [(await line.answer()).body, (await line.answer()).body] == [b"slow", b"quick"]


async def test_answers_to_pipelined_requests_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()

    @app.get("/", blocking=False)
    def index() -> str:
        return "hi"

    @app.get("/async")
    async def coroutine() -> str:
        return "ho"

    async with working(app) as worker:
        line = await worker.connect(in_front=False)
        writes: list[bytes] = []
        transport = line.connection.transport
        spy = Spy(transport, writes)
        line.connection.transport = spy  # type: ignore[assignment]  # passes everything on
        # Before 3.12 a task cannot begin at once, so only `def` handlers share a write.
        targets, bodies = ([b"/", b"/async"], [b"hi", b"ho"]) if sys.version_info >= (3, 12) else ([b"/"], [b"hi"])
        line.send(b"".join(GET % target for target in targets) * 4)
        for body in bodies * 4:
            assert (await line.answer()).body == body
        assert len(writes) == 1


class Spy:
    """A transport that notes what is written."""

    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self.transport = transport
        self.writes = writes

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.transport, name)


async def test_reading_pauses_while_too_many_requests_wait_and_goes_on_afterwards() -> None:
    app = App()
    app.set_limits(LimitsConfig(max_pipelined=3))
    release = asyncio.Event()

    @app.get("/")
    async def index() -> str:
        await release.wait()
        return "hi"

    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET % b"/")
        await turn(10)
        for _ in range(5):
            line.send(GET % b"/")
            await turn(10)
        assert not line.connection.transport.is_reading()
        release.set()
        for _ in range(6):
            assert (await line.answer()).body == b"hi"
        assert line.connection.transport.is_reading()


@pytest.mark.parametrize("blocking", [None, True])
async def test_a_flood_of_pipelined_requests_is_read_no_faster_than_it_is_answered(blocking: bool | None) -> None:
    app = App()
    app.set_limits(LimitsConfig(max_pipelined=2, max_requests_per_connection=100_000))
    app.add_route("/", lambda request: "hi", blocking=blocking)
    count = 4_000  # more bytes than are held
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET % b"/" * count)
        paused = 0
        for _ in range(count):
            paused += not line.connection.transport.is_reading()
            assert (await line.answer()).body == b"hi"
        assert paused
        await turn(10)
        assert line.connection.transport.is_reading()


async def test_a_flood_of_pipelined_requests_is_answered_in_turns() -> None:
    app = App()
    app.set_limits(LimitsConfig(max_pipelined=2))
    app.add_route("/", lambda request: "hi")
    async with working(app) as worker:
        line = await worker.connect()
        line.send(GET % b"/" * 50)
        for _ in range(50):
            assert (await line.answer()).body == b"hi"


async def test_one_requests_context_does_not_reach_the_next() -> None:
    app = App()
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")

    @app.get("/async")
    async def coroutine() -> str:
        seen = mark.get()
        mark.set("dirty")
        await asyncio.sleep(0)
        return seen

    @app.get("/def")
    def plain() -> str:
        seen = mark.get()
        mark.set("dirty")
        return seen

    async with working(app) as worker:
        line = await worker.connect()
        line.send((GET % b"/async" + GET % b"/def") * 3)
        for _ in range(6):
            assert (await line.answer()).body == b"clean"


async def test_an_async_handler_finds_a_task_of_its_own() -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        assert asyncio.current_task() is not None
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        return "hi"

    async with working(app) as worker:
        assert (await (await worker.connect()).get()).body == b"hi"


@pytest.mark.parametrize("blocking", [False, True], ids=["inline", "on a thread"])
async def test_a_def_handler_answers_where_its_route_says(blocking: bool) -> None:
    import threading

    app = App()
    app.add_route("/", lambda request: str(threading.current_thread() is threading.main_thread()), blocking=blocking)
    async with working(app) as worker:
        assert (await (await worker.connect()).get()).body == str(not blocking).encode()


@pytest.fixture
def echo() -> App:
    app = App()
    app.set_limits(LimitsConfig(max_spool_memory=1000, max_body_size=300_000))

    @app.post("/")
    def index(request: Request) -> Response:
        return Response(request.body())

    return app


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 200_000])
async def test_a_body_of_any_size_arrives_whole(echo: App, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with working(echo) as worker:
        line = await worker.connect()
        data = post("/", body[:size])
        line.send(data[:100])
        await turn(5)
        line.send(data[100:])
        assert (await line.answer()).body == body[:size]
        line.send(post("/", b"again"))
        assert (await line.answer()).body == b"again"


async def test_a_body_over_the_limit_is_refused_before_it_is_read(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/", b"")[:-2].replace(b"Length: 0", b"Length: 300001") + b"\r\nsome of it")
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (413, False)
        assert await line.at_end()


async def test_the_limit_of_a_route_is_its_own() -> None:
    app = App()

    @app.post("/", max_body_size=3)
    def index(request: Request) -> Response:
        return Response(request.body())

    async with working(app) as worker:
        line = await worker.connect()
        line.send(post("/", b"abc"))
        assert (await line.answer()).body == b"abc"
        line.send(post("/", b"abcd"))
        assert (await line.answer()).status == 413


async def test_the_client_can_read_a_refusal_while_it_still_sends(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/", b"")[:-2].replace(b"Length: 0", b"Length: 9000000") + b"\r\n")
        for _ in range(50):
            line.send(b"x" * 100_000)
            await turn(2)
        assert (await line.answer()).status == 413
        assert await line.at_end()


async def test_100_is_sent_when_the_body_is_wanted(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/", b"abc", "Expect: 100-continue\r\n")[:-3])
        assert (await line.answer()).status == 100
        line.send(b"abc")
        assert (await line.answer()).body == b"abc"


@pytest.mark.parametrize(("target", "status"), [("/nowhere", 404), ("/get-only", 405)])
async def test_no_100_for_a_body_that_nobody_wants(echo: App, target: str, status: int) -> None:
    echo.add_route("/get-only", lambda request: "hi")
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post(target, b"abc", "Expect: 100-continue\r\n")[:-3])
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (status, False)


async def test_a_small_body_for_no_route_does_not_cost_the_connection(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/nowhere", b"abc"))
        assert (await line.answer()).status == 404
        line.send(post("/", b"abc"))
        assert (await line.answer()).body == b"abc"


async def test_a_large_body_for_no_route_is_not_read(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/nowhere", b"x" * 100_000)[:1000])
        answer = await line.answer()
        assert (answer.status, answer.keeps) == (404, False)
        assert await line.at_end()


async def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(echo: App) -> None:
    async with working(echo) as worker:
        line = await worker.connect()
        line.send(post("/", b"x" * 5000)[:3000])
        await turn(5)
        line.vanish()
        await worker.state.wait_empty()


async def test_client_and_server_are_known_to_the_request() -> None:
    app = App()

    @app.get("/")
    def index(request: Request) -> str:
        return f"{request.scheme} {request.http_version}"

    async with working(app) as worker:
        assert (await (await worker.connect()).get()).body == b"http 1.1"


async def test_the_answer_carries_date_and_server_unless_it_brings_its_own() -> None:
    app = App()
    app.add_route("/", lambda request: "hi")
    app.add_route("/own", lambda request: Response("hi", headers={"date": "never", "SERVER": "mine"}))
    async with working(app) as worker:
        line = await worker.connect()
        answer = await line.get()
        assert answer.headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert answer.headers["server"] == "cello"
        answer = await line.get("/own")
        assert (answer.headers["date"], answer.headers["server"]) == ("never", "mine")


def raises(request: Request) -> str:
    raise RuntimeError("a secret")


async def raises_async(request: Request) -> str:
    raise RuntimeError("a secret")


@pytest.mark.parametrize("handler", [raises, raises_async])
async def test_a_handler_that_raises_answers_500_and_keeps_the_connection(handler: Callable[..., object]) -> None:
    app = App()
    app.add_route("/", handler)
    app.add_route("/probe", lambda request: "fine")
    async with working(app) as worker:
        line = await worker.connect()
        answer = await line.get()
        assert answer.status == 500
        assert b"secret" not in answer.body
        line.send(PROBE)
        assert (await line.answer()).body == b"fine"


@pytest.mark.parametrize("blocking", [False, True], ids=["inline", "on a thread"])
async def test_a_def_handler_that_hands_out_an_awaitable_is_finished_on_the_loop(
    blocking: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    async def later() -> str:
        await asyncio.sleep(0)
        return "later"

    app.add_route("/", lambda request: later(), blocking=blocking)
    async with working(app) as worker:
        line = await worker.connect()
        assert (await line.get()).body == b"later"
        assert (await line.get()).body == b"later"


async def test_a_handler_that_raises_a_cancellation_of_its_own_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        raise asyncio.CancelledError

    async with working(app) as worker:
        line = await worker.connect()
        assert (await line.get()).status == 500
        assert (await line.get()).status == 500
    assert "CancelledError" in caplog.text


async def test_a_refusal_that_an_exception_handler_made_a_stream_is_sent_without_it() -> None:
    app = App()

    @app.exception_handler(ProtocolError)
    def refused(request: Request, error: Exception) -> Response:
        return Response.stream(iter(["a", "b"]), status=400)

    async with working(app) as worker:
        line = await worker.connect()
        line.send(b"\x00")
        answer = await line.answer()
        assert (answer.status, answer.body, answer.keeps) == (400, b"", False)


async def test_a_large_body_is_closed_when_its_request_is_over() -> None:
    app = App()
    app.set_limits(LimitsConfig(max_spool_memory=10))
    bodies: list[object] = []

    @app.post("/")
    def index(request: Request) -> str:
        bodies.append(request._body)
        return str(len(request.body()))

    async with working(app) as worker:
        line = await worker.connect()
        data = post("/", b"x" * 100)
        line.send(data[:-50])
        await turn(5)
        line.send(data[-50:])
        assert (await line.answer()).body == b"100"
        line.vanish()
        await worker.state.wait_empty()
    (body,) = bodies
    assert isinstance(body, Spool)
    assert not body.is_on_disk


async def test_no_request_knows_anything_of_the_one_before() -> None:
    """The fast lane makes the next request of one that nobody has any more."""
    app = App()
    seen: list[dict[str, object]] = []

    def look(request: Request) -> str:
        seen.append(
            {
                "context": dict(request.context),
                "state": vars(request.state).copy(),
                "body": request.body(),
                "query": dict(request.query),
                "cookies": request.cookies,
                "params": dict(request.params),
                "field": request.get_header("x-mark"),
                "id": request.request_id,
                "route": request.route.pattern.path,
            }
        )
        request.context["mark"] = request.state.mark = request.params["mark"] = "left"
        request.request_id = "left"
        return "seen"

    app.add_route("/look", look, ["GET", "POST"])
    app.add_route("/look/{id}", look, ["GET"])

    @app.exception_handler(404)  # what is not found takes another way to its plan, where nothing fills the route in
    def nowhere(request: Request, error: Exception) -> dict[str, object]:
        return {"route": request.route and request.route.pattern.path, "app": request.app is app}

    async with working(app) as worker:
        line = await worker.connect()
        line.send(post("/look?a=1", b"body", "X-Mark: first\r\nCookie: c=1\r\n"))
        for target in (b"/look", b"/look", b"/look/7", b"/look"):
            line.send(GET % target)
        for _ in range(5):
            assert (await line.answer()).body == b"seen"
        line.send(GET % b"/look" + GET % b"/nowhere")
        assert (await line.answer()).body == b"seen"
        assert (await line.answer()).body == b'{"route":null,"app":true}'
    blank = {"context": {}, "state": {}, "body": b"", "query": {}, "cookies": {}, "params": {}, "field": None, "id": ""}
    assert seen[0] == blank | {
        "body": b"body",
        "query": {"a": "1"},
        "cookies": {"c": "1"},
        "field": "first",
        "route": "/look",
    }
    assert [each["params"] for each in seen] == [{}, {}, {}, {"id": "7"}, {}, {}]
    for each, path in zip(seen[1:], ["/look", "/look", "/look/{id}", "/look", "/look"], strict=True):
        assert each | {"params": {}} == blank | {"route": path}


async def test_a_request_that_is_kept_or_watched_stays_what_it_is() -> None:
    app = App()
    kept: list[Request] = []
    watched: list[weakref.ref[Request]] = []

    @app.get("/keep/{name}", blocking=False)
    def keep(request: Request) -> str:
        kept.append(request)
        return "kept"

    @app.get("/watch")
    async def watch(request: Request) -> str:
        watched.append(weakref.ref(request))
        return "watched"

    async with working(app) as worker:
        line = await worker.connect()
        for target in (b"/keep/a", b"/watch", b"/keep/b", b"/watch", b"/keep/c"):
            line.send(GET % target)
            await line.answer()
        assert [each.params["name"] for each in kept] == ["a", "b", "c"]
        assert len({id(each) for each in kept}) == 3
        await line.get("/keep/d")
        gc.collect()
        assert [each() for each in watched] == [None, None]
