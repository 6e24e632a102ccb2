"""From annotations to JSON Schema (2020-12, the dialect of OpenAPI 3.1), with models as named components.

What it says is what `pipeline/shapes.py` takes and `pipeline/filters.py` gives. A model may look different on the way
in and on the way out (a Decimal is taken as a number or text, and given as text); then it becomes two components.

While schemas are made, a reference holds a `Model`, not a name: names are given at the end, by `finish`.
"""

import collections.abc
import dataclasses
import enum
import inspect
import typing
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cello.features.openapi.naming import Model, Schema, Way, foreign_components, name_models, named
from cello.http import json_codec
from cello.http.forms import UploadedFile
from cello.pipeline.annotations import bare, is_union, metadata
from cello.pipeline.models import Field, is_model, is_pydantic, is_struct, model_fields, struct_tag

BINARY: Schema = {"type": "string", "format": "binary"}

_PLAIN: dict[Any, Schema] = {
    Any: {},
    object: {},
    inspect.Parameter.empty: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    timedelta: {"type": "string", "format": "duration"},
    UploadedFile: BINARY,
}
_DECIMAL: dict[Way, Schema] = {
    "in": {
        "anyOf": [
            {"type": "number"},
            {
                "type": "string",
                "format": "decimal",
                "pattern": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
            },
        ]
    },
    "out": {"type": "string", "format": "decimal"},
}
_SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
_ARRAYS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection)
_ITERABLES = (collections.abc.Iterable, *_ARRAYS, *_SETS)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_BOUNDS |= {"multiple_of": "multipleOf"}
_SIZES = {"array": "Items", "object": "Properties"}


class Schemas:
    """Makes schemas and collects the models they mention."""

    def __init__(self) -> None:
        self._made: dict[Model, Schema] = {}
        self._foreign: list[Model] = []

    def of(self, annotation: Any, way: Way) -> Schema:
        """Return the schema of `annotation`; one that is not understood allows anything."""
        return constrained(self._of_bare(bare(annotation), way), metadata(annotation))

    def _of_bare(self, kind: Any, way: Way) -> Schema:
        if kind is Decimal:
            return dict(_DECIMAL[way])
        if isinstance(kind, collections.abc.Hashable) and kind in _PLAIN:
            return dict(_PLAIN[kind])
        origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
        if origin is typing.Literal:
            return _choice(arguments)
        if is_union(kind):
            return self._union(arguments, way)
        if origin in _ITERABLES:
            items = {"items": self.of(arguments[0], way)} if arguments else {}
            return {"type": "array", **items, **({"uniqueItems": True} if origin in _SETS and way == "out" else {})}
        if origin is tuple:
            return self._tuple(arguments, way)
        if origin in _MAPPINGS:
            return {"type": "object", **({"additionalProperties": self.of(arguments[1], way)} if arguments else {})}
        if isinstance(origin, type) and issubclass(origin, tuple) and hasattr(origin, "_fields"):
            return self._named_tuple(origin, way)
        if is_model(origin) or (isinstance(origin, type) and issubclass(origin, enum.Enum)):
            return self._model(Model(kind, way), origin)
        return {}

    def _union(self, members: tuple[Any, ...], way: Way) -> Schema:
        wanted = [member for member in members if getattr(member, "__name__", "") != "UnsetType"]
        schemas = [self.of(member, way) for member in wanted]
        if len(schemas) == 1:
            return schemas[0]
        schema: Schema = {"anyOf": schemas}
        tags = [struct_tag(bare(member)) for member in wanted if bare(member) is not type(None)]
        if all(tags) and not any(schema == {"type": "null"} for schema in schemas):
            names = [tag for tag in tags if tag is not None]
            mapping = {str(tag): ref["$ref"] for (_, tag), ref in zip(names, schemas, strict=True)}
            schema["discriminator"] = {"propertyName": names[0][0], "mapping": mapping}
        return schema

    def _tuple(self, items: tuple[Any, ...], way: Way) -> Schema:
        if len(items) == 2 and items[1] is Ellipsis:
            return {"type": "array", "items": self.of(items[0], way)}
        if not items:
            return {"type": "array"}
        schemas = [self.of(item, way) for item in items]
        return {"type": "array", "prefixItems": schemas, "minItems": len(items), "maxItems": len(items)}

    def _named_tuple(self, kind: Any, way: Way) -> Schema:
        hints = typing.get_type_hints(kind, include_extras=True)
        schema = self._tuple(tuple(hints.get(name, Any) for name in kind._fields), way)
        return {**schema, "minItems": len(kind._fields) - len(kind._field_defaults)}

    def _model(self, model: Model, origin: Any) -> Schema:
        if is_pydantic(origin):
            if model not in self._foreign:
                self._foreign.append(model)
        elif model not in self._made:
            self._made[model] = {}  # it may mention itself
            if issubclass(origin, enum.Enum):
                schema = _choice([member.value for member in origin])
            elif is_struct(origin) and origin.__struct_config__.array_like:
                hints = typing.get_type_hints(origin, include_extras=True)
                schema = self._tuple(tuple(hints[name] for name in origin.__struct_fields__), model.way)
            else:
                schema = self._object(model, origin)
            description = _documentation(origin)
            self._made[model] = {**schema, **({"description": description} if description else {})}
        return {"$ref": model}

    def _object(self, model: Model, origin: Any) -> Schema:
        fields = model_fields(model.kind, f"the schema of {origin.__qualname__}", computed=model.way == "out")
        properties: dict[str, Schema] = {}
        required: list[str] = []
        tag = struct_tag(origin)
        if tag is not None:
            properties[tag[0]] = _choice([tag[1]])
            required.append(tag[0])
        for field in fields.members:
            properties[field.wire_name] = {**self.of(field.annotation, model.way), **_said_of(origin, field)}
            if field.required:
                required.append(field.wire_name)
        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if fields.forbids_unknown and model.way == "in":
            schema["additionalProperties"] = False
        return schema

    def finish(self, document: Schema) -> tuple[Schema, dict[str, Schema]]:
        """Return `document` with names in its references, and the components by name, in alphabetical order."""
        foreign, components = foreign_components(self._foreign)
        names = foreign | name_models(self._made, foreign, taken=components)
        for model, schema in self._made.items():
            components[names[model]] = named(schema, names)
        return named(document, names), dict(sorted(components.items()))


