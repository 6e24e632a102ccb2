"""Heads of answers: what the server adds, and in which case."""

import pytest

from cello.wire.response_head import response_head, status_line

COMMON = (b"Date: now\r\n", b"Server: us\r\n")


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ({}, b""),
        ({"keep_alive": False}, b"Connection: close\r\n"),
        ({"http_version": "1.0"}, b"Connection: keep-alive\r\n"),
        ({"http_version": "1.0", "keep_alive": False}, b"Connection: close\r\n"),
        ({"chunked": True}, b"Transfer-Encoding: chunked\r\n"),
        ({"chunked": True, "keep_alive": False}, b"Connection: close\r\nTransfer-Encoding: chunked\r\n"),
    ],
    ids=str,
)
def test_what_the_connection_adds(options: dict[str, object], added: bytes) -> None:
    head = response_head(200, [(b"X", b"y")], COMMON, **options)  # type: ignore[arg-type]  # rows of one table
    assert head == b"HTTP/1.1 200 OK\r\nX: y\r\nDate: now\r\nServer: us\r\n" + added + b"\r\n"


@pytest.mark.parametrize("name", [b"Date", b"date", b"DATE"])
def test_a_date_of_the_answers_own_takes_the_place_of_ours(name: bytes) -> None:
    assert response_head(204, [(name, b"x")], COMMON) == (
        b"HTTP/1.1 204 No Content\r\n" + name + b": x\r\nServer: us\r\n\r\n"
    )


def test_a_server_of_the_answers_own_takes_the_place_of_ours() -> None:
    head = response_head(200, [(b"ETag", b"x"), (b"server", b"y"), (b"Cookie", b"z")], COMMON)
    assert head == b"HTTP/1.1 200 OK\r\nETag: x\r\nserver: y\r\nCookie: z\r\nDate: now\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"HTTP/1.1 200 OK\r\n"), (431, b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
     (299, b"HTTP/1.1 299 Unknown Status\r\n")],
)  # fmt: skip
def test_every_status_has_a_line(status: int, line: bytes) -> None:
    assert status_line(status) == line
