"""What RFC 9112 demands of answers, for every head scanner and both lanes, down to the bytes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from cello import App, Request, Response
from tests.conformance.test_connection import WAYS, Way
from tests.gateways.native.lines import working

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=WAYS, ids=lambda way: way.id)
def way(request: pytest.FixtureRequest) -> Way:
    made: Way = request.param
    return made


@pytest.fixture
def app() -> App:
    app = App()
    app.add_route("/", lambda request: "in")
    app.add_route("/odd", lambda request: Response("x", status=599))
    app.add_route(
        "/fields", lambda request: [request.get_header("x"), request.get_header("trailing")], methods=["POST"]
    )

    @app.get("/stream")
    def stream(request: Request) -> Iterator[str]:
        yield "a"
        yield "b"

    @app.get("/async-stream")
    async def async_stream() -> AsyncIterator[str]:
        async def tell() -> AsyncIterator[str]:
            yield "ab"

        return tell()

    @app.get("/status/{status:int}")
    def of_status(status: int) -> Response:
        return Response("content that must not be sent", status=status)

    @app.get("/inject")
    def inject(request: Request) -> Response:
        return Response("x", headers={"X-From-Client": request.query["value"]})

    return app


async def told(app: App, way: Way, data: bytes) -> bytes:
    """Return all bytes that a connection gets for what it sends; the last request says close."""
    async with working(app, way.tier) as worker, asyncio.timeout(20):
        line = await worker.connect(in_front=way.in_front)
        line.send(data)
        return await line.reader.read()


def asked(target: str, method: str = "GET", version: str = "1.1", head: str = "") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n{head}\r\n".encode()


def fields(answer: bytes) -> dict[str, str]:
    """Return the fields of one answer; none may be repeated."""
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    found = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("target", ["/", "/stream", "/nowhere"])
async def test_every_answer_is_of_version_1_1(app: App, way: Way, version: str, target: str) -> None:
    assert (await told(app, way, asked(target, version=version))).startswith(b"HTTP/1.1 ")


async def test_a_status_line_has_its_second_blank_also_without_a_reason(app: App, way: Way) -> None:
    line = (await told(app, way, asked("/odd"))).partition(b"\r\n")[0]
    assert line.startswith(b"HTTP/1.1 599 ")


@pytest.mark.parametrize("value", ["a%0d%0aSet-Cookie:%20x", "a%0dX:%20y", "a%0aX:%20y", "a%0d%0a%20folded", "a%00b"])
async def test_no_line_break_of_the_application_gets_into_a_head(app: App, way: Way, value: str) -> None:
    answer = await told(app, way, asked(f"/inject?value={value}"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Set-Cookie" not in answer
    assert not {b"\r", b"\n"} & {bytes([byte]) for byte in answer.replace(b"\r\n", b"")}


async def test_blanks_around_a_value_are_no_part_of_it(app: App, way: Way) -> None:
    answer = await told(app, way, asked("/fields", "POST", head="X: \t a b \t \r\nContent-Length: 0\r\n"))
    assert answer.endswith(b'["a b",null]')


async def test_trailers_are_not_among_the_headers(app: App, way: Way) -> None:
    body = b"1\r\na\r\n0\r\nX: no\r\nTrailing: no\r\n\r\n"
    answer = await told(app, way, asked("/fields", "POST", head="Transfer-Encoding: chunked\r\n") + body)
    assert answer.endswith(b"[null,null]")


@pytest.mark.parametrize("target", ["/stream", "/async-stream"])
async def test_a_stream_is_chunked_once_and_has_no_length(app: App, way: Way, target: str) -> None:
    answer = await told(app, way, asked(target))
    assert fields(answer)["transfer-encoding"] == "chunked"
    assert "content-length" not in fields(answer)
    assert answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("target", ["/stream", "/async-stream"])
async def test_a_client_of_http_1_0_gets_no_transfer_coding(app: App, way: Way, target: str) -> None:
    request = f"GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
    answer = await told(app, way, request)
    assert "transfer-encoding" not in fields(answer)
    assert fields(answer)["connection"] == "close"
    assert answer.partition(b"\r\n\r\n")[2] == b"ab"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_no_framing_that_announces_one(app: App, way: Way, status: int) -> None:
    answer = await told(app, way, asked(f"/status/{status}"))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content that" not in answer
    assert "transfer-encoding" not in fields(answer)
    assert status != 204 or "content-length" not in fields(answer)


@pytest.mark.parametrize("target", ["/", "/nowhere"])
async def test_head_has_the_fields_of_get_and_no_content(app: App, way: Way, target: str) -> None:
    of_get, of_head = await told(app, way, asked(target)), await told(app, way, asked(target, "HEAD"))
    assert fields(of_head) == fields(of_get)
    assert of_head.endswith(b"\r\n\r\n")
    assert of_head.count(b"\r\n\r\n") == 1


async def test_every_answer_has_a_date(app: App, way: Way) -> None:
    for target in ("/", "/stream", "/nowhere", "/status/204"):
        assert fields(await told(app, way, asked(target)))["date"].endswith(" GMT")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(asked("/"), id="the client asked for it"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="a refusal"),
        pytest.param(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", id="a stream to HTTP/1.0"),
    ],
)
async def test_who_says_close_closes(app: App, way: Way, data: bytes) -> None:
    answer = await told(app, way, data + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    assert fields(answer)["connection"] == "close"
    assert answer.count(b"HTTP/1.1 ") == 1
