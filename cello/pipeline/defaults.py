"""Defaults of dataclasses that msgspec has decoded.

msgspec makes a dataclass without calling it, and leaves a member that was not sent, and whose default is a plain value,
to the class. The object reads right, but the member is missing from its `__dict__`, which is what msgspec (and
others) write: an answer made of it would lack the member. So such members are set here, once, behind the decoder.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cello.pipeline.annotations import bare
from cello.pipeline.models import is_model, is_struct

Complete = Callable[[Any], None]


def completing(annotation: Any) -> Complete | None:
    """Return what sets the defaults in a decoded value; None where `annotation` holds no dataclass that has some."""
    return _complete if _holds_defaults(annotation, set()) else None


def _complete(value: Any) -> None:
    kind: Any = type(value)
    members = _members(kind)
    if members is not None:
        defaults, nested = members
        if defaults:
            known = value.__dict__
            for name, default in defaults:
                known.setdefault(name, default)
        for name in nested:
            _complete(getattr(value, name))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _complete(item)
    elif isinstance(value, dict):
        for item in value.values():
            _complete(item)


@cache
def _members(kind: Any) -> tuple[list[tuple[str, Any]], list[str]] | None:
    """Return the defaults of a dataclass, and the members of a dataclass or Struct that may hold some too."""
    if not (dataclasses.is_dataclass(kind) or is_struct(kind)):
        return None
    nested = [name for name, hint in _hints(kind).items() if _holds_defaults(hint, set())]
    return _plain_defaults(kind), nested


def _plain_defaults(kind: Any) -> list[tuple[str, Any]]:
    if not dataclasses.is_dataclass(kind) or "__dict__" not in dir(kind):
        return []  # with slots msgspec sets them all
    return [
        (field.name, field.default) for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING
    ]


def _holds_defaults(annotation: Any, seen: set[Any]) -> bool:
    kind = bare(annotation)
    origin = typing.get_origin(kind) or kind
    if is_model(origin):
        if origin in seen:
            return False
        seen.add(origin)
        if _plain_defaults(origin) or any(_holds_defaults(hint, seen) for hint in _hints(origin).values()):
            return True
    return any(_holds_defaults(item, seen) for item in typing.get_args(kind) if not isinstance(item, str))


def _hints(kind: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError:  # told elsewhere, as a fault of the route
        return {}
