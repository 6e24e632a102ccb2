"""Every tier against the table of WebSocket frames, whole and in pieces."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello import _speedups
from cello.wire.ws import BINARY, PING, TEXT, Codec, Failure, close_frame, control_frame
from cello.wire.ws_deflate import Deflate
from cello.wire.ws_tiers import choose_ws_tier
from cello.wire.ws_wsproto import WsprotoCodec
from tests.conformance.ws_rows import ROWS, WsRow, agreed, binary, frame, more, text

TIERS = ("wsproto", "compiled")


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled" and not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    return str(request.param)


def events_of(codec: Codec, *pieces: bytes) -> list[Any]:
    """Return the events, without the reasons of failures."""
    events = [event for piece in pieces for event in codec.receive(piece)]
    return [Failure(event.code, "") if isinstance(event, Failure) else event for event in events]


def make(tier: str, row: WsRow) -> Codec:
    return choose_ws_tier(tier).make(row.limit_bytes, row.deflate())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_bytes_are_these_events(row: WsRow, tier: str) -> None:
    assert events_of(make(tier, row), row.data) == row.events


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.data) < 4096], ids=lambda row: row.id)
def test_they_are_the_same_byte_by_byte(row: WsRow, tier: str) -> None:
    assert events_of(make(tier, row), *(row.data[at : at + 1] for at in range(len(row.data)))) == row.events


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_they_are_the_same_however_they_are_cut(row: WsRow, tier: str) -> None:
    chance = random.Random(row.id)  # the same cuts each time
    for _ in range(8):
        cuts = sorted(chance.randrange(len(row.data) + 1) for _ in range(chance.randrange(1, 6)))
        pieces = [row.data[start:end] for start, end in zip([0, *cuts], [*cuts, len(row.data)], strict=True)]
        assert events_of(make(tier, row), *pieces) == row.events


def test_nothing_is_read_behind_the_end(tier: str) -> None:
    codec = choose_ws_tier(tier).make(100, None)
    assert events_of(codec, frame(8)) != []
    assert codec.receive(text("x")) == []


FAIL_FAST = {
    "text that cannot become UTF-8, before its frame ends": (b"\x81\x94" + bytes(4) + b"\xce\xba\xf4\x90", 1007),
    "text that cannot become UTF-8, before its message ends": (text(b"\xff", fin=False), 1007),
    "a length beyond the limit, before its payload": (b"\x82\xfe\xff\xff" + bytes(4), 1009),
    "an opcode, before its length": (b"\x83\xff", 1002),
    "an unmasked frame, before its payload": (b"\x81\x05", 1002),
}


@pytest.mark.parametrize(("data", "code"), FAIL_FAST.values(), ids=FAIL_FAST.keys())
def test_a_fault_is_seen_at_once(data: bytes, code: int, tier: str) -> None:
    assert events_of(choose_ws_tier(tier).make(1000, None), data) == [Failure(code, "")]


def test_endless_fragments_have_an_end(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cello.wire.ws_messages.MAX_FRAGMENTS", 1000)
    codec = choose_ws_tier(tier).make(1000, None)
    assert events_of(codec, text("", fin=False), more(fin=False) * 2000) == [Failure(1008, "")]


SENT: dict[str, tuple[str | bytes, bytes]] = {
    "a text": ("Hello", b"\x81\x05Hello"),
    "a text beyond ASCII": ("ü", b"\x81\x02\xc3\xbc"),
    "an empty text": ("", b"\x81\x00"),
    "a binary": (b"\x00\xff", b"\x82\x02\x00\xff"),
    "an empty binary": (b"", b"\x82\x00"),
    "125 bytes": (b"x" * 125, b"\x82\x7d" + b"x" * 125),
    "126 bytes": (b"x" * 126, b"\x82\x7e\x00\x7e" + b"x" * 126),
    "65535 bytes": (b"x" * 65_535, b"\x82\x7e\xff\xff" + b"x" * 65_535),
    "65536 bytes": (b"x" * 65_536, b"\x82\x7f\0\0\0\0\0\1\0\0" + b"x" * 65_536),
}


@pytest.mark.parametrize(("message", "expected"), SENT.values(), ids=SENT.keys())
def test_a_message_is_sent_as(message: str | bytes, expected: bytes, tier: str) -> None:
    assert choose_ws_tier(tier).make(100, None).encode(message) == expected


def test_text_with_a_lone_surrogate_cannot_be_sent(tier: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        choose_ws_tier(tier).make(100, None).encode("\ud800")


@pytest.mark.parametrize("keeps", [True, False], ids=["with context", "without context"])
def test_long_messages_are_sent_compressed_where_agreed(keeps: bool, tier: str) -> None:
    offer = "permessage-deflate" + ("" if keeps else "; server_no_context_takeover; client_no_context_takeover")
    ours = choose_ws_tier(tier).make(10_000, Deflate(agreed(offer)))
    theirs = Deflate(agreed(offer))
    for message in ("words, " * 100, b"words, " * 100, "words, " * 100):
        sent = ours.encode(message)
        assert sent[0] == (0xC1 if isinstance(message, str) else 0xC2)
        payload = sent[2 if sent[1] < 126 else 4 :]
        plain = theirs.decompress(payload, 10_000) + theirs.finish(10_000)
        assert plain == (message.encode() if isinstance(message, str) else message)
    assert ours.encode("short") == b"\x81\x05short", "a short one is not worth it"


def test_control_frames_are_never_long() -> None:
    assert control_frame(PING, b"x" * 125)[:2] == b"\x89\x7d"
    with pytest.raises(ValueError, match="at most 125"):
        control_frame(PING, b"x" * 126)


CLOSES = {
    "a code": ((1000, ""), b"\x88\x02\x03\xe8"),
    "a reason": ((1001, "bye"), b"\x88\x05\x03\xe9bye"),
    "no code": ((1005, "not sent"), b"\x88\x00"),
    "a reason that is too long": ((1000, "x" * 200), b"\x88\x7d\x03\xe8" + b"x" * 123),
    "a reason cut before a character": ((1000, "x" * 122 + "ü"), b"\x88\x7c\x03\xe8" + b"x" * 122),
}


@pytest.mark.parametrize(("given", "expected"), CLOSES.values(), ids=CLOSES.keys())
def test_a_close_is_sent_as(given: tuple[int, str], expected: bytes) -> None:
    assert close_frame(*given) == expected


FRAMES = st.lists(
    st.one_of(
        st.builds(
            frame, st.integers(0, 15), st.binary(max_size=140), fin=st.booleans(), rsv=st.sampled_from([0, 0, 0, 4])
        ),
        st.builds(text, st.text(max_size=40)),
        st.builds(text, st.binary(max_size=20), fin=st.booleans()),
        st.builds(binary, st.binary(max_size=300)),
        st.builds(more, st.binary(max_size=20), fin=st.booleans()),
        st.binary(max_size=20),
    ),
    max_size=8,
).map(b"".join)


@pytest.mark.skipif(not _speedups.enabled, reason="no compiled modules")
@given(data=FRAMES, cuts=st.lists(st.integers(0, 600), max_size=6), offer=st.sampled_from(["", "permessage-deflate"]))
def test_the_tiers_agree_on_anything(data: bytes, cuts: list[int], offer: str) -> None:
    row = WsRow("", data, [], limit_bytes=200, offer=offer)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    compiled = choose_ws_tier("compiled").make(row.limit_bytes, row.deflate())
    pure = WsprotoCodec(row.limit_bytes, row.deflate())
    assert events_of(compiled, *pieces) == events_of(pure, *pieces)


@given(message=st.one_of(st.text(), st.binary(max_size=300)))
def test_what_is_sent_comes_back(message: str | bytes) -> None:
    sent = WsprotoCodec(10_000).encode(message)
    opcode = TEXT if isinstance(message, str) else BINARY
    payload = message.encode() if isinstance(message, str) else message
    assert sent == frame(opcode, payload, mask=None)
    if _speedups.enabled:
        assert choose_ws_tier("compiled").make(10_000, None).encode(message) == sent
