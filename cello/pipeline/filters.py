"""From what a handler returned to what its annotation shows: values checked, and reduced to the members that are there.

A filter takes a value and returns one to be written as JSON, or raises `Mismatch` with the path to what does not fit.
Where nothing has to be left out it returns the very same object, so that the JSON codec writes it in one go; else a
dict of wire names. Nothing is coerced, but for what is text in JSON anyway: a UUID may come as its text.

SECURITY: only an object of exactly the annotated class is taken as it is; a subclass, another object or a mapping gives
up the annotated members and no others. Under `Any`, a bare `dict` and unknown classes nothing is looked at.

PERF: most values are what was promised. Whether one is, a model's filter finds out by one function, made for the model,
that compares the types of its members: a fifth of what asking member by member takes (bench/micro/test_contract.py).
"""

import collections.abc
import enum
import typing
from collections.abc import Callable, Mapping
from typing import Any

from cello.pipeline.annotations import bare, is_union, metadata
from cello.pipeline.models import ModelFields, is_model, is_pydantic, is_struct, model_fields, struct_tag
from cello.pipeline.plain_filters import (
    PLAIN,
    Filter,
    Keep,
    Mismatch,
    by_type,
    by_value,
    instance,
    is_unset_type,
    member_of,
    one_of,
)
from cello.pipeline.scalars import checks_of

__all__ = ["Mismatch", "make_filter"]

_MISSING = object()
_ARRAYS: tuple[type, ...] = (list, set, frozenset, collections.abc.Sequence, collections.abc.Collection)
_ARRAYS += (collections.abc.Set, collections.abc.MutableSequence, collections.abc.MutableSet)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_NO_ARRAY = (str, bytes, bytearray, memoryview, collections.abc.Mapping)
_NO_OBJECT = (str, bytes, bytearray, memoryview, bool, int, float, list, set, frozenset, type(None))


def make_filter(annotation: Any, owner: str) -> Keep | None:
    """Return what keeps of a value what `annotation` shows, or None where any value passes.

    Args:
        annotation: A type, as found in a signature.
        owner: What to name in an error.

    Raises:
        ConfigError: An annotation inside a model cannot be resolved.
    """
    made = _Maker(owner).make(annotation)
    return None if made is None else made.keep


class _Maker:
    """Makes the filters of one annotation; knows those being made, for recursive types."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._made: dict[Any, Filter] = {}

    def make(self, annotation: Any) -> Filter | None:
        checks = checks_of(metadata(annotation))
        made = self._make_bare(bare(annotation))
        return _checked(made, checks) if checks else made

    def _make_bare(self, kind: Any) -> Filter | None:
        if kind in PLAIN:
            return PLAIN[kind]
        origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
        if origin is typing.Literal:
            return by_value(one_of({(type(value), value) for value in arguments}))
        if is_union(kind):
            return self._union(arguments)
        if origin in _ARRAYS:
            return self._array(arguments[0]) if arguments else None
        if origin is tuple:
            return self._tuple(arguments)
        if origin in _MAPPINGS:
            value = self.make(arguments[1]) if arguments else None
            return None if value is None else by_value(_mapping(value.keep))
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return by_type(member_of(origin), origin)
        if is_model(origin):
            return self._model(kind, origin)
        return by_type(instance(origin, "must be UNSET"), origin) if is_unset_type(origin) else None

    def _array(self, item: Any) -> Filter | None:
        made = self.make(item)
        return None if made is None else _array(made)

    def _tuple(self, items: tuple[Any, ...]) -> Filter | None:
        if not items:
            return None
        if len(items) == 2 and items[1] is Ellipsis:
            return self._array(items[0])
        return by_value(_fixed([self.make(item) for item in items]))

    def _union(self, members: tuple[Any, ...]) -> Filter | None:
        filters = [(typing.get_origin(bare(member)) or bare(member), self.make(member)) for member in members]
        known = [(kind, made) for kind, made in filters if made is not None]
        return _union(known) if len(known) == len(filters) else None

    def _model(self, kind: Any, origin: type) -> Filter:
        if kind in self._made:
            return self._made[kind]
        # A model may contain itself: until it is made, mentions of it look it up when they are called.
        self._made[kind] = Filter(lambda value: made.keep(value), lambda value: made.is_kept(value))
        if is_pydantic(origin):
            made = by_value(_pydantic(origin))
        elif is_struct(origin) and origin.__struct_config__.array_like:  # type: ignore[attr-defined]  # every Struct's
            made = by_value(instance(origin, f"must be a {origin.__name__}"))
        else:
            fields = model_fields(kind, self._owner, computed=True)
            made = _object(origin, fields, {field.name: self.make(field.annotation) for field in fields.members})
        self._made[kind] = made
        return made


def _checked(made: Filter | None, checks: list[Callable[[Any], str | None]]) -> Filter:
    def check(value: Any) -> Any:
        kept = value if made is None else made.keep(value)
        if value is not None:
            for check in checks:
                words = check(value)
                if words is not None:
                    raise Mismatch(words)
        return kept

    return by_value(check)


def _array(item: Filter) -> Filter:
    def are_kept(value: Any) -> bool:
        return item.sure.issuperset(map(type, value)) if item.sure else all(map(item.is_kept, value))

    def keep(value: Any) -> Any:
        if not isinstance(value, collections.abc.Collection) or isinstance(value, _NO_ARRAY):
            raise Mismatch("must be an array", value)
        if are_kept(value):
            return value
        kept = []
        for position, element in enumerate(value):
            try:
                kept.append(item.keep(element))
            except Mismatch as mismatch:
                mismatch.path.append(position)
                raise
        return kept

    return Filter(keep, lambda value: type(value) is list and are_kept(value))


def _fixed(filters: list[Filter | None]) -> Keep:
    def keep(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(filters):
            raise Mismatch(f"must be an array of {len(filters)}", value)
        kept = []
        for position, (made, item) in enumerate(zip(filters, value, strict=True)):
            try:
                kept.append(item if made is None else made.keep(item))
            except Mismatch as mismatch:
                mismatch.path.append(position)
                raise
        return kept

    return keep


def _mapping(reduce: Keep) -> Keep:
    def keep(value: Any) -> Any:
        if not isinstance(value, collections.abc.Mapping):
            raise Mismatch("must be an object", value)
        kept = {}
        for name, item in value.items():
            try:
                kept[name] = reduce(item)
            except Mismatch as mismatch:
                mismatch.path.append(str(name))
                raise
        return kept

    return keep


def _union(members: list[tuple[Any, Filter]]) -> Filter:
    """Return the filter of several: the value's own class first, then whichever keeps most of it."""
    by_class = {kind: made.keep for kind, made in members if isinstance(kind, type)}
    sure = frozenset[type]().union(*(made.sure for _, made in members))
    others = [made.is_kept for _, made in members if not made.sure]

    def keep(value: Any) -> Any:
        for ancestor in () if isinstance(value, dict) else type(value).__mro__[:-1]:
            reduce = by_class.get(ancestor)
            if reduce is not None:
                return reduce(value)
        fitting = []
        words: dict[str, None] = {}
        for _, made in members:
            try:
                fitting.append(made.keep(value))
            except Mismatch as mismatch:
                words[str(mismatch)] = None
        if not fitting:
            raise Mismatch(" or ".join(words))
        return max(fitting, key=lambda kept: len(kept) if isinstance(kept, dict) else 0)

    if not others:
        return by_type(keep, *sure)
    return Filter(keep, lambda value: type(value) in sure or any(is_kept(value) for is_kept in others))


