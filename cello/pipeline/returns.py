"""What a handler's return annotation promises its clients, and how the promise is kept.

`-> User` says what the answer is: values are checked against it and reduced to it before they are written as JSON, so
that a member the annotation does not have is never sent. Read once, when the application freezes; without an
annotation, or with one that says no more than "JSON" or "text", nothing is added to a request.

Rule 1. A `Response`, a problem document, and None where the annotation allows it (204) pass as they are.
Rule 2. Of `(body, status)` the body is held to the annotation when the status is a success; an error is another story.
Rule 3. A value that does not fit is the application's fault: it is logged and answered 500.
"""

import inspect
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, NamedTuple

from cello.errors import ConfigError
from cello.http.problem import ProblemDetails
from cello.http.response import Response
from cello.pipeline.annotations import bare, is_union
from cello.pipeline.signature import EMPTY, Unresolved

Keep = Callable[[Any], Any]

_PENDING = (Awaitable, Coroutine)
_STREAMS = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator)
_READY = (Response, ProblemDetails)


class Promise(NamedTuple):
    """What an answer may be, taken from a return annotation.

    Attributes:
        data: The type of what is written as JSON, with `Annotated` around it, or `EMPTY` where there is none.
        has_text: It may be a str, sent as text.
        has_bytes: It may be bytes.
        has_stream: It may be an iterator, streamed.
        is_empty: It may be None: 204.
        is_open: It may be anything else, because nothing is said or a `Response` is.
        statuses: What stands in second place of `(body, status)`, where that is a literal.
    """

    data: Any = EMPTY
    has_text: bool = False
    has_bytes: bool = False
    has_stream: bool = False
    is_empty: bool = False
    is_open: bool = False
    statuses: tuple[int, ...] = ()


def read_promise(annotation: Any) -> Promise:
    """Return what a return annotation says."""
    data: list[Any] = []
    found: dict[str, Any] = {}
    for member in _members(annotation):
        kind = bare(member)
        origin = typing.get_origin(kind) or kind
        if kind is EMPTY or kind is Any or kind is object or isinstance(kind, Unresolved | typing.TypeVar):
            found["is_open"] = True
        elif kind is None or kind is type(None):
            found["is_empty"] = True
        elif _is_pair(kind):
            body, status, *_ = typing.get_args(kind)
            inner = read_promise(body)
            statuses = typing.get_args(status) if typing.get_origin(status) is typing.Literal else ()
            found["statuses"] = (*found.get("statuses", ()), *statuses)
            found.update({name: True for name in _FLAGS if getattr(inner, name)})
            data.extend([] if inner.data is EMPTY else [inner.data])
        elif origin in _STREAMS:
            found["has_stream"] = True
        elif not isinstance(origin, type):
            data.append(member)
        elif issubclass(origin, str) and not hasattr(origin, "__members__"):
            found["has_text"] = True
        elif issubclass(origin, bytes | bytearray | memoryview):
            found["has_bytes"] = True
        elif issubclass(origin, _READY):
            found["is_open"] = True
        else:
            data.append(member)
    if data:
        found["data"] = data[0] if len(data) == 1 else typing.Union[tuple(data)]  # noqa: UP007  # of a list of types
    return Promise(**found)


_FLAGS = ("has_text", "has_bytes", "has_stream", "is_empty", "is_open")


def make_keeper(annotation: Any, owner: str) -> Keep | None:
    """Return what holds the values of a handler to its return annotation; None where there is nothing to hold.

    Args:
        annotation: The handler's return annotation.
        owner: What to name in an error: the handler.

    Raises:
        ConfigError: The annotation, or one inside it, cannot be resolved.
    """
    if isinstance(annotation, Unresolved):
        # SECURITY: an annotation that filters must not silently do nothing.
        raise ConfigError(
            f"{owner}: the return annotation {annotation.text!r} cannot be resolved: {annotation.reason}; answers are "
            f"held to it, so import its names also when not type checking"
        )
    promise = read_promise(annotation)
    if promise.data is EMPTY:
        return None
    from cello.pipeline.filters import Mismatch, make_filter  # only applications that annotate what they return

    reduce = make_filter(promise.data, owner)
    if reduce is None:
        return None
    passing = _passing(promise)

    def keep(value: Any) -> Any:
        if isinstance(value, passing) or (value is None and promise.is_empty):
            return value
        if inspect.isawaitable(value):
            return _later(keep, value)
        if type(value) is tuple and len(value) in (2, 3) and isinstance(value[1], int):
            body, status, *rest = value
            return (keep(body), status, *rest) if 200 <= status < 300 else value
        try:
            return reduce(value)
        except Mismatch as mismatch:
            raise TypeError(f"{owner} returned what its annotation does not allow: {mismatch}") from None

    return keep


async def _later(keep: Keep, pending: Awaitable[Any]) -> Any:
    return keep(await pending)


def _passing(promise: Promise) -> tuple[type, ...]:
    """Return the types that are sent as they are."""
    kinds: list[type] = [*_READY]
    if promise.has_text:
        kinds.append(str)
    if promise.has_bytes:
        kinds += [bytes, bytearray, memoryview]
    if promise.has_stream:
        kinds += [Iterator, AsyncIterator]
    return tuple(kinds)


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation; what an `async def` would be awaited for is what counts."""
    kind = bare(annotation)
    if typing.get_origin(kind) in _PENDING and typing.get_args(kind):
        return _members(typing.get_args(kind)[-1])
    if is_union(kind):
        return [inner for member in typing.get_args(kind) for inner in _members(member)]
    return [annotation]


def _is_pair(kind: Any) -> bool:
    """Return whether an annotation is that of (body, status) or (body, status, headers)."""
    if typing.get_origin(kind) is not tuple or isinstance(kind, types.UnionType):
        return False
    arguments = typing.get_args(kind)
    if len(arguments) not in (2, 3):
        return False
    status = bare(arguments[1])
    values = typing.get_args(status) if typing.get_origin(status) is typing.Literal else ()
    return status is int or (bool(values) and all(type(value) is int for value in values))
