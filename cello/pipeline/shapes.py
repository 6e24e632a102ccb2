"""From decoded JSON to annotated types, naming every fault on the way.

A validator takes (value, path, faults) and returns the value as its type, or appends faults; it goes on after a fault,
so that one answer lists them all. This is the reference for what a body may be, and the only way where msgspec is not
installed; where it is, `bodies.py` lets msgspec decode and comes here only to explain a failure. Both agree on what
they accept: nothing is coerced ("1" is no number, 1 is a float but 1.0 no int), unknown members are ignored.

Understood: builtins, None, Any, Optional and unions, Literal, Enum, list, set, frozenset, tuple, dict and their
abstract kinds, datetime, date, time, timedelta, UUID, Decimal, bytes (base64), NewType, Annotated with constraints,
dataclass, TypedDict, NamedTuple, msgspec Struct, pydantic model; generic ones, nested and recursive.
"""

import base64
import collections.abc
import enum
import inspect
import re
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from cello.errors import ConfigError
from cello.http import json_codec
from cello.pipeline.annotations import bare, is_union, metadata
from cello.pipeline.models import ModelFields, is_model, is_pydantic, model_fields, pydantic_faults, struct_tag
from cello.pipeline.scalars import checks_of, converter, to_date, to_timedelta, to_uuid
from cello.pipeline.validation import REQUIRED_DETAIL, Fault, body_fault

Path = tuple[str | int, ...]
Validate = Callable[[Any, Path, list[Fault]], Any]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?")
_RFC3339_TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?")
_SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
}
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def make_validator(annotation: Any, owner: str) -> Validate:
    """Return the validator for `annotation`.

    Args:
        annotation: A type, as found in a signature.
        owner: What to name in an error, "app.create, parameter 'item'".

    Raises:
        ConfigError: Some type in it cannot be read from JSON.
    """
    return _Maker(owner).make(annotation)


def plain_validator(kind: type) -> Validate:
    """Return the validator of a type without parts, such as int, str, UUID or datetime."""
    return _PLAIN[kind]


