"""What is sent back, and everything that is decided about its head."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from cello.http.background import BackgroundTasks
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload, disposition
from cello.http.stream import as_bytes


def sent(response: Response, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Settle a response and return what a gateway would send."""
    request = Request(method, "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    response.settle(request)
    fields = response.fields()
    assert len({name.lower() for name, _ in fields} - {b"set-cookie"}) == len(
        [f for f in fields if f[0] != b"Set-Cookie"]
    )
    payload = response.payload
    if isinstance(payload, FilePayload):
        payload = b"".join(payload.chunks())
    elif isinstance(payload, StreamPayload) and not payload.is_async:
        payload = b"".join(payload.iterator)
    return response.status, {name.decode(): value.decode() for name, value in fields}, payload


TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
MADE = [
    pytest.param(lambda: Response("é"), 200, TEXT, "é".encode(), id="text"),
    pytest.param(lambda: Response(b"x"), 200, BINARY, b"x", id="bytes"),
    pytest.param(lambda: Response(), 200, TEXT, b"", id="nothing"),
    pytest.param(lambda: Response("x", 201, None, "a/b"), 201, "a/b", b"x", id="a content type"),
    pytest.param(lambda: Response("x", HTTPStatus.NOT_FOUND), 404, TEXT, b"x", id="a status of the library"),
    pytest.param(
        lambda: Response("x", headers={"content-type": "a/b"}), 200, "a/b", b"x", id="a type among the headers"
    ),
    pytest.param(
        lambda: Response("x", headers={"content-type": "a/b"}, content_type="c/d"),
        200,
        "c/d",
        b"x",
        id="both: the argument",
    ),
    pytest.param(lambda: Response.json({"a": 1}), 200, "application/json", b'{"a":1}', id="JSON"),
    pytest.param(lambda: Response.json(None, 418), 418, "application/json", b"null", id="JSON with a status"),
    pytest.param(
        lambda: Response.json([], headers={"Content-Type": "application/problem+json"}),
        200,
        "application/problem+json",
        b"[]",
        id="JSON of another type",
    ),
    pytest.param(lambda: Response.json([], headers={"X": "y"}), 200, "application/json", b"[]", id="JSON with headers"),
    pytest.param(lambda: Response.text("x", 202), 202, TEXT, b"x", id="plain text"),
    pytest.param(lambda: Response.html("<p>"), 200, "text/html; charset=utf-8", b"<p>", id="HTML"),
    pytest.param(lambda: Response.binary(b"x"), 200, BINARY, b"x", id="octets"),
    pytest.param(lambda: Response.binary(b"x", "image/png", 203), 203, "image/png", b"x", id="an image"),
    pytest.param(lambda: Response.xml("<a/>"), 200, "application/xml", b"<a/>", id="XML"),
    pytest.param(lambda: Response.created(), 201, TEXT, b"", id="created"),
    pytest.param(lambda: Response.created({"id": 1}), 201, "application/json", b'{"id":1}', id="created with data"),
    pytest.param(lambda: Response.created([]), 201, "application/json", b"[]", id="created with nothing in it"),
]


@pytest.mark.parametrize(("make", "status", "content_type", "body"), MADE)
def test_a_response_is_made(make: Any, status: int, content_type: str, body: bytes) -> None:
    response = make()
    assert response.content_type() == content_type
    assert response.body() == body
    assert response.content_length == len(body)
    code, fields, payload = sent(response)
    assert (code, payload) == (status, body)
    assert fields["Content-Length"] == str(len(body))
    assert {name.lower(): value for name, value in fields.items()}["content-type"] == content_type
    assert type(code) is int


def test_a_plain_response_makes_no_header_object() -> None:
    response = Response.json({})
    response.settle(Request("GET", "/"))
    response.fields()
    assert response.has("content-type")
    assert not response.has("x")
    assert response._headers is None


def test_settling_twice_changes_nothing() -> None:
    response = Response("abc")
    response.settle(Request("HEAD", "/"))
    response.settle(Request("GET", "/"))
    assert response.payload == b""
    assert response.content_length == 3


def test_a_response_without_a_request_is_settled_as_for_get() -> None:
    response = Response("abc", 400)
    response.settle(None)
    assert response.payload == b"abc"
    plain = Response("abc")
    plain.settle(None)
    assert plain.payload == b"abc"


NO_CONTENT = [204, 304]


@pytest.mark.parametrize("status", NO_CONTENT)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_some_statuses_have_no_content_and_no_length_rfc_9110_8_6(status: int, method: str) -> None:
    response = Response("x", status, {"X-A": "1", "Content-Language": "en"})
    assert sent(response, method) == (status, {"X-A": "1"}, b"")


def test_205_has_no_content_but_a_length_rfc_9110_15_3_6() -> None:
    assert sent(Response("x", 205)) == (205, {"Content-Type": TEXT, "Content-Length": "0"}, b"")


def test_no_content_is_204() -> None:
    assert sent(Response.no_content()) == (204, {}, b"")


@pytest.mark.parametrize("status", [200, 404])
def test_head_keeps_the_length_and_loses_the_content_rfc_9110_9_3_2(status: int) -> None:
    assert sent(Response("abc", status), "HEAD") == (status, {"Content-Type": TEXT, "Content-Length": "3"}, b"")


def test_a_head_handler_may_declare_the_length() -> None:
    response = Response("", headers={"Content-Length": "42"})
    assert sent(response, "HEAD")[1]["Content-Length"] == "42"


def test_a_declared_length_is_corrected_where_the_body_is_known() -> None:
    response = Response("abc", headers={"Content-Length": "42"})
    assert sent(response)[1]["Content-Length"] == "3"


def test_fields_of_the_connection_are_left_to_the_server_rfc_9110_7_6_1() -> None:
    names = ["Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Proxy-Connection"]
    response = Response("x", headers={"X": "y", **dict.fromkeys(names, "z")})
    assert sent(response)[1] == {"Content-Type": TEXT, "X": "y", "Content-Length": "1"}


@pytest.mark.parametrize("status", [99, 600, "200", 200.0, True, None])
def test_a_status_is_a_whole_number_from_100_to_599(status: Any) -> None:
    with pytest.raises(ValueError, match="100-599"):
        Response("x", status)
    response = Response("x")
    response.status = status
    with pytest.raises(ValueError, match="100-599"):
        response.settle(Request("GET", "/"))


def test_a_status_of_the_library_set_later_is_sent_as_a_number() -> None:
    response = Response("x")
    response.status = HTTPStatus.CONFLICT
    assert type(sent(response)[0]) is int


@pytest.mark.parametrize("body", [None, 5, {"a": 1}, ["a"], bytearray(b"x")])
def test_a_body_is_text_or_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match=r"Response\.json"):
        Response(body)