def constrained(schema: Schema, constraints: Iterable[Any]) -> Schema:
    """Return `schema` with what constraint objects say: `Parameter`, msgspec's `Meta`, annotated-types' `Ge` alike."""
    made = dict(schema)
    kind = _type_of(schema)
    for constraint in constraints:
        for name, keyword in _BOUNDS.items():
            bound = getattr(constraint, name, None)
            if isinstance(bound, int | float | Decimal) and kind not in ("string", "array", "object", "boolean"):
                made[keyword] = float(bound) if isinstance(bound, Decimal) else bound
        for name in ("min_length", "max_length"):
            size = getattr(constraint, name, None)
            if isinstance(size, int):
                made[name[:3] + _SIZES.get(kind or "", "Length")] = size
        pattern = getattr(constraint, "pattern", None)
        if isinstance(pattern, str):
            made["pattern"] = pattern
        made.update(_words(lambda name, source=constraint: getattr(source, name, None)))
        extra = getattr(constraint, "extra_json_schema", None)
        if isinstance(extra, Mapping):
            made.update(extra)
    return made


def without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter that may be left out: absence is not null."""
    members = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
    if not members or len(members) == len(schema["anyOf"]):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**members[0], **rest} if len(members) == 1 else {**schema, "anyOf": members}


def as_json(value: Any) -> Any:
    """Return `value` as what JSON makes of it.

    Raises:
        TypeError: It has no JSON form.
    """
    return json_codec.decode(json_codec.encode(value))


def _words(get: Any) -> Iterator[tuple[str, Any]]:
    """Yield what title, description, examples and deprecated say, as found by `get(name)`."""
    for name in ("title", "description"):
        if isinstance(text := get(name), str):
            yield name, text
    if isinstance(text := get("documentation"), str):  # typing's Doc
        yield "description", text
    if isinstance(examples := get("examples"), list | tuple) and examples:
        yield "examples", as_json(list(examples))
    if get("deprecated") is True:
        yield "deprecated", True


def _type_of(schema: Schema) -> str | None:
    """Return the one JSON type that a schema allows, null aside."""
    found = without_null(schema).get("type")
    return found if isinstance(found, str) else None


def _choice(values: Iterable[Any]) -> Schema:
    listed = as_json(list(values))
    kinds = {_TYPES.get(type(value)) for value in listed}
    return {**({"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}), "enum": listed}


def _documentation(kind: Any) -> str | None:
    """Return a class's own docstring, unless a decorator wrote it."""
    text = kind.__dict__.get("__doc__")
    if not isinstance(text, str) or text.startswith(f"{kind.__name__}("):
        return None
    return inspect.cleandoc(text)


def _said_of(origin: Any, field: Field) -> Schema:
    """Return what a class says of one of its fields beside its annotation."""
    said: Schema = {}
    default: Any = dataclasses.MISSING
    if is_struct(origin):
        offset = len(origin.__struct_fields__) - len(origin.__struct_defaults__)
        position = origin.__struct_fields__.index(field.name) - offset
        if position >= 0:
            default = origin.__struct_defaults__[position]
            default = default.factory() if type(default).__name__ == "Factory" else default
    elif dataclasses.is_dataclass(origin):
        found = next(item for item in dataclasses.fields(origin) if item.name == field.name)
        said.update(_words(found.metadata.get))
        default = found.default
        if found.default_factory in (list, dict, set, tuple):
            default = found.default_factory()
    if default is not dataclasses.MISSING and not field.required and type(default).__name__ != "UnsetType":
        try:
            said["default"] = as_json(default)
        except (TypeError, ValueError):  # it has no JSON form, so the schema cannot show it
            pass
    return said
