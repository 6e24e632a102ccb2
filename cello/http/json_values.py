"""How values that JSON has no form for are written, the same in every codec.

datetime, date, time: ISO 8601, with "Z" for UTC · timedelta: an ISO 8601 duration · UUID, Decimal, paths: text · bytes:
base64 · Enum: its value · sets, tuples, dict views: arrays · dataclasses, Structs, attrs classes and pydantic models:
objects.
"""

import base64
import os
from collections import deque
from collections.abc import Mapping, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

JSON_KINDS: Final = (Enum, Decimal, UUID, datetime, date, time, set, frozenset)
"""What a handler may return besides dicts, lists and the plain types, to be written as JSON."""


def simplify(value: Any) -> Any:
    """Return an equal value of a type that a codec knows.

    Raises:
        TypeError: There is none.
    """
    # str, int and float only come here as subclasses, and an unbound call ignores what those override.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        raise unsupported(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, datetime | time):
        return format_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json", by_alias=True)  # by the names that it is read by
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | ValuesView | deque | range):
        return list(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise unsupported(value)


def unsupported(value: object) -> TypeError:
    """Return the error for a value, or a key, that cannot be JSON."""
    return TypeError(f"{type(value).__qualname__} cannot be written as JSON: {value!r:.80}")


def format_time(value: datetime | time) -> str:
    """Return a datetime or time as RFC 3339 text; offsets are whole minutes there."""
    text = value.isoformat()
    offset = value.utcoffset()
    if offset is None:
        return text
    if abs(offset) < timedelta(minutes=1):
        return value.replace(tzinfo=None).isoformat() + "Z"
    return text[: max(text.rfind("+"), text.rfind("-")) + len("+00:00")]


def format_duration(value: timedelta) -> str:
    """Return a timedelta as an ISO 8601 duration, e.g. "-P1DT2.5S"."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    days = f"{value.days}D" if value.days or not (value.seconds or value.microseconds) else ""
    seconds = ""
    if value.seconds or value.microseconds:
        fraction = f".{value.microseconds:06}".rstrip("0") if value.microseconds else ""
        seconds = f"T{value.seconds}{fraction}S"
    return f"{sign}P{days}{seconds}"