def test_headers_are_set_appended_and_read() -> None:
    response = Response("x", headers=[("A", "1"), ("A", "2")])
    response.set_header("B", "3")
    response.append_header("B", "4")
    assert response.headers["content-type"] == TEXT
    assert response.content_type() == TEXT
    assert response.has("CONTENT-TYPE")
    response.set_header("Content-Type", "a/b")
    response.settle(None)
    assert response.fields() == [
        (b"A", b"1"),
        (b"A", b"2"),
        (b"Content-Type", b"a/b"),
        (b"B", b"3"),
        (b"B", b"4"),
        (b"Content-Length", b"1"),
    ]


def test_a_content_type_may_be_removed() -> None:
    response = Response("x")
    del response.headers["content-type"]
    assert response.content_type() is None
    assert sent(response)[1] == {"Content-Length": "1"}
    assert repr(response) == "<Response 200 no content type>"


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b", "日", ""])
def test_a_content_type_that_cannot_be_sent_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="content type"):
        Response("x", content_type=value)


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=y", "a\nb", "a\rb", "a\0b"])
def test_header_injection_is_refused_wherever_a_header_is_set(value: str) -> None:
    response = Response("x")
    for attempt in (
        lambda: Response("x", headers={"A": value}),
        lambda: Response("x", headers={value: "a"}),
        lambda: Response.json({}, headers={"A": value}),
        lambda: response.set_header("A", value),
        lambda: response.append_header("A", value),
        lambda: response.set_header(value, "a"),
        lambda: response.set_cookie("a", value),
        lambda: response.set_cookie(value, "a"),
        lambda: response.set_cookie("a", "b", path="/" + value),
        lambda: response.set_cookie("a", "b", domain=value),
        lambda: response.delete_cookie(value),
        lambda: Response.redirect("/" + value),
        lambda: Response.created(location=value),
        lambda: Response.file(__file__, filename=value),
        lambda: Response.sendfile(__file__, content_type=value),
    ):
        with pytest.raises(ValueError):
            attempt()
    assert sent(response)[1] == {"Content-Type": TEXT, "Content-Length": "1"}


