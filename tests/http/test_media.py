"""Media types, weights and negotiation (RFC 9110 §8.3, §12)."""

import pytest

from cello.errors import BadRequest
from cello.http.media import (
    MediaType,
    best_match,
    decode_text,
    essence_of,
    guess_content_type,
    parse_media_type,
    parse_qualities,
    quality,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("text/html", MediaType("text", "html", {}), id="plain"),
        pytest.param(" Text/HTML ; Charset=UTF-8", MediaType("text", "html", {"charset": "UTF-8"}), id="case"),
        pytest.param('a/b;c="d;e"', MediaType("a", "b", {"c": "d;e"}), id="a quoted parameter"),
        pytest.param("*/*", MediaType("*", "*", {}), id="a range"),
        pytest.param("text", None, id="no slash"),
        pytest.param("/html", None, id="no type"),
        pytest.param("text/", None, id="no subtype"),
        pytest.param("te xt/html", None, id="a space"),
        pytest.param("text/html; a", None, id="half a parameter"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_media_type_is_parsed(text: str, expected: MediaType | None) -> None:
    assert parse_media_type(text) == expected


def test_the_essence_is_the_type_without_parameters() -> None:
    assert MediaType("text", "html", {"a": "b"}).essence == "text/html"
    assert essence_of("Text/HTML ; charset=x") == "text/html"


@pytest.mark.parametrize(
    ("accept", "offer", "expected"),
    [
        pytest.param(None, "text/html", 1.0, id="not sent, 12.5.1"),
        pytest.param("", "text/html", 1.0, id="empty"),
        pytest.param("text/html", "text/html", 1.0, id="named"),
        pytest.param("TEXT/HTML", "text/html", 1.0, id="case"),
        pytest.param("text/*", "text/html", 1.0, id="a type range"),
        pytest.param("*/*", "text/html", 1.0, id="any"),
        pytest.param("text/plain", "text/html", 0.0, id="another subtype"),
        pytest.param("image/*", "text/html", 0.0, id="another type"),
        pytest.param("text/html;q=0.5", "text/html", 0.5, id="a weight"),
        pytest.param("text/html;q=0", "text/html", 0.0, id="refused"),
        pytest.param("text/html;q=0, */*", "text/html", 0.0, id="the specific one beats the range"),
        pytest.param("*/*, text/html;q=0.1", "text/html", 0.1, id="in either order"),
        pytest.param("text/*;q=0.3, */*;q=0.9", "text/html", 0.3, id="type beats any"),
        pytest.param("text/html;level=1;q=0.7, text/html;q=0.2", "text/html;level=1", 0.7, id="parameters are closer"),
        pytest.param("text/html;level=1;q=0.7, text/html;q=0.2", "text/html", 0.2, id="missing parameters"),
        pytest.param("text/html;charset=UTF-8", "text/html; charset=utf-8", 1.0, id="parameter values by case"),
        pytest.param("text/html;q=2, */*;q=0.1", "text/html", 0.1, id="a weight above 1 is ignored, 12.4.2"),
        pytest.param("text/html;q=0.1234, */*;q=0.1", "text/html", 0.1, id="four decimals are ignored"),
        pytest.param("rubbish, */*;q=0.1", "text/html", 0.1, id="a malformed member is ignored"),
        pytest.param("*/html", "text/html", 0.0, id="a range that cannot be"),
        pytest.param("text/html", "rubbish", 0.0, id="a malformed offer"),
    ],
)
def test_the_most_specific_range_gives_the_weight(accept: str | None, offer: str, expected: float) -> None:
    assert quality(accept, offer) == expected


@pytest.mark.parametrize(
    ("accept", "offers", "expected"),
    [
        (None, ["a/b", "c/d"], "a/b"),
        ("c/d, a/b;q=0.5", ["a/b", "c/d"], "c/d"),
        ("*/*", ["a/b", "c/d"], "a/b"),
        ("x/y", ["a/b"], None),
        ("a/b", [], None),
    ],
)
def test_the_best_offer_is_chosen(accept: str | None, offers: list[str], expected: str | None) -> None:
    assert best_match(accept, offers) == expected


def test_weights_of_codings_are_read_in_order() -> None:
    assert parse_qualities("GZIP;q=0.5, br , identity;q=0, x;q=nan, y;z") == [
        ("gzip", 0.5),
        ("br", 1.0),
        ("identity", 0.0),
    ]


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("A.JSON", "application/json"),
        ("/x.y/a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("README", "application/octet-stream"),
        (".html", "application/octet-stream"),
    ],
)
def test_a_content_type_is_guessed_by_extension(filename: str, expected: str) -> None:
    assert guess_content_type(filename) == expected


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        ("é".encode(), "text/plain", "é"),
        ("é".encode(), "", "é"),
        (b"\xe9", "text/plain; charset=ISO-8859-1", "é"),
        (b"\x80", 'text/plain; charset="windows-1252"', "€"),
        ("é".encode("utf-16"), "text/plain;charset=utf-16", "é"),
        ("é".encode(), "text/plain; rubbish", "é"),
    ],
)
def test_text_is_decoded_by_its_charset(data: bytes, content_type: str, expected: str) -> None:
    assert decode_text(data, content_type) == expected


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        pytest.param(b"\xff", "text/plain", id="not UTF-8"),
        pytest.param(b"a", "text/plain; charset=klingon", id="unknown"),
        pytest.param(b"a", "text/plain; charset=zlib", id="a codec that is no charset"),
        pytest.param(b"a", "text/plain; charset=unicode_escape", id="a codec that runs escapes"),
        pytest.param(b"\xff", "text/plain; charset=us-ascii", id="not ASCII"),
    ],
)
def test_text_that_cannot_be_decoded_is_a_bad_request(data: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        decode_text(data, content_type)