class _Maker:
    """Makes the validators of one annotation; knows those being made, for recursive types."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._made: dict[Any, Validate] = {}

    def make(self, annotation: Any) -> Validate:
        checks = checks_of(metadata(annotation))
        validate = self._make_bare(bare(annotation))
        return _checked(validate, checks) if checks else validate

    def _make_bare(self, kind: Any) -> Validate:
        if kind in (Any, object, inspect.Parameter.empty):
            return _anything
        if kind is None or kind is type(None):
            return _null
        if kind in _PLAIN:
            return _PLAIN[kind]
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Literal:
            return _choice({(type(value), value): value for value in arguments})
        if is_union(kind):
            return self._union(arguments)
        made = self._container(origin or kind, arguments)
        if made is not None:
            return made
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return _choice({(type(member.value), member.value): member for member in kind})
        if is_model(origin or kind):
            return self._model(kind)
        raise ConfigError(f"{self._owner}: {kind!r:.80} cannot be read from JSON")

    def _container(self, kind: Any, arguments: tuple[Any, ...]) -> Validate | None:
        if kind in _SEQUENCES:
            return _array(self.make(arguments[0]) if arguments else _anything, _SEQUENCES[kind])
        if kind in _MAPPINGS:
            key, value = arguments or (Any, Any)
            return self._mapping(key, value)
        if kind is tuple:
            if not arguments:
                return _array(_anything, tuple)
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return _array(self.make(arguments[0]), tuple)
            return _fixed([self.make(item) for item in arguments], len(arguments), tuple)
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            hints = typing.get_type_hints(kind, include_extras=True)
            items = [self.make(hints.get(name, Any)) for name in kind._fields]
            defaults: dict[str, Any] = kind._field_defaults  # type: ignore[attr-defined]  # every NamedTuple has it
            return _fixed(items, len(items) - len(defaults), lambda values: kind(*values))
        return None

    def _mapping(self, key: Any, value: Any) -> Validate:
        convert, validate = converter(key), self.make(value)
        if convert is None:
            raise ConfigError(f"{self._owner}: {key!r:.80} cannot be the key of a JSON object")

        def mapping(document: Any, path: Path, faults: list[Fault]) -> Any:
            if not isinstance(document, dict):
                return _wrong(faults, path, "must be an object")
            result = {}
            for name, member in document.items():
                try:
                    result[convert(name)] = validate(member, (*path, name), faults)
                except ValueError as error:
                    _wrong(faults, (*path, name), f"has a name that {error}")
            return result

        return mapping

    def _union(self, members: tuple[Any, ...]) -> Validate:
        tagged = {tag[1]: member for member in members if (tag := struct_tag(member)) is not None}
        fields = {tag[0] for member in members if (tag := struct_tag(member)) is not None}
        others = [self.make(member) for member in members if struct_tag(member) is None]
        validators = {tag: self.make(member) for tag, member in tagged.items()}
        tag_field = fields.pop() if len(fields) == 1 else None

        def union(value: Any, path: Path, faults: list[Fault]) -> Any:
            if tag_field is not None and isinstance(value, dict):
                tag = value.get(tag_field)
                validate = validators.get(tag) if isinstance(tag, str | int) else None
                if validate is None:
                    words = f"must be one of {', '.join(map(str, validators))}"
                    return _wrong(faults, (*path, tag_field), words if tag_field in value else REQUIRED_DETAIL)
                return validate(value, path, faults)
            attempts = [[body_fault(path, "must be an object")]] if tag_field is not None else []
            for validate in others:
                found: list[Fault] = []
                result = validate(value, path, found)
                if not found:
                    return result
                attempts.append(found)
            return _explain(attempts, path, faults)

        return union

    def _model(self, model: Any) -> Validate:
        if model in self._made:
            return self._made[model]
        # A model may contain itself: until it is made, mentions of it look it up when they are called.
        self._made[model] = lambda value, path, faults: validate(value, path, faults)
        if is_pydantic(model):
            validate: Validate = _pydantic(model)
        else:
            fields = model_fields(model, self._owner)
            validate = _members(fields, {field.name: self.make(field.annotation) for field in fields.members})
        self._made[model] = validate
        return validate


def _wrong(faults: list[Fault], path: Path, detail: str) -> Any:
    faults.append(body_fault(path, detail))


def _anything(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value


def _null(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value if value is None else _wrong(faults, path, "must be null")


def _bool(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value if isinstance(value, bool) else _wrong(faults, path, "must be true or false")


def _int(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value if type(value) is int else _wrong(faults, path, "must be a whole number")


def _float(value: Any, path: Path, faults: list[Fault]) -> Any:
    return float(value) if type(value) in (int, float) else _wrong(faults, path, "must be a number")


def _str(value: Any, path: Path, faults: list[Fault]) -> Any:
    return value if isinstance(value, str) else _wrong(faults, path, "must be a string")


def _decimal(value: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            pass  # said below, with everything else that is no number
    return _wrong(faults, path, "must be a decimal number")


def _from_text(convert: Callable[[str], Any], words: str) -> Validate:
    def validate(value: Any, path: Path, faults: list[Fault]) -> Any:
        if isinstance(value, str):
            try:
                return convert(value)
            except ValueError:
                pass  # said below, with everything else that is no such string
        return _wrong(faults, path, words)

    return validate


def _datetime(text: str) -> datetime:
    if _RFC3339.fullmatch(text) is None:
        raise ValueError(text)
    return datetime.fromisoformat(text.upper())


def _time(text: str) -> time:
    if _RFC3339_TIME.fullmatch(text) is None:
        raise ValueError(text)
    return time.fromisoformat(text.upper())


_PLAIN: dict[Any, Validate] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Decimal: _decimal,
    bytes: _from_text(lambda text: base64.b64decode(text, validate=True), "must be a base64 string"),
    UUID: _from_text(to_uuid, "must be a UUID"),
    datetime: _from_text(_datetime, "must be a date and time such as 2030-12-31T23:59:59Z"),
    date: _from_text(to_date, "must be a date such as 2030-12-31"),
    time: _from_text(_time, "must be a time such as 23:59:59"),
    timedelta: _from_text(to_timedelta, "must be a duration such as PT90S"),
}


def _choice(values: dict[tuple[type, Any], Any]) -> Validate:
    words = f"must be one of {', '.join(str(value) for _, value in values)}"

    def choose(value: Any, path: Path, faults: list[Fault]) -> Any:
        key = (type(value), value)
        if not isinstance(value, collections.abc.Hashable) or key not in values:
            return _wrong(faults, path, words)
        return values[key]

    return choose


def _checked(validate: Validate, checks: list[Callable[[Any], str | None]]) -> Validate:
    def checked(value: Any, path: Path, faults: list[Fault]) -> Any:
        before = len(faults)
        result = validate(value, path, faults)
        if len(faults) == before and result is not None:
            for check in checks:
                detail = check(result)
                if detail is not None:
                    _wrong(faults, path, detail)
        return result

    return checked


def _array(validate: Validate, build: Callable[[list[Any]], Any]) -> Validate:
    def array(value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, list):
            return _wrong(faults, path, "must be an array")
        before = len(faults)
        items = [validate(item, (*path, number), faults) for number, item in enumerate(value)]
        return build(items) if len(faults) == before else None

    return array


def _fixed(items: list[Validate], required: int, build: Callable[[list[Any]], Any]) -> Validate:
    words = f"must be an array of {len(items)}" if required == len(items) else f"must be an array of {required} or more"

    def fixed(value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, list) or not required <= len(value) <= len(items):
            return _wrong(faults, path, words)
        before = len(faults)
        made = [
            validate(item, (*path, i), faults) for i, (validate, item) in enumerate(zip(items, value, strict=False))
        ]
        return build(made) if len(faults) == before else None

    return fixed


def _explain(attempts: list[list[Fault]], path: Path, faults: list[Fault]) -> Any:
    """Report why no member of a union fits: the one member of the right kind in full, else all in one sentence."""
    here = body_fault(path, "")["pointer"]
    deep = [found for found in attempts if any(fault["pointer"] != here for fault in found)]
    if len(deep) == 1:
        faults.extend(deep[0])
        return
    words = dict.fromkeys(fault["detail"] for found in attempts for fault in found if fault["pointer"] == here)
    alternatives = " or ".join(word.removeprefix("must be ") for word in words) or "one of the allowed shapes"
    _wrong(faults, path, f"must be {alternatives}")


def _members(fields: ModelFields, validators: dict[str, Validate]) -> Validate:
    members = fields.members
    known = frozenset(field.wire_name for field in members) | fields.also_known

    def validate(value: Any, path: Path, faults: list[Fault]) -> Any:
        if not isinstance(value, dict):
            return _wrong(faults, path, "must be an object")
        before = len(faults)
        made: dict[str, Any] = {}
        for field in members:
            if field.wire_name in value:
                made[field.name] = validators[field.name](value[field.wire_name], (*path, field.wire_name), faults)
            elif field.required:
                _wrong(faults, (*path, field.wire_name), REQUIRED_DETAIL)
        if fields.forbids_unknown:
            for name in value:
                if name not in known:
                    _wrong(faults, (*path, name), "is not known here")
        if len(faults) > before:
            return None
        try:
            return fields.build(made)
        except (ValueError, TypeError) as error:  # the model's own checks, in __post_init__
            return _wrong(faults, path, str(error))

    return validate


def _pydantic(model: Any) -> Validate:
    def validate(value: Any, path: Path, faults: list[Fault]) -> Any:
        try:
            return model.__pydantic_validator__.validate_json(json_codec.encode(value))  # strict dates are text there
        except ValueError as error:
            faults.extend(body_fault((*path, *steps), detail) for steps, detail in pydantic_faults(error))
            return None

    return validate
