"""The conformance table at the parser, for every head scanner and every way to cut the bytes."""

import pytest

from cello.errors import ProtocolError
from cello.wire.h1 import END_OF_MESSAGE, NEED_DATA, RequestParser
from cello.wire.request_head import RequestHead
from cello.wire.tiers import Tier, choose_tier
from tests.conformance.cuts import CUTS, available_tiers, cut
from tests.conformance.rows import INCOMPLETE, LIMITS, ROWS, Accepted, Row

COMPLETE = [row for row in ROWS if row.data.count(b"\r\n\r\n") == 1 and row.data.endswith(b"\r\n\r\n")]


@pytest.fixture(params=available_tiers(), ids=lambda tier: tier.name)
def tier(request: pytest.FixtureRequest) -> Tier:
    made: Tier = request.param
    return made


def play(tier: Tier, row: Row, how: str) -> list[Accepted | int | str]:
    """Feed a row to a parser as a server would, and return the outcome."""
    parser = RequestParser(tier.parse_head, LIMITS)
    outcome: list[Accepted | int | str] = []
    head: RequestHead | None = None
    body = b""
    for piece in cut(row.data, how):
        parser.receive(piece)
        while True:
            try:
                event = parser.next_event()
            except ProtocolError as error:
                return [*outcome, error.status]
            if event is NEED_DATA:
                break
            if isinstance(event, RequestHead):
                head, body = event, b""
                try:
                    parser.limit_body(LIMITS.max_body_size)
                except ProtocolError as error:
                    return [*outcome, error.status]
            elif isinstance(event, bytes):
                assert event, "a piece of a body is never empty"
                body += event
            else:
                assert event is END_OF_MESSAGE
                assert head is not None
                outcome.append(accepted(head, body))
                if not head.keep_alive:
                    return outcome
                head = None
    if head is not None or parser.buffered_bytes or not outcome:
        outcome.append(INCOMPLETE)
    return outcome


def accepted(head: RequestHead, body: bytes) -> Accepted:
    target = f"{head.raw_path}?{head.query_string}" if head.query_string else head.raw_path
    host = (head.fields.get(b"host") or b"").decode("latin-1")
    return Accepted(head.method, target, body, head.keep_alive, head.http_version, host)


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_parser_agrees_with_the_table(row: Row, how: str, tier: Tier) -> None:
    assert play(tier, row, how) == row.outcome


def test_the_table_is_large_and_says_each_thing_once() -> None:
    assert len(ROWS) >= 150
    assert len({row.id for row in ROWS}) == len(ROWS)
    assert all(row.section[:4] in ("9110", "9112", "6585") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_refusal_is_repeated_and_nothing_is_read_behind_it(row: Row) -> None:
    if not isinstance(row.outcome[-1], int):
        return
    parser = RequestParser(choose_tier("h11").parse_head, LIMITS)
    parser.receive(row.data)
    statuses = []
    for _ in range(200):
        try:
            if isinstance(parser.next_event(), RequestHead):
                parser.limit_body(LIMITS.max_body_size)
        except ProtocolError as error:
            statuses.append(error.status)
            parser.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert set(statuses) == {row.outcome[-1]}


def scanned(tier: Tier, head: bytes) -> object:
    try:
        method, target, minor, fields = tier.parse_head(head)
    except ProtocolError as error:
        return error.status
    return method, target, minor, fields.raw()


@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: row.id)
def test_all_scanners_return_the_same_fields(row: Row) -> None:
    head = row.data
    if head.count(b"\r") != head.count(b"\n") or head.count(b"\r\n") != head.count(b"\n") or head[0] < 33:
        return  # such heads are not given to scanners
    if b"\r\n " in head or b"\r\n\t" in head:
        return
    first, *others = [scanned(tier, head) for tier in available_tiers()]
    assert all(other == first for other in others)