def test_cookies_are_set_and_deleted() -> None:
    response = Response("x")
    response.set_cookie("a", "1", max_age=60, secure=True, httponly=True, samesite="Strict")
    response.set_cookie("b", "2")
    response.delete_cookie("c", domain="example.org")
    assert response.headers.get_all("set-cookie") == [
        "a=1; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Strict",
        "b=2; Path=/",
        "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Domain=example.org; Path=/",
    ]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [({}, 302), ({"status": 307}, 307), ({"permanent": True}, 301), ({"permanent": False, "status": 308}, 302)],
)
def test_a_redirect_has_a_location(arguments: dict[str, Any], status: int) -> None:
    code, fields, _ = sent(Response.redirect("/caf\xe9?a=b", **arguments))
    assert (code, fields["Location"]) == (status, "/caf%C3%A9?a=b")


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_a_redirect_has_a_status_of_redirects(status: int) -> None:
    with pytest.raises(ValueError, match="redirect"):
        Response.redirect("/", status)


def test_created_says_where() -> None:
    assert sent(Response.created({"id": 1}, "/users/1"))[1]["Location"] == "/users/1"


def test_a_subclass_makes_itself() -> None:
    class Mine(Response):
        pass

    assert type(Mine.json({})) is Mine
    assert type(Mine.redirect("/")) is Mine


def test_background_tasks_are_carried() -> None:
    response = Response("x")
    assert response.background is None
    response.background = BackgroundTasks()
    assert response.background.pending_count() == 0


# Streams


def test_a_stream_is_bytes_of_unknown_length() -> None:
    response = Response.stream(iter(["a", b"b", bytearray(b"c"), memoryview(b"d")]), 201, "text/plain", {"X": "y"})
    assert response.content_length is None
    assert sent(response) == (201, {"Content-Type": "text/plain", "X": "y"}, b"abcd")


def test_any_iterable_can_be_streamed() -> None:
    assert sent(Response.stream(["a", "b"]))[2] == b"ab"


async def test_an_async_stream_is_bytes_too() -> None:
    closed = []

    async def pieces() -> AsyncIterator[str | bytes]:
        try:
            yield "a"
            yield b"b"
        finally:
            closed.append(True)

    response = Response.stream(pieces())
    response.settle(Request("GET", "/"))
    payload = response.payload
    assert isinstance(payload, StreamPayload)
    assert payload.is_async
    assert await anext(payload.iterator) == b"a"
    await payload.iterator.aclose()
    assert closed == [True]


async def test_an_async_iterator_without_a_close_is_fine() -> None:
    class Endless:
        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> bytes:
            return b"x"

    payload = StreamPayload(Endless())
    assert await anext(payload.iterator) == b"x"
    await payload.iterator.aclose()
    payload.close()


