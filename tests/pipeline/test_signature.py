"""Which parameter takes what, and what cannot be bound."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline.inject import check_signature
from cello.pipeline.params import REQUIRED, Body, Cookie, Depends, Form, Header, Path, Query
from cello.pipeline.signature import read_signature
from cello.routing.pattern import parse

if TYPE_CHECKING:
    from somewhere import Request as TypingRequest


@dataclasses.dataclass
class Item:
    name: str


class MyRequest(Request):
    pass


def sources(handler: Callable[..., Any], path: str = "/{id}") -> dict[str, str]:
    signature = read_signature(handler, parse(path).param_names)
    return {argument.name: argument.source for argument in signature.arguments}


def plain(request): ...
def nothing(): ...
def renamed(req): ...
def annotated(r: Request): ...
def subclassed(r: MyRequest): ...
def as_text(r: "Request"): ...
def for_the_type_checker(r: "TypingRequest"): ...
def path_only(id: int): ...
def request_second(id: int, req): ...
def request_last(item: Item, *, request): ...
def any_request(r: Any): ...
def optional_body(item: Item | None = None): ...
def markers(a=Query(), b=Header(), c=Cookie(), d=Body(), e=Form(), f=Depends("db")): ...
def in_annotations(
    a: Annotated[int, Query(ge=1)], b: Annotated[int, Depends("db")], id: Annotated[int, Path(ge=1)]
): ...
def catch_all(*args, **kwargs): ...
def positional_only(request, /, id): ...
async def coroutine(request): ...


class Called:
    def __call__(self, request, id: int): ...


class Making:
    def __init__(self, request): ...


def with_partial(request, db, id: int): ...


BOUND = {
    "request by name": (plain, {"request": "request"}),
    "nothing": (nothing, {}),
    "first unclaimed": (renamed, {"req": "request"}),
    "annotated": (annotated, {"r": "request"}),
    "a subclass": (subclassed, {"r": "request"}),
    "annotated as text": (as_text, {"r": "request"}),
    "imported for the type checker": (for_the_type_checker, {"r": "request"}),
    "a path parameter": (path_only, {"id": "path"}),
    "the request after a path parameter": (request_second, {"id": "path", "req": "request"}),
    "a body and a keyword-only request": (request_last, {"item": "body", "request": "request"}),
    "Any": (any_request, {"r": "request"}),
    "an optional model": (optional_body, {"item": "body"}),
    "markers as defaults": (
        markers, {"a": "query", "b": "header", "c": "cookie", "d": "body", "e": "form", "f": "depends"},
    ),
    "markers in annotations": (in_annotations, {"a": "query", "b": "depends", "id": "path"}),
    "whatever comes": (catch_all, {"request": "request"}),
    "positional only": (positional_only, {"request": "request", "id": "path"}),
    "async": (coroutine, {"request": "request"}),
    "an object": (Called(), {"request": "request", "id": "path"}),
    "a class": (Making, {"request": "request"}),
    "a method": (Called().__call__, {"request": "request", "id": "path"}),
    "a partial": (functools.partial(with_partial, db=1), {"request": "request", "id": "path"}),
    "a built-in": (dict, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", BOUND)
def test_a_parameter_takes_what_its_signature_says(case: str) -> None:
    handler, expected = BOUND[case]
    assert sources(handler) == expected


def second_unclaimed(request, other): ...
def default_unclaimed(request, page: int = 1): ...
def first_with_default(page=1): ...
def first_of_another_type(data: dict): ...
def keyword_unclaimed(request, *, db): ...
def unknown_path(id: Annotated[int, Path()], other: Annotated[int, Path()]): ...
def two_markers(a: Annotated[int, Query()] = Header()): ...
def two_defaults(a: Annotated[int, Query(1)] = 2): ...
def no_target(request, db=Depends()): ...
def odd_target(request, db=Depends(3)): ...
def bad_query(request, a: dict = Query()): ...
def bad_path(id: dict): ...
def bad_header(request, a: bytes = Header()): ...
def bad_pattern(request, a: str = Query(pattern="(")): ...
def bad_bound(request, a: str = Query(ge=1)): ...
def bad_length(request, a: int = Query(min_length=1)): ...
def bad_body(request, a: complex = Body()): ...


UNBOUND = {
    "a second unclaimed parameter": (second_unclaimed, r"second_unclaimed, parameter 'other': cannot be bound"),
    "a default that nothing fills": (default_unclaimed, r"parameter 'page': cannot be bound.*Query\(\)"),
    "a first parameter with a default": (first_with_default, r"parameter 'page': cannot be bound"),
    "a first parameter of another type": (first_of_another_type, r"parameter 'data': cannot be bound"),
    "a keyword-only parameter": (keyword_unclaimed, r"parameter 'db': cannot be bound.*there are 'id'"),
    "a path parameter that is not there": (unknown_path, r"parameter 'other': the path has no \{other\}"),
    "two markers": (two_markers, r"parameter 'a': has 2 markers"),
    "two defaults": (two_defaults, r"parameter 'a': has two defaults"),
    "Depends of nothing": (no_target, r"parameter 'db': Depends takes a callable or the name"),
    "Depends of a number": (odd_target, r"parameter 'db': Depends takes a callable or the name of a singleton, not 3"),
    "a dict from the query": (bad_query, r"parameter 'a': .*dict.* cannot be read from a query parameter"),
    "a dict from the path": (bad_path, r"parameter 'id': .*dict.* cannot be read from a path parameter"),
    "bytes from a header": (bad_header, r"parameter 'a': .*bytes.* cannot be read from a header parameter"),
    "a broken pattern": (bad_pattern, r"parameter 'a': pattern '\(' is no regular expression"),
    "a bound on text": (bad_bound, r"parameter 'a': ge, gt, le and lt bound numbers and dates, not str"),
    "a length of a number": (bad_length, r"parameter 'a': min_length, max_length and pattern bound text, not int"),
    "a body that cannot be JSON": (bad_body, r"parameter 'a': .*complex.* cannot be read from JSON"),
}


@pytest.mark.parametrize("case", UNBOUND)
def test_what_cannot_be_bound_names_function_and_parameter(case: str) -> None:
    handler, words = UNBOUND[case]
    with pytest.raises(ConfigError, match=words) as error:
        check_signature(handler, parse("/{id}"))
    assert f"{handler.__module__}.{handler.__qualname__}" in str(error.value)


def test_what_cannot_be_called_is_no_handler() -> None:
    with pytest.raises(ConfigError, match="must be callable, not 'text'"):
        check_signature("text", parse("/"))  # type: ignore[arg-type]  # that is the point


def test_a_wrapper_that_cannot_be_called_like_its_function_is_refused() -> None:
    @functools.wraps(nothing)
    def wrapper(request, other):
        return nothing()

    with pytest.raises(ConfigError, match="its decorator's wrapper cannot be called like the function"):
        check_signature(wrapper, parse("/"))


def test_a_wrapped_function_keeps_its_signature_and_takes_all_but_the_first_by_keyword() -> None:
    @functools.wraps(with_partial)
    def wrapper(request, **kwargs):
        return with_partial(request, **kwargs)

    signature = read_signature(functools.partial(wrapper, db=1), {"id"})
    assert [(argument.name, argument.by_keyword) for argument in signature.arguments] == [
        ("request", False), ("id", True),
    ]  # fmt: skip


def test_names_on_the_wire_follow_aliases_and_headers_have_dashes() -> None:
    def handler(user_agent=Header(), other=Query(alias="o"), a_b=Query()): ...

    names = [argument.wire_name for argument in read_signature(handler, ()).arguments]
    assert names == ["user-agent", "o", "a_b"]


def test_defaults_come_from_the_marker_or_the_parameter_and_none_where_it_is_allowed() -> None:
    def handler(
        a=Query(), b=Query(...), c: int = Query(3), d: Annotated[int, Query()] = 4, e: int | None = Query(),
        f: Annotated[int | None, Query()] = 5,
    ): ...  # fmt: skip

    arguments = read_signature(handler, ()).arguments
    assert [argument.parameter.default for argument in arguments] == [REQUIRED, REQUIRED, 3, 4, None, 5]
    assert repr(REQUIRED) == "REQUIRED"


def test_depends_without_a_target_takes_the_annotation() -> None:
    def handler(item: Annotated[Item, Depends()]): ...

    (argument,) = read_signature(handler, ()).arguments
    assert argument.marker is not None
    assert argument.marker.target is Item  # type: ignore[union-attr]  # it is a Dependency


def test_annotations_of_later_names_are_left_for_the_freeze() -> None:
    def handler(request, a: "Later" = Query()): ...  # type: ignore[name-defined]  # noqa: F821  # that is the point

    check_signature(handler, parse("/"))
