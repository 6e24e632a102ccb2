"""Untyped messages: `google.protobuf.Struct` and its parts ↔ dicts, lists and scalars.

Numbers of a Struct are doubles. Whole ones come back as `int`; an `int` that a double cannot hold is refused rather
than changed.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from cello.http import json_codec

_EXACT = 2**53


def from_struct(message: Any) -> dict[str, Any]:
    """Return what a Struct holds."""
    return {name: from_value(value) for name, value in message.fields.items()}


def from_list(message: Any) -> list[Any]:
    """Return what a ListValue holds."""
    return [from_value(value) for value in message.values]


def from_value(value: Any) -> Any:
    """Return what a Value holds."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return from_list(value.list_value)
    return None


def fill_struct(message: Any, data: Any) -> None:
    """Put a mapping, or anything that is an object in JSON, into a Struct.

    Raises:
        TypeError: It is no object, or something in it has no JSON form.
        ValueError: A whole number is too large for a double.
    """
    if not isinstance(data, Mapping):
        plain = _plain(data)
        if not isinstance(plain, dict):
            raise TypeError(f"an untyped gRPC method answers a dict, not {type(data).__name__}")
        data = plain
    fields = message.fields
    for name, value in data.items():
        fill_value(fields[name], value)


def to_struct(data: Any) -> Any:
    """Return a Struct of a mapping; see `fill_struct`."""
    message = Struct()
    fill_struct(message, data)
    return message


def fill_value(into: Any, data: Any) -> None:
    """Set a Value to whatever has a JSON form.

    Raises:
        TypeError: It has none.
        ValueError: A whole number is too large for a double.
    """
    kind = data.__class__
    if kind is str:
        into.string_value = data
    elif kind is bool:
        into.bool_value = data
    elif kind is int:
        if not -_EXACT <= data <= _EXACT:
            raise ValueError(
                f"{data} is too large for an untyped gRPC message, whose numbers are doubles: annotate the method"
            )
        into.number_value = data
    elif kind is float:
        into.number_value = data
    elif data is None:
        into.null_value = 0
    elif isinstance(data, Mapping):
        fields = into.struct_value.fields
        into.struct_value.SetInParent()
        for name, value in data.items():
            fill_value(fields[name if isinstance(name, str) else str(name)], value)
    elif isinstance(data, list | tuple | set | frozenset):
        into.list_value.SetInParent()
        values = into.list_value.values
        for item in data:
            fill_value(values.add(), item)
    else:
        fill_value(into, _plain(data))


def _plain(data: Any) -> Any:
    """Return the JSON form of a model, a date and the like."""
    return json_codec.decode(json_codec.encode(data))
