"""Handlers bound and called: values from every place, conversions, and the 422 that names every fault."""

import dataclasses
import functools
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import pytest

from cello.errors import ConfigError
from cello.http.forms import UploadedFile
from cello.http.request import Request
from cello.pipeline.params import Body, Cookie, File, Form, Header, Path, Query
from tests.pipeline.conftest import Client, document, make_dispatcher, make_route, text


@dataclasses.dataclass
class Item:
    name: str
    price: float


class Sort(Enum):
    UP = "up"
    DOWN = "down"


def ask(client: Client, handler: Any, path: str = "/", pattern: str = "/", method: str = "GET", **parts: Any) -> Any:
    return client.ask(make_dispatcher(make_route(method, pattern, handler)), Request(method, path, **parts))


def answered(client: Client, handler: Any, *args: Any, **kwargs: Any) -> Any:
    response = ask(client, handler, *args, **kwargs)
    assert response.status == 200, response.payload
    return document(response)


def faults(client: Client, handler: Any, *args: Any, **kwargs: Any) -> list[tuple[str, str, str]]:
    response = ask(client, handler, *args, **kwargs)
    assert response.status == 422, response.payload
    problem = document(response)
    assert problem["status"] == 422
    return [(fault["in"], fault.get("name") or fault["pointer"], fault["detail"]) for fault in problem["errors"]]


@pytest.mark.parametrize("arity", range(4))
@pytest.mark.parametrize("with_request", [False, True], ids=["alone", "with the request"])
def test_handlers_of_every_arity_get_their_values(client: Client, arity: int, with_request: bool, colour: str) -> None:
    names = ["a", "b", "c"][:arity]
    parameters = ", ".join([*(["request"] if with_request else []), *names])
    results = ", ".join([*(["request.method"] if with_request else []), *names])
    prefix = "async " if colour == "async" else ""
    namespace: dict[str, Any] = {}
    exec(f"{prefix}def handler({parameters}): return [{results}]", namespace)
    pattern = "/" + "/".join(f"{{{name}}}" for name in names)
    path = "/" + "/".join(f"{name}%2F1" for name in names)
    expected = [*(["GET"] if with_request else []), *(f"{name}/1" for name in names)]
    assert answered(client, namespace["handler"], path, pattern) == expected


def test_faults_beside_the_request_come_together(client: Client) -> None:
    def one(request: Request, a: int = Query()) -> None: ...

    def two(request: Request, a: int = Query(), b: int = Query()) -> None: ...

    assert [name for _, name, _ in faults(client, one)] == ["a"]
    assert [name for _, name, _ in faults(client, two)] == ["a", "b"]


def test_a_handler_of_the_request_alone_is_called_without_anything_between() -> None:
    def handler(request: Request) -> str:
        return "direct"

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    assert dispatcher.plan_for(Request("GET", "/")).handler is handler


def test_path_parameters_are_converted_by_annotation(client: Client) -> None:
    def handler(id: int, day: date) -> list[Any]:
        return [id, day]

    assert answered(client, handler, "/7/2030-12-31", "/{id}/{day}") == [7, "2030-12-31"]
    assert faults(client, handler, "/x/y", "/{id}/{day}") == [
        ("path", "id", "must be a whole number"),
        ("path", "day", "must be a date such as 2030-12-31"),
    ]


def test_constraints_of_a_path_parameter_are_checked(client: Client) -> None:
    def handler(id: Annotated[int, Path(ge=1)]) -> int:
        return id

    assert answered(client, handler, "/7", "/{id}") == 7
    assert faults(client, handler, "/0", "/{id}") == [("path", "id", "must be at least 1")]


def test_query_header_and_cookie_parameters(client: Client) -> None:
    def handler(
        page: int = Query(1, ge=1),
        sort: Annotated[Sort, Query()] = Sort.UP,
        tag: list[str] = Query([]),
        user_agent: str = Header(),
        theme: Literal["dark", "light"] | None = Cookie(None),
    ) -> list[Any]:
        return [page, sort, tag, user_agent, theme]

    headers = {"User-Agent": "tests", "Cookie": "theme=dark"}
    assert answered(client, handler, headers=headers) == [1, "up", [], "tests", "dark"]
    path = "/?page=2&sort=down&tag=a&tag=b"
    assert answered(client, handler, path, headers=headers) == [2, "down", ["a", "b"], "tests", "dark"]
    assert faults(client, handler, "/?page=0&sort=x", headers={"Cookie": "theme=pink"}) == [
        ("query", "page", "must be at least 1"),
        ("query", "sort", "must be one of up, down"),
        ("header", "user-agent", "is required"),
        ("cookie", "theme", "must be one of dark, light"),
    ]


