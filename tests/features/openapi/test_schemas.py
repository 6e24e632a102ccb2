"""From annotations to JSON Schema, type by type."""

import collections.abc
import dataclasses
import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Required, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest

from cello import ConfigError, UploadedFile
from cello.features.openapi.schemas import Schemas
from cello.pipeline.params import Query

T = TypeVar("T")
UserId = NewType("UserId", int)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    A = "a"
    B = 2


class Pair(NamedTuple):
    left: int
    right: str = ""


class Unknown:
    pass


UNKNOWN = Unknown()


class Doc:
    """As typing_extensions has it."""

    def __init__(self, documentation):
        self.documentation = documentation


PLAIN = {
    "anything": (Any, {}),
    "a number": (float, {"type": "number"}),
    "truth": (bool, {"type": "boolean"}),
    "bytes": (bytes, {"type": "string", "contentEncoding": "base64"}),
    "a UUID": (UUID, {"type": "string", "format": "uuid"}),
    "a time": (time, {"type": "string", "format": "time"}),
    "a duration": (timedelta, {"type": "string", "format": "duration"}),
    "a date or time": (
        date | datetime,
        {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}]},
    ),
    "an upload": (UploadedFile, {"type": "string", "format": "binary"}),
    "a new type": (UserId, {"type": "integer"}),
    "a literal": (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    "a mixed literal": (Literal["a", 1, None], {"enum": ["a", 1, None]}),
    "perhaps": (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    "perhaps unset": (int | msgspec.UnsetType, {"type": "integer"}),
    "a bare list": (list, {"type": "array"}),
    "a list": (list[int], {"type": "array", "items": {"type": "integer"}}),
    "a sequence": (collections.abc.Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    "a long tuple": (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    "a bare tuple": (tuple, {"type": "array"}),
    "a pair": (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
    ),
    "a named tuple": (
        Pair,
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 1, "maxItems": 2},
    ),
    "a bare dict": (dict, {"type": "object"}),
    "a dict": (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    "an unknown class": (Unknown, {}),
    "bounds": (
        Annotated[int, msgspec.Meta(ge=1, lt=9, multiple_of=2)],
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2},
    ),
    "a bound of decimals": (Annotated[float, Query(gt=Decimal("0.5"))], {"type": "number"}),
    "text of some length": (
        Annotated[str, msgspec.Meta(min_length=1, pattern="^a")],
        {"type": "string", "minLength": 1, "pattern": "^a"},
    ),
    "a list of some length": (
        Annotated[list[int], msgspec.Meta(max_length=3)],
        {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    ),
    "a dict of some size": (Annotated[dict, msgspec.Meta(min_length=1)], {"type": "object", "minProperties": 1}),
    "text of some length, or null": (
        Annotated[str | None, msgspec.Meta(max_length=2)],
        {"anyOf": [{"type": "string"}, {"type": "null"}], "maxLength": 2},
    ),
    "bounds of what is no number": (Annotated[date, Query(ge=1)], {"type": "string", "format": "date"}),
    "words": (
        Annotated[int, msgspec.Meta(title="T", description="D", examples=[1])],
        {"type": "integer", "title": "T", "description": "D", "examples": [1]},
    ),
    "documentation": (Annotated[int, Doc("words")], {"type": "integer", "description": "words"}),
    "extra": (
        Annotated[int, msgspec.Meta(extra_json_schema={"readOnly": True})],
        {"type": "integer", "readOnly": True},
    ),
}


@pytest.mark.parametrize(("annotation", "expected"), PLAIN.values(), ids=PLAIN.keys())
def test_an_annotation_has_its_schema(annotation, expected):
    assert Schemas().of(annotation, "in") == expected


def test_sets_are_unique_when_they_are_given():
    assert Schemas().of(set[int], "in") == {"type": "array", "items": {"type": "integer"}}
    assert Schemas().of(set[int], "out")["uniqueItems"] is True


def components(*annotations, way="out"):
    schemas = Schemas()
    document = {"found": [schemas.of(annotation, way) for annotation in annotations]}
    return schemas.finish(document)[1]


def test_enums_are_components():
    assert components(Level, Mixed) == {
        "Level": {"type": "integer", "enum": [1, 2]},
        "Mixed": {"enum": ["a", 2]},
    }


@dataclasses.dataclass
class Tree:
    """A tree."""

    name: str = dataclasses.field(metadata={"description": "Its name.", "examples": ["oak"]})
    children: list["Tree"] = dataclasses.field(default_factory=list)
    odd: Any = UNKNOWN
    size: int = dataclasses.field(init=False, default=0)


def test_a_dataclass_may_mention_itself_and_says_what_its_fields_are():
    [tree] = components(Tree).values()
    assert tree == {
        "type": "object",
        "description": "A tree.",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": "Its name.", "examples": ["oak"]},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}, "default": []},
            "odd": {},
            "size": {"type": "integer", "default": 0},
        },
    }
    assert "size" not in components(Tree, way="in")["Tree"]["properties"]


class Config(msgspec.Struct, rename="camel"):
    first_name: str
    tags: list[str] = []
    made: list[int] = msgspec.field(default_factory=lambda: [1])
    note: str | msgspec.UnsetType = msgspec.UNSET


def test_a_struct_has_its_wire_names_and_defaults():
    assert components(Config)["Config"] == {
        "type": "object",
        "required": ["firstName"],
        "properties": {
            "firstName": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "made": {"type": "array", "items": {"type": "integer"}, "default": [1]},
            "note": {"type": "string"},
        },
    }


def test_an_array_like_struct_is_an_array():
    class Point(msgspec.Struct, array_like=True):
        x: int
        y: int

    assert components(Point)["Point"]["prefixItems"] == [{"type": "integer"}, {"type": "integer"}]


def test_a_typed_dict_says_what_is_required():
    class Row(TypedDict, total=False):
        id: Required[int]
        note: str

    assert components(Row)["Row"]["required"] == ["id"]


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


def test_generic_models_are_named_after_what_is_in_them():
    assert sorted(components(Box[int], Box[list[str]], Box)) == ["Box", "Box_int", "Box_list_str"]


def twin(name, **fields):
    made = dataclasses.make_dataclass(name, fields.items())
    made.__module__ = "one.place"
    return made


def test_models_of_the_same_name_and_place_are_numbered():
    assert sorted(components(twin("A", x=int), twin("A", y=int))) == ["one__place__A", "one__place__A_2"]


class Tag(pydantic.BaseModel):
    name: str
    cost: Decimal = Decimal(1)


@dataclasses.dataclass
class Tagged:
    tag: Tag
    size: int = 0


@dataclasses.dataclass
class Around:
    inner: Tagged


def test_pydantic_models_inside_others_are_referred_to():
    found = components(Around)
    assert set(found) == {"Around", "Tag", "Tagged"}
    assert found["Tagged"]["properties"]["tag"] == {"$ref": "#/components/schemas/Tag"}


def test_what_mentions_a_model_with_two_faces_has_two_faces_too():
    schemas = Schemas()
    schemas.of(Around, "in")
    schemas.of(Around, "out")
    names = set(schemas.finish({})[1])
    assert names == {"Around-Input", "Around-Output", "Tagged-Input", "Tagged-Output", "Tag-Input", "Tag-Output"}


def test_a_name_that_pydantic_gave_away_is_not_given_again():
    own = twin("Tag", other=int)
    assert set(components(Tag, own)) == {"Tag", "one__place__Tag"}


def test_a_pydantic_model_that_cannot_be_described_is_an_error():
    class Odd(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        thing: Unknown

    with pytest.raises(ConfigError, match="pydantic cannot describe one of Odd"):
        components(Odd, way="in")
