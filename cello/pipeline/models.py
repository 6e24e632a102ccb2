"""What counts as a model, and its fields: dataclass, TypedDict, msgspec Struct, pydantic model.

msgspec and pydantic are recognised without importing them: a class of theirs exists only where they are installed.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cello.errors import ConfigError


class Field(NamedTuple):
    """One member of a model: its name in Python and on the wire."""

    name: str
    wire_name: str
    annotation: Any
    required: bool


class ModelFields(NamedTuple):
    """The members of a model, and how one is made of them.

    Attributes:
        members: The members that may come from a client.
        build: Makes the model of a dict of its members by Python name.
        forbids_unknown: Whether members it does not have are faults.
        also_known: Wire names that are no members but no faults either: a tag.
    """

    members: tuple[Field, ...]
    build: Callable[[dict[str, Any]], Any]
    forbids_unknown: bool = False
    also_known: frozenset[str] = frozenset()


def is_struct(kind: Any) -> bool:
    """Return whether `kind` is a msgspec Struct class."""
    return isinstance(kind, type) and hasattr(kind, "__struct_fields__")


def is_pydantic(kind: Any) -> bool:
    """Return whether `kind` is a pydantic v2 model class, or a dataclass of pydantic's."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def is_model(kind: Any) -> bool:
    """Return whether a parameter annotated `kind` is the validated JSON body without any marker."""
    kind = typing.get_origin(kind) or kind
    if not isinstance(kind, type):
        return False
    return dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or is_struct(kind) or is_pydantic(kind)


def struct_tag(kind: Any) -> tuple[str, Any] | None:
    """Return (field, value) of the tag that tells a Struct from others of its union, or None."""
    config = getattr(kind, "__struct_config__", None)
    return None if config is None or config.tag_field is None else (config.tag_field, config.tag)


def model_fields(model: Any, owner: str, *, computed: bool = False) -> ModelFields:
    """Return the fields of a dataclass, TypedDict or Struct, generic parameters filled in.

    Args:
        model: The class, or a generic one with its parameters.
        owner: What to name in an error.
        computed: Also those of a dataclass that it makes itself (`field(init=False)`): they are shown, not taken.

    Raises:
        ConfigError: An annotation of it cannot be resolved, or it is a Struct of a kind that is no JSON object.
    """
    origin = typing.get_origin(model) or model
    try:
        hints = typing.get_type_hints(origin, include_extras=True)
    except NameError as error:
        raise ConfigError(f"{owner}: the annotations of {origin.__qualname__} cannot be resolved: {error}") from None
    filled = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(model), strict=False))
    if is_struct(origin):
        config = origin.__struct_config__
        if config.array_like:
            raise ConfigError(f"{owner}: {origin.__qualname__} is array_like, which is no JSON object")
        names = zip(origin.__struct_fields__, origin.__struct_encode_fields__, strict=True)
        first_optional = len(origin.__struct_fields__) - len(origin.__struct_defaults__)
        nodefault = [_is_nodefault(default) for default in origin.__struct_defaults__]
        required = [True] * first_optional + nodefault
        members = tuple(
            Field(name, wire, _fill(hints[name], filled), needed)
            for (name, wire), needed in zip(names, required, strict=True)
        )
        known = frozenset() if config.tag_field is None else frozenset({config.tag_field})
        return ModelFields(members, lambda made: origin(**made), config.forbid_unknown_fields, known)
    if typing.is_typeddict(origin):
        needed = origin.__required_keys__
        typed = ((name, _unqualified(hint)) for name, hint in hints.items())
        return ModelFields(tuple(Field(name, name, _fill(hint, filled), name in needed) for name, hint in typed), dict)
    return ModelFields(tuple(_dataclass_fields(origin, hints, filled, computed=computed)), lambda made: origin(**made))


def _is_nodefault(default: Any) -> bool:
    """Return whether a Struct's default stands for "none" (keyword-only fields without one)."""
    return type(default).__name__ == "NodefaultType"


def _dataclass_fields(model: Any, hints: dict[str, Any], filled: dict[Any, Any], *, computed: bool) -> Iterator[Field]:
    for field in dataclasses.fields(model):
        if field.init or computed:
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            yield Field(field.name, field.name, _fill(hints[field.name], filled), not has_default)


def _unqualified(hint: Any) -> Any:
    """Return a TypedDict's annotation without Required, NotRequired or ReadOnly around it."""
    while getattr(typing.get_origin(hint), "_name", None) in ("Required", "NotRequired", "ReadOnly"):
        hint = typing.get_args(hint)[0]
    return hint


def _fill(annotation: Any, filled: dict[Any, Any]) -> Any:
    """Return `annotation` with the type variables of a generic model filled in; Any where nothing was given."""
    if isinstance(annotation, typing.TypeVar):
        return filled.get(annotation, Any)
    parameters = getattr(annotation, "__parameters__", ())
    if parameters and typing.get_origin(annotation) is not None:
        return annotation[tuple(filled.get(parameter, Any) for parameter in parameters)]
    return annotation


def pydantic_faults(error: ValueError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, words) for every fault in a pydantic `ValidationError`."""
    for fault in error.errors():  # type: ignore[attr-defined]  # pydantic's ValidationError, which has it
        detail = fault["msg"]
        yield fault["loc"], "is required" if fault["type"] == "missing" else detail[:1].lower() + detail[1:]
