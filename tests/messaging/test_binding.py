"""What a consumer's handler is given, by its signature."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from cello import Body, ConfigError, Depends, Query
from cello.messaging import InvalidBody, Message
from cello.messaging.binding import Binding


@dataclass
class Order:
    item: str


class Clock:
    def __init__(self, message: Message) -> None:
        self.at = message.timestamp


def call(handler: Any, *bodies: Any, overrides: Any = None, is_batch: bool = False, **singletons: Any) -> Any:
    binding = Binding(
        handler, singletons=singletons, overrides=overrides or {}, on_thread=asyncio.to_thread, is_batch=is_batch
    )
    messages = [Message(str(number), "t", value=body, timestamp=7) for number, body in enumerate(bodies)]
    return asyncio.run(binding.call(messages if is_batch else messages[0]))


HANDLERS = {
    "the message by its name": (lambda message: message.id, b"", "0"),
    "the message by its place": (lambda m: m.id, b"", "0"),
    "a keyword with a default": (lambda m, *, factor=3: factor, b"", 3),
    "nothing": (lambda: "called", b"", "called"),
}


@pytest.mark.parametrize(("handler", "body", "result"), HANDLERS.values(), ids=HANDLERS.keys())
def test_without_annotations(handler: Any, body: bytes, result: Any) -> None:
    assert call(handler, body) == result


BODIES = {
    "a dataclass": (Order, b'{"item":"tea"}', Order("tea")),
    "one that may be None": (Order | None, b"null", None),
    "a dict": (dict, b'{"a":1}', {"a": 1}),
    "a list of numbers": (list[int], b"[1,2]", [1, 2]),
    "a number": (int, b"5", 5),
    "text": (str, "größe".encode(), "größe"),
    "bytes": (bytes, b"\xff", b"\xff"),
}


@pytest.mark.parametrize(("annotation", "body", "value"), BODIES.values(), ids=BODIES.keys())
def test_the_body_by_its_annotation(annotation: Any, body: bytes, value: Any) -> None:
    def handler(given: Any) -> Any:
        return given

    handler.__annotations__["given"] = annotation
    assert call(handler, body) == value


def test_one_member_of_the_body() -> None:
    def handler(amount: int = Body(embed=True), *, item: Annotated[str, Body(embed=True, alias="name")]) -> Any:
        return amount, item

    assert call(handler, b'{"amount":2,"name":"tea"}') == (2, "tea")
    with pytest.raises(InvalidBody, match="#/amount is required"):
        call(handler, b'{"name":"tea"}')


def test_constraints_hold() -> None:
    def handler(amount: Annotated[int, Body(ge=1)]) -> int:
        return amount

    assert call(handler, b"1") == 1
    with pytest.raises(InvalidBody, match="must be at least 1"):
        call(handler, b"0")


def test_dependencies_are_made_once_and_cleaned_up_with_the_handlers_error() -> None:
    trail: list[str] = []

    def plain(message: Message) -> Iterator[str]:
        trail.append("plain")
        try:
            yield message.id
        except ValueError:
            trail.append("plain heard")
            raise

    async def nested(inner: Annotated[str, Depends(plain)]) -> AsyncIterator[str]:
        trail.append("nested")
        try:
            yield f"nested {inner}"
        finally:
            trail.append("nested closed")

    async def handler(
        order: Order, a: str = Depends(nested), b: str = Depends(plain), clock: Clock = Depends(), c: Any = Depends("c")
    ) -> None:
        trail.append(f"{order.item} {a} {b} {clock.at} {c}")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call(handler, b'{"item":"tea"}', c="singleton")
    assert trail == ["plain", "nested", "tea nested 0 0 7 singleton", "nested closed", "plain heard"]


def test_overrides_take_the_place_of_dependencies() -> None:
    def real() -> str:
        return "real"

    def handler(a: str = Depends(real), b: str = Depends("b")) -> str:
        return f"{a} {b}"

    assert call(handler, b"", b="b") == "real b"
    assert call(handler, b"", b="b", overrides={real: lambda: "fake", "b": "other"}) == "fake other"


def test_batches_are_lists_and_say_which_bodies_are_invalid() -> None:
    def handler(orders: list[Order], messages: Sequence[Message]) -> Any:
        return [order.item for order in orders], [message.id for message in messages]

    assert call(handler, b'{"item":"a"}', b'{"item":"b"}', is_batch=True) == (["a", "b"], ["0", "1"])
    with pytest.raises(InvalidBody) as caught:
        call(handler, b'{"item":"a"}', b"{}", b"x", is_batch=True)
    assert caught.value.places == (1, 2)


def circle(a: Any = Depends(lambda: 1)) -> None: ...


def around(a: Any = Depends(circle)) -> None: ...


circle.__defaults__ = (Depends(around),)

REFUSED = {
    "a second parameter without a word": (lambda a, b: None, False, "parameter 'b': nothing says what it is"),
    "a query parameter": (lambda m, page=Query(1): None, False, "a message has no query parameters"),
    "no callable": (lambda m, a=Depends(5): None, False, r"Depends\(\) takes a name or a callable, not 5"),
    "an unknown name": (lambda m, a=Depends("db"): None, False, r"Depends\('db'\), but no singleton has that name"),
    "a circle": (circle, False, "dependencies go in a circle"),
}


@pytest.mark.parametrize(("handler", "is_batch", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_bound_is_refused(handler: Any, is_batch: bool, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call(handler, b"", is_batch=is_batch)


def test_a_batch_that_is_no_list_is_refused() -> None:
    def handler(order: Order) -> None: ...

    with pytest.raises(ConfigError, match="a batch is taken as a list"):
        call(handler, b"{}", is_batch=True)
