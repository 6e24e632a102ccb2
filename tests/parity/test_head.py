"""The compiled head scanner and the pure ones: equal result, or equal error."""

import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cello import _speedups
from cello.errors import ProtocolError
from cello.wire import h1_h11
from cello.wire.h1 import ParseHead

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
LINE = b"GET / HTTP/1.1\r\n"

needs_compiled = pytest.mark.skipif(not _speedups.enabled, reason=f"no compiled modules: {_speedups.reason}")


def compiled_scanner() -> ParseHead:
    from cello.wire import h1_compiled

    return h1_compiled.parse_head


@pytest.fixture
def parse_head(impl: str) -> ParseHead:
    return compiled_scanner() if impl == "c" else h1_h11.parse_head


def outcome(parse_head: ParseHead, head: bytes) -> object:
    """Return everything that a scanner says of a head, as one comparable value."""
    try:
        method, target, minor, fields = parse_head(head)
    except ProtocolError as error:
        return "refused", error.status
    return method, target, minor, fields.raw()


GOOD = {
    "no fields": (LINE + b"\r\n", ("GET", "/", 1, [])),
    "one field": (LINE + b"Host: a\r\n\r\n", ("GET", "/", 1, [(b"Host", b"a")])),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", ("GET", "/", 0, [])),
    "a later minor version counts as 1.1 (RFC 9110 §2.5)": (b"GET / HTTP/1.9\r\n\r\n", ("GET", "/", 1, [])),
    "a method of the longest usual kind": (b"DELETE /a HTTP/1.1\r\n\r\n", ("DELETE", "/a", 1, [])),
    "a method that only looks usual": (b"GeT / HTTP/1.1\r\n\r\n", ("GeT", "/", 1, [])),
    "a method of every token character": (TOKEN.encode() + b" / HTTP/1.1\r\n\r\n", (TOKEN, "/", 1, [])),
    "the asterisk form": (b"OPTIONS * HTTP/1.1\r\n\r\n", ("OPTIONS", "*", 1, [])),
    "the absolute form": (b"GET http://a/b?c HTTP/1.1\r\n\r\n", ("GET", "http://a/b?c", 1, [])),
    "every visible target byte": (
        b"GET /" + bytes(range(0x21, 0x7F)) + b" HTTP/1.1\r\n\r\n",
        ("GET", "/" + bytes(range(0x21, 0x7F)).decode(), 1, []),
    ),
    "an empty value": (LINE + b"A:\r\n\r\n", ("GET", "/", 1, [(b"A", b"")])),
    "a value of white space": (LINE + b"A: \t \r\n\r\n", ("GET", "/", 1, [(b"A", b"")])),
    "white space around a value": (LINE + b"A:\t  b c\t \r\n\r\n", ("GET", "/", 1, [(b"A", b"b c")])),
    "a tab within a long value": (
        LINE + b"A: " + b"x" * 20 + b"\t" + b"y" * 40 + b"\r\n\r\n",
        ("GET", "/", 1, [(b"A", b"x" * 20 + b"\t" + b"y" * 40)]),
    ),
    "obs-text (RFC 9110 §5.5)": (LINE + b"A: \x80\xff\r\n\r\n", ("GET", "/", 1, [(b"A", b"\x80\xff")])),
    "colons in a value": (LINE + b"A: b:c\r\n\r\n", ("GET", "/", 1, [(b"A", b"b:c")])),
    "repeated fields": (LINE + b"A: 1\r\na: 2\r\n\r\n", ("GET", "/", 1, [(b"A", b"1"), (b"a", b"2")])),
    "more fields than the scanner keeps on its stack": (
        LINE + b"".join(b"A%d: %d\r\n" % (n, n) for n in range(300)) + b"\r\n",
        ("GET", "/", 1, [(b"A%d" % n, b"%d" % n) for n in range(300)]),
    ),
}


@pytest.mark.parametrize(("head", "expected"), GOOD.values(), ids=GOOD.keys())
def test_a_good_head_is_read(parse_head: ParseHead, head: bytes, expected: object) -> None:
    assert outcome(parse_head, head) == expected


