"""What no table can list: mutated messages, cut at random, must come out the same from every scanner."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cello.errors import ProtocolError
from cello.wire.h1 import END_OF_MESSAGE, NEED_DATA, RequestParser
from cello.wire.request_head import RequestHead
from cello.wire.tiers import Tier, choose_tier
from tests.conformance.cuts import available_tiers
from tests.conformance.rows import LIMITS, ROWS

CUTTING = st.lists(st.integers(0, 2000), max_size=8)
PIECES = [
    b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"abc",
    b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00",
    b"X: y\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"HTTP/1.0",
]  # fmt: skip


def outcome(tier: Tier, pieces: Iterable[bytes]) -> list[object]:
    """Return all events, the pieces of a body joined."""
    parser = RequestParser(tier.parse_head, LIMITS)
    events: list[object] = []
    body = b""
    try:
        for piece in pieces:
            parser.receive(piece)
            while (event := parser.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    events.append((event.method, event.raw_path, event.query_string, event.http_version,
                                   event.fields.raw(), event.keep_alive, event.content_length, event.chunked,
                                   event.expects_continue, event.upgrade))  # fmt: skip
                elif event is END_OF_MESSAGE:
                    events.append(body)
                    body = b""
                else:
                    assert isinstance(event, bytes)
                    body += event
    except ProtocolError as error:
        return [*events, error.status]
    return [*events, parser.buffered_bytes > 0]


def in_cuts(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges) if start < stop]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12), st.lists(st.integers(0, 400), max_size=8))
def test_any_mixture_of_pieces_has_one_outcome(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    expected = outcome(choose_tier("h11"), [data])
    for tier in available_tiers():
        assert outcome(tier, in_cuts(data, cuts)) == expected, tier.name


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ROWS), st.integers(0, 2000), st.binary(max_size=2), st.integers(0, 2), CUTTING)
def test_any_damage_to_a_row_of_the_table_has_one_outcome(
    row: object, at: int, inserted: bytes, removed: int, cuts: list[int]
) -> None:
    data: bytes = row.data  # type: ignore[attr-defined]  # a Row; hypothesis prints its fields
    at %= len(data)
    data = data[:at] + inserted + data[at + removed :]
    expected = outcome(choose_tier("h11"), [data])
    for tier in available_tiers():
        assert outcome(tier, in_cuts(data, cuts)) == expected, tier.name
