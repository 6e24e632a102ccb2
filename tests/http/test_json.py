"""JSON: two codecs, one result."""

import collections
import dataclasses
import datetime
import decimal
import enum
import importlib
import json
import pathlib
import subprocess
import sys
import types
import uuid
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import BadRequest
from cello.http import json_codec, json_msgspec, json_stdlib

CODECS = [pytest.param(json_msgspec, id="msgspec"), pytest.param(json_stdlib, id="stdlib")]
both = pytest.mark.parametrize("codec", CODECS)


class Colour(enum.Enum):
    RED = "red"
    NESTED = (1, 2)
    NONE = None


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    HELLO = "hello"


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: int


class Text(str):
    """A str of its own kind."""

    def __str__(self) -> str:
        return "overridden"


class Number(int):
    pass


class Real(float):
    pass


class Moment(datetime.datetime):
    pass


class Day(datetime.date):
    pass


class Price(decimal.Decimal):
    pass


class Span(datetime.timedelta):
    pass


class Blob(bytes):
    pass


@dataclasses.dataclass
class User:
    id: int
    tags: list[str]
    _private: int = 1
    unset: int = dataclasses.field(init=False)

    @property
    def computed(self) -> int:
        return 1


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    a: int


class Model(pydantic.BaseModel):
    id: int
    when: datetime.date


class Aliased(pydantic.BaseModel):
    when_made: int = pydantic.Field(alias="whenMade")


class Attrs:
    """What an attrs class looks like, without depending on attrs."""

    __attrs_attrs__ = ()