def _object(kind: type, fields: ModelFields, filters: dict[str, Filter | None]) -> Filter:
    """Return the filter of a dataclass, Struct or TypedDict."""
    made = {name: found for name, found in filters.items() if found is not None}
    is_kept = _comparison(kind, made)
    tag = struct_tag(kind)

    def keep(value: Any) -> Any:
        return value if is_kept(value) else gather(value)

    def gather(value: Any) -> dict[str, Any]:
        """Return the members that the annotation has."""
        kept: dict[str, Any] = {} if tag is None else {tag[0]: tag[1]}
        is_mapping = isinstance(value, collections.abc.Mapping)
        if isinstance(value, _NO_OBJECT) or type(value) is tuple:
            raise Mismatch("must be an object", value)
        for field in fields.members:
            if is_mapping:
                member = value.get(field.wire_name, _MISSING)
                if member is _MISSING:
                    member = value.get(field.name, _MISSING)
            else:
                member = getattr(value, field.name, _MISSING)
            if member is _MISSING and field.required:
                mismatch = Mismatch("is missing")
                mismatch.path.append(field.wire_name)
                raise mismatch
            if member is _MISSING or is_unset_type(type(member)):
                continue
            found = made.get(field.name)
            try:
                kept[field.wire_name] = member if found is None else found.keep(member)
            except Mismatch as mismatch:
                mismatch.path.append(field.wire_name)
                raise
        return kept

    return Filter(keep, is_kept)


def _comparison(kind: type, filters: Mapping[str, Filter]) -> Callable[[Any], bool]:
    """Return what tells whether a value is exactly of class `kind`, with members that are kept as they are.

    Its source for a name and a list of numbers: `type(value) is kind and type(value.name) is a and b(value.numbers)`.
    """
    tests = ["type(value) is kind"]
    names: dict[str, Any] = {"kind": kind}
    for number, (name, made) in enumerate(filters.items()):
        if not made.sure:
            names[f"m{number}"] = made.is_kept
            tests.append(f"m{number}(value.{name})")
        elif len(made.sure) == 1:
            (names[f"m{number}"],) = made.sure
            tests.append(f"type(value.{name}) is m{number}")
        else:
            names[f"m{number}"] = made.sure
            tests.append(f"type(value.{name}) in m{number}")
    source = f"def is_kept(value):\n    try:\n        return {' and '.join(tests)}\n"
    exec(f"{source}    except AttributeError:\n        return False\n", names)
    is_kept: Callable[[Any], bool] = names["is_kept"]
    return is_kept


def _pydantic(kind: Any) -> Keep:
    """Return what keeps a pydantic model: it validates and serialises itself, by alias."""
    validate, serialise = kind.__pydantic_validator__.validate_python, kind.__pydantic_serializer__.to_python

    def keep(value: Any) -> Any:
        try:
            model = value if isinstance(value, kind) else validate(value, from_attributes=True)
            return serialise(model, mode="json", by_alias=True, warnings="error")
        except ValueError as error:  # pydantic's ValidationError and PydanticSerializationError are
            raise Mismatch(_without_values(error)) from None

    return keep


def _without_values(error: ValueError) -> str:
    """Return the words of a pydantic error, without what was wrong where it can be told apart."""
    if not hasattr(error, "errors"):
        return "is not what its model says"
    faults = error.errors(include_input=False, include_context=False, include_url=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))} {fault['msg'].lower()}".strip() for fault in faults)
