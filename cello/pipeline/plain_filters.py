"""Filters of values without parts: what may be shown of a number, a text, a date, a choice; see `filters.py`."""

import collections.abc
import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from cello.pipeline.shapes import plain_validator

Keep = Callable[[Any], Any]

_MISSING = object()


class Filter(NamedTuple):
    """What holds values to one annotation.

    Attributes:
        keep: Takes a value, returns what may be shown of it, or raises `Mismatch`.
        is_kept: Tells that a value is kept as it is; may be wrong in that it says no, not in that it says yes.
        sure: Exact types of which every value is kept as it is.
    """

    keep: Keep
    is_kept: Callable[[Any], bool]
    sure: frozenset[type] = frozenset()


class Mismatch(Exception):
    """A value that does not fit; says where. Values are not shown: they may be secrets."""

    def __init__(self, words: str, value: Any = _MISSING) -> None:
        super().__init__(words)
        self.words = words if value is _MISSING else f"{words}, not {_kind_of(value)}"
        self.path: list[str | int] = []

    def __str__(self) -> str:
        where = ".".join(map(str, reversed(self.path)))
        return f"{where} {self.words}" if where else self.words


def _kind_of(value: Any) -> str:
    return "None" if value is None else type(value).__qualname__


def is_unset_type(kind: Any) -> bool:
    """Return whether `kind` is the type of msgspec's UNSET: there, but never written."""
    return getattr(kind, "__name__", "") == "UnsetType"


def instance(kinds: type | tuple[type, ...], words: str) -> Keep:
    """Return what keeps instances of `kinds`."""

    def check(value: Any) -> Any:
        if isinstance(value, kinds):
            return value
        raise Mismatch(words, value)

    return check


def _null(value: Any) -> Any:
    if value is None:
        return value
    raise Mismatch("must be null", value)


def _whole(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Mismatch("must be a whole number", value)


def _number(value: Any) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return value
    raise Mismatch("must be a number", value)


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value
    return _from_text(Decimal)(str(value) if type(value) in (int, float) else value)


def _date(value: Any) -> Any:
    if isinstance(value, datetime):  # is a date, but would be sent with its time
        raise Mismatch("must be a date", value)
    return value if isinstance(value, date) else _from_text(date)(value)


def _from_text(kind: type) -> Keep:
    """Return the filter of a kind whose values are text in JSON: they may come as that text."""
    validate = plain_validator(kind)

    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        faults: list[dict[str, Any]] = []
        if isinstance(value, str):
            validate(value, (), faults)
            if not faults:
                return value
        raise Mismatch(faults[0]["detail"] if faults else f"must be a {kind.__name__}", value)

    return check


def by_type(keep: Keep, *sure: type) -> Filter:
    """Return a filter that keeps every value of certain exact types."""
    kinds = frozenset(sure)
    return Filter(keep, lambda value: type(value) in kinds, kinds)


def by_value(keep: Keep) -> Filter:
    """Return a filter that has to look at every value."""

    def is_kept(value: Any) -> bool:
        try:
            return keep(value) is value
        except Mismatch:
            return False

    return Filter(keep, is_kept)


_NULL = by_type(_null, type(None))
PLAIN: dict[Any, Filter | None] = {
    Any: None,
    object: None,
    None: _NULL,
    type(None): _NULL,
    bool: by_type(instance(bool, "must be true or false"), bool),
    int: by_type(_whole, int),
    float: by_type(_number, float, int),
    str: by_type(instance(str, "must be a string"), str),
    bytes: by_type(instance((bytes, bytearray, memoryview), "must be bytes"), bytes),
    Decimal: by_type(_decimal, Decimal),
    UUID: by_type(_from_text(UUID), UUID),
    datetime: by_type(_from_text(datetime), datetime),
    date: by_type(_date, date),
    time: by_type(_from_text(time), time),
    timedelta: by_type(_from_text(timedelta), timedelta),
}


def one_of(values: set[tuple[type, Any]]) -> Keep:
    """Return what keeps certain values, given with their types: 1 is not True."""
    words = f"must be one of {', '.join(sorted(str(value) for _, value in values))}"

    def check(value: Any) -> Any:
        if isinstance(value, collections.abc.Hashable) and (type(value), value) in values:
            return value
        raise Mismatch(words, value)

    return check


def member_of(kind: type[enum.Enum]) -> Keep:
    """Return what keeps members of an enum, and their values."""
    is_value = one_of({(type(member.value), member.value) for member in kind})
    return lambda value: value if isinstance(value, kind) else is_value(value)
