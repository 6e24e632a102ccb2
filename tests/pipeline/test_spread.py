"""A model whose members are parameters."""

import dataclasses
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
import pytest

from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline.inject import compile_handler
from cello.pipeline.params import Cookie, Form, Header, Query
from tests.pipeline.conftest import document, make_dispatcher, make_route


@dataclasses.dataclass
class Filters:
    limit: Annotated[int, Query(ge=1, le=100)] = 10
    words: list[str] = dataclasses.field(default_factory=list)
    since: Annotated[str | None, Query(alias="from")] = None

    def __post_init__(self):
        if self.since == "never":
            raise ValueError("must be a day")


class Sorting(msgspec.Struct, rename="camel"):
    sort_by: str
    is_descending: bool = False


class Client(TypedDict, total=False):
    user_agent: str
    x_retries: int


class Paging(pydantic.BaseModel):
    page: int = pydantic.Field(1, ge=1)
    size: int = pydantic.Field(alias="pageSize")

    @pydantic.model_validator(mode="after")
    def check(self):
        if self.page * self.size > 1000:
            raise ValueError("too far")
        return self


def by_dataclass(filters: Annotated[Filters, Query()]) -> Any:
    return dataclasses.asdict(filters)


def by_struct(sorting: Sorting = Query()) -> Any:
    return [sorting.sort_by, sorting.is_descending]


def by_headers(client: Client = Header()) -> Any:
    return dict(client)


def by_cookies(filters: Filters = Cookie()) -> Any:
    return filters.limit


def by_pydantic(paging: Paging = Query()) -> Any:
    return [paging.page, paging.size]


def by_form(sorting: Sorting = Form()) -> Any:
    return [sorting.sort_by, sorting.is_descending]


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ASKED = {
    "all of it": (
        by_dataclass,
        Request("GET", "/?limit=3&words=a&words=b&from=now"),
        {"limit": 3, "words": ["a", "b"], "since": "now"},
    ),
    "nothing": (by_dataclass, Request("GET", "/"), {"limit": 10, "words": [], "since": None}),
    "wire names": (by_struct, Request("GET", "/?sortBy=name&isDescending=yes"), ["name", True]),
    "headers": (
        by_headers,
        Request("GET", "/", headers={"User-Agent": "x", "X-Retries": "2"}),
        {"user_agent": "x", "x_retries": 2},
    ),
    "no headers": (by_headers, Request("GET", "/"), {}),
    "cookies": (by_cookies, Request("GET", "/", headers={"Cookie": "limit=7"}), 7),
    "pydantic": (by_pydantic, Request("GET", "/?page=2&pageSize=5"), [2, 5]),
    "a form": (by_form, Request("POST", "/", headers=FORM, body=b"sortBy=age"), ["age", False]),
}


@pytest.mark.parametrize(("handler", "request_", "expected"), ASKED.values(), ids=ASKED.keys())
def test_members_come_from_the_client_one_by_one(client, handler, request_, expected):
    response = client.ask(make_dispatcher(make_route(request_.method, "/", handler)), request_)
    assert document(response) == expected


FAULTY = {
    "a member that is missing": (by_struct, "/", [("query", "sortBy", "is required")]),
    "several members": (
        by_dataclass,
        "/?limit=0&from=x&limit=500",
        [("query", "limit", "must be at most 100")],
    ),
    "two kinds of fault": (
        by_struct,
        "/?isDescending=perhaps",
        [("query", "sortBy", "is required"), ("query", "isDescending", "must be true or false")],
    ),
    "what the model refuses": (by_dataclass, "/?from=never", [("query", "filters", "must be a day")]),
    "a bound of pydantic's": (
        by_pydantic,
        "/?page=0&pageSize=5",
        [("query", "page", "must be at least 1")],
    ),
    "what pydantic refuses": (by_pydantic, "/?page=500&pageSize=5", [("query", "paging", "value error, too far")]),
}


@pytest.mark.parametrize(("handler", "path", "expected"), FAULTY.values(), ids=FAULTY.keys())
def test_every_fault_is_reported_by_its_name(client, handler, path, expected):
    response = client.ask(make_dispatcher(make_route("GET", "/", handler)), Request("GET", path))
    assert response.status == 422
    found = [(fault["in"], fault["name"], fault["detail"]) for fault in document(response)["errors"]]
    assert found == expected


def test_members_are_arguments_of_their_own_for_schemas():
    binding = compile_handler(by_dataclass, (), {}, {}, "route")
    assert [(argument.source, argument.wire_name) for argument in binding.arguments] == [
        ("query", "limit"),
        ("query", "words"),
        ("query", "from"),
    ]


def test_a_member_that_no_text_can_become_is_refused():
    @dataclasses.dataclass
    class Odd:
        thing: dict[str, int]

    def handler(odd: Odd = Query()): ...

    with pytest.raises(ConfigError, match=r"parameter 'odd': .* cannot be read from a query parameter"):
        compile_handler(handler, (), {}, {}, "route")


def test_a_dataclass_of_pydantics_is_refused():
    @pydantic.dataclasses.dataclass
    class Odd:
        thing: int

    def handler(odd: Odd = Query()): ...

    with pytest.raises(ConfigError, match="not a dataclass of pydantic's"):
        compile_handler(handler, (), {}, {}, "route")
