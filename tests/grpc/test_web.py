"""gRPC-Web, byte by byte, through every gateway."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from cello import App, GrpcConfig, RateLimitConfig
from cello.grpc import GrpcError
from cello.grpc.web import frame

PROTO = "application/grpc-web+proto"
TEXT = "application/grpc-web-text"


def make_app(**config):
    app = App()
    app.enable_grpc(GrpcConfig(address="127.0.0.1:0", **{"enable_web": True, **config}))
    app.enable_cors(origins=["https://shop.example"])
    numbers = app.add_grpc_service("Numbers", ["Half", "Upto", "Later", "Collect"])

    @numbers.method("Half")
    async def half(number: int) -> int:
        if number % 2:
            raise GrpcError(
                GrpcError.FAILED_PRECONDITION, "ödd\r\nx: y", metadata={"x-odd": "a\r\nb: c", "x-odd-bin": b"\0\1"}
            )
        return number // 2

    @numbers.method("Upto")
    def upto(number: int, fails: bool = False):
        for each in range(number):
            yield {"n": each}
        if fails:
            raise RuntimeError("hunter2")

    @numbers.method("Collect")
    async def collect(numbers: AsyncIterator[dict]) -> dict:
        return {}

    return app


@pytest.fixture
def page(serve):
    with serve(make_app()) as client:
        yield client


def post(client, path, content, media=PROTO, **headers):
    return client.post(path, content=content, headers={"Content-Type": media, "X-Grpc-Web": "1", **headers})


def frames(body):
    """Return (flag, content) of each frame."""
    found = []
    while body:
        size = int.from_bytes(body[1:5])
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def status(answer):
    """Return the trailers of an answer that has nothing else."""
    assert answer.status_code == 200
    [(flag, content)] = frames(answer.content)
    assert flag == 0x80
    return dict(line.split(": ", 1) for line in content.decode().split("\r\n") if line)


EIGHT = b"\x08\x08"  # field 1 is 8


def test_one_answer_is_a_frame_and_its_trailers(page):
    answer = post(page, "/Numbers/Half", frame(EIGHT))
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROTO)
    assert frames(answer.content) == [(0, b"\x08\x04"), (0x80, b"grpc-status: 0\r\n")]


def test_text_is_the_same_in_base64(page):
    for media in (TEXT, f"{TEXT}+proto"):
        answer = post(page, "/Numbers/Half", base64.b64encode(frame(EIGHT)), media)
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{TEXT}+proto")
        assert frames(base64.b64decode(answer.content)) == [(0, b"\x08\x04"), (0x80, b"grpc-status: 0\r\n")]
    pieces = base64.b64encode(frame(EIGHT)[:4]) + base64.b64encode(frame(EIGHT)[4:])
    assert post(page, "/Numbers/Half", pieces, TEXT).content == answer.content


def test_a_stream_is_a_frame_for_each_answer(page):
    *answers, (flag, trailers) = frames(post(page, "/Numbers/Upto", frame(b"\x08\x03")).content)
    assert [kind for kind, _ in answers] == [0, 0, 0]
    assert (flag, trailers) == (0x80, b"grpc-status: 0\r\n")


def test_a_stream_that_breaks_says_so_at_its_end_and_no_more(page):
    got = post(page, "/Numbers/Upto", frame(b"\x08\x01\x10\x01"))
    [(kind, _), (flag, trailers)] = frames(got.content)
    assert (kind, flag) == (0, 0x80)
    assert trailers == b"grpc-status: 13\r\ngrpc-message: Internal Server Error\r\n"


def test_an_error_is_trailers_that_nobody_can_break_out_of(page):
    assert status(post(page, "/Numbers/Half", frame(b"\x08\x07"))) == {
        "grpc-status": "9",
        "grpc-message": "%C3%B6dd%0D%0Ax: y",
        "x-odd": "a  b: c",
        "x-odd-bin": "AAE",
    }


BAD = {
    "nothing": (b"", "3"),
    "half a frame": (frame(EIGHT)[:-1], "3"),
    "two frames": (frame(EIGHT) * 2, "3"),
    "a frame of trailers": (frame(EIGHT, 0x80), "3"),
    "a compressed frame": (frame(EIGHT, 1), "12"),
    "no message": (frame(b"\xff\xff"), "3"),
    "too much": (frame(b"x" * 4_194_305), "8"),
}


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD.keys())
def test_what_is_no_message_has_its_code(page, content, code):
    assert status(post(page, "/Numbers/Half", content))["grpc-status"] == code


def test_text_that_is_no_base64_is_invalid(page):
    answer = post(page, "/Numbers/Half", b"%%%", TEXT)
    assert b"grpc-status: 3" in base64.b64decode(answer.content)


def test_what_cannot_be_answered_is_unimplemented(page):
    assert status(post(page, "/Numbers/Collect", frame(b"")))["grpc-status"] == "12"
    assert status(post(page, "/Numbers/Later", frame(b"")))["grpc-status"] == "12"
    assert post(page, "/Numbers/Nope", frame(b"")).status_code == 404  # which clients take for UNIMPLEMENTED


def test_other_media_types_are_415(page):
    assert page.post("/Numbers/Half", json={"number": 8}).status_code == 415
    assert page.get("/Numbers/Half").status_code == 405


def test_a_deadline_ends_the_call(serve):
    app = App()
    app.enable_grpc(GrpcConfig(address="127.0.0.1:0", enable_web=True))
    slow = app.add_grpc_service("Slow")

    @slow.method()
    async def Wait(request):
        await asyncio.sleep(30)

    @slow.method(stream=True)
    async def Waits(request):
        yield {}
        await asyncio.sleep(30)

    with serve(app) as client:
        answer = post(client, "/Slow/Wait", frame(b""), **{"Grpc-Timeout": "100m"})
        assert status(answer)["grpc-status"] == "4"
        *_, (_, trailers) = frames(post(client, "/Slow/Waits", frame(b""), **{"Grpc-Timeout": "300000u"}).content)
        assert trailers.startswith(b"grpc-status: 4\r\n")


def test_pages_of_listed_origins_may_call_and_read(page):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type,x-grpc-web,x-user-agent,grpc-timeout"
    preflight = page.options("/Numbers/Half", headers=asked)
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert "x-grpc-web" in preflight.headers["access-control-allow-headers"]
    for content in (frame(EIGHT), frame(b"\x08\x07")):
        answer = post(page, "/Numbers/Half", content, Origin="https://shop.example")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_what_limits_and_guards_answer_is_a_status(serve):
    app = make_app()
    app.enable_rate_limit(RateLimitConfig.token_bucket(2, 60))
    app.add_guard(lambda request: request.headers.get("authorization") == "Bearer ada" or "Not for you.")
    with serve(app) as client:
        refused = status(post(client, "/Numbers/Half", frame(EIGHT)))
        assert (refused["grpc-status"], refused["grpc-message"]) == ("7", "Not for you.")
        said = [post(client, "/Numbers/Half", frame(EIGHT)) for _ in range(3)]
        last = status(said[-1])
        assert last["grpc-status"] == "8"
        assert int(last["retry-after"]) > 0


def test_it_is_not_there_unless_it_is_enabled(serve):
    with serve(make_app(enable_web=False)) as client:
        assert post(client, "/Numbers/Half", frame(EIGHT)).status_code == 404
