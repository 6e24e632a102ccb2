"""What a handler may return, and what becomes of it."""

import dataclasses
import io
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pydantic
import pytest

from cello.http.problem import ProblemDetails
from cello.http.request import Request
from cello.http.response import Response
from cello.http.stream import StreamPayload
from cello.pipeline.result import ReturnedAwaitable, to_response
from tests.pipeline.conftest import field, text


@dataclasses.dataclass
class Point:
    x: int


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    HI = "hi"


class Level(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    body: str
    status: int


class Markup(str):
    pass


class MyResponse(Response):
    pass


JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
VALUES: list[tuple[Any, int, str | None, str]] = [
    ({"a": [1]}, 200, JSON, '{"a":[1]}'),
    ({}, 200, JSON, "{}"),
    ([1, None], 200, JSON, "[1,null]"),
    (1, 200, JSON, "1"),
    (1.5, 200, JSON, "1.5"),
    (True, 200, JSON, "true"),
    (False, 200, JSON, "false"),
    (0, 200, JSON, "0"),
    ("", 200, TEXT, ""),
    ("hällo", 200, TEXT, "hällo"),
    (Markup("hi"), 200, TEXT, "hi"),
    (b"raw", 200, BINARY, "raw"),
    (bytearray(b"raw"), 200, BINARY, "raw"),
    (memoryview(b"raw"), 200, BINARY, "raw"),
    (None, 204, None, ""),
    (Point(1), 200, JSON, '{"x":1}'),
    (Struct(1), 200, JSON, '{"x":1}'),
    (Model(x=1), 200, JSON, '{"x":1}'),
    ([Point(1), Struct(2)], 200, JSON, '[{"x":1},{"x":2}]'),
    (MappingProxyType({"a": 1}), 200, JSON, '{"a":1}'),
    (Colour.RED, 200, JSON, '"red"'),
    (Word.HI, 200, JSON, '"hi"'),
    (Level.ONE, 200, JSON, "1"),
    (Decimal("1.5"), 200, JSON, '"1.5"'),
    (UUID(int=1), 200, JSON, '"00000000-0000-0000-0000-000000000001"'),
    (datetime(2030, 1, 2, 3, 4, 5), 200, JSON, '"2030-01-02T03:04:05"'),
    (date(2030, 1, 2), 200, JSON, '"2030-01-02"'),
    ({1}, 200, JSON, "[1]"),
    (("body", 201), 201, TEXT, "body"),
    (({"a": 1}, 201), 201, JSON, '{"a":1}'),
    ((None, 404), 404, TEXT, ""),
    (([], 200, {}), 200, JSON, "[]"),
    (("moved", 301, None), 301, TEXT, "moved"),
    (ProblemDetails("about:blank", "Gone", 410), 410, "application/problem+json", ""),
]


@pytest.mark.parametrize(("value", "status", "kind", "body"), VALUES)
def test_a_returned_value_becomes_a_response(value: Any, status: int, kind: str | None, body: str) -> None:
    response = to_response(value)
    response.settle(Request("GET", "/"))
    assert response.status == status
    assert field(response, "Content-Type") == kind
    assert body in text(response)
    assert body == text(response) or status == 410


@pytest.mark.parametrize("response", [Response("hi"), MyResponse("hi")])
def test_a_response_is_taken_as_it_is(response: Response) -> None:
    assert to_response(response) is response


def test_headers_of_a_tuple_are_set_and_repeated_ones_sent_twice() -> None:
    response = to_response(("hi", 200, {"X-One": "1", "Content-Type": "text/html"}))
    response.settle(Request("GET", "/"))
    assert field(response, "X-One") == "1"
    assert field(response, "Content-Type") == "text/html"
    pairs = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-One", "1")]
    response = to_response(("hi", 200, pairs))
    response.settle(Request("GET", "/"))
    assert field(response, "set-cookie") == "a=1, b=2"


def numbers() -> Iterator[bytes]:
    yield b"1"


async def async_numbers() -> AsyncIterator[bytes]:
    yield b"1"


class Asynchronous:
    def __aiter__(self) -> AsyncIterator[bytes]:
        return async_numbers()

    async def __anext__(self) -> bytes:
        return b"1"


@pytest.mark.parametrize(
    ("make", "is_async"),
    [
        (numbers, False),
        (async_numbers, True),
        (lambda: iter([b"1"]), False),
        (lambda: map(bytes, []), False),
        (lambda: io.BytesIO(b"1"), False),
        (Asynchronous, True),
    ],
)
def test_iterators_are_streamed(make: Any, is_async: bool) -> None:
    payload = to_response(make()).payload
    assert isinstance(payload, StreamPayload)
    assert payload.is_async is is_async


@pytest.mark.parametrize(
    "value",
    [(), (1,), (1, 2), ("a", "b"), ("a", True), ("a", 99), ("a", 600), ("a", 200, {}, 1), Pair("a", 200), ("a", 2.0)],
)
def test_any_other_tuple_is_an_error_that_says_what_to_do(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"\(body, status\) or \(body, status, headers\).*return a list for a JSON array"
    ):
        to_response(value)


@pytest.mark.parametrize("value", [object(), Point, print, range(3), {}.keys(), Request("GET", "/")])
def test_what_nothing_can_be_made_of_is_an_error_that_says_what_can(value: Any) -> None:
    with pytest.raises(TypeError, match=f"cannot return {type(value).__qualname__}: return a Response, dict"):
        to_response(value)


def test_an_awaitable_is_handed_back_to_be_awaited() -> None:
    async def later() -> None: ...

    coroutine = later()
    with pytest.raises(ReturnedAwaitable) as found:
        to_response(coroutine)
    assert found.value.awaitable is coroutine
    coroutine.close()


def test_a_tuple_of_what_must_be_awaited_is_an_error() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError, match="must be awaited first"):
        to_response((later(), 201))


def test_header_injection_in_a_tuple_is_refused() -> None:
    with pytest.raises(ValueError, match="X-A"):
        to_response(("hi", 200, {"X-A": "a\r\nX-B: b"}))
