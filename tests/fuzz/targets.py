"""What is fuzzed: each target takes any bytes, and raises AssertionError or worse where a promise is broken.

`test_targets.py` feeds them with hypothesis in every run of the suite; `python -m tests.fuzz NAME`, or `make fuzz`,
feeds them with atheris, which looks for new paths through the code.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from cello.errors import BadRequest, ContentTooLarge, ProtocolError
from cello.http.url import encode_query, parse_query
from cello.wire.chunked import ChunkedBody
from cello.wire.h1 import END_OF_MESSAGE, NEED_DATA, RequestParser
from cello.wire.request_head import RequestHead
from cello.wire.tiers import Tier
from tests.conformance.cuts import available_tiers, cut
from tests.conformance.rows import LIMITS
from tests.fuzz import NAMES

TIERS = available_tiers()
_TRAILER_LIMIT_BYTES = 256


def head(data: bytes) -> None:
    """Requests: every head scanner and every cut gives the same events, and memory is bounded."""
    outcomes = [parsed(tier, data, how) for tier in TIERS for how in ("whole", "odd")]
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes


def chunked(data: bytes) -> None:
    """Chunked bodies: the cut makes no difference, and a body is never longer than its coding."""
    whole, odd = (dechunked(data, how) for how in ("whole", "odd"))
    assert whole == odd, (whole, odd)
    body, used, _ = whole
    assert len(body) <= max(0, used)


def query(data: bytes) -> None:
    """Queries: read as the standard library reads them; what was read survives being written and read again."""
    text = data.decode("latin-1")
    try:
        found = parse_query(text, max_fields=50)
    except (BadRequest, ContentTooLarge):
        return
    expected = parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="strict") if text.isascii() else None
    assert expected is None or found.pairs == expected, (found.pairs, expected)
    written = encode_query({name: found.get_all(name) for name in found})
    again = parse_query(written)
    assert {name: again.get_all(name) for name in again} == {name: found.get_all(name) for name in found}


TARGETS: dict[str, Callable[[bytes], None]] = dict(zip(NAMES, (head, chunked, query), strict=True))


def parsed(tier: Tier, data: bytes, how: str) -> list[Any]:
    """Return what a parser of that tier makes of a stream: heads and bodies, then how it ended."""
    parser = RequestParser(tier.parse_head, LIMITS)
    outcome: list[Any] = []
    body = b""
    try:
        for piece in cut(data, how):
            parser.receive(piece)
            while (event := parser.next_event()) is not NEED_DATA:
                if isinstance(event, RequestHead):
                    outcome.append((event.method, event.raw_path, event.query_string, event.fields.raw()))
                    parser.limit_body(LIMITS.max_body_size)
                elif event is END_OF_MESSAGE:
                    outcome.append(body)
                    body = b""
                else:
                    assert isinstance(event, bytes)
                    body += event
            if parser.between_messages:
                assert parser.buffered_bytes <= LIMITS.max_header_size + len(piece)
    except ProtocolError as error:
        return [*outcome, error.status]
    return [*outcome, body]


def dechunked(data: bytes, how: str) -> tuple[bytes, int, str]:
    """Return the body, how many bytes were used when it ended (-1: it did not), and how it ended."""
    decoder = ChunkedBody(_TRAILER_LIMIT_BYTES, 8)
    buffer, at, body = b"", 0, b""
    try:
        for piece in cut(data, how):
            buffer += piece
            while True:
                chunk, after = decoder.read(buffer, at)
                assert after >= at
                at = after
                if chunk is None:
                    break
                if not chunk:
                    return body, at, "complete"
                body += chunk
    except ProtocolError as error:
        return b"", 0, str(error.status)
    return body, len(data), "incomplete"
