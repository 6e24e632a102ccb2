"""The short way for plain values answers what graphql-core's own way answers, whatever the values are."""

import asyncio
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.graphql import ID, Schema, engine

pytest.importorskip("cello.graphql.executor", reason="graphql-core 3.3, which has an executor class, is not installed")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Part:
    name: str
    weight: float | None = None


@dataclass
class Item:
    id: ID
    count: int
    name: str | None = None
    price: Decimal = Decimal(1)
    made: date = date(2026, 1, 1)
    colour: Colour | None = None
    is_new: bool = False
    tags: list[str] = field(default_factory=list)
    parts: list[Part | None] | None = None
    whole: Part | None = None
    anything: dict[str, Any] | None = None


class Strange:
    """What is no Item, and raises where one would look."""

    id = "strange"
    count = 1
    name = "strange"

    @property
    def whole(self) -> Any:
        raise ValueError("not to be looked at")


async def later(value: Any) -> Any:
    return value


FIELDS = """
    id count name price made colour is_new tags parts {name weight} whole {...P, __typename} anything same: name
"""
QUERY = f"""
query Q($skip: Boolean = true) {{
  items {{{FIELDS} left: name @skip(if: $skip)}}
  item {{{FIELDS}}}
}}
fragment P on Part {{weight}}
"""
PLAIN = "{items {id count name whole {name}} item {id count whole {name weight}}}"

PARTS = st.builds(Part, name=st.text(max_size=3), weight=st.none() | st.floats())
SCALARS = [None, "text", "red", 7, 2**31, -(2**31) - 1, 1.5, 3.0, float("nan"), True, b"bytes", Colour.RED]
OTHERS = [
    [],
    (),
    {},
    {"name": "key"},
    {"x": 1},
    ["a", None],
    [Part("q"), None],
    Part("p"),
    object(),
    ValueError("value"),
]
WRONG = st.sampled_from([*SCALARS, *OTHERS])
ITEMS = st.builds(
    Item,
    id=st.text(max_size=3),
    count=st.integers(-5, 5),
    name=st.none() | st.text(max_size=3),
    colour=st.none() | st.sampled_from(Colour),
    tags=st.lists(st.text(max_size=2), max_size=2),
    parts=st.none() | st.lists(st.none() | PARTS, max_size=2),
    whole=st.none() | PARTS,
    anything=st.none() | st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
NAMES = list(Item.__dataclass_fields__)


@st.composite
def odd_items(draw: Any) -> Any:
    """An item of which one member may be anything; or something that is no item."""
    item = draw(ITEMS)
    if draw(st.booleans()):
        setattr(item, draw(st.sampled_from(NAMES)), draw(WRONG))
    return draw(st.sampled_from([item, item, item, vars(item), None, Strange(), ValueError("an item")]))


def both_ways(monkeypatch: Any, items: Any, item: Any, query: str) -> tuple[Any, Any]:
    def give_items(info: Any) -> list[Item | None] | None:
        return items() if callable(items) else items

    def give_item(info: Any) -> Item | None:
        return item() if callable(item) else item

    give_items.__name__, give_item.__name__ = "items", "item"
    graphql = Schema().query(give_items).query(give_item).build(max_complexity=10_000)
    graphql.shows_errors = True
    short = asyncio.run(graphql.execute(query))
    with monkeypatch.context() as patch:
        patch.delitem(engine._EXECUTOR, "executor_class")
        return short, asyncio.run(graphql.execute(query))


@pytest.mark.parametrize("query", [QUERY, PLAIN], ids=["everything", "plain"])
@given(items=st.none() | st.lists(odd_items(), max_size=4), item=odd_items())
def test_odd_values_are_answered_the_same(query, items, item):
    short, long = both_ways(pytest.MonkeyPatch(), items, item, query)
    assert short == long


@pytest.mark.parametrize(
    "items",
    [
        lambda: (Item(str(number), number) for number in range(3)),
        lambda: iter([Item("1", 1), None]),
        lambda: (Item("1", 1), Item("2", later(2))),
        lambda: [later(Item("1", 1)), Item("2", 2)],
        lambda: [Item("1", 1, whole=later(Part("p")))],
        lambda: {"id": "no list"},
        lambda: "text",
    ],
    ids=["a generator", "an iterator", "a coroutine in a field", "a coroutine", "a nested coroutine", "a dict", "text"],
)
@pytest.mark.parametrize("query", [QUERY, PLAIN], ids=["everything", "plain"])
def test_what_can_be_read_once_only_is_answered_the_same(items, query):
    short, long = both_ways(pytest.MonkeyPatch(), items, Item("9", 9), query)
    assert short == long


def test_plain_values_take_the_short_way(monkeypatch):
    from cello.graphql.executor import PlainExecutor

    def refuse(*_: Any) -> Any:
        raise AssertionError("a field was executed on its own")

    async def items(info: Any) -> list[Item]:
        fields = PlainExecutor.execute_field
        monkeypatch.setattr(PlainExecutor, "execute_field", refuse)
        asyncio.get_running_loop().call_soon(monkeypatch.setattr, PlainExecutor, "execute_field", fields)
        return [Item("1", 1, parts=[Part("p", 0.5), None])]

    found = asyncio.run(Schema().query(items).build().execute("{items {id parts {name weight}}}"))
    assert found == {"data": {"items": [{"id": "1", "parts": [{"name": "p", "weight": 0.5}, None]}]}}
