"""Scalars beyond GraphQL's own five: what they look like in JSON, and what Python gets of them.

DateTime, Date, Time   ISO 8601 text             UUID   its usual text
Decimal                text, so that no digit is lost
JSON                   anything                  Bytes  base64
Upload                 a file of a multipart request; variables only
"""

import base64
import binascii
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from graphql import (
    FloatValueNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLScalarType,
    GraphQLString,
    IntValueNode,
    StringValueNode,
    ValueNode,
    value_from_ast_untyped,
)

from cello.graphql.declared import ID
from cello.http.forms import UploadedFile


def _of_text(name: str, description: str, kind: type, parse: Callable[[str], Any], write: Callable[[Any], Any]) -> Any:
    def serialize(value: Any) -> Any:
        if not isinstance(value, kind):
            raise GraphQLError(f"{name} cannot represent {type(value).__name__}")
        return write(value)

    def parse_value(value: Any) -> Any:
        if isinstance(value, kind) and not isinstance(value, str):
            return value
        if not isinstance(value, str):
            raise GraphQLError(f"{name} is text, not {type(value).__name__}")
        try:
            return parse(value)
        except (ValueError, InvalidOperation, binascii.Error):
            raise GraphQLError(f"{value!r:.80} is no {name}") from None

    def parse_literal(node: ValueNode, _: Any = None) -> Any:
        if isinstance(node, StringValueNode | IntValueNode | FloatValueNode):
            return parse_value(node.value)
        raise GraphQLError(f"{name} is written as text")

    return GraphQLScalarType(
        name, serialize=serialize, parse_value=parse_value, parse_literal=parse_literal, description=description
    )


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


def _no_upload(_: Any) -> Any:
    raise GraphQLError("an Upload is only taken, never given")


def _upload(value: Any) -> UploadedFile:
    if not isinstance(value, UploadedFile):
        raise GraphQLError("an Upload is a file of a multipart request")
    return value


def _no_literal(node: ValueNode, _: Any = None) -> Any:
    raise GraphQLError("an Upload is given as a variable")


DATE_TIME = _of_text("DateTime", "A moment, as ISO 8601.", datetime, datetime.fromisoformat, datetime.isoformat)
DATE = _of_text("Date", "A day, as ISO 8601.", date, date.fromisoformat, date.isoformat)
TIME = _of_text("Time", "A time of day, as ISO 8601.", time, time.fromisoformat, time.isoformat)
UUID_TEXT = _of_text("UUID", "A UUID.", UUID, UUID, str)
DECIMAL = _of_text("Decimal", "A decimal number, as text.", Decimal, _decimal, str)
BYTES = _of_text(
    "Bytes",
    "Bytes, as base64.",
    bytes,
    lambda text: base64.b64decode(text, validate=True),
    lambda value: base64.b64encode(value).decode("ascii"),
)
JSON = GraphQLScalarType(
    "JSON",
    parse_value=lambda value: value,
    parse_literal=value_from_ast_untyped,
    description="Any value that JSON knows.",
)
UPLOAD = GraphQLScalarType(
    "Upload",
    serialize=_no_upload,
    parse_value=_upload,
    parse_literal=_no_literal,
    description="A file of a multipart request.",
)

SCALARS: dict[Any, GraphQLScalarType] = {
    str: GraphQLString,
    int: GraphQLInt,
    float: GraphQLFloat,
    bool: GraphQLBoolean,
    ID: GraphQLID,
    datetime: DATE_TIME,
    date: DATE,
    time: TIME,
    UUID: UUID_TEXT,
    Decimal: DECIMAL,
    bytes: BYTES,
    dict: JSON,
    Any: JSON,
    UploadedFile: UPLOAD,
}
