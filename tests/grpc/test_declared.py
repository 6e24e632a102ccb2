# ruff: noqa: E501  # a row of a table reads best on one line
"""What may be declared, what it comes to, and what is refused with which words."""

import typing
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest

from cello import App, ConfigError, GrpcConfig
from cello.grpc import Field, GrpcRequest, GrpcResponse, GrpcService, grpc_method
from cello.grpc.catalog import Catalog
from cello.grpc.declared import Service
from cello.grpc.proto import write_proto
from cello.review import Deployment


@dataclass
class Point:
    x: int
    y: int = 0


@dataclass
class Pinned:
    first: int
    second: Annotated[str, Field(7)]
    third: Annotated[int | None, Field(kind="sint32")] = None
    fourth: Literal["a", "b"] = "a"


@dataclass
class Twice:
    first: Annotated[int, Field(2)]
    second: Annotated[int, Field(1)]
    third: int


@dataclass
class Nested:
    points: list[list[int]]


@dataclass
class Strange:
    value: Callable[[], int]


@dataclass
class Half:
    value: int | str


class Level(IntEnum):
    LOW = 1
    HIGH = 9


class HttpMethod(Enum):
    GET = "get"


def declare(function: Any, **options: Any) -> str:
    """Return the .proto of a service with one method."""
    service = Service("T")
    service.method("M", **options)(function)
    [package] = Catalog([service]).packages.values()
    return write_proto(package.file)


def rpc(function: Any, **options: Any) -> str:
    [line] = [line for line in declare(function, **options).split("\n") if " rpc " in line]
    return line.strip().removeprefix("rpc M ").removesuffix(";")


# fmt: off
def untyped(request): ...
def untyped_stream(request): yield {}
def of_request(request: GrpcRequest) -> GrpcResponse: ...
def nothing() -> None: ...
async def model(point: Point) -> Point: ...
async def model_and_call(point: Point, call: GrpcRequest) -> Point: ...
async def call_and_model(call: GrpcRequest, point: Point) -> Point: ...
def context_by_name(point: Point, context) -> Point: ...
def spread(x: int, y: float = 1.0) -> bool: ...
def of_dict(data: dict) -> dict[str, Any]: ...
async def up(points: AsyncIterator[Point]) -> None: ...
async def both(points: AsyncIterator[dict]) -> AsyncIterator[int]: yield 1
def plain_down(x: int) -> Iterator[Point]: ...
def several(x: int) -> list[Point]: ...
def maybe(x: int) -> Point | None: ...
# fmt: on

STRUCT, EMPTY = "google.protobuf.Struct", "google.protobuf.Empty"
RPCS = {
    "untyped": (untyped, f"({STRUCT}) returns ({STRUCT})"),
    "an untyped stream": (untyped_stream, f"({STRUCT}) returns (stream {STRUCT})"),
    "a request": (of_request, f"({STRUCT}) returns ({STRUCT})"),
    "nothing": (nothing, f"({EMPTY}) returns ({EMPTY})"),
    "a model": (model, "(Point) returns (Point)"),
    "a model and the call": (model_and_call, "(Point) returns (Point)"),
    "the call and a model": (call_and_model, "(Point) returns (Point)"),
    "a context by its name": (context_by_name, "(Point) returns (Point)"),
    "parameters": (spread, "(MRequest) returns (MResponse)"),
    "a dict": (of_dict, f"({STRUCT}) returns ({STRUCT})"),
    "a stream of a client": (up, f"(stream Point) returns ({EMPTY})"),
    "streams both ways": (both, f"(stream {STRUCT}) returns (stream MResponse)"),
    "a plain iterator": (plain_down, "(MRequest) returns (stream Point)"),
    "a list": (several, "(MRequest) returns (MResponse)"),
    "a model or None": (maybe, "(MRequest) returns (MResponse)"),
}


@pytest.mark.parametrize(("function", "line"), RPCS.values(), ids=RPCS.keys())
def test_annotations_say_what_a_method_takes_and_gives(function: Any, line: str) -> None:
    assert rpc(function) == line


def test_numbers_follow_the_declaration_and_pins() -> None:
    text = declare(lambda: None) + declare(typing.cast(Any, _taking(Pinned)))
    assert (
        "  int64 first = 1;\n  string second = 7;\n  optional sint32 third = 8;\n  optional string fourth = 9;" in text
    )


def test_enums_have_a_zero() -> None:
    text = declare(_taking(Level, name="level")) + declare(_taking(HttpMethod, name="method"))
    assert "enum Level {\n  LEVEL_UNSPECIFIED = 0;\n  LEVEL_LOW = 1;\n  LEVEL_HIGH = 9;\n}" in text
    assert "enum HttpMethod {\n  HTTP_METHOD_UNSPECIFIED = 0;\n  HTTP_METHOD_GET = 1;\n}" in text


def _taking(kind: Any, name: str = "value") -> Any:
    def method(value): ...

    method.__annotations__ = {"value": kind, "return": None}
    return method


