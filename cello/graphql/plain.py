"""Values that need no resolver: attributes that are read, checked and answered.

graphql-core completes each value by a dozen calls, with a path and an `info` for resolvers that might look at them. The
attribute of a dataclass has no resolver that would. So a selection of such fields is turned into one function
(`Completing.of`), which costs a read and a check per value.

Rule: where a value is not plain (null where that is not allowed, an exception, an awaitable, another type than
declared, an attribute that raises) that function raises, and graphql-core completes the same value from its start:
errors, nulls and paths are always its own. So attributes may be read twice.
"""

from collections.abc import Awaitable, Callable
from math import isfinite
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLString,
)

Complete = Callable[[Any], Any]
"""Returns what a value is answered as; raises where it is not plain."""

_LARGEST_INT = 2**31 - 1


class NotPlain(Exception):
    """A value for graphql-core to look at."""


class Reader:
    """The resolver of a field that is an attribute, or a key, of its object."""

    __slots__ = ("attribute",)

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __call__(self, source: Any, _: Any = None) -> Any:
        """Return the attribute's value."""
        return source.get(self.attribute) if isinstance(source, dict) else getattr(source, self.attribute)


class Completing:
    """Makes functions that complete plain values, for one operation.

    Args:
        schema: graphql-core's.
        collect: Returns the fields selected of an object type, by the name they are answered under, or None: they
            are not to be answered here.
    """

    def __init__(self, schema: Any, collect: Callable[[GraphQLObjectType, Any], Any]) -> None:
        self._schema = schema
        self._collect = collect

    def of(self, kind: Any, details: Any) -> Complete | None:
        """Return what completes values of a type, selected by `details`, or None: some are not plain."""
        if isinstance(kind, GraphQLNonNull):
            inner = self._nullable(kind.of_type, details)
            return None if inner is None else _required(inner)
        inner = self._nullable(kind, details)
        return None if inner is None else _optional(inner)

    def _nullable(self, kind: Any, details: Any) -> Complete | None:
        if isinstance(kind, GraphQLScalarType | GraphQLEnumType):
            return _LEAVES.get(kind.name) if kind in _OWN_LEAVES else _coerced(kind)
        if isinstance(kind, GraphQLList):
            return self._list(kind, details)
        if isinstance(kind, GraphQLObjectType) and kind.is_type_of is None:
            return self._object(kind, details)
        return None

    def _list(self, kind: Any, details: Any) -> Complete | None:
        item = self.of(kind.of_type, details)
        return None if item is None or _is_streamed(details) else _listed(item)

    def _object(self, kind: GraphQLObjectType, details: Any) -> Complete | None:
        selected = self._collect(kind, details)
        if selected is None:
            return None
        rows = []
        for name, field_details in selected.items():
            chosen = field_details[0].node.name.value
            if chosen == "__typename":
                rows.append((name, "__class__", lambda _: kind.name))  # of an attribute that everything has
                continue
            field = self._schema.get_field(kind, chosen)
            if field is None or type(field.resolve) is not Reader:
                return None
            complete = self.of(field.type, field_details)
            if complete is None:
                return None
            rows.append((name, field.resolve.attribute, complete))
        return _objects(rows)


def _required(inner: Complete) -> Complete:
    def complete(value: Any) -> Any:
        if value is None:
            raise NotPlain
        return inner(value)

    # PERF: no leaf takes None, so they need no look at it beforehand.
    return inner if inner in _LEAVES.values() else complete


def _optional(inner: Complete) -> Complete:
    return lambda value: None if value is None else inner(value)


def _listed(item: Complete) -> Complete:
    def complete(values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):  # what can be read once only cannot be completed a second time
            raise NotPlain
        return [item(value) for value in values]

    return complete


def _objects(rows: list[tuple[str, str, Complete]]) -> Complete:
    known: set[type] = set()

    def complete(value: Any) -> dict[str, Any]:
        cls = type(value)
        if cls is dict:
            return {name: each(value.get(attribute)) for name, attribute, each in rows}
        if cls not in known:
            if issubclass(cls, dict | BaseException | Awaitable):
                raise NotPlain
            known.add(cls)
        return {name: each(getattr(value, attribute)) for name, attribute, each in rows}

    return complete


def _coerced(kind: Any) -> Complete:
    write = kind.coerce_output_value

    def complete(value: Any) -> Any:
        if isinstance(value, BaseException | Awaitable):
            raise NotPlain
        written = write(value)
        if written is None:
            raise NotPlain
        return written

    return complete


def _text(value: Any) -> Any:
    if type(value) is str:
        return value
    raise NotPlain


def _truth(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise NotPlain


def _int(value: Any) -> Any:
    if type(value) is int and -_LARGEST_INT - 1 <= value <= _LARGEST_INT:
        return value
    raise NotPlain


def _float(value: Any) -> Any:
    if type(value) is float and isfinite(value):
        return value
    raise NotPlain


_OWN_LEAVES = (GraphQLString, GraphQLID, GraphQLBoolean, GraphQLInt, GraphQLFloat)
_LEAVES: dict[str, Complete] = {"String": _text, "ID": _text, "Boolean": _truth, "Int": _int, "Float": _float}


def _is_streamed(details: Any) -> bool:
    return any(directive.name.value == "stream" for each in details for directive in each.node.directives or ())
