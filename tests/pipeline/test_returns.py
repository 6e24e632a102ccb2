"""A return annotation filters and checks what is answered."""

import dataclasses
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from cello.errors import ConfigError
from cello.http.problem import ProblemDetails
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.inject import compile_handler
from cello.pipeline.returns import make_keeper, read_promise
from cello.pipeline.signature import EMPTY
from tests.pipeline.conftest import document, make_dispatcher, make_route


@dataclasses.dataclass
class User:
    name: str
    age: int = 0


@dataclasses.dataclass
class Stored(User):
    password: str = "secret"


@dataclasses.dataclass
class Team:
    title: str
    members: list[User]
    lead: User | None = None


class Point(msgspec.Struct, rename="camel"):
    x_axis: int
    y_axis: int = 0


class Point3(Point):
    z_axis: int = 0


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float


class Patch(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET


class Row(TypedDict):
    id: int
    note: str


class Model(pydantic.BaseModel):
    sku: str
    price: float = pydantic.Field(alias="unitPrice")


class Secret(Model):
    cost: float = 1.0


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass
class Tree:
    name: str
    children: list["Tree"] = dataclasses.field(default_factory=list)


class Record:
    """An object of some other library."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def ask(client, annotation, value):
    def handler(request):
        return value

    handler.__annotations__["return"] = annotation
    return client.ask(make_dispatcher(make_route("GET", "/", handler)), Request("GET", "/"))


KEPT = {
    "an object of the class": (User, User("Ada", 1), {"name": "Ada", "age": 1}),
    "an object of a subclass": (User, Stored("Ada", 1), {"name": "Ada", "age": 1}),
    "a dict with more members": (User, {"name": "Ada", "age": 1, "password": "p"}, {"name": "Ada", "age": 1}),
    "a dict with fewer members": (User, {"name": "Ada"}, {"name": "Ada"}),
    "an object of another class": (User, Record(name="Ada", age=2, password="p"), {"name": "Ada", "age": 2}),
    "a list of subclasses": (list[User], [Stored("A"), User("B")], [{"name": "A", "age": 0}, {"name": "B", "age": 0}]),
    "a set as a list": (list[int], {1}, [1]),
    "nested objects": (
        Team,
        Team("t", [Stored("A")], Stored("B")),
        {"title": "t", "members": [{"name": "A", "age": 0}], "lead": {"name": "B", "age": 0}},
    ),
    "a Struct": (Point, Point(1, 2), {"xAxis": 1, "yAxis": 2}),
    "a Struct's subclass": (Point, Point3(1, 2, 3), {"xAxis": 1, "yAxis": 2}),
    "a Struct from wire names": (Point, {"xAxis": 1, "z": 2}, {"xAxis": 1}),
    "a Struct from Python names": (Point, {"x_axis": 1}, {"xAxis": 1}),
    "a tagged union": (Circle | Square, Square(1.0), {"type": "square", "side": 1.0}),
    "a tagged Struct from a dict": (Circle, {"radius": 1.0}, {"type": "circle", "radius": 1.0}),
    "a member that is unset": (Patch, Patch(), {}),
    "a member that is set": (Patch, Patch("n"), {"name": "n"}),
    "a member unset in a subclass": (Patch, Record(name=msgspec.UNSET), {}),
    "a TypedDict": (Row, {"id": 1, "note": "n", "secret": 1}, {"id": 1, "note": "n"}),
    "a pydantic model": (Model, Model(sku="s", unitPrice=2), {"sku": "s", "unitPrice": 2.0}),
    "a pydantic subclass": (Model, Secret(sku="s", unitPrice=2), {"sku": "s", "unitPrice": 2.0}),
    "a pydantic model from a dict": (Model, {"sku": "s", "unitPrice": 2, "x": 1}, {"sku": "s", "unitPrice": 2.0}),
    "pydantic models in a list": (list[Model], [Secret(sku="s", unitPrice=2)], [{"sku": "s", "unitPrice": 2.0}]),
    "a dict of models": (dict[str, User], {"a": Stored("A")}, {"a": {"name": "A", "age": 0}}),
    "a recursive model": (
        Tree,
        Tree("a", [Tree("b")]),
        {"name": "a", "children": [{"name": "b", "children": []}]},
    ),
    "the better of two models": (User | Row, {"id": 1, "note": "n"}, {"id": 1, "note": "n"}),
    "an enum": (list[Colour], [Colour.RED, "red"], ["red", "red"]),
    "a literal": (list[Literal[1, "a"]], [1, "a"], [1, "a"]),
    "a named tuple": (list[Pair], [Pair(1, "a")], [[1, "a"]]),
    "fixed arrays": (list[tuple[int, str]], [(1, "a")], [[1, "a"]]),
    "scalars by value": (
        list[datetime | UUID | Decimal | date],
        [datetime(2030, 1, 1, tzinfo=UTC), UUID(int=1), Decimal("1.5"), date(2030, 1, 1)],
        ["2030-01-01T00:00:00Z", "00000000-0000-0000-0000-000000000001", "1.5", "2030-01-01"],
    ),
    "a UUID as text": (list[UUID], [str(UUID(int=1))], [str(UUID(int=1))]),
    "a number as a decimal": (list[Decimal], [1], ["1"]),
    "a whole number as a float": (list[float], [1], [1]),
    "unlooked-at members": (dict[str, Any], {"a": Stored("A")}, {"a": {"name": "A", "age": 0, "password": "secret"}}),
    "a bounded number": (list[Annotated[int, msgspec.Meta(ge=1)]], [1], [1]),
    "a body with a status": (tuple[User, int], (Stored("A"), 201), {"name": "A", "age": 0}),
    "a status beside a plain annotation": (User, (Stored("A"), 202), {"name": "A", "age": 0}),
    "an error beside a plain annotation": (User, ({"reason": "none"}, 404), {"reason": "none"}),
    "a response": (User, Response.json({"any": 1}), {"any": 1}),
}


@pytest.mark.parametrize(("annotation", "value", "shown"), KEPT.values(), ids=KEPT.keys())
def test_an_answer_is_what_its_annotation_shows(client, annotation, value, shown):
    response = ask(client, annotation, value)
    assert response.status < 300 or response.status == 404
    assert document(response) == shown


BROKEN = {
    "a member of the wrong type": (User, User(name=5), "name must be a string, not int"),
    "a missing member": (User, {"age": 1}, "name is missing"),
    "no object at all": (User, "Ada", "must be an object, not str"),
    "nothing where something is promised": (User, None, "must be an object, not None"),
    "an item": (list[User], [User("a"), 5], "1 must be an object, not int"),
    "a nested member": (Team, Team("t", [User("a", age="x")]), "members.0.age must be a whole number, not str"),
    "no array": (list[int], {"a": 1}, "must be an array, not dict"),
    "text instead of an array": (list[str], "abc", "must be an array, not str"),
    "a value of a dict": (dict[str, int], {"a": "b"}, "a must be a whole number, not str"),
    "no dict": (dict[str, int], [1], "must be an object, not list"),
    "true as a number": (list[int], [True], "0 must be a whole number, not bool"),
    "a word as a number": (list[float], ["1"], "0 must be a number, not str"),
    "a datetime as a date": (list[date], [datetime(2030, 1, 1, tzinfo=UTC)], "0 must be a date, not datetime"),
    "bad text of a UUID": (list[UUID], ["no"], "0 must be a UUID, not str"),
    "another number as a UUID": (list[UUID], [1], "0 must be a UUID, not int"),
    "an unknown enum value": (list[Colour], ["blue"], "0 must be one of red, not str"),
    "an unhashable literal": (list[Literal[1]], [[]], "0 must be one of 1, not list"),
    "a bound": (list[Annotated[int, msgspec.Meta(ge=1)]], [0], "0 must be at least 1"),
    "an array of the wrong length": (list[tuple[int, str]], [(1,)], "0 must be an array of 2, not tuple"),
    "a fixed array's item": (list[tuple[int, str]], [(1, 2)], "0.1 must be a string, not int"),
    "no member of a union": (int | date, "x", "must be a whole number, not str or must be a date"),
    "null": (list[None], [1], "0 must be null, not int"),
    "a faulty dict for pydantic": (Model, {"sku": 5}, "sku input should be a valid string; unitPrice field required"),
    "a faulty pydantic model": (Model, Model.model_construct(sku=5, price=1.0), "is not what its model says"),
}


@pytest.mark.parametrize(("annotation", "value", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_breaks_the_promise_is_a_logged_500(client, caplog, annotation, value, words):
    with caplog.at_level(logging.ERROR, "cello.error"):
        response = ask(client, annotation, value)
    assert (response.status, "detail" in document(response)) == (500, False)
    [record] = caplog.records
    assert f"handler returned what its annotation does not allow: {words}" in str(record.exc_info[1])


def test_a_value_is_never_named_in_the_log(client, caplog):
    ask(client, Model, {"sku": {"token": "hunter2"}, "unitPrice": "hunter2"})
    ask(client, User, {"name": b"hunter2"})
    assert "hunter2" not in str([record.exc_info[1] for record in caplog.records])


def test_none_is_204_where_the_annotation_allows_it(client):
    assert ask(client, User | None, None).status == 204
    assert document(ask(client, User | None, Stored("A"))) == {"name": "A", "age": 0}


def test_text_and_bytes_beside_data_stay_what_they_are(client):
    assert ask(client, User | str, "plain").payload == b"plain"
    assert ask(client, User | bytes, b"raw").payload == b"raw"


def test_problem_documents_pass(client):
    assert ask(client, User, ProblemDetails("about:blank", "No", 409)).status == 409


def test_what_a_plain_function_hands_out_to_be_awaited_is_held_too(client):
    async def later():
        return Stored("A")

    assert document(ask(client, Awaitable[User], later())) == {"name": "A", "age": 0}


def test_coroutines_and_handlers_with_dependencies_are_held(client):
    from cello.pipeline.params import Depends

    async def stored() -> Stored:
        return Stored("A")

    async def handler(user: Annotated[Stored, Depends(stored)]) -> User:
        return user

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    assert document(client.ask(dispatcher, Request("GET", "/"))) == {"name": "A", "age": 0}


def test_an_array_like_struct_is_sent_whole(client):
    class Pixel(msgspec.Struct, array_like=True):
        x: int
        y: int

    assert document(ask(client, Pixel, Pixel(1, 2))) == [1, 2]
    assert ask(client, Pixel, {"x": 1}).status == 500


def test_computed_fields_are_shown():
    @dataclasses.dataclass
    class Sum:
        a: int
        total: int = dataclasses.field(init=False)

        def __post_init__(self):
            self.total = self.a + 1

    keep = make_keeper(Sum, "a test")
    assert keep(Sum(1)) == Sum(1)
    assert keep(Record(a=1, total=2, b=3)) == {"a": 1, "total": 2}


def test_what_needs_no_change_is_the_same_object():
    team = Team("t", [User("a"), User("b")], None)
    assert make_keeper(Team, "a test")(team) is team
    users = [User("a")]
    assert make_keeper(list[User], "a test")(users) is users


NOTHING_TO_HOLD = [None, Any, str, bytes, dict, list, dict[str, Any], list[Any], Response, Response | None, Record]
NOTHING_TO_HOLD += [Iterator[str], AsyncIterator[User], str | None, tuple[str, int]]


@pytest.mark.parametrize("annotation", NOTHING_TO_HOLD, ids=str)
def test_an_annotation_that_says_nothing_about_json_costs_nothing(annotation):
    def handler(request):
        return None

    handler.__annotations__["return"] = annotation
    assert compile_handler(handler, (), {}, {}, "route").call is handler


def test_an_annotation_that_cannot_be_resolved_is_an_error():
    def handler(request) -> "Missing": ...  # noqa: F821  # the point

    with pytest.raises(ConfigError, match=r"handler: the return annotation 'Missing' cannot be resolved"):
        compile_handler(handler, (), {}, {}, "route")


@pytest.mark.parametrize("text", ["Response", "Iterator[str]", "dict[str, Any] | None", "Literal['a']"])
def test_names_that_only_the_type_checker_imports_are_known(text):
    handler = eval("lambda request: None", {})
    handler.__annotations__["return"] = text
    compile_handler(handler, (), {}, {}, "route")


def test_a_promise_names_statuses_and_kinds():
    promise = read_promise(tuple[User, Literal[200, 201]] | str | None)
    assert promise.data is User
    assert promise.statuses == (200, 201)
    assert (promise.has_text, promise.is_empty, promise.is_open) == (True, True, False)
    assert read_promise(EMPTY).is_open
    assert read_promise(Iterator[str]).has_stream
    assert read_promise(bytes).has_bytes
