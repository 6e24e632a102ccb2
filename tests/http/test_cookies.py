"""Cookies, read and written (RFC 6265)."""

from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.http.cookies import EPOCH, parse_cookies, quote_value, render_cookie, unquote


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param([b"a=1; b=2"], {"a": "1", "b": "2"}, id="two"),
        pytest.param([b"a=1;b=2 ;"], {"a": "1", "b": "2"}, id="spaces are free"),
        pytest.param([b"a=1", b"b=2"], {"a": "1", "b": "2"}, id="two fields"),
        pytest.param([b"a=1; a=2"], {"a": "1"}, id="the first of a name has the longest path, 5.4"),
        pytest.param([b"a=b=c"], {"a": "b=c"}, id="an equals sign in the value"),
        pytest.param([b'a="x y"'], {"a": "x y"}, id="a quoted value"),
        pytest.param([rb'a="\342\202\254\"\\"'], {"a": '€"\\'}, id="escapes"),
        pytest.param([b'a="'], {"a": '"'}, id="one quote is a character"),
        pytest.param([b"a="], {"a": ""}, id="an empty value"),
        pytest.param([b"rubbish; =x; a=1"], {"a": "1"}, id="what is no pair is ignored"),
        pytest.param(["a=é".encode()], {"a": "é"}, id="raw UTF-8"),
        pytest.param([b"a=\xe9"], {"a": "é"}, id="raw Latin-1"),
        pytest.param([], {}, id="none"),
    ],
)
def test_cookies_are_parsed(fields: list[bytes], expected: dict[str, str]) -> None:
    assert parse_cookies(fields) == expected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_value_that_was_written_is_read_back_here_and_by_the_standard_library(value: str) -> None:
    quoted = quote_value(value)
    assert quoted.isascii()
    assert not set(quoted[1:-1]) & set(";, ")
    assert unquote(quoted.encode()).decode() == value
    jar = SimpleCookie()
    jar.load(f"a={quoted}")
    assert jar["a"].value.encode("latin-1").decode() == value


COOKIES = [
    pytest.param({}, "a=1; Path=/", id="the defaults"),
    pytest.param({"path": None}, "a=1", id="no path"),
    pytest.param({"max_age": 60}, "a=1; Max-Age=60; Path=/", id="an age"),
    pytest.param({"max_age": 0}, f"a=1; Expires={EPOCH}; Max-Age=0; Path=/", id="no age"),
    pytest.param({"max_age": -5}, f"a=1; Expires={EPOCH}; Max-Age=0; Path=/", id="an age below zero"),
    pytest.param({"domain": "example.org"}, "a=1; Domain=example.org; Path=/", id="a domain"),
    pytest.param({"secure": True, "httponly": True}, "a=1; Path=/; Secure; HttpOnly", id="flags"),
    pytest.param({"samesite": "lax"}, "a=1; Path=/; SameSite=Lax", id="same site"),
    pytest.param({"samesite": "None", "secure": True}, "a=1; Path=/; Secure; SameSite=None", id="cross site"),
]


@pytest.mark.parametrize(("attributes", "expected"), COOKIES)
def test_a_cookie_is_rendered(attributes: dict[str, Any], expected: str) -> None:
    assert render_cookie("a", "1", **attributes) == expected


@pytest.mark.parametrize("name", ["__Host-a", "__Secure-a"])
def test_a_prefixed_cookie_is_rendered_when_it_keeps_its_promise(name: str) -> None:
    assert render_cookie(name, "1", secure=True) == f"{name}=1; Path=/; Secure"


@pytest.mark.parametrize(
    ("name", "value", "attributes", "words"),
    [
        pytest.param("a b", "1", {}, "not a cookie name", id="a space in the name"),
        pytest.param("a\r\nX", "1", {}, "not a cookie name", id="CRLF in the name"),
        pytest.param("", "1", {}, "not a cookie name", id="no name"),
        pytest.param("a", "1\r\nX: y", {}, "control character", id="CRLF in the value"),
        pytest.param("a", "1\0", {}, "control character", id="NUL in the value"),
        pytest.param("a", "x" * 5000, {}, "4096", id="more than browsers keep"),
        pytest.param("a", "1", {"path": "x"}, "not a path", id="a path without a slash"),
        pytest.param("a", "1", {"path": "/;Domain=evil"}, "not a path", id="a path with an attribute in it"),
        pytest.param("a", "1", {"path": "/\n"}, "not a path", id="LF in the path"),
        pytest.param("a", "1", {"path": "/é"}, "not a path", id="a path beyond ASCII"),
        pytest.param("a", "1", {"domain": "a;b"}, "not a domain", id="a domain with an attribute in it"),
        pytest.param("a", "1", {"domain": "a\n"}, "not a domain", id="LF in the domain"),
        pytest.param("a", "1", {"domain": ""}, "not a domain", id="an empty domain"),
        pytest.param("a", "1", {"samesite": "maybe"}, "samesite", id="an unknown same-site mode"),
        pytest.param("a", "1", {"samesite": "None"}, "secure=True", id="cross site without TLS"),
        pytest.param("a", "1", {"max_age": 1.5}, "whole seconds", id="a broken age"),
        pytest.param("a", "1", {"max_age": True}, "whole seconds", id="a bool as age"),
        pytest.param("__Secure-a", "1", {}, "prefix", id="__Secure- without TLS"),
        pytest.param("__Host-a", "1", {"secure": True, "domain": "x"}, "prefix", id="__Host- with a domain"),
        pytest.param("__Host-a", "1", {"secure": True, "path": "/x"}, "prefix", id="__Host- with a path"),
        pytest.param("__host-a", "1", {}, "prefix", id="a prefix in any case"),
    ],
)
def test_a_cookie_that_browsers_would_misread_is_refused(
    name: str, value: str, attributes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        render_cookie(name, value, **attributes)