def test_lists_of_values_are_converted_and_bounded(client: Client) -> None:
    def handler(
        ids: set[int] | None = Query(None, max_length=2, ge=1),
        etags: tuple[str, ...] = Header((), alias="if-match"),
        wanted: list[str] = Cookie([]),
    ) -> list[Any]:
        return [None if ids is None else sorted(ids), etags, wanted]

    assert answered(client, handler) == [None, [], []]
    pairs = [("If-Match", '"a", "b,c"'), ("If-Match", '"d"'), ("Cookie", "wanted=x")]
    assert answered(client, handler, "/?ids=2&ids=1", headers=pairs) == [[1, 2], ['"a"', '"b,c"', '"d"'], ["x"]]
    assert faults(client, handler, "/?ids=x") == [("query", "ids", "must be a whole number")]
    assert faults(client, handler, "/?ids=0") == [("query", "ids", "must be at least 1")]
    assert faults(client, handler, "/?ids=1&ids=2&ids=3") == [("query", "ids", "must have at most 2 items")]


def test_a_mutable_default_is_fresh_for_every_request(client: Client) -> None:
    def handler(tags: list[str] = Query([])) -> list[str]:
        tags.append("more")
        return tags

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    for _ in range(2):
        assert document(client.ask(dispatcher, Request("GET", "/"))) == ["more"]


