"""From what a handler returned to a Response.

PERF: the exact type decides by one dictionary look-up; subclasses and the rarer kinds are recognised after it missed.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from cello.http.problem import ProblemDetails
from cello.http.response import TEXT_FIELD, Response, ready

TUPLE_RULE = (
    "a tuple returned by a handler is (body, status) or (body, status, headers), with a whole number 100-599 in second "
    "place; return a list for a JSON array"
)


class ReturnedAwaitable(Exception):  # a signal between the runners, not an error
    """A plain function handed out something that must be awaited; carries it."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        super().__init__(awaitable)
        self.awaitable = awaitable


def to_response(value: Any) -> Response:
    """Return the Response that `value`, returned by a handler or hook, stands for.

    Raises:
        ReturnedAwaitable: `value` must be awaited first.
        TypeError: Nothing can be made of it; says what can.
    """
    make = _MAKERS.get(type(value))
    if make is not None:
        return make(value)
    if isinstance(value, Response):
        return value
    if inspect.isawaitable(value):
        raise ReturnedAwaitable(value)
    from cello.http.json_values import JSON_KINDS  # brings decimal and uuid, which few applications need

    if isinstance(value, JSON_KINDS):  # before the families: an Enum may be an int or str too, and is its value
        return Response.json(value)
    for kind, make in _FAMILIES:
        if isinstance(value, kind):
            return make(value)
    if _is_model(type(value)):
        return Response.json(value)
    raise TypeError(
        f"a handler cannot return {type(value).__qualname__}: return a Response, dict, list, str, bytes, number, bool, "
        f"None, dataclass, Struct, pydantic model, iterator, or (body, status[, headers])"
    )


def _is_model(kind: type) -> bool:
    """Return whether instances are dataclasses, msgspec Structs or pydantic models, without importing any of those."""
    marks = ("__dataclass_fields__", "__struct_fields__", "__pydantic_serializer__")
    return any(hasattr(kind, mark) for mark in marks)


def _text(value: str) -> Response:
    return ready(value.encode(), TEXT_FIELD)


def _subtext(value: str) -> Response:
    """Return what a kind of `str` stands for: HTML where it says so, as templates' output does by `__html__`."""
    return Response.html(value) if hasattr(value, "__html__") else _text(value)


def _binary(value: bytes | bytearray | memoryview) -> Response:
    return Response.binary(bytes(value))


def _none(value: None) -> Response:
    return Response.no_content()


def _same(value: Response) -> Response:
    return value


def _problem(value: ProblemDetails) -> Response:
    return value.to_response()


def _stream(value: Iterator[Any] | AsyncIterator[Any]) -> Response:
    return Response.stream(value)


def _parts(value: tuple[Any, ...]) -> Response:
    if type(value) is not tuple or not 2 <= len(value) <= 3:
        raise TypeError(TUPLE_RULE)
    body, status = value[0], value[1]
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise TypeError(TUPLE_RULE)
    try:
        response = to_response(body)
    except ReturnedAwaitable as found:
        if inspect.iscoroutine(found.awaitable):
            found.awaitable.close()
        raise TypeError("the body of a returned tuple must be awaited first: return await …, status") from None
    response.status = int(status)
    if len(value) == 3 and value[2] is not None:
        fields = value[2].items() if isinstance(value[2], Mapping) else value[2]
        replaced: set[str] = set()
        for name, text in fields:  # a name given twice, as Set-Cookie may be, is sent twice
            if name.lower() in replaced:
                response.append_header(name, text)
            else:
                response.set_header(name, text)
                replaced.add(name.lower())
    return response


_MAKERS: dict[type, Callable[[Any], Response]] = {
    Response: _same,
    dict: Response.json,
    list: Response.json,
    str: _text,
    type(None): _none,
    bytes: _binary,
    tuple: _parts,
    int: Response.json,
    float: Response.json,
    bool: Response.json,
    ProblemDetails: _problem,
}
# In this order: a str is no iterator, a tuple no list.
_FAMILIES: tuple[tuple[type | tuple[type, ...], Callable[[Any], Response]], ...] = (
    (str, _subtext),
    ((bytes, bytearray, memoryview), _binary),
    (tuple, _parts),
    ((int, float, list, Mapping), Response.json),
    (ProblemDetails, _problem),
    ((Iterator, AsyncIterator), _stream),
)
