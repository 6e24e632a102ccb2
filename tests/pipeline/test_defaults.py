"""A dataclass that came as a body is written with every member, those included that nobody sent."""

import dataclasses
from typing import Annotated, Any

import pytest

from cello import App, Body
from cello.pipeline.defaults import completing
from cello.testing import TestClient


@dataclasses.dataclass
class Line:
    item: str
    amount: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Order:
    lines: list[Line]
    gift: Line | None = None
    by_name: dict[str, Line] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(slots=True)
class Slotted:
    item: str
    amount: int = 1


@dataclasses.dataclass
class Node:
    children: "list[Node]"
    value: int = 0


@dataclasses.dataclass
class Bare:
    item: str
    numbers: list[int]


LINE = {"item": "tea", "amount": 1, "tags": []}


@pytest.mark.parametrize(
    ("kind", "sent", "written"),
    [
        (Line, {"item": "tea"}, LINE),
        (Line, {"item": "tea", "amount": 2}, {**LINE, "amount": 2}),
        (Annotated[Line, "noted"], {"item": "tea"}, LINE),
        (list[Line], [{"item": "tea"}], [LINE]),
        (dict[str, Line], {"a": {"item": "tea"}}, {"a": LINE}),
        (Line | None, {"item": "tea"}, LINE),
        (
            Order,
            {"lines": [{"item": "tea"}], "gift": {"item": "tea"}, "by_name": {"a": {"item": "tea"}}},
            {"lines": [LINE], "gift": LINE, "by_name": {"a": LINE}, "note": ""},
        ),
        (Slotted, {"item": "tea"}, {"item": "tea", "amount": 1}),
        (Node, {"children": [{"children": []}]}, {"children": [{"children": [], "value": 0}], "value": 0}),
        (Bare, {"item": "tea", "numbers": [1]}, {"item": "tea", "numbers": [1]}),
    ],
    ids=str,
)
def test_a_body_is_written_whole(kind: Any, sent: Any, written: Any) -> None:
    app = App()

    def echo(body: Any) -> Any:
        return body

    echo.__annotations__["body"] = Annotated[kind, Body()]
    app.post("/")(echo)
    with TestClient(app) as client:
        answer = client.post("/", json=sent)
    assert answer.status == 200
    assert answer.json() == written


def test_what_has_no_such_defaults_is_not_walked() -> None:
    assert completing(Bare) is None
    assert completing(list[int]) is None
    assert completing(Slotted) is None
