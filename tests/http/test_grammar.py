"""Tokens, field values, lists, parameters and dates of RFC 9110."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.http.grammar import (
    format_date,
    is_field_value,
    is_token,
    parse_date,
    parse_parameters,
    quote,
    split_list,
)

TOKENS = [
    pytest.param("GET", True, id="letters"),
    pytest.param("x-1_2.3", True, id="digits and marks"),
    pytest.param("!#$%&'*+-.^_`|~", True, id="every mark of 5.6.2"),
    pytest.param("", False, id="empty"),
    pytest.param("a b", False, id="space"),
    pytest.param("a:b", False, id="colon"),
    pytest.param("a\r", False, id="carriage return"),
    pytest.param("a\n", False, id="line feed at the end"),
    pytest.param("é", False, id="beyond ASCII"),
    pytest.param('"a"', False, id="quotes"),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_a_token_is_what_rfc_9110_5_6_2_says(text: str, expected: bool) -> None:
    assert is_token(text) is expected
    assert is_token(text.encode("latin-1")) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", True, id="empty"),
        pytest.param("a b\tc", True, id="space and tab"),
        pytest.param("caf\xe9", True, id="obs-text"),
        pytest.param("a\rb", False, id="CR"),
        pytest.param("a\nb", False, id="LF"),
        pytest.param("a\n", False, id="LF at the end"),
        pytest.param("a\0b", False, id="NUL"),
        pytest.param("a\x1bb", False, id="escape"),
        pytest.param("a\x7fb", False, id="delete"),
    ],
)
def test_a_field_value_is_what_rfc_9110_5_5_says(text: str, expected: bool) -> None:
    assert is_field_value(text) is expected
    assert is_field_value(text.encode("latin-1")) is expected


def test_a_character_beyond_latin_1_is_no_field_value() -> None:
    assert not is_field_value("日本")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a, b,c", ["a", "b", "c"], id="plain"),
        pytest.param(" a ,, ,b,", ["a", "b"], id="empty members are ignored, RFC 9110 5.6.1.2"),
        pytest.param('"a,b", c', ['"a,b"', "c"], id="a comma in quotes"),
        pytest.param(r'"a\",b", c', [r'"a\",b"', "c"], id="an escaped quote"),
        pytest.param('a;x="1,2";y, b', ['a;x="1,2";y', "b"], id="parameters"),
        pytest.param('"open, b', ['"open, b'], id="an unclosed quote runs to the end"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_a_list_is_split_at_its_commas(text: str, expected: list[str]) -> None:
    assert split_list(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", {}, id="none"),
        pytest.param("; a=1;B=2", {"a": "1", "b": "2"}, id="names in lower case"),
        pytest.param('; a="x y" ; b=z ', {"a": "x y", "b": "z"}, id="quoted and padded"),
        pytest.param(r'; a="x\"y\\"', {"a": 'x"y\\'}, id="quoted pairs"),
        pytest.param("; a=1; a=2", {"a": "1"}, id="the first of repeated ones"),
        pytest.param(";;", {}, id="empty ones"),
        pytest.param("; a=", {"a": ""}, id="an empty value"),
        pytest.param("a=1", None, id="no semicolon"),
        pytest.param("; a", None, id="no value"),
        pytest.param("; a=1 b", None, id="rubbish behind"),
        pytest.param('; a="open', None, id="an unclosed quote"),
    ],
)
def test_parameters_are_read_to_the_end_or_not_at_all(text: str, expected: dict[str, str] | None) -> None:
    assert parse_parameters(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("a-b", "a-b"), ("a b", '"a b"'), ('a"\\', r'"a\"\\"'), ("", '""')])
def test_text_is_quoted_where_it_must_be(text: str, expected: str) -> None:
    assert quote(text) == expected


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_was_quoted_is_read_back(text: str) -> None:
    assert parse_parameters(f"; a={quote(text)}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", 784111777, id="IMF-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", 784111777, id="RFC 850"),
        pytest.param("Sun Nov  6 08:49:37 1994", 784111777, id="asctime"),
        pytest.param("Sat, 31 Dec 2016 23:59:60 GMT", 1483228799, id="a leap second"),
        pytest.param("Sun, 06 Nov 1994 08:49:37", None, id="no zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 CET", None, id="another zone"),
        pytest.param("Sun, 06 Foo 1994 08:49:37 GMT", None, id="no such month"),
        pytest.param("Sun, 31 Feb 1994 08:49:37 GMT", None, id="no such day"),
        pytest.param("Sun, 06 Nov 1994 25:49:37 GMT", None, id="no such hour"),
        pytest.param("Sun, ٠٦ Nov 1994 08:49:37 GMT", None, id="digits of another script"),
        pytest.param("yesterday", None, id="a word"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_date_is_read_in_the_three_forms_of_rfc_9110_5_6_7(text: str, expected: int | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize("years_ahead", [-49, -1, 0, 1, 50])
def test_a_two_digit_year_is_at_most_50_years_ahead(years_ahead: int) -> None:
    year = time.gmtime().tm_year + years_ahead
    parsed = parse_date(f"Sunday, 06-Nov-{year % 100:02} 08:49:37 GMT")
    assert parsed is not None
    assert time.gmtime(parsed).tm_year == year


@given(st.integers(0, 253402300799))
def test_a_date_that_was_written_is_read_back(timestamp_s: int) -> None:
    assert parse_date(format_date(timestamp_s)) == timestamp_s
