"""What the machine offers beside its events."""

import pytest

from cello.config import LimitsConfig
from cello.errors import ProtocolError
from cello.wire.h1 import END_OF_MESSAGE, NEED_DATA, RequestParser
from cello.wire.request_head import RequestHead
from cello.wire.tiers import choose_tier

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def parser() -> RequestParser:
    return RequestParser(choose_tier("h11").parse_head, LimitsConfig())


def head_of(parser: RequestParser, data: bytes) -> RequestHead:
    parser.receive(data)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


def test_pipelined_bytes_wait_until_they_are_pulled(parser: RequestParser) -> None:
    head_of(parser, GET + GET[:10])
    assert parser.next_event() is END_OF_MESSAGE
    assert parser.between_messages
    assert parser.buffered_bytes == 10
    parser.receive(GET[10:])
    assert parser.waiting_requests == 1
    assert isinstance(parser.next_event(), RequestHead)


def test_the_rest_can_be_taken_by_the_next_protocol(parser: RequestParser) -> None:
    head_of(parser, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x00")
    assert parser.next_event() is END_OF_MESSAGE
    assert parser.take_rest() == b"\x81\x00"
    assert parser.next_event() is NEED_DATA


def test_the_rest_of_a_body_is_known_while_it_has_a_length(parser: RequestParser) -> None:
    assert parser.rest_of_body_bytes == 0
    head_of(parser, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert parser.rest_of_body_bytes == 5
    assert parser.next_event() == b"ab"
    assert parser.rest_of_body_bytes == 3
    assert not parser.between_messages


def test_the_rest_of_a_chunked_or_refused_body_is_unknown(parser: RequestParser) -> None:
    head_of(parser, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert parser.rest_of_body_bytes == -1
    parser.receive(b"x")
    parser.receive(b"\n")
    with pytest.raises(ProtocolError):
        parser.next_event()
    assert parser.rest_of_body_bytes == -1


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ("Connection: Upgrade\r\nUpgrade: WebSocket\r\n", b"websocket"),
        ("Connection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket\r\n", b"h2c, websocket"),
        ("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n", b"a, b"),
        ("Upgrade: websocket\r\n", b""),
        ("Connection: upgrade\r\n", b""),
        ("", b""),
    ],
)
def test_an_offer_to_upgrade_is_seen_when_connection_names_it(
    parser: RequestParser, fields: str, offered: bytes
) -> None:
    assert head_of(parser, f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()).upgrade == offered


def test_an_upgrade_in_http_1_0_is_ignored(parser: RequestParser) -> None:
    assert head_of(parser, b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade == b""


@pytest.mark.parametrize(
    ("fields", "body", "waits"),
    [
        ("Expect: 100-continue\r\nContent-Length: 1\r\n", b"", True),
        ("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", b"", True),
        ("Expect: 100-continue\r\nContent-Length: 0\r\n", b"", False),
        ("Expect: 100-continue\r\n", b"", False),
        ("Content-Length: 1\r\n", b"", False),
    ],
)
def test_does_the_client_wait_for_100(parser: RequestParser, fields: str, body: bytes, waits: bool) -> None:
    assert head_of(parser, f"POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()).expects_continue is waits


def test_a_limit_set_for_one_body_does_not_last(parser: RequestParser) -> None:
    head_of(parser, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
    parser.limit_body(1)
    assert parser.next_event() == b"a"
    assert parser.next_event() is END_OF_MESSAGE
    head_of(parser, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    assert parser.next_event() == b"ab"


def test_memory_is_bounded_for_an_endless_line(parser: RequestParser) -> None:
    parser.receive(b"GET /" + b"x" * 8000)
    assert parser.next_event() is NEED_DATA
    parser.receive(b"x" * 8000)
    with pytest.raises(ProtocolError) as caught:
        parser.next_event()
    assert caught.value.status == 414