TZ = datetime.timezone
VALUES: list[tuple[str, Any, str]] = [
    ("null", None, "null"),
    ("true", True, "true"),
    ("false", False, "false"),
    ("zero", 0, "0"),
    ("a big integer", 2**70, "1180591620717411303424"),
    ("a float", 1.5, "1.5"),
    ("an integral float", 1.0, "1.0"),
    ("minus zero", -0.0, "-0.0"),
    ("not a number", float("nan"), "null"),
    ("infinity", float("inf"), "null"),
    ("minus infinity in a list", [float("-inf")], "[null]"),
    ("text", 'é"\\/\n\x00\u2028', '"é\\"\\\\/\\n\\u0000\u2028"'),
    ("an emoji", "😀", '"😀"'),
    ("an empty list", [], "[]"),
    ("an empty dict", {}, "{}"),
    ("compact", {"a": [1, {"b": None}]}, '{"a":[1,{"b":null}]}'),
    ("a tuple", (1, 2), "[1,2]"),
    ("a named tuple", Point(1, 2), "[1,2]"),
    ("a set", {1}, "[1]"),
    ("a frozenset", frozenset([1]), "[1]"),
    ("a deque", collections.deque([1]), "[1]"),
    ("a range", range(3), "[0,1,2]"),
    ("dict keys", {"a": 1}.keys(), '["a"]'),
    ("dict values", {"a": 1}.values(), "[1]"),
    ("an ordered dict", collections.OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    ("a counter", collections.Counter("a"), '{"a":1}'),
    ("a mapping proxy", types.MappingProxyType({"a": 1}), '{"a":1}'),
    ("bytes", b"ab\xff", '"YWL/"'),
    ("a bytearray", bytearray(b"ab"), '"YWI="'),
    ("a memoryview", memoryview(b"ab"), '"YWI="'),
    ("bytes of another class", Blob(b"ab"), '"YWI="'),
    ("a UUID", uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    ("a Decimal", decimal.Decimal("1.10"), '"1.10"'),
    ("a Decimal of another class", Price("1.10"), '"1.10"'),
    ("a path", pathlib.PurePosixPath("/a/b"), '"/a/b"'),
    ("a datetime in UTC", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=TZ.utc), '"2026-01-02T03:04:05Z"'),
    ("a datetime without zone", datetime.datetime(2026, 1, 2, 3, 4, 5, 600), '"2026-01-02T03:04:05.000600"'),
    (
        "a datetime with an offset",
        datetime.datetime(2026, 1, 2, tzinfo=TZ(datetime.timedelta(hours=-3, minutes=-30))),
        '"2026-01-02T00:00:00-03:30"',
    ),
    (
        "an offset with seconds",
        datetime.datetime(2026, 1, 2, tzinfo=TZ(datetime.timedelta(hours=1, seconds=30))),
        '"2026-01-02T00:00:00+01:00"',
    ),
    (
        "an offset of seconds only",
        datetime.datetime(2026, 1, 2, tzinfo=TZ(datetime.timedelta(seconds=20))),
        '"2026-01-02T00:00:00Z"',
    ),
    ("a datetime of another class", Moment(2026, 1, 2, tzinfo=TZ.utc), '"2026-01-02T00:00:00Z"'),
    ("a date", datetime.date(2026, 1, 2), '"2026-01-02"'),
    ("a date of another class", Day(2026, 1, 2), '"2026-01-02"'),
    ("a time", datetime.time(1, 2, 3), '"01:02:03"'),
    ("a time in UTC", datetime.time(1, 2, 3, tzinfo=TZ.utc), '"01:02:03Z"'),
    ("a duration", datetime.timedelta(days=1, seconds=3.5), '"P1DT3.5S"'),
    ("a negative duration", datetime.timedelta(seconds=-3.5), '"-PT3.5S"'),
    ("no duration", datetime.timedelta(0), '"P0D"'),
    ("days", datetime.timedelta(days=2), '"P2D"'),
    ("a duration of another class", Span(days=2), '"P2D"'),
    ("an enum", Colour.RED, '"red"'),
    ("an enum of a tuple", Colour.NESTED, "[1,2]"),
    ("an enum of None", Colour.NONE, "null"),
    ("an int enum", Level.HIGH, "3"),
    ("a str enum", Word.HELLO, '"hello"'),
    ("flags", Flags.A | Flags.B, "3"),
    ("a str of another class", Text("x"), '"x"'),
    ("an int of another class", Number(3), "3"),
    ("a float of another class", Real(1.5), "1.5"),
    ("a dataclass", User(1, ["a"]), '{"id":1,"tags":["a"],"_private":1}'),
    ("a dataclass with slots", Slotted(1), '{"a":1}'),
    ("a pydantic model", Model(id=1, when=datetime.date(2026, 1, 2)), '{"id":1,"when":"2026-01-02"}'),
    ("a pydantic model with an alias", Aliased(whenMade=1), '{"whenMade":1}'),
    ("a list of models", [Model(id=1, when=datetime.date(2026, 1, 2))], '[{"id":1,"when":"2026-01-02"}]'),
    ("an attrs class", Attrs(), "{}"),
    ("integer keys", {1: 2}, '{"1":2}'),
    ("float keys", {1.5: 2}, '{"1.5":2}'),
    ("enum keys", {Colour.RED: 1, Level.HIGH: 2}, '{"red":1,"3":2}'),
    ("date keys", {datetime.date(2026, 1, 2): 1}, '{"2026-01-02":1}'),
    ("datetime keys", {datetime.datetime(2026, 1, 2): 1}, '{"2026-01-02T00:00:00":1}'),
    ("UUID keys", {uuid.UUID(int=1): 1}, '{"00000000-0000-0000-0000-000000000001":1}'),
    ("Decimal keys", {decimal.Decimal("1.0"): 1}, '{"1.0":1}'),
    ("path keys", {pathlib.PurePosixPath("/a"): 1}, '{"/a":1}'),
    ("bytes keys", {b"a": 1}, '{"YQ==":1}'),
    ("keys of another class", {Text("a"): 1, Number(2): 2, Real(1.5): 3}, '{"a":1,"2":2,"1.5":3}'),
]


@both
@pytest.mark.parametrize(("value", "expected"), [pytest.param(v, e, id=name) for name, v, e in VALUES])
def test_a_value_is_written(codec: Any, value: Any, expected: str) -> None:
    assert codec.encode(value).decode() == expected


def test_a_struct_is_written() -> None:
    class Item(msgspec.Struct):
        id: int

    assert json_msgspec.encode([Item(1)]) == b'[{"id":1}]'


@both
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(object(), id="an object"),
        pytest.param([1, object()], id="an object inside"),
        pytest.param(1j, id="a complex number"),
        pytest.param((each for each in ()), id="a generator"),
        pytest.param(int, id="a class"),
        pytest.param(User, id="a dataclass itself"),
        pytest.param({(1,): 2}, id="a tuple as key"),
        pytest.param({None: 2}, id="None as key"),
        pytest.param({True: 2}, id="a bool as key"),
        pytest.param({object(): 2}, id="an object as key"),
        pytest.param({range(2): 2}, id="a range as key"),
        pytest.param({frozenset(): 2}, id="a set as key"),
        pytest.param({Colour.NONE: 2}, id="an enum of None as key"),
    ],
)
def test_what_has_no_json_form_is_a_type_error(codec: Any, value: Any) -> None:
    with pytest.raises(TypeError):
        codec.encode(value)


