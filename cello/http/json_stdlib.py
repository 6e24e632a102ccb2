"""JSON by the standard library alone: the codec where msgspec is not installed, with results equal to it.

`json.dumps` cannot be used: it writes NaN, `true` and `null` as keys, and asks nobody about either. So the writing is
our own, over the C function that escapes strings. Reading is `json.loads`, fed with UTF-8 only and told to refuse NaN,
numbers out of range and lone surrogates.
"""

import base64
import json
import math
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from json.encoder import encode_basestring
from typing import Any
from uuid import UUID

from cello.errors import BadRequest
from cello.http.json_values import simplify, unsupported

Write = Callable[[str], None]


def encode(value: Any) -> bytes:
    """Return `value` as compact UTF-8 JSON.

    Raises:
        TypeError: Something in it has no JSON form.
        ValueError: A string holds a lone surrogate.
        RecursionError: It contains itself, or is nested too deeply.
    """
    pieces: list[str] = []
    _write(value, pieces.append)
    return "".join(pieces).encode()


def decode(data: bytes) -> Any:
    """Return what a JSON text says; of repeated keys the last one counts.

    Raises:
        BadRequest: It is not JSON in UTF-8.
    """
    try:
        text = data.decode()
        if text.startswith("\ufeff"):
            raise ValueError("a byte order mark is not allowed")
        value = _DECODER.decode(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # fails on a surrogate without its partner
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    return value


def _write(value: Any, write: Write) -> None:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        writer(value, write)
    elif isinstance(value, Enum):
        _write(value.value, write)
    elif isinstance(value, dict):
        _write_dict(value, write)
    elif isinstance(value, (list, tuple, set, frozenset)):
        _write_list(value, write)
    elif isinstance(value, UUID):
        write(f'"{value}"')
    elif is_dataclass(value) and not isinstance(value, type):
        _write_object(value, type(value).__dataclass_fields__, write)
    elif hasattr(type(value), "__attrs_attrs__") and not isinstance(value, type):
        _write_object(value, [each.name for each in type(value).__attrs_attrs__], write)
    else:
        _write(simplify(value), write)


def _write_str(value: str, write: Write) -> None:
    write(encode_basestring(value))


def _write_int(value: int, write: Write) -> None:
    write(repr(value))


def _write_float(value: float, write: Write) -> None:
    write(repr(value) if math.isfinite(value) else "null")


def _write_bool(value: bool, write: Write) -> None:
    write("true" if value else "false")


def _write_none(value: None, write: Write) -> None:
    write("null")


def _write_bytes(value: bytes | bytearray | memoryview, write: Write) -> None:
    write(f'"{base64.b64encode(value).decode("ascii")}"')


def _write_list(values: Any, write: Write) -> None:
    separator = "["
    for value in values:
        write(separator)
        _write(value, write)
        separator = ","
    write("[]" if separator == "[" else "]")


def _write_dict(values: dict[Any, Any], write: Write) -> None:
    separator = "{"
    for key, value in values.items():
        write(separator)
        write(encode_basestring(key if type(key) is str else _key(key)))
        write(":")
        _write(value, write)
        separator = ","
    write("{}" if separator == "{" else "}")


def _write_object(value: Any, names: Any, write: Write) -> None:
    _write_dict({name: getattr(value, name) for name in names if hasattr(value, name)}, write)


def _key(key: Any) -> str:
    """Return a dict key as text: strings, numbers, and what is written as a string."""
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, UUID):
        return str(key)
    if isinstance(key, float):
        return repr(float.__float__(key))
    if isinstance(key, bool | None | tuple | frozenset):
        raise unsupported(key)
    simple = simplify(key)
    if isinstance(simple, str | int):
        return str(simple)
    raise unsupported(key)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_WRITERS: dict[type, Callable[[Any, Write], None]] = {
    str: _write_str,
    int: _write_int,
    float: _write_float,
    bool: _write_bool,
    type(None): _write_none,
    dict: _write_dict,
    list: _write_list,
    tuple: _write_list,
    bytes: _write_bytes,
    bytearray: _write_bytes,
    memoryview: _write_bytes,
}
