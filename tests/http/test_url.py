"""Percent-encoding, queries, redirect URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import BadRequest, ContentTooLarge
from cello.http.url import (
    decode_lenient,
    decode_segment,
    encode_location,
    encode_path,
    encode_query,
    parse_query,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("plain", "plain", id="nothing to do"),
        pytest.param("a%20b", "a b", id="a space"),
        pytest.param("%e2%82%AC", "€", id="UTF-8 in either case"),
        pytest.param("a+b", "a+b", id="a plus is a plus in a path"),
        pytest.param("%2F", "/", id="an encoded slash"),
        pytest.param("%00", "\0", id="NUL"),
    ],
)
def test_a_segment_is_decoded(text: str, expected: str) -> None:
    assert decode_segment(text) == expected


@pytest.mark.parametrize("text", ["%", "%2", "%zz", "a%2", "%%20", "%ff", "%c3%28", "%ed%a0%80"])
def test_a_segment_that_cannot_be_decoded_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_segment(text)


def test_the_lenient_form_never_fails() -> None:
    assert decode_lenient("/%ff%zz") == "/\ufffd%zz"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_encoded_is_decoded_to_the_same(text: str) -> None:
    assert decode_segment(encode_path(text)) == text


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("a=1&b=2", [("a", "1"), ("b", "2")], id="plain"),
        pytest.param("a=1&a=2", [("a", "1"), ("a", "2")], id="repeated"),
        pytest.param("a", [("a", "")], id="no equals sign"),
        pytest.param("a=", [("a", "")], id="no value"),
        pytest.param("=1", [("", "1")], id="no name"),
        pytest.param("a=b=c", [("a", "b=c")], id="an equals sign in the value"),
        pytest.param("&&a=1&", [("a", "1")], id="empty pairs"),
        pytest.param("a+b=c%20d", [("a b", "c d")], id="plus and percent"),
        pytest.param("a=%2B%26%3D", [("a", "+&=")], id="encoded delimiters"),
        pytest.param("a=100%", [("a", "100%")], id="a lone percent sign stays, WHATWG URL"),
        pytest.param("a=%zz+", [("a", "%zz ")], id="a malformed escape stays"),
        pytest.param("%C3%A9=%e2%82%ac", [("é", "€")], id="UTF-8"),
        pytest.param("a=1;b=2", [("a", "1;b=2")], id="a semicolon does not separate"),
    ],
)
def test_a_query_is_parsed(text: str, pairs: list[tuple[str, str]]) -> None:
    query = parse_query(text)
    assert query.pairs == pairs
    assert query == dict(pairs)


def test_a_query_is_a_dict_of_last_values() -> None:
    query = parse_query("a=1&a=2&b=3")
    assert query["a"] == "2"
    assert query.get("z", "d") == "d"
    assert query.get_all("a") == ["1", "2"]
    assert query.get_all("z") == []
    assert isinstance(query, dict)


@pytest.mark.parametrize("text", ["a=%ff", "%ff=1", "a=%C3"])
def test_a_query_that_is_not_utf_8_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_query(text)


def test_a_form_with_too_many_fields_is_refused_before_it_is_decoded() -> None:
    assert len(parse_query("a=1&b=2", 2)) == 2
    with pytest.raises(ContentTooLarge):
        parse_query("a=1&b=2&c=%ff", 2)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_a_query_that_was_written_is_read_back(values: dict[str, str]) -> None:
    values.pop("", None)  # an empty name with an empty value leaves nothing to read
    assert parse_query(encode_query(values)) == values


def test_a_list_as_a_value_repeats_its_name() -> None:
    assert encode_query({"a": [1, 2], "b": ("x",), "c": "y z"}) == "a=1&a=2&b=x&c=y%20z"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("/a?b=c#d", "/a?b=c#d", id="plain"),
        pytest.param("https://example.org/caf\xe9 1", "https://example.org/caf%C3%A9%201", id="beyond ASCII"),
        pytest.param("/a%20b", "/a%20b", id="encoded already"),
        pytest.param("https://[::1]:80/", "https://[::1]:80/", id="IPv6"),
        pytest.param('/"<>', "/%22%3C%3E", id="what no URL may hold"),
    ],
)
def test_a_redirect_url_is_made_ascii(url: str, expected: str) -> None:
    assert encode_location(url) == expected


@pytest.mark.parametrize("url", ["/a\r\nSet-Cookie: x=1", "/a\nb", "/\0", "/\x7f", "\t/"])
def test_a_redirect_url_with_a_control_character_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        encode_location(url)