class Closing:
    """An iterator that knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> "Closing":
        return self

    def __next__(self) -> bytes:
        return b"x"

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_stream_that_is_not_sent_is_closed(method: str, status: int) -> None:
    source = Closing()
    assert sent(Response.stream(source, status), method)[2] == b""
    assert source.is_closed


def test_a_stream_without_a_close_need_not_have_one() -> None:
    sent(Response.stream(["a"]), "HEAD")


def test_a_stream_may_declare_its_length() -> None:
    response = Response.stream(iter([b"abc"]), headers={"Content-Length": "3"})
    assert sent(response)[1]["Content-Length"] == "3"
    assert sent(Response.stream([b"abc"], headers={"Content-Length": "3"}), "HEAD")[1]["Content-Length"] == "3"


@pytest.mark.parametrize("value", ["x", "-1", "1, 1", "٣"])
def test_a_declared_length_is_a_number(value: str) -> None:
    with contextlib.suppress(UnicodeError), pytest.raises(ValueError):
        sent(Response.stream([b"abc"], headers={"Content-Length": value}))


@pytest.mark.parametrize("source", [None, 5, "text", b"bytes", {"a": 1}])
def test_what_cannot_be_streamed_is_refused_at_once(source: Any) -> None:
    with pytest.raises(TypeError, match="iterator"):
        Response.stream(source)


def test_a_stream_of_anything_else_fails_at_that_piece() -> None:
    response = Response.stream(iter([b"a", 5]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="str or bytes"):
        sent(response)
    with pytest.raises(TypeError, match="str or bytes"):
        as_bytes(None)


def test_a_stream_has_no_body_at_hand() -> None:
    with pytest.raises(TypeError, match="StreamPayload"):
        Response.stream([b"a"]).body()


# Files

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.txt"
    file.write_bytes(CONTENT)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    return file


ETAG = '"17979cfe362a0000-400"'
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
HEAD = {"Content-Type": TEXT, "Accept-Ranges": "bytes", "ETag": ETAG, "Last-Modified": DATE}


def test_a_file_is_sent_whole_with_validators(path: Path) -> None:
    response = Response.sendfile(path)
    assert response.content_length == 1024
    assert sent(response) == (200, {**HEAD, "Content-Length": "1024"}, CONTENT)


def test_head_of_a_file_opens_nothing(path: Path) -> None:
    response = Response.sendfile(str(path))
    path.unlink()
    assert sent(response, "HEAD") == (200, {**HEAD, "Content-Length": "1024"}, b"")


def test_a_download_has_a_name(path: Path) -> None:
    assert sent(Response.file(path))[1]["Content-Disposition"] == 'attachment; filename="data.txt"'
    assert sent(Response.file(path, "x.bin", "a/b"))[1]["Content-Type"] == "a/b"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        pytest.param("a b.txt", 'attachment; filename="a b.txt"', id="plain"),
        pytest.param("é€.txt", "attachment; filename=\"??.txt\"; filename*=UTF-8''%C3%A9%E2%82%AC.txt", id="RFC 8187"),
        pytest.param('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt", id="a quote"),
        pytest.param("a\\b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%5Cb", id="a backslash"),
        pytest.param("100%", "attachment; filename=\"100_\"; filename*=UTF-8''100%25", id="a percent sign"),
        pytest.param("a;b", 'attachment; filename="a;b"', id="a semicolon"),
    ],
)
def test_a_file_name_is_quoted_by_rfc_6266(filename: str, expected: str) -> None:
    assert disposition("attachment", filename) == expected


def test_a_file_name_with_a_lone_surrogate_cannot_be_sent() -> None:
    with pytest.raises(ValueError):
        disposition("attachment", "\ud800")


CONDITIONAL = [
    pytest.param({"If_None_Match": ETAG}, 304, id="13.1.2 the client has it"),
    pytest.param({"If_None_Match": f"W/{ETAG}"}, 304, id="13.1.2 weakly"),
    pytest.param({"If_None_Match": "*"}, 304, id="13.1.2 any"),
    pytest.param({"If_None_Match": '"x"'}, 200, id="13.1.2 another"),
    pytest.param({"If_Modified_Since": DATE}, 304, id="13.1.3 not modified"),
    pytest.param({"If_Modified_Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200, id="13.1.3 modified"),
    pytest.param({"If_Match": ETAG}, 200, id="13.1.1 the same"),
    pytest.param({"If_Match": '"x"'}, 412, id="13.1.1 another"),
    pytest.param({"If_Unmodified_Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 412, id="13.1.4 modified"),
    pytest.param({"If_None_Match": ETAG, "Range": "bytes=0-1"}, 304, id="13.2.2 before the range"),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONAL)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_answers_conditions(path: Path, headers: dict[str, str], status: int, method: str) -> None:
    code, fields, payload = sent(Response.sendfile(path), method, **headers)
    assert code == status
    assert fields["ETag"] == ETAG
    if status == 304:
        assert payload == b""
        assert "Content-Length" not in fields
        assert "Content-Type" not in fields
    elif status == 412:
        assert payload == b""
        assert fields["Content-Length"] == "0"
    else:
        assert payload == (CONTENT if method == "GET" else b"")


PARTS = [
    pytest.param({"Range": "bytes=0-9"}, (0, 10), id="14.1.2 first bytes"),
    pytest.param({"Range": "bytes=1000-"}, (1000, 1024), id="14.1.2 from there on"),
    pytest.param({"Range": "bytes=-5"}, (1019, 1024), id="14.1.2 last bytes"),
    pytest.param({"Range": "bytes=0-9", "If_Range": ETAG}, (0, 10), id="13.1.5 If-Range by tag"),
    pytest.param({"Range": "bytes=0-9", "If_Range": DATE}, (0, 10), id="13.1.5 If-Range by date"),
]


@pytest.mark.parametrize(("headers", "cut"), PARTS)
def test_a_range_of_a_file_is_206_rfc_9110_15_3_7(path: Path, headers: dict[str, str], cut: tuple[int, int]) -> None:
    start, stop = cut
    expected = {**HEAD, "Content-Range": f"bytes {start}-{stop - 1}/1024", "Content-Length": str(stop - start)}
    assert sent(Response.sendfile(path), **headers) == (206, expected, CONTENT[start:stop])


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("GET", {"Range": "bytes=0-9", "If_Range": '"x"'}, id="13.1.5 If-Range by another tag"),
        pytest.param("GET", {"Range": "bytes=rubbish"}, id="14.2 malformed"),
        pytest.param("GET", {"Range": "lines=0-9"}, id="14.2 another unit"),
        pytest.param("GET", {"Range": "bytes=0-,0-,0-"}, id="14.2 overlapping"),
        pytest.param("HEAD", {"Range": "bytes=0-9"}, id="14.2 only for GET"),
        pytest.param("POST", {"Range": "bytes=0-9"}, id="14.2 not for POST"),
    ],
)
def test_a_range_that_does_not_apply_is_ignored(path: Path, method: str, headers: dict[str, str]) -> None:
    code, fields, _ = sent(Response.sendfile(path), method, **headers)
    assert (code, fields["Content-Length"]) == (200, "1024")


def test_a_range_beyond_the_file_is_416_rfc_9110_15_5_17(path: Path) -> None:
    code, fields, payload = sent(Response.sendfile(path), Range="bytes=1024-")
    assert (code, fields["Content-Range"], fields["Content-Length"], payload) == (416, "bytes */1024", "0", b"")


def test_several_ranges_are_multipart_rfc_9110_14_6(path: Path) -> None:
    response = Response.sendfile(path)
    code, fields, payload = sent(response, Range="bytes=0-1, 500-501, -1")
    assert code == 206
    kind, _, boundary = fields["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert "Content-Range" not in fields
    assert fields["Content-Length"] == str(len(payload))
    mark = boundary.encode()
    heads = [
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes %b/1024\r\n\r\n" % cut
        for cut in (b"0-1", b"500-501", b"1023-1023")
    ]
    cuts = (CONTENT[0:2], CONTENT[500:502], CONTENT[-1:])
    parts = b"\r\n".join(b"--" + mark + b"\r\n" + head + cut for head, cut in zip(heads, cuts, strict=True))
    assert payload == parts + b"\r\n--" + mark + b"--\r\n"


def test_several_ranges_of_a_file_that_shrank_are_an_error(path: Path) -> None:
    response = Response.sendfile(path)
    response.settle(Request("GET", "/", headers={"Range": "bytes=0-1,1000-1001"}))
    os.truncate(path, 10)
    assert isinstance(response.payload, StreamPayload)
    with pytest.raises(OSError, match="before what was announced"):
        b"".join(response.payload.iterator)
    response.payload.close()


def test_a_file_written_to_since_is_described_as_it_is_now(path: Path) -> None:
    response = Response.sendfile(path)
    path.write_bytes(b"new")
    os.utime(path, (1_800_000_000, 1_800_000_000))
    code, fields, payload = sent(response, If_None_Match=ETAG)
    assert (code, payload, fields["Content-Length"]) == (200, b"new", "3")
    assert fields["ETag"] != ETAG
    assert fields["Last-Modified"] == "Fri, 15 Jan 2027 08:00:00 GMT"


def test_a_file_that_has_gone_fails_before_the_head_is_sent(path: Path) -> None:
    response = Response.sendfile(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        response.settle(Request("GET", "/"))


def test_a_file_that_was_never_there_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Response.sendfile(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        Response.file(tmp_path)


def test_a_file_sent_with_another_status_knows_no_ranges(path: Path) -> None:
    response = Response.sendfile(path)
    response.status = 404
    code, fields, payload = sent(response, Range="bytes=0-1", If_None_Match="*")
    assert (code, fields["Content-Length"], payload) == (404, "1024", CONTENT)


def test_a_file_without_validators_knows_no_conditions(path: Path) -> None:
    response = Response.sendfile(path)
    del response.headers["etag"]
    response.headers["Last-Modified"] = "rubbish"
    path.chmod(0o600)
    response._headers = None
    assert sent(response, If_None_Match="*")[0] == 200


def test_any_answer_with_an_etag_answers_conditions() -> None:
    response = Response.json({"a": 1}, headers={"ETag": '"v1"'})
    assert sent(response, If_None_Match='"v1"') == (304, {"ETag": '"v1"'}, b"")


@pytest.mark.parametrize(
    ("method", "headers"),
    [("POST", {"ETag": '"v1"'}), ("GET", {"X": "y"}), ("GET", {"Last-Modified": "rubbish"}), ("GET", {"ETag": '"v2"'})],
)
def test_other_answers_are_sent_whatever_the_conditions(method: str, headers: dict[str, str]) -> None:
    assert sent(Response("x", headers=headers), method, If_None_Match='"v1"')[0] == 200


def test_a_payload_that_nobody_took_closes_its_file(path: Path) -> None:
    response = Response.sendfile(path)
    response.settle(Request("GET", "/"))
    assert isinstance(response.payload, FilePayload)
    descriptor = response.payload._descriptor
    assert descriptor is not None
    os.fstat(descriptor)
    del response
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_a_generator_is_closed_when_the_client_leaves() -> None:
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            closed.append(True)

    payload = StreamPayload(pieces())
    assert next(payload.iterator) == b"a"
    payload.close()
    assert closed == [True]


@pytest.mark.parametrize("status", [100, 101, 103])
def test_an_informational_status_is_no_answer(status):
    with pytest.raises(ValueError, match="announces an answer"):
        Response("", status).settle(None)
