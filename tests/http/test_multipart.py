"""Forms with files, at hand and on their way (RFC 7578)."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.config import LimitsConfig
from cello.errors import BadRequest, ContentTooLarge, HTTPError, UnsupportedMediaType
from cello.http.forms import FormData, UploadedFile, parse_form
from cello.http.multipart import Parts, boundary_of, safe_filename
from tests.http.test_body import Arriving

TYPE = "multipart/form-data; boundary=XX"


def part(head: str, content: bytes = b"") -> bytes:
    return b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def field(name: str, content: bytes) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', content)


def file(name: str, filename: str, content: bytes, content_type: str = "text/plain") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}'
    return part(head, content)


END = b"--XX--\r\n"


def test_fields_and_files_are_told_apart() -> None:
    body = (
        field("a", b"1") + file("f", "x.TXT", b"hello") + field("a", b"2") + file("f", "y.png", b"", "image/png") + END
    )
    form = parse_form(body, TYPE)
    assert form == {"a": "2"}
    assert form.get_all("a") == ["1", "2"]
    assert form.get("a") == "2"
    assert form.get_or("z") == ""
    assert form.get_or("z", "d") == "d"
    assert form.has_field("a")
    assert not form.has_field("f")
    assert form.has_file("f")
    assert not form.has_file("a")
    assert form.field_names() == ["a"]
    assert form.file_names() == ["f"]
    assert form.field_count() == 2
    assert form.file_count() == 2
    assert [upload.filename for upload in form.get_files("f")] == ["x.TXT", "y.png"]
    assert form.get_file("z") is None
    assert form.files().keys() == {"f"}
    last = form.get_file("f")
    assert last is not None
    assert (last.filename, last.content_type, last.size()) == ("y.png", "image/png", 0)


@pytest.mark.parametrize("limit", [pytest.param(1_000_000, id="in memory"), pytest.param(2, id="on disk")])
def test_an_uploaded_file_is_read_and_saved(tmp_path: Path, limit: int) -> None:
    form = parse_form(file("f", "caf\xe9.Txt", "h\xe9llo".encode()) + END, TYPE, LimitsConfig(max_spool_memory=limit))
    upload = form.get_file("f")
    assert upload is not None
    assert upload.filename == "caf\xe9.Txt"
    assert upload.extension() == "txt"
    assert upload.size() == 6
    assert upload.read() == upload.read() == "h\xe9llo".encode()
    assert upload.read_text() == "h\xe9llo"
    assert b"".join(upload.chunks(4)) == "h\xe9llo".encode()
    with upload.open() as opened:
        assert opened.read(1) == b"h"
    upload.save(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == "h\xe9llo".encode()
    with pytest.raises(BadRequest, match="ascii"):
        upload.read_text("ascii")
    assert repr(upload) == "<UploadedFile 'caf\xe9.Txt' 6 bytes>"
    form.close()
    assert upload.size() == 0


@pytest.mark.parametrize(
    ("filename", "extension"),
    [("a.txt", "txt"), ("a.tar.GZ", "gz"), ("README", ""), (".profile", ""), ("a.", "")],
)
def test_the_extension_is_what_follows_the_last_dot(filename: str, extension: str) -> None:
    form = parse_form(file("f", filename, b"x") + END, TYPE)
    upload = form.get_file("f")
    assert upload is not None
    assert upload.extension() == extension


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("..", ""),
        ("/", ""),
        ("a\x00b\r\n.txt", "ab.txt"),
        ("日本.txt", "日本.txt"),
    ],
)
def test_a_file_name_is_no_path(filename: str, expected: str) -> None:
    assert safe_filename(filename) == expected


def test_a_file_input_that_was_left_empty_is_no_file() -> None:
    form = parse_form(file("f", "", b"", "application/octet-stream") + END, TYPE)
    assert form.file_count() == 0


def test_a_file_without_a_name_but_with_content_is_one() -> None:
    form = parse_form(file("f", "", b"x") + END, TYPE)
    assert form.file_count() == 1


def test_a_field_is_decoded_by_its_charset() -> None:
    body = (
        part('Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=iso-8859-1', b"\xe9") + END
    )
    assert parse_form(body, TYPE) == {"a": "é"}


def test_an_empty_form_has_nothing() -> None:
    form = parse_form(END, TYPE)
    assert form == {}
    assert form.file_count() == 0


def test_an_urlencoded_form_is_a_dict_too() -> None:
    form = parse_form("a=1&a=2&b=%C3%A9&c=é".encode(), "application/x-www-form-urlencoded; charset=utf-8")
    assert form == {"a": "2", "b": "é", "c": "é"}
    assert form.get_all("a") == ["1", "2"]
    assert form.files() == {}


def test_a_form_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(FormData([("a", "1")]))


SMALL = LimitsConfig(max_form_fields=2, max_multipart_parts=3, max_spool_memory=10)
URLENCODED = "application/x-www-form-urlencoded"

BAD = [
    pytest.param(b"", "text/plain", UnsupportedMediaType, id="another media type"),
    pytest.param(b"", "", UnsupportedMediaType, id="no media type"),
    pytest.param(END, "multipart/form-data", BadRequest, id="no boundary, RFC 2046 5.1.1"),
    pytest.param(END, 'multipart/form-data; boundary=""', BadRequest, id="an empty boundary"),
    pytest.param(END, f"multipart/form-data; boundary={'x' * 71}", BadRequest, id="a boundary of 71 characters"),
    pytest.param(END, 'multipart/form-data; boundary="a\tb"', BadRequest, id="a boundary with a tab"),
    pytest.param(END, "multipart/form-data; boundary", BadRequest, id="half a parameter"),
    pytest.param(b"", TYPE, BadRequest, id="no body"),
    pytest.param(b"rubbish", TYPE, BadRequest, id="no form"),
    pytest.param(field("a", b"1"), TYPE, BadRequest, id="cut off before the end"),
    pytest.param(field("a", b"1")[:-5], TYPE, BadRequest, id="cut off in a part"),
    pytest.param(b"--XX\r\nContent-Disposition: form-data; na", TYPE, BadRequest, id="cut off in a head"),
    pytest.param(part("X: y", b"1") + END, TYPE, BadRequest, id="a part without disposition, RFC 7578 4.2"),
    pytest.param(part("Content-Disposition: inline", b"1") + END, TYPE, BadRequest, id="a part that is no form data"),
    pytest.param(part("rubbish", b"1") + END, TYPE, BadRequest, id="a head that is none"),
    pytest.param(b"--XX\nContent-Disposition: form-data\n\n1\n--XX--", TYPE, BadRequest, id="bare line feeds"),
    pytest.param(part(f"X: {'y' * 5000}", b"1") + END, TYPE, ContentTooLarge, id="a header line of 5000 bytes"),
    pytest.param(
        part("\r\n".join(f"X-{n}: y" for n in range(9)), b"1") + END, TYPE, ContentTooLarge, id="nine header lines"
    ),
    pytest.param(field("a", b"\xff") + END, TYPE, BadRequest, id="a field that is not UTF-8"),
    pytest.param(field("a", b"1") * 3 + END, TYPE, ContentTooLarge, id="too many fields"),
    pytest.param(file("a", "b", b"1") * 4 + END, TYPE, ContentTooLarge, id="too many parts"),
    pytest.param(field("a", b"x" * 1_048_577) + END, TYPE, ContentTooLarge, id="too much text"),
    pytest.param(b"a=1&b=2&c=3", URLENCODED, ContentTooLarge, id="too many urlencoded fields"),
    pytest.param(b"a=%ff", URLENCODED, BadRequest, id="an urlencoded field that is not UTF-8"),
    pytest.param(b"a=\xff", URLENCODED, BadRequest, id="raw bytes that are not UTF-8"),
]


@pytest.mark.parametrize(("body", "content_type", "error"), BAD)
def test_a_bad_form_is_refused(body: bytes, content_type: str, error: type[HTTPError]) -> None:
    with pytest.raises(error):
        parse_form(body, content_type, SMALL)


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('Multipart/Form-Data; boundary="a b:c"') == "a b:c"


def test_parts_are_taken_one_by_one_by_a_plain_loop() -> None:
    body = field("a", b"1") + file("f", "dir/x", b"hello" * 3) + END
    parts = Parts(Arriving(*(body[i : i + 7] for i in range(0, len(body), 7))), TYPE)
    seen: list[Any] = []
    for each in parts:
        seen.append((each.name, each.filename, each.content_type, each.read()))
        assert each.read() == b""
    assert seen == [("a", None, "", b"1"), ("f", "x", "text/plain", b"hello" * 3)]
    assert list(parts) == []


async def test_parts_are_taken_one_by_one_by_an_async_loop() -> None:
    body = field("a", b"1") + file("f", "x", b"hello" * 3) + END
    parts = Parts(Arriving(*(body[i : i + 7] for i in range(0, len(body), 7))), TYPE)
    seen = [(each.name, await each.read_async()) async for each in parts]
    assert seen == [("a", b"1"), ("f", b"hello" * 3)]
    assert [each async for each in parts] == []


async def test_going_on_skips_what_was_not_read() -> None:
    body = field("a", b"x" * 100) + field("b", b"2") + END
    parts = Parts(Arriving(*(body[i : i + 9] for i in range(0, len(body), 9))), TYPE)
    first = next(parts)
    assert next(iter(first)).startswith(b"x")
    second = next(parts)
    assert list(first) == []
    assert [piece async for piece in aiter(first)] == []
    assert second.read() == b"2"
    assert second.headers == {"content-disposition": 'form-data; name="b"'}
    assert repr(second) == "<Part 'b' >"


def test_a_body_that_breaks_off_fails_where_it_breaks_off() -> None:
    parts = Parts(Arriving(field("a", b"1")[:-2]), TYPE)
    first = next(parts)
    with pytest.raises(BadRequest):
        first.read()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=50)), max_size=5), st.integers(1, 40))
def test_a_form_is_the_same_however_it_is_cut(contents: list[tuple[str, bytes]], size: int) -> None:
    contents = [(name, content) for name, content in contents if b"\r\n--XX" not in content]
    body = b"".join(file(name, "f", content) for name, content in contents) + END
    parts = Parts(Arriving(*(body[i : i + size] for i in range(0, len(body), size))), TYPE)
    assert [(each.name, each.read()) for each in parts] == contents
    form = parse_form(body, TYPE)
    assert [(upload.name, upload.read()) for upload in form.uploads] == contents


def test_an_upload_knows_its_field() -> None:
    form = parse_form(file("avatar", "x", b"1") + END, TYPE)
    assert all(isinstance(upload, UploadedFile) and upload.name == "avatar" for upload in form.uploads)


def test_parts_are_those_of_a_multipart_form_only() -> None:
    with pytest.raises(UnsupportedMediaType):
        Parts(Arriving(b""), "application/json")
