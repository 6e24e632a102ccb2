"""Header fields as mappings, and what must never be sent."""

import pytest

from cello.http.head import FieldList
from cello.http.headers import FieldText, Headers, ResponseHeaders


def received() -> Headers:
    return Headers(FieldList([(b"Host", b"x"), (b"X-A", b"1"), (b"x-a", b"caf\xe9")]))


def test_request_headers_are_a_case_insensitive_mapping() -> None:
    headers = received()
    assert headers["HOST"] == headers["host"] == "x"
    assert headers["X-a"] == "1, café"
    assert "host" in headers
    assert "nope" not in headers
    assert 3 not in headers
    assert list(headers) == ["host", "x-a"]
    assert len(headers) == 2
    assert dict(headers) == {"host": "x", "x-a": "1, café"}
    assert repr(headers) == "Headers({'host': 'x', 'x-a': '1, café'})"


def test_a_missing_request_header_is_a_key_error_or_the_default() -> None:
    with pytest.raises(KeyError, match="X-None"):
        received()["X-None"]
    assert received().get("X-None") is None
    assert received().get("X-None", "d") == "d"
    assert received().get("X-None", default="d") == "d"
    assert received().get("日本") is None


def test_repeated_request_headers_are_kept_apart_on_request() -> None:
    assert received().get_all("X-A") == ["1", "café"]
    assert received().raw == [(b"Host", b"x"), (b"X-A", b"1"), (b"x-a", b"caf\xe9")]


def test_field_text_may_be_called() -> None:
    text = FieldText("x")
    assert text() == text == "x"


def test_setting_replaces_every_field_of_the_name_in_place() -> None:
    headers = ResponseHeaders([("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")])
    headers["a"] = "5"
    assert headers.fields() == [(b"a", b"5"), (b"B", b"2"), (b"C", b"4")]


def test_appending_keeps_what_is_there() -> None:
    headers = ResponseHeaders({"Set-Cookie": "a=1"})
    headers.append("Set-Cookie", "b=2")
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert headers["SET-COOKIE"] == "a=1, b=2"
    assert len(headers) == 1
    assert list(headers) == ["set-cookie"]


def test_deleting_removes_every_field_of_the_name() -> None:
    headers = ResponseHeaders([("A", "1"), ("B", "2"), ("a", "3")])
    del headers["A"]
    assert headers.fields() == [(b"B", b"2")]
    with pytest.raises(KeyError):
        del headers["A"]
    with pytest.raises(KeyError):
        headers["A"]
    assert "a" not in headers
    assert 7 not in headers
    assert repr(headers) == "ResponseHeaders([(b'B', b'2')])"


def test_values_are_sent_without_the_spaces_around_them() -> None:
    assert ResponseHeaders({"A": " \tx y\t "}).fields() == [(b"A", b"x y")]


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        pytest.param("X-A", "a\r\nSet-Cookie: b=1", ValueError, "'X-A'", id="CRLF in the value splits a response"),
        pytest.param("X-A", "a\nb", ValueError, "'X-A'", id="LF in the value"),
        pytest.param("X-A", "a\rb", ValueError, "'X-A'", id="CR in the value"),
        pytest.param("X-A", "a\n", ValueError, "'X-A'", id="LF at the end of the value"),
        pytest.param("X-A", "a\0b", ValueError, "'X-A'", id="NUL in the value"),
        pytest.param("X-A", "日", ValueError, "'X-A'", id="beyond Latin-1"),
        pytest.param("X-A", 5, TypeError, "'X-A'", id="a number"),
        pytest.param("X A", "a", ValueError, "'X A'", id="a space in the name"),
        pytest.param("X-A\r\nB", "a", ValueError, "not a header name", id="CRLF in the name"),
        pytest.param("X:A", "a", ValueError, "not a header name", id="a colon in the name"),
        pytest.param("", "a", ValueError, "not a header name", id="an empty name"),
        pytest.param(b"A", "a", TypeError, "must be a str", id="a name of bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_set(
    name: str, value: str, error: type[Exception], words: str
) -> None:
    headers = ResponseHeaders()
    with pytest.raises(error, match=words):
        headers[name] = value
    with pytest.raises(error, match=words):
        headers.append(name, value)
    assert headers.fields() == []


def test_a_long_bad_value_is_not_shown_whole() -> None:
    with pytest.raises(ValueError) as caught:
        ResponseHeaders({"A": "x" * 10_000 + "\n"})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("before", "added", "after"),
    [
        pytest.param([], "Origin", ["Origin"], id="the first"),
        pytest.param(["Accept"], "Origin", ["Accept, Origin"], id="one more"),
        pytest.param(["accept, origin"], "Origin", ["accept, origin"], id="named already"),
        pytest.param(["A", "B"], "C", ["A, B, C"], id="two fields become one"),
        pytest.param(["*"], "Origin", ["*"], id="the star says it all, RFC 9110 12.5.5"),
    ],
)
def test_vary_names_each_field_once(before: list[str], added: str, after: list[str]) -> None:
    headers = ResponseHeaders([("Vary", value) for value in before])
    headers.add_vary(added)
    assert headers.get_all("Vary") == after