def test_a_model_is_the_validated_body(client: Client) -> None:
    def handler(item: Item) -> Item:
        return item

    def post(body: str, **headers: str) -> Any:
        return {"method": "POST", "body": body, "headers": {"Content-Type": "application/json"} | headers}

    assert answered(client, handler, **post('{"name":"tea","price":2}')) == {"name": "tea", "price": 2.0}
    assert faults(client, handler, **post('{"price":"x"}')) == [
        ("body", "#/name", "is required"),
        ("body", "#/price", "must be a number"),
    ]
    assert faults(client, handler, method="POST") == [("body", "#", "is required")]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_a_body_that_says_it_is_no_json_is_refused(client: Client, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = ask(client, lambda item: item.name, method="POST", body="{}")
    assert response.status == 500  # a lambda's only parameter is the request

    def handler(item: Item) -> str:
        return item.name

    response = ask(client, handler, method="POST", body='{"name":"tea","price":2}', headers=headers)
    assert response.status == status


@pytest.mark.parametrize("body", ["{", "{'a':1}", b"\xff", "[" * 200_000])
def test_a_body_that_is_no_json_is_400_even_beside_other_faults(client: Client, body: Any) -> None:
    def handler(item: Item, page: int = Query()) -> None:
        return None

    assert ask(client, handler, method="POST", body=body).status == 400


def test_body_markers_take_any_type(client: Client) -> None:
    def whole(ids: list[int] = Body(min_length=1)) -> int:
        return sum(ids)

    def raw(data: bytes = Body()) -> int:
        return len(data)

    def optional(data: dict[str, int] | None = Body()) -> Any:
        return data

    assert answered(client, whole, method="POST", body="[1,2]") == 3
    assert faults(client, whole, method="POST", body="[]") == [("body", "#", "must have at least 1 item")]
    assert faults(client, whole, method="POST", body='["x"]') == [("body", "#/0", "must be a whole number")]
    assert answered(client, raw, method="POST", body=b"\xff\xfe", headers={"Content-Type": "image/png"}) == 2
    assert faults(client, raw, method="POST") == [("body", "#", "is required")]
    assert ask(client, optional, method="POST").status == 204


def test_several_body_parameters_are_members_of_the_body(client: Client) -> None:
    def handler(item: Item, count: int = Body(ge=1), note: str = Body("none")) -> list[Any]:
        return [item.name, count, note]

    good = '{"item":{"name":"tea","price":2},"count":3}'
    assert answered(client, handler, method="POST", body=good) == ["tea", 3, "none"]
    assert faults(client, handler, method="POST", body='{"item":{"name":1,"price":2},"count":0}') == [
        ("body", "#/item/name", "must be a string"),
        ("body", "#/count", "must be at least 1"),
    ]
    assert faults(client, handler, method="POST", body="[]") == [("body", "#", "must be an object")]
    assert faults(client, handler, method="POST") == [
        ("body", "#/item", "is required"),
        ("body", "#/count", "is required"),
    ]
    assert faults(client, handler, method="POST", body='{"count":1}') == [("body", "#/item", "is required")]


def test_one_body_parameter_can_be_embedded(client: Client) -> None:
    def handler(count: int = Body(embed=True, alias="n")) -> int:
        return count

    assert answered(client, handler, method="POST", body='{"n":3}') == 3


def test_faults_of_parameters_and_body_come_together(client: Client) -> None:
    def handler(id: int, item: Item, page: int = Query()) -> None:
        return None

    found = faults(client, handler, "/x?page=y", "/{id}", method="POST", body="{}")
    assert [(where, name) for where, name, _ in found] == [
        ("path", "id"), ("body", "#/name"), ("body", "#/price"), ("query", "page"),
    ]  # fmt: skip


def test_form_fields_and_files(client: Client) -> None:
    def handler(
        name: str = Form(),
        age: int = Form(18, ge=0),
        tags: list[str] = Form([]),
        photo: UploadedFile | None = File(None),
        papers: list[bytes] = File([]),
    ) -> list[Any]:
        return [name, age, tags, photo and photo.filename, [paper.decode() for paper in papers]]

    urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
    body = "name=ada&age=36&tags=a&tags=b"
    assert answered(client, handler, method="POST", body=body, headers=urlencoded) == ["ada", 36, ["a", "b"], None, []]
    assert faults(client, handler, method="POST", body="age=-1", headers=urlencoded) == [
        ("form", "name", "is required"),
        ("form", "age", "must be at least 0"),
    ]
    assert faults(client, handler, method="POST") == [("form", "name", "is required")]

    parts = [
        ("name", None, "ada"), ("photo", "me.png", "pixels"), ("papers", "1.txt", "one"), ("papers", "2.txt", "two"),
    ]  # fmt: skip
    multipart = "".join(
        f'--xx\r\nContent-Disposition: form-data; name="{name}"'
        + (f'; filename="{filename}"' if filename else "")
        + f"\r\n\r\n{content}\r\n"
        for name, filename, content in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=xx"}
    found = answered(client, handler, method="POST", body=multipart + "--xx--\r\n", headers=headers)
    assert found == ["ada", 18, [], "me.png", ["one", "two"]]


def test_a_required_file_that_is_missing_is_a_fault(client: Client) -> None:
    def handler(photo: UploadedFile = File(), paper: bytes = File()) -> bytes:
        return paper

    assert faults(client, handler, method="POST") == [
        ("file", "photo", "is required"),
        ("file", "paper", "is required"),
    ]


def test_a_file_parameter_of_another_type_is_refused() -> None:
    def handler(photo: int = File()) -> None:
        return None

    with pytest.raises(ConfigError, match="an UploadedFile, bytes, or a list of them"):
        make_dispatcher(make_route("POST", "/", handler))


def test_keyword_only_parameters_and_wrapped_handlers(client: Client) -> None:
    def handler(request: Request, *, id: int, page: int = Query(1)) -> list[int | str]:
        return [id, page]

    @functools.wraps(handler)
    def wrapper(request: Request, *args: Any, **kwargs: Any) -> Any:
        return [*handler(request, *args, **kwargs), "wrapped"]

    assert answered(client, handler, "/7", "/{id}") == [7, 1]
    assert answered(client, wrapper, "/7?page=2", "/{id}") == [7, 2, "wrapped"]
    assert [name for _, name, _ in faults(client, wrapper, "/x?page=y", "/{id}")] == ["id", "page"]


def test_a_body_on_a_streaming_route_is_refused() -> None:
    def handler(item: Item) -> None:
        return None

    with pytest.raises(ConfigError, match=r"parameter 'item': a route with stream=True takes its body with"):
        make_dispatcher(make_route("POST", "/", handler, stream=True))


def test_an_annotation_that_never_came_to_exist_is_refused_at_the_freeze() -> None:
    def handler(a: "Never" = Query()) -> None:  # type: ignore[name-defined]  # noqa: F821  # that is the point
        return None

    with pytest.raises(ConfigError, match=r"parameter 'a': the annotation 'Never' cannot be resolved"):
        make_dispatcher(make_route("GET", "/", handler))


def test_a_value_error_of_the_handler_is_its_own() -> None:
    def handler(id: int) -> str:
        raise ValueError("of the handler")

    dispatcher = make_dispatcher(
        make_route("GET", "/{id}", handler), exception_handlers={ValueError: lambda r, e: str(e)}
    )
    request = Request("GET", "/1")
    assert text(dispatcher.answer(dispatcher.plan_for(request), request)) == "of the handler"
