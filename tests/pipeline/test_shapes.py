"""Bodies by type: what is accepted, and every fault of what is not, with and without msgspec."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Required, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline import bodies
from cello.pipeline.params import Body
from cello.pipeline.shapes import make_validator
from cello.pipeline.validation import Invalid, pointer


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Item:
    name: str
    price: float
    tags: list[str] = dataclasses.field(default_factory=list)
    parent: "Item | None" = None
    seen: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.name == "cursed":
            raise ValueError("cursed items are not sold")


class Note(TypedDict, total=False):
    title: Required[str]
    stars: int


class Loose(TypedDict):
    a: int
    b: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: int = 0


class Order(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    order_id: Annotated[int, msgspec.Meta(ge=1)]
    item_names: Annotated[list[str], msgspec.Meta(min_length=1)]
    note: str = ""


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    good: bool


T = TypeVar("T")


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]
    count: int


class Box(msgspec.Struct, Generic[T]):
    content: T


class User(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)
    age: int


@pydantic.dataclasses.dataclass
class Member:
    age: int = pydantic.Field(ge=18)


@dataclasses.dataclass
class Team:
    users: list[User]


ID = UUID("12345678-1234-5678-1234-567812345678")
GOOD: list[tuple[Any, str, Any]] = [
    (Any, '{"a":[1]}', {"a": [1]}),
    (None, "null", None),
    (bool, "true", True),
    (int, "1", 1),
    (float, "1", 1.0),
    (float, "1.5", 1.5),
    (str, '"ä"', "ä"),
    (bytes | None, '"aGk="', b"hi"),
    (Decimal, '"1.10"', Decimal("1.10")),
    (Decimal, "1.5", Decimal("1.5")),
    (Decimal, "2", Decimal(2)),
    (UUID, f'"{ID}"', ID),
    (datetime, '"2030-12-31T23:59:59Z"', datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (datetime, '"2030-12-31 23:59:59.5"', datetime(2030, 12, 31, 23, 59, 59, 500_000)),
    (date, '"2030-12-31"', date(2030, 12, 31)),
    (time, '"23:59:59"', time(23, 59, 59)),
    (timedelta, '"PT90S"', timedelta(seconds=90)),
    (Colour, '"red"', Colour.RED),
    (Level, "2", Level.HIGH),
    (Literal["a", 1], "1", 1),
    (int | None, "null", None),
    (int | str, '"x"', "x"),
    (list, "[1,null]", [1, None]),
    (list[int], "[1,2]", [1, 2]),
    (Sequence[int], "[1,2]", [1, 2]),
    (set[int], "[1,1]", {1}),
    (frozenset[str], '["a"]', frozenset({"a"})),
    (tuple[int, ...], "[1,2,3]", (1, 2, 3)),
    (tuple, '[1,"a"]', (1, "a")),
    (tuple[int, str], '[1,"a"]', (1, "a")),
    (Point, "[1]", Point(1)),
    (Point, "[1,2]", Point(1, 2)),
    (dict, '{"a":1}', {"a": 1}),
    (dict[str, int], '{"a":1}', {"a": 1}),
    (dict[int, str], '{"1":"a"}', {1: "a"}),
    (Mapping[str, list[int]], '{"a":[1]}', {"a": [1]}),
    (Item, '{"name":"tea","price":2,"unknown":true}', Item("tea", 2.0)),
    (Item, '{"name":"tea","price":2,"parent":{"name":"x","price":1}}', Item("tea", 2.0, [], Item("x", 1.0))),
    (list[Item], '[{"name":"tea","price":2}]', [Item("tea", 2.0)]),
    (Note, '{"title":"x","other":1}', {"title": "x"}),
    (Loose, '{"a":1}', {"a": 1}),
    (Order, '{"orderId":1,"itemNames":["tea"]}', Order(order_id=1, item_names=["tea"])),
    (Cat | Dog, '{"type":"dog","good":true}', Dog(True)),
    (Cat, '{"type":"cat","lives":9}', Cat(9)),
    (Page[int], '{"items":[1],"count":1}', Page([1], 1)),
    (Page[Item], '{"items":[{"name":"tea","price":2}],"count":1}', Page([Item("tea", 2.0)], 1)),
    (Box[int], '{"content":1}', Box(1)),
    (User, '{"name":"ada","age":36}', User(name="ada", age=36)),
    (Team, '{"users":[{"name":"ada","age":36}]}', Team([User(name="ada", age=36)])),
    (Member, '{"age":18}', Member(18)),
    (list[Member], '[{"age":18}]', [Member(18)]),
]
BAD: list[tuple[Any, str, list[tuple[str, str]]]] = [
    (None, "1", [("#", "must be null")]),
    (bool, "1", [("#", "must be true or false")]),
    (int, "true", [("#", "must be a whole number")]),
    (int, "1.0", [("#", "must be a whole number")]),
    (int, '"1"', [("#", "must be a whole number")]),
    (float, "true", [("#", "must be a number")]),
    (str, "1", [("#", "must be a string")]),
    (bytes | None, '"%"', [("#", "must be a base64 string or null")]),
    (Decimal, '"x"', [("#", "must be a decimal number")]),
    (Decimal, "true", [("#", "must be a decimal number")]),
    (UUID, '"x"', [("#", "must be a UUID")]),
    (datetime, '"2030-12-31"', [("#", "must be a date and time such as 2030-12-31T23:59:59Z")]),
    (datetime, "5", [("#", "must be a date and time such as 2030-12-31T23:59:59Z")]),
    (date, '"20301231"', [("#", "must be a date such as 2030-12-31")]),
    (time, '"23:59"', [("#", "must be a time such as 23:59:59")]),
    (Colour, '"green"', [("#", "must be one of red, blue")]),
    (Level, "3", [("#", "must be one of 1, 2")]),
    (Level, "[3]", [("#", "must be one of 1, 2")]),
    (Literal["a", 1], "true", [("#", "must be one of a, 1")]),
    (int | None, '"x"', [("#", "must be a whole number or null")]),
    (int | str, "1.5", [("#", "must be a whole number or a string")]),
    (list[int], "{}", [("#", "must be an array")]),
    (list[int], '[1,"a",null]', [("#/1", "must be a whole number"), ("#/2", "must be a whole number")]),
    (tuple[int, str], "[1]", [("#", "must be an array of 2")]),
    (tuple[int, str], '["a",1]', [("#/0", "must be a whole number"), ("#/1", "must be a string")]),
    (Point, "[]", [("#", "must be an array of 1 or more")]),
    (dict[str, int], "[]", [("#", "must be an object")]),
    (dict[str, int], '{"a/b":"x","c~d":null}', [
        ("#/a~1b", "must be a whole number"), ("#/c~0d", "must be a whole number"),
    ]),
    (dict[int, int], '{"a":1}', [("#/a", "has a name that must be a whole number")]),
    (Item, "[]", [("#", "must be an object")]),
    (Item, "{}", [("#/name", "is required"), ("#/price", "is required")]),
    (Item, '{"name":1,"price":"x","tags":[1,"a",2]}', [
        ("#/name", "must be a string"), ("#/price", "must be a number"),
        ("#/tags/0", "must be a string"), ("#/tags/2", "must be a string"),
    ]),
    (Item, '{"name":"tea","price":1,"parent":{"name":1}}', [
        ("#/parent/name", "must be a string"), ("#/parent/price", "is required"),
    ]),
    (Item, '{"name":"tea","price":1,"parent":7}', [("#/parent", "must be an object or null")]),
    (Item, '{"name":"cursed","price":1}', [("#", "cursed items are not sold")]),
    (list[Item], '[{"name":"cursed","price":1}]', [("#/0", "cursed items are not sold")]),
    (Note, '{"stars":"x"}', [("#/title", "is required"), ("#/stars", "must be a whole number")]),
    (Order, '{"orderId":0,"itemNames":[],"other":1}', [
        ("#/orderId", "must be at least 1"), ("#/itemNames", "must have at least 1 item"),
        ("#/other", "is not known here"),
    ]),
    (Cat | Dog, '{"type":"cow"}', [("#/type", "must be one of cat, dog")]),
    (Cat | Dog, "{}", [("#/type", "is required")]),
    (Cat | Dog, '{"type":{}}', [("#/type", "must be one of cat, dog")]),
    (Cat | Dog, '{"type":"cat","lives":"x"}', [("#/lives", "must be a whole number")]),
    (Cat | Dog | None, "5", [("#", "must be an object or null")]),
    (Page[int], '{"items":["x"],"count":1}', [("#/items/0", "must be a whole number")]),
    (Box[int], '{"content":"x"}', [("#/content", "must be a whole number")]),
    (User, '{"name":"a"}', [("#/name", "string should have at least 2 characters"), ("#/age", "is required")]),
    (Member, '{"age":17}', [("#/age", "input should be greater than or equal to 18")]),
    (Team, '{"users":[{"name":"ada"},{"age":"x","name":"bob"}]}', [
        ("#/users/0/age", "is required"),
        ("#/users/1/age", "input should be a valid integer, unable to parse string as an integer"),
    ]),
]  # fmt: skip


def read(annotation: Any, text: str | bytes) -> Any:
    return bodies.body_getter(annotation, Body(), "a test")(Request("POST", "/", body=text))


def faults_of(call: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as invalid:
        call()
    return [(fault["pointer"], fault["detail"]) for fault in invalid.value.faults]


@pytest.fixture(params=["msgspec", "alone"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "alone":
        monkeypatch.setattr(bodies, "_load_msgspec", lambda: None)
    return str(request.param)


@pytest.mark.parametrize(("annotation", "text", "value"), GOOD)
def test_a_body_becomes_what_the_annotation_says(decoder: str, annotation: Any, text: str, value: Any) -> None:
    found = read(annotation, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("annotation", "text", "faults"), BAD)
def test_every_fault_of_a_body_is_named(
    decoder: str, annotation: Any, text: str, faults: list[tuple[str, str]]
) -> None:
    assert faults_of(lambda: read(annotation, text)) == faults


@pytest.mark.parametrize(
    "annotation", [complex, object | complex, dict[tuple[int], int], Callable[[], int], list[type]]
)
def test_a_type_that_json_cannot_become_is_refused_at_once(annotation: Any) -> None:
    with pytest.raises(ConfigError, match=r"^a test: .* cannot be"):
        make_validator(annotation, "a test")


def test_an_array_like_struct_is_refused_at_once() -> None:
    class Row(msgspec.Struct, array_like=True):
        a: int

    with pytest.raises(ConfigError, match="array_like"):
        make_validator(Row, "a test")


def test_a_model_with_annotations_that_do_not_exist_is_refused_at_once() -> None:
    @dataclasses.dataclass
    class Broken:
        a: "Nowhere"  # type: ignore[name-defined]  # noqa: F821  # that is the point

    with pytest.raises(ConfigError, match=r"Broken cannot be resolved: name 'Nowhere'"):
        make_validator(Broken, "a test")


def test_what_msgspec_does_not_know_is_read_without_it() -> None:
    class Mixed(Enum):
        A = "a"
        ONE = 1

    assert read(list[Mixed], '["a", 1]') == [Mixed.A, Mixed.ONE]
    assert faults_of(lambda: read(list[Mixed], '["b"]')) == [("#/0", "must be one of a, 1")]


def test_msgspec_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert read(Item, '{"name":"tea","price":2}') == Item("tea", 2.0)


def test_a_strict_pydantic_model_is_explained_as_json() -> None:
    class Strict(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        when: date
        count: int

    assert read(Strict, '{"when":"2030-12-31","count":1}') == Strict(when=date(2030, 12, 31), count=1)
    assert faults_of(lambda: read(Strict, '{"when":"2030-12-31","count":"1"}')) == [
        ("#/count", "input should be a valid integer")
    ]


def test_a_fault_only_the_decoder_knows_is_still_a_fault() -> None:
    big = "1" + "0" * 400
    assert read(Decimal, big) == Decimal(big)

    class Odd(msgspec.Struct):
        when: Annotated[datetime, msgspec.Meta(tz=True)]
        others: list[Annotated[datetime, msgspec.Meta(tz=True)]] = []

    naive = "2030-12-31T23:59:59"
    body = json.dumps({"when": "2030-12-31T23:59:59Z", "others": [naive]})
    assert faults_of(lambda: read(Odd, body)) == [("#/others/0", "expected `datetime` with a timezone component")]


def test_a_pointer_escapes_what_a_pointer_must() -> None:
    assert pointer(()) == "#"
    assert pointer(("a/b", 0, "c~d", "e f", "%", "ä")) == "#/a~1b/0/c~0d/e%20f/%25/%C3%A4"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["red", "2030-12-31", "2030-12-31T23:59:59Z", str(ID), "PT5S", "1", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "price", "tags", "parent", "title", "x", "1"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
TYPES = [
    int, float, str, bool, datetime, date, UUID, Colour, Level, Item, Note, Point, list[int], set[str],
    dict[str, int], dict[int, str], tuple[int, str], tuple[float, ...], int | None, int | str, Item | None,
    list[Item], dict[str, Note], Literal["red", 1], Order, Cat | Dog,
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TYPES), JSON)
def test_the_walk_accepts_exactly_what_msgspec_accepts(annotation: Any, value: Any) -> None:
    text = json.dumps(value).encode()
    try:
        expected = msgspec.json.decode(text, type=annotation)
    except msgspec.ValidationError:
        expected = Invalid
    faults: list[dict[str, Any]] = []
    found = make_validator(annotation, "a test")(json.loads(text), (), faults)
    if expected is Invalid:
        assert faults
    else:
        assert not faults
        assert found == expected
        assert type(found) is type(expected)
