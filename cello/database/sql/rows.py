"""Rows as objects: `into=` a dataclass, TypedDict, msgspec Struct, pydantic model, or one plain type for one column.

A value that has its field's type already is taken as it is. Others are read as the database had to write them: dates,
Decimals, UUIDs and JSON from text (SQLite has no types of its own for them, MySQL not for all), booleans from 0 and 1,
enums from their values. What cannot be read, and NULL where the field takes no None, is a `DataError` that names the
column. A field without a column keeps its default; a column without a field is left out.
"""

import enum
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cello.database.errors import DataError
from cello.errors import BadRequest, ConfigError
from cello.http import json_codec
from cello.pipeline.annotations import bare, is_optional
from cello.pipeline.models import is_model, is_pydantic, model_fields
from cello.pipeline.shapes import make_validator

Read = Callable[[Any], Any]
Build = Callable[[Mapping[str, Any]], Any]

MOST_KEPT = 500
_FROM_TEXT: dict[Any, Read] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    Decimal: Decimal,
    UUID: UUID,
    int: int,
    float: float,
}
_PLAIN = (str, int, float, bool, bytes, datetime, date, time, timedelta, Decimal, UUID)


class Builders:
    """What makes objects of rows, one for each class that was asked for."""

    def __init__(self) -> None:
        self._made: dict[Any, Build] = {}

    def get(self, into: Any) -> Build:
        """Return what makes an `into` of a row.

        Raises:
            ConfigError: A row cannot be made one.
        """
        build = self._made.get(into)
        if build is None:
            if len(self._made) >= MOST_KEPT:
                self._made.clear()
            build = self._made[into] = make_builder(into)
        return build


def make_builder(into: Any) -> Build:
    """Return what makes an `into` of a row.

    Raises:
        ConfigError: A row cannot be made one.
    """
    kind = typing.get_origin(into) or into
    if not isinstance(kind, type):
        raise ConfigError(f"into= takes a class, not {into!r:.80}")
    if kind is dict and into is dict:
        return dict
    if is_pydantic(kind):
        return _pydantic(kind)
    if is_model(kind):
        return _model(into, kind.__qualname__)
    if kind in _PLAIN or issubclass(kind, enum.Enum) or kind in (dict, list):
        return _first_column(into)
    raise ConfigError(f"into= takes a dataclass, TypedDict, Struct, pydantic model or plain type, not {into!r:.80}")


def _model(into: Any, name: str) -> Build:
    found = model_fields(into, f"into={name}")
    readers = [
        (field.name, field.wire_name, _reader(field.annotation), is_optional(field.annotation), field.required)
        for field in found.members
    ]
    make = found.build

    def build(row: Mapping[str, Any]) -> Any:
        values = {}
        for name_, column, read, takes_none, required in readers:
            if name_ in row:
                value = row[name_]
            elif column in row:
                value = row[column]
            elif required:
                raise DataError(f"{name}.{name_} has no column among {', '.join(row)}")
            else:
                continue
            if value is not None:
                try:
                    value = read(value)
                except (ValueError, TypeError, ArithmeticError) as error:
                    raise DataError(f"{name}.{name_} cannot be {value!r:.80}: {error}") from None
            elif not takes_none:
                raise DataError(f"{name}.{name_} cannot be None, but the column is NULL")
            values[name_] = value
        return make(values)

    return build


def _pydantic(kind: Any) -> Build:
    def build(row: Mapping[str, Any]) -> Any:
        try:
            return kind.model_validate(dict(row))
        except ValueError as error:
            raise DataError(f"a row is no {kind.__qualname__}: {error}") from None

    return build


def _first_column(into: Any) -> Build:
    read = _reader(into)

    def build(row: Mapping[str, Any]) -> Any:
        column, value = next(iter(row.items()))
        try:
            return None if value is None else read(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise DataError(f"column {column!r} cannot be {value!r:.80}: {error}") from None

    return build


def _reader(annotation: Any) -> Read:
    """Return what reads a value of the database that is not NULL."""
    kind = bare(annotation)
    if is_optional(annotation):
        others = [each for each in typing.get_args(kind) if each is not types.NoneType]
        kind = bare(others[0]) if len(others) == 1 else typing.Any
    if kind in (Any, object):
        return _as_it_is
    origin = typing.get_origin(kind) or kind
    if origin is list and typing.get_args(kind) and bare(typing.get_args(kind)[0]) in _PLAIN:
        return _list_reader(_reader(typing.get_args(kind)[0]))
    if origin in (dict, list, set, tuple, frozenset) or is_model(kind):
        return _json_reader(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda value: value if isinstance(value, kind) else kind(value)
    if kind is bool:
        return _to_bool
    if kind is bytes:
        return lambda value: value.encode() if isinstance(value, str) else bytes(value)
    return _plain_reader(kind)


def _as_it_is(value: Any) -> Any:
    return value


def _to_bool(value: Any) -> bool:
    if value in (0, 1, b"\x00", b"\x01"):
        return value in (1, b"\x01")
    raise ValueError("it is neither 0 nor 1")


def _plain_reader(kind: Any) -> Read:
    from_text = _FROM_TEXT.get(kind)

    def read(value: Any) -> Any:
        found = type(value)
        if found is kind or (isinstance(value, kind) and not (kind is int and found is bool)):
            return value if kind is not date or found is not datetime else value.date()
        if found is str and from_text is not None:
            return from_text(value)
        if kind is Decimal and found in (int, float):
            return Decimal(str(value))
        if kind is float and found in (int, Decimal):
            return float(value)
        if kind is int and found in (float, Decimal, bool) and value == int(value):
            return int(value)
        if kind is time and found is timedelta:  # TIME columns of MySQL
            return (datetime.min + value).time()
        if kind is UUID and found is bytes:
            return UUID(bytes=value)
        raise TypeError(f"it is {found.__name__}, not {getattr(kind, '__name__', kind)}")

    return read


def _list_reader(read: Read) -> Read:
    def read_list(value: Any) -> Any:
        items = _decoded(value)
        if not isinstance(items, list):
            raise TypeError("it is no list")
        return [None if item is None else read(item) for item in items]

    return read_list


def _json_reader(kind: Any) -> Read:
    validate = make_validator(kind, f"into={kind!r:.80}")

    def read(value: Any) -> Any:
        faults: list[Any] = []
        made = validate(_decoded(value), (), faults)
        if faults:
            raise ValueError(f"{faults[0]}")
        return made

    return read


def _decoded(value: Any) -> Any:
    if isinstance(value, str | bytes):
        try:
            return json_codec.decode(value.encode() if isinstance(value, str) else value)
        except BadRequest as error:
            raise ValueError(error.detail) from None
    return value