BAD = {
    "no target": (b"GET HTTP/1.1\r\n\r\n", 400),
    "two spaces before the target": (b"GET  / HTTP/1.1\r\n\r\n", 400),
    "two spaces after the target": (b"GET /  HTTP/1.1\r\n\r\n", 400),
    "a space after the version": (b"GET / HTTP/1.1 \r\n\r\n", 400),
    "a tab for a space": (b"GET\t/ HTTP/1.1\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "an empty version": (b"GET / \r\n\r\n", 400),
    "half a version": (b"GET / HTTP/1\r\n\r\n", 400),
    "a version of three digits": (b"GET / HTTP/1.10\r\n\r\n", 400),
    "a version in lower case": (b"GET / http/1.1\r\n\r\n", 400),
    "a version with a letter": (b"GET / HTTP/1.x\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n\r\n", 505),
    "HTTP/2.0 wins over a bad field": (b"GET / HTTP/2.0\r\nA B: c\r\n\r\n", 505),
    "a method that is no token": (b"G(T / HTTP/1.1\r\n\r\n", 400),
    "a method beyond ASCII": (b"G\xc3\xa9T / HTTP/1.1\r\n\r\n", 400),
    "a control in the target": (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
    "DEL in the target": (b"GET /\x7f HTTP/1.1\r\n\r\n", 400),
    "a byte beyond ASCII in the target": (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400),
    "NUL in the target": (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
    "no colon": (LINE + b"Host\r\n\r\n", 400),
    "no name": (LINE + b": a\r\n\r\n", 400),
    "a space before the colon (RFC 9112 §5.1)": (LINE + b"Host : a\r\n\r\n", 400),
    "a space within a name": (LINE + b"Ho st: a\r\n\r\n", 400),
    "a name beyond ASCII": (LINE + b"H\xf6st: a\r\n\r\n", 400),
    "NUL in a name": (LINE + b"Ho\x00st: a\r\n\r\n", 400),
    "NUL in a value": (LINE + b"Host: a\x00b\r\n\r\n", 400),
    "NUL deep in a long value": (LINE + b"Host: " + b"a" * 37 + b"\x00" + b"b" * 50 + b"\r\n\r\n", 400),
    "DEL in a value": (LINE + b"Host: a\x7fb\r\n\r\n", 400),
    "a control in a value": (LINE + b"Host: a\x1fb\r\n\r\n", 400),
    "the second field is wrong": (LINE + b"Host: a\r\nB\r\n\r\n", 400),
}


@pytest.mark.parametrize(("head", "status"), BAD.values(), ids=BAD.keys())
def test_a_bad_head_is_refused(parse_head: ParseHead, head: bytes, status: int) -> None:
    assert outcome(parse_head, head) == ("refused", status)


# A head never reaches a scanner with odd line ends, nor with a line that begins with white space.
PLACES = {"method": b"\r\n", "target": b"\r\n", "version": b"\r\n", "name": b"\r\n\t ", "value": b"\r\n"}


@needs_compiled
@pytest.mark.parametrize(
    ("place", "byte"),
    [(place, byte) for place, judged_before in PLACES.items() for byte in range(256) if byte not in judged_before],
)
def test_every_byte_means_the_same_in_every_place(place: str, byte: int) -> None:
    mark = bytes([byte])
    lines = {
        "method": b"G" + mark + b"T / HTTP/1.1\r\nA: b\r\n\r\n",
        "target": b"GET /a" + mark + b"b HTTP/1.1\r\nA: b\r\n\r\n",
        "version": b"GET / HTTP/1." + mark + b"\r\nA: b\r\n\r\n",
        "name": LINE + mark + b"x: b\r\n\r\n",
        "value": LINE + b"A: b" + mark + b"c" * 20 + b"\r\n\r\n",
    }
    assert outcome(compiled_scanner(), lines[place]) == outcome(h1_h11.parse_head, lines[place])


tokens = st.text(TOKEN, min_size=1, max_size=12).map(str.encode)
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60).map(
    lambda text: text.encode("latin-1")
)
good_values = values.map(lambda value: bytes(byte for byte in value if byte == 9 or (byte >= 32 and byte != 127)))
spaces = st.sampled_from([b"", b" ", b"\t", b"  "])
good_fields = st.builds(lambda *parts: b"".join(parts), tokens, st.just(b":"), spaces, good_values, spaces)
any_fields = st.one_of(good_fields, values.filter(lambda line: line[:1] not in (b"", b" ", b"\t")))
request_lines = st.one_of(
    st.builds(
        lambda method, target, version: method + b" /" + target + b" HTTP/" + version,
        tokens,
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40).map(str.encode),
        st.sampled_from([b"1.1", b"1.0", b"1.7", b"2.0", b"11", b"1.1 "]),
    ),
    values.filter(lambda line: line[:1] in set(map(bytes, zip(TOKEN.encode())))),
)
heads = st.builds(
    lambda line, fields: b"\r\n".join([line, *fields, b"", b""]), request_lines, st.lists(any_fields, max_size=14)
)


@needs_compiled
@given(heads)
@example(b"G / HTTP/1.1\r\n:\r\n\r\n")
@example(b"G / HTTP/1.1\r\na:\x00\r\n\r\n")
def test_any_head_has_the_same_outcome(head: bytes) -> None:
    assert outcome(compiled_scanner(), head) == outcome(h1_h11.parse_head, head)


@needs_compiled
@given(st.lists(st.tuples(st.sampled_from([b"A", b"a", b"Ab", b"aB", b"^a", b"~a", b"B"]), good_values), max_size=20))
def test_fields_are_looked_up_the_same(fields: list[tuple[bytes, bytes]]) -> None:
    head = LINE + b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
    compiled, pure = compiled_scanner()(head)[3], h1_h11.parse_head(head)[3]
    assert compiled.raw() == pure.raw()
    for name in (b"a", b"ab", b"^a", b"~a", b"b", b"c", b""):
        assert compiled.get(name) == pure.get(name)
        assert compiled.get_all(name) == pure.get_all(name)


def test_the_answers_of_a_field_object_are_the_callers_to_keep(parse_head: ParseHead) -> None:
    fields = parse_head(LINE + b"A: 1\r\n\r\n")[3]
    fields.raw().clear()
    fields.get_all(b"a").clear()
    assert fields.raw() == [(b"A", b"1")]


def test_the_head_may_go_away_before_its_fields(parse_head: ParseHead) -> None:
    fields = parse_head(bytes(bytearray(LINE + b"A: " + b"x" * 100 + b"\r\n\r\n")))[3]
    assert fields.get(b"a") == b"x" * 100


def test_fields_are_pickled_as_the_public_class(parse_head: ParseHead) -> None:
    fields = parse_head(LINE + b"A: 1\r\n\r\n")[3]
    copied: Any = pickle.loads(pickle.dumps(fields))
    assert type(copied).__name__ == "FieldList"
    assert copied.raw() == fields.raw()


@needs_compiled
def test_the_compiled_scanner_tells_where_it_stopped() -> None:
    with pytest.raises(ProtocolError) as caught:
        compiled_scanner()(LINE + b"A: ok\r\nB b: c\r\n\r\n")
    assert caught.value.offset == len(LINE) + len(b"A: ok\r\nB")


@needs_compiled
@pytest.mark.parametrize(
    "wrong", [None, "text", bytearray(b"x"), memoryview(b"x")], ids=lambda wrong: type(wrong).__name__
)
def test_the_compiled_scanner_takes_bytes_only(wrong: Any) -> None:
    with pytest.raises(TypeError):
        compiled_scanner()(wrong)


WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@needs_compiled
@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_the_compiled_scanner_never_takes_a_part_for_the_whole(size: int) -> None:
    assert outcome(compiled_scanner(), WHOLE[:size]) == ("refused", 400)
