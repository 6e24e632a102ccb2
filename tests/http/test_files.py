"""Validators, conditions and ranges (RFC 9110 §8.8, §13, §14)."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.http.files import FilePayload, evaluate, is_range_wanted, make_etag, parse_range, status_of
from cello.http.grammar import format_date
from cello.http.head import FieldList

NOW = 1_700_000_000
AT = format_date(NOW).encode()
BEFORE = format_date(NOW - 1).encode()
AFTER = format_date(NOW + 1).encode()

CONDITIONS = [
    pytest.param("GET", {}, 0, id="none"),
    pytest.param("GET", {"If-None-Match": b'"a"'}, 304, id="13.1.2 If-None-Match names it"),
    pytest.param("HEAD", {"If-None-Match": b'"a"'}, 304, id="13.1.2 also for HEAD"),
    pytest.param("PUT", {"If-None-Match": b'"a"'}, 412, id="13.1.2 other methods fail"),
    pytest.param("GET", {"If-None-Match": b'"b", W/"a"'}, 304, id="13.1.2 weak comparison, in a list"),
    pytest.param("GET", {"If-None-Match": b"*"}, 304, id="13.1.2 any"),
    pytest.param("GET", {"If-None-Match": b'"b"'}, 0, id="13.1.2 another one"),
    pytest.param("GET", {"If-None-Match": b"a"}, 0, id="8.8.3 a tag without quotes is none"),
    pytest.param("GET", {"If-None-Match": b'"x, "a'}, 0, id="8.8.3 broken quotes"),
    pytest.param("GET", {"If-Modified-Since": AT}, 304, id="13.1.3 not modified since"),
    pytest.param("GET", {"If-Modified-Since": AFTER}, 304, id="13.1.3 not modified since later"),
    pytest.param("GET", {"If-Modified-Since": BEFORE}, 0, id="13.1.3 modified"),
    pytest.param("GET", {"If-Modified-Since": b"yesterday"}, 0, id="13.1.3 no date is ignored"),
    pytest.param("PUT", {"If-Modified-Since": AT}, 0, id="13.1.3 only for GET and HEAD"),
    pytest.param("GET", {"If-None-Match": b'"b"', "If-Modified-Since": AT}, 0, id="13.1.3 ignored with If-None-Match"),
    pytest.param("GET", {"If-Match": b'"a"'}, 0, id="13.1.1 If-Match names it"),
    pytest.param("GET", {"If-Match": b"*"}, 0, id="13.1.1 any"),
    pytest.param("GET", {"If-Match": b'"b"'}, 412, id="13.1.1 another one"),
    pytest.param("GET", {"If-Match": b'W/"a"'}, 412, id="13.1.1 strong comparison"),
    pytest.param("GET", {"If-Unmodified-Since": BEFORE}, 412, id="13.1.4 modified since"),
    pytest.param("GET", {"If-Unmodified-Since": AT}, 0, id="13.1.4 not modified since"),
    pytest.param("GET", {"If-Unmodified-Since": b"x"}, 0, id="13.1.4 no date is ignored"),
    pytest.param("GET", {"If-Match": b'"a"', "If-Unmodified-Since": BEFORE}, 0, id="13.1.4 ignored with If-Match"),
    pytest.param("GET", {"If-Match": b'"a"', "If-None-Match": b'"a"'}, 304, id="13.2.2 both, in order"),
    pytest.param("GET", {"If-Match": b'"b"', "If-None-Match": b'"a"'}, 412, id="13.2.2 the first that fails"),
]


@pytest.mark.parametrize(("method", "fields", "expected"), CONDITIONS)
def test_preconditions_are_evaluated_in_order(method: str, fields: dict[str, bytes], expected: int) -> None:
    head = FieldList([(name.encode(), value) for name, value in fields.items()])
    assert evaluate(method, head, b'"a"', NOW) == expected


@pytest.mark.parametrize(
    ("fields", "etag", "date", "expected"),
    [
        pytest.param({"If-None-Match": b'W/"a"'}, b'W/"a"', None, 304, id="weak against weak"),
        pytest.param({"If-Match": b'W/"a"'}, b'W/"a"', None, 412, id="weak never matches strongly"),
        pytest.param({"If-Match": b'"a"'}, None, NOW, 412, id="no tag to match"),
        pytest.param({"If-None-Match": b'"a"'}, None, NOW, 0, id="no tag to differ from"),
        pytest.param({"If-Modified-Since": AT, "If-Unmodified-Since": BEFORE}, b'"a"', None, 0, id="no date"),
    ],
)
def test_a_missing_or_weak_validator_counts_as_rfc_9110_8_8_says(
    fields: dict[str, bytes], etag: bytes | None, date: int | None, expected: int
) -> None:
    head = FieldList([(name.encode(), value) for name, value in fields.items()])
    assert evaluate("GET", head, etag, date) == expected


@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        pytest.param(None, b'"a"', True, id="not sent"),
        pytest.param(b'"a"', b'"a"', True, id="the same tag"),
        pytest.param(b'"b"', b'"a"', False, id="another tag"),
        pytest.param(b'W/"a"', b'W/"a"', False, id="a weak tag never does"),
        pytest.param(b'"a"', None, False, id="no tag to compare"),
        pytest.param(AT, b'"a"', True, id="the same date"),
        pytest.param(AFTER, b'"a"', False, id="a later date"),
        pytest.param(b"rubbish", b'"a"', False, id="neither tag nor date"),
    ],
)
def test_if_range_must_name_exactly_this_representation_rfc_9110_13_1_5(
    value: bytes | None, etag: bytes | None, expected: bool
) -> None:
    assert is_range_wanted(value, etag, NOW) is expected


RANGES = [
    pytest.param(b"bytes=0-4", [(0, 5)], id="14.1.2 the first five"),
    pytest.param(b"bytes=5-", [(5, 10)], id="14.1.2 from the sixth"),
    pytest.param(b"bytes=-3", [(7, 10)], id="14.1.2 the last three"),
    pytest.param(b"bytes=-30", [(0, 10)], id="14.1.2 more than there is from the end"),
    pytest.param(b"bytes=9-99", [(9, 10)], id="14.1.2 beyond the end"),
    pytest.param(b"BYTES = 0-0".replace(b" ", b""), [(0, 1)], id="14.1 the unit in any case"),
    pytest.param(b"bytes=0-0, 2-3 ,-1", [(0, 1), (2, 4), (9, 10)], id="14.2 several"),
    pytest.param(b"bytes=5-6,0-1", [(5, 7), (0, 2)], id="14.2 in the order asked for"),
    pytest.param(b"bytes=0-1,50-60", [(0, 2)], id="15.3.7 what cannot be satisfied is left out"),
    pytest.param(b"bytes=10-", [], id="15.5.17 behind the end"),
    pytest.param(b"bytes=-0", [], id="15.5.17 the last none"),
    pytest.param(b"bytes=4-3", None, id="14.1.1 last before first is invalid"),
    pytest.param(b"bytes=a-b", None, id="no numbers"),
    pytest.param(b"bytes=-", None, id="nothing"),
    pytest.param(b"bytes=", None, id="no range"),
    pytest.param(b"bytes=0-1,", None, id="an empty member"),
    pytest.param(b"bytes=1", None, id="no dash"),
    pytest.param(b"bytes", None, id="no equals sign"),
    pytest.param(b"lines=0-1", None, id="14.1 another unit"),
    pytest.param(b"bytes=" + b"9" * 30 + b"-", None, id="a number of thirty digits"),
    pytest.param(b"bytes=" + b",".join([b"0-0"] * 17), None, id="14.2 more than sixteen"),
    pytest.param(b"bytes=0-,0-,0-", None, id="14.2 three over one another"),
    pytest.param(b"bytes=0-5,4-9", [(0, 6), (4, 10)], id="14.2 two may overlap"),
]


@pytest.mark.parametrize(("value", "expected"), RANGES)
def test_a_range_is_parsed_for_ten_bytes(value: bytes, expected: list[tuple[int, int]] | None) -> None:
    assert parse_range(value, 10) == expected


def test_an_empty_file_has_no_range() -> None:
    assert parse_range(b"bytes=0-", 0) == []


@given(
    st.binary(max_size=30) | st.from_regex(rb"bytes=([0-9]{0,3}-[0-9]{0,3},?)*", fullmatch=True), st.integers(0, 500)
)
def test_ranges_lie_within_the_file_whatever_is_asked(value: bytes, size: int) -> None:
    for start, stop in parse_range(value, size) or ():
        assert 0 <= start < stop <= size


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "f.bin"
    file.write_bytes(bytes(range(100)))
    return str(file)


def test_a_payload_is_a_part_of_a_file(path: str) -> None:
    payload = FilePayload(path, 10, 20)
    assert b"".join(payload.chunks(7)) == bytes(range(10, 30))
    with payload.open() as file:
        assert file.read(1) == b"\x0a"
    assert repr(payload).endswith("f.bin', 10, 20)")


def test_a_prepared_payload_sends_the_file_it_opened(path: str) -> None:
    payload = FilePayload(path, 0, 100)
    assert payload.prepare().st_size == 100
    assert payload.prepare().st_size == 100
    os.unlink(path)
    assert payload.is_whole_file()
    assert b"".join(payload.chunks()) == bytes(range(100))


def test_a_prepared_part_is_not_the_whole_file(path: str) -> None:
    payload = FilePayload(path, 0, 50)
    payload.prepare()
    assert not payload.is_whole_file()
    payload.close()
    payload.close()


def test_a_file_that_shrank_is_an_error_and_not_a_short_answer(path: str) -> None:
    payload = FilePayload(path, 0, 200)
    with pytest.raises(OSError, match="100 bytes before"):
        list(payload.chunks())


def test_only_regular_files_have_a_status_to_send(path: str, tmp_path: Path) -> None:
    assert status_of(path).st_size == 100
    with pytest.raises(IsADirectoryError):
        status_of(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        status_of(path + "x")
    with pytest.raises(OSError, match="regular"):
        status_of(os.devnull)


def test_what_took_the_place_of_a_file_is_not_sent(path: str) -> None:
    payload = FilePayload(path, 0, 100)
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(IsADirectoryError):
        payload.prepare()
    os.rmdir(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="regular"):
        payload.open()


def test_the_etag_changes_with_size_and_time(path: str) -> None:
    first = make_etag(os.stat(path))
    os.utime(path, ns=(1, 1))
    second = make_etag(os.stat(path))
    assert first != second
    assert second == '"1-64"'
