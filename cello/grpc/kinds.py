"""Scalars, and Google's well-known messages, as fields of a message: how each is written and read.

A `Kind` is what one annotation comes to. Lists, maps and models are put together of these in `package.py`.
"""

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from uuid import UUID

from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from cello.grpc import structs

Convert = Callable[[Any], Any]

F = FieldDescriptorProto
NUMBERS = {
    "int32": F.TYPE_INT32,
    "int64": F.TYPE_INT64,
    "uint32": F.TYPE_UINT32,
    "uint64": F.TYPE_UINT64,
    "sint32": F.TYPE_SINT32,
    "sint64": F.TYPE_SINT64,
    "fixed32": F.TYPE_FIXED32,
    "fixed64": F.TYPE_FIXED64,
    "sfixed32": F.TYPE_SFIXED32,
    "sfixed64": F.TYPE_SFIXED64,
    "float": F.TYPE_FLOAT,
    "double": F.TYPE_DOUBLE,
}
"""What `Field(kind=…)` may say."""


class Kind(NamedTuple):
    """What a value is on the wire.

    Attributes:
        type: Of `FieldDescriptorProto.Type`.
        type_name: Of a message or enum: its full name with a dot before it.
        write: Makes what the field is set to; None: the value itself.
        fill: Of Google's own messages: sets one to a value.
        read: Makes the value of what the field holds; None: that itself. Raises ValueError with the words of a fault.
        shape: "one", "list" or "map".
        key: Of a map: the kind of its keys.
        is_optional: Whether None is a value, for which the field is left out.
    """

    type: int
    type_name: str = ""
    write: Convert | None = None
    read: Convert | None = None
    fill: Callable[[Any, Any], None] | None = None
    shape: str = "one"
    key: "Kind | None" = None
    is_optional: bool = False

    @property
    def is_message(self) -> bool:
        """Whether it has presence by itself."""
        return bool(self.type == F.TYPE_MESSAGE)


def _well_known(cls: Any, fill: Callable[[Any, Any], None], read: Convert) -> Kind:
    return Kind(F.TYPE_MESSAGE, f".{cls.DESCRIPTOR.full_name}", None, read, fill)


def fill_timestamp(message: Any, value: datetime) -> None:
    """Set a Timestamp; a time without a zone is taken to be UTC."""
    message.FromDatetime(value)


def read_datetime(message: Any) -> datetime:
    """Return the moment, in UTC."""
    try:
        moment: datetime = message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a moment of the years 1 to 9999") from None
    return moment


def fill_duration(message: Any, value: timedelta) -> None:
    """Set a Duration."""
    message.FromTimedelta(value)


def read_timedelta(message: Any) -> timedelta:
    """Return the duration."""
    try:
        span: timedelta = message.ToTimedelta()
    except (ValueError, OverflowError):
        raise ValueError("must be a duration of at most 10,000 years") from None
    return span


def _reader(parse: Convert, words: str) -> Convert:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, InvalidOperation):
            raise ValueError(words) from None

    return read


SCALARS: dict[Any, Kind] = {
    int: Kind(F.TYPE_INT64),
    float: Kind(F.TYPE_DOUBLE),
    bool: Kind(F.TYPE_BOOL),
    str: Kind(F.TYPE_STRING),
    bytes: Kind(F.TYPE_BYTES),
    UUID: Kind(F.TYPE_STRING, "", str, _reader(UUID, "must be a UUID")),
    Decimal: Kind(F.TYPE_STRING, "", str, _reader(Decimal, "must be a decimal number")),
    date: Kind(F.TYPE_STRING, "", date.isoformat, _reader(date.fromisoformat, "must be a date such as 2030-12-31")),
    time: Kind(F.TYPE_STRING, "", time.isoformat, _reader(time.fromisoformat, "must be a time such as 23:59:59")),
    datetime: _well_known(Timestamp, fill_timestamp, read_datetime),
    timedelta: _well_known(Duration, fill_duration, read_timedelta),
    dict: _well_known(Struct, structs.fill_struct, structs.from_struct),
    Any: _well_known(Value, structs.fill_value, structs.from_value),
    object: _well_known(Value, structs.fill_value, structs.from_value),
}


def enum_kind(cls: type[enum.Enum], type_name: str, numbers: dict[enum.Enum, int]) -> Kind:
    """Return the kind of an enum whose members have these numbers."""
    members = {number: member for member, number in numbers.items()}
    words = f"must be one of {', '.join(member.name for member in numbers)}"

    def write(value: Any) -> int:
        member = value if isinstance(value, cls) else cls(value)
        return numbers[member]

    def read(number: int) -> enum.Enum:
        try:
            return members[number]
        except KeyError:
            raise ValueError(words) from None

    return Kind(F.TYPE_ENUM, type_name, write, read)