@both
def test_a_lone_surrogate_cannot_be_written(codec: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        codec.encode("\ud800")


@both
def test_a_value_that_contains_itself_ends_in_a_recursion_error(codec: Any) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        codec.encode(value)


TEXTS: list[tuple[str, bytes, Any]] = [
    ("null", b"null", None),
    ("spaces around", b" \t\r\n1 ", 1),
    ("minus zero", b"-0", 0),
    ("a float", b"1E+2", 100.0),
    ("an underflow", b"1e-400", 0.0),
    ("a big integer", b"123456789012345678901234567890", 123456789012345678901234567890),
    ("beyond 64 bits", b"-9223372036854775809", -9223372036854775809),
    ("repeated keys", b'{"a":1,"a":2}', {"a": 2}),
    ("escapes", rb'"\u00e9\/\b\f\n\r\t\"\\"', 'é/\b\f\n\r\t"\\'),
    ("a surrogate pair", rb'"\ud83d\uDE00"', "😀"),
    ("an escaped backslash before ud800", rb'"\\ud800"', "\\ud800"),
    ("NUL in a string", rb'"\u0000"', "\0"),
    ("delete in a string", b'"\x7f"', "\x7f"),
]


@both
@pytest.mark.parametrize(("data", "expected"), [pytest.param(d, e, id=name) for name, d, e in TEXTS])
def test_a_text_is_read(codec: Any, data: bytes, expected: Any) -> None:
    value = codec.decode(data)
    assert value == expected
    assert type(value) is type(expected)


@both
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b" ", id="a space"),
        pytest.param(b"nul", id="half a word"),
        pytest.param(b"nullx", id="more than a word"),
        pytest.param(b'{"a":1} x', id="rubbish behind"),
        pytest.param(b"[1,]", id="a trailing comma"),
        pytest.param(b"[1 2]", id="no comma"),
        pytest.param(b'{"a" 1}', id="no colon"),
        pytest.param(b"{1:2}", id="a number as key"),
        pytest.param(b"'a'", id="single quotes"),
        pytest.param(b"/*c*/1", id="a comment"),
        pytest.param(b"01", id="a leading zero"),
        pytest.param(b"1.", id="no fraction"),
        pytest.param(b".5", id="no integer part"),
        pytest.param(b"+1", id="a plus sign"),
        pytest.param(b"1e", id="no exponent"),
        pytest.param(b"-", id="a sign alone"),
        pytest.param(b"NaN", id="not a number"),
        pytest.param(b"Infinity", id="infinity"),
        pytest.param(b"-Infinity", id="minus infinity"),
        pytest.param(b"[NaN]", id="not a number inside"),
        pytest.param(b"1e999", id="out of range"),
        pytest.param(b"-1e999", id="out of range below"),
        pytest.param(b"9" * 5000, id="an integer of 5000 digits"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
        pytest.param(rb'"\ud800"', id="a lone high surrogate"),
        pytest.param(rb'["a", {"\uDC00": 1}]', id="a lone low surrogate in a key"),
        pytest.param(rb'"\ud800\u0041"', id="a high surrogate with another letter"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param("1".encode("utf-16"), id="UTF-16"),
        pytest.param(b"1\x00", id="NUL behind"),
        pytest.param(b'"a\nb"', id="a raw line feed in a string"),
        pytest.param(rb'"\x41"', id="an escape that is none"),
        pytest.param(b"\x0b1", id="a vertical tab as space"),
        pytest.param("\u00a01".encode(), id="a no-break space as space"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="too deep an array"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="too deep an object"),
    ],
)
def test_what_is_not_json_is_a_bad_request(codec: Any, data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        codec.decode(data)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value.detail).startswith("The body is not valid JSON: ")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.uuids()
    | st.decimals()
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(datetime.UTC))
    | st.times()
    | st.timedeltas()
    | st.binary()
    | st.sampled_from([*Colour, *Level, *Word]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.uuids(), inner)
        | st.builds(User, inner, st.just([]))
    ),
    max_leaves=20,
)


@given(plain)
def test_both_codecs_write_what_reads_the_same(value: Any) -> None:
    # Read by a third party, so that only what was written is compared; floats are spelled differently by the two.
    assert json.loads(json_stdlib.encode(value)) == json.loads(json_msgspec.encode(value))


@given(plain)
def test_both_codecs_read_the_same(value: Any) -> None:
    for data in (
        json_msgspec.encode(value),
        json_stdlib.encode(value),
        json.dumps(json.loads(json_msgspec.encode(value))).encode(),
    ):
        assert json_stdlib.decode(data) == json_msgspec.decode(data)


@given(st.binary(max_size=30) | st.text('[]{}",:0123456789.eE+-truefalsn\\ud8 \n', max_size=20).map(str.encode))
def test_both_codecs_refuse_the_same(data: bytes) -> None:
    def result(codec: Any) -> Any:
        try:
            return codec.decode(data)
        except BadRequest:
            return BadRequest

    assert result(json_stdlib) == result(json_msgspec)


def test_msgspec_is_the_codec_where_it_is_installed() -> None:
    assert json_codec.name == "msgspec"
    assert json_codec.encode({"a": 1}) == b'{"a":1}'
    assert json_codec.decode(b"[1]") == [1]


def test_there_is_nothing_else_in_the_codec() -> None:
    with pytest.raises(AttributeError, match="dumps"):
        json_codec.dumps  # type: ignore[attr-defined]  # noqa: B018


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The codec as it is before its first use."""
    for name in ("encode", "decode", "name"):
        monkeypatch.delitem(vars(json_codec), name, raising=False)
    return monkeypatch


def test_without_msgspec_the_standard_library_takes_over(unloaded: pytest.MonkeyPatch) -> None:
    unloaded.setitem(sys.modules, "msgspec", None)  # makes the import fail as if it were not installed
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("msgspec")
    assert json_codec.name == "stdlib"
    assert json_codec.encode is json_stdlib.encode


def test_a_msgspec_that_is_broken_is_not_hidden(unloaded: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ModuleNotFoundError("no _core", name="msgspec._core")

    unloaded.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="_core"):
        json_codec.load()


def test_importing_request_and_response_loads_no_msgspec() -> None:
    program = "import sys, cello.http.request, cello.http.response; print('msgspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "False\n"