REFUSED = {
    "a type without a form": (_taking(Strange), r"T/M: Strange\.value: gRPC has no form for .*; use int, float"),
    "a list of lists": (_taking(Nested), r"Nested\.points: a list on the wire holds no lists"),
    "a union": (_taking(Half), r"Half\.value: gRPC has no form for int \| str"),
    "one number twice": (_taking(Twice), r"Twice\.third: two fields have the number 2"),
    "a kind of no number": (_taking(Annotated[str, Field(kind="int32")]), r"Field\(kind=…\) is for int and float"),
    "a parameter without a type": (lambda a, b: None, r"T/M: the parameter 'a' needs an annotation"),
    "any number of parameters": (lambda *a: None, r"T/M: a field has a name, \*a has none"),
    "a stream of numbers": (_taking(AsyncIterator[int]), r"a stream is one of models"),
    "a name that is not there": (_taking("Nowhere"), r"T/M: its annotations cannot be resolved: name 'Nowhere'"),
}


@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_form_is_an_error_that_names_it(function: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        declare(function)


def test_a_stream_cannot_be_none() -> None:
    with pytest.raises(ConfigError, match="stream=False, but it gives several"):
        declare(untyped_stream, stream=False)


def test_two_classes_of_one_name_are_told_apart() -> None:
    @dataclass
    class Point:
        z: int

    service = Service("T")
    service.method("A")(_taking(Point))
    service.method("B")(model)
    with pytest.raises(ConfigError, match="two things are called 'Point' in the gRPC services without a package"):
        Catalog([service])


def make_app() -> App:
    app = App()
    app.enable_grpc(GrpcConfig(address="127.0.0.1:0"))
    return app


class Empty(GrpcService):
    """Without methods."""


MISUSED: dict[str, tuple[Callable[[App], Any], str]] = {
    "twice the same service": (
        lambda app: [app.add_grpc_service("A"), app.add_grpc_service("A")], "the gRPC service 'A' was added already"),
    "no name": (lambda app: app.add_grpc_service("a service"), "a gRPC service's name is such as"),
    "no method's name": (lambda app: app.add_grpc_service("A", ["Get User"]), "a gRPC method's name is such as"),
    "a text for methods": (lambda app: app.add_grpc_service("A", "GetUser"), r"methods is a list such as \['GetUser'\]"),
    "a class": (lambda app: app.add_grpc_service("A", Empty), r"pass an object, Empty\(\), not the class itself"),
    "no methods": (lambda app: app.add_grpc_service(Empty()), "Empty has no method under @grpc_method"),
    "no function": (lambda app: app.add_grpc_service("A", {"Get": 5}), "A/Get is a function, not 5"),
    "a servicer of nothing": (lambda app: app.add_grpc_service("A", object()), "there are no descriptors of that name"),
    "a method that is not listed": (
        lambda app: app.add_grpc_service("A", ["GetUser"]).method("GetUsr")(untyped), "did you mean 'GetUser'"),
    "two functions": (
        lambda app: [app.add_grpc_service("A", {"M": untyped}).method("M")(untyped)], "A/M has a function already"),
    "a decorator without its call": (lambda app: app.add_grpc_service("A").method(untyped), "write @service.method"),
    "enabled twice": (lambda app: app.enable_grpc(), r"enable_grpc\(\) was called already"),
}  # fmt: skip


@pytest.mark.parametrize(("misuse", "words"), MISUSED.values(), ids=MISUSED.keys())
def test_misuse_is_refused_at_once(misuse: Callable[[App], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        misuse(make_app())


def test_services_come_after_the_switch() -> None:
    with pytest.raises(ConfigError, match=r"call app.enable_grpc\(\) first"):
        App().add_grpc_service("A")


def test_field_numbers_are_those_of_protobuf() -> None:
    for number in (0, 19_000, 2**29):
        with pytest.raises(ConfigError, match="a field's number is 1-536870911"):
            Field(number)


def test_decorators_return_the_function() -> None:
    service = Service("A")

    def get(request):
        return 1

    assert service.method()(get) is get
    assert grpc_method(stream=True)(get) is get
    assert service.methods["get"].function is get


def test_methods_of_base_classes_are_served_too() -> None:
    class Base(GrpcService):
        @grpc_method
        def Get(self, request):
            return {}

    class Derived(Base, name="a.Derived"):
        @grpc_method(name="Put")
        def put(self, request):
            return {}

    assert Derived().get_name() == "a.Derived"
    assert [each["name"] for each in Derived().get_methods()] == ["Get", "Put"]
    assert repr(Derived()) == "Derived(name='a.Derived', methods=2)"


def test_models_of_models_may_mention_themselves() -> None:
    text = declare(_taking(Tree))
    assert "message Tree {\n  repeated Tree branches = 1;\n}" in text


@dataclass
class Tree:
    branches: list["Tree"] = field(default_factory=list)


def review(app: App, **deployment: Any) -> dict[str, str]:
    return {found.code: found.level for found in app.grpc.review(Deployment(**deployment))}


def test_a_review_finds_what_would_fail_and_what_nobody_answers() -> None:
    app = make_app()
    app.add_grpc_service("A", {"Get": untyped})
    assert review(app) == {"grpc-reflection": "note"}
    assert review(app, env="development") == {}
    app.add_grpc_service("B", ["Later"])
    app.add_grpc_service("C", {"Get": _taking(Strange)})
    assert review(app) == {"grpc-services": "error", "grpc-unanswered": "warning", "grpc-reflection": "note"}
