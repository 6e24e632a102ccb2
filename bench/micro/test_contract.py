"""What a contract costs: a validated body against `request.json()`, an annotated answer against a bare one."""

from dataclasses import dataclass, field

import msgspec
import pytest

from cello.http import json_codec
from cello.http.request import Request
from cello.pipeline.inject import compile_handler

BODY = b'{"name":"Suites","year":1720,"tags":["cello","solo"]}'
HEADERS = {"Content-Type": "application/json"}


@dataclass
class Book:
    name: str
    year: int
    tags: list[str] = field(default_factory=list)


class BookStruct(msgspec.Struct):
    name: str
    year: int
    tags: list[str] = []


def untyped(request):
    return request.json()


def into_dataclass(request, book: Book):
    return book


def into_struct(request, book: BookStruct):
    return book


@pytest.mark.benchmark(group="a small JSON body")
@pytest.mark.parametrize("handler", [untyped, into_dataclass, into_struct], ids=lambda handler: handler.__name__)
def test_body(benchmark, handler):
    call = compile_handler(handler, (), {}, {}, "a route").call

    def fresh():
        return (Request("POST", "/", headers=HEADERS, body=BODY),), {}

    assert benchmark.pedantic(call, setup=fresh, rounds=20_000, warmup_rounds=1_000) is not None


BOOKS = [Book(f"Suite {number}", 1720, ["cello"]) for number in range(100)]


def bare(request):
    return BOOKS


def annotated(request) -> list[Book]:
    return BOOKS


@pytest.mark.benchmark(group="an answer of 100 objects")
@pytest.mark.parametrize("handler", [bare, annotated], ids=lambda handler: handler.__name__)
def test_answer(benchmark, handler):
    call = compile_handler(handler, (), {}, {}, "a route").call
    request = Request("GET", "/")
    assert benchmark(lambda: json_codec.encode(call(request))).startswith(b"[{")
