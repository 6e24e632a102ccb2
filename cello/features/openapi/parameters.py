"""What a handler takes, as OpenAPI parameters and request bodies."""

from collections.abc import Iterable, Iterator
from typing import Any

from cello.features.openapi.naming import Schema
from cello.features.openapi.schemas import BINARY, Schemas, as_json, constrained, without_null
from cello.pipeline.annotations import bare
from cello.pipeline.params import REQUIRED, Parameter
from cello.pipeline.signature import EMPTY, Argument
from cello.routing.pattern import Parameter as PathParameter
from cello.routing.pattern import Pattern

_CONVERTED: dict[str, Schema] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
    "str": {"type": "string", "minLength": 1},
    "path": {"type": "string"},
}
_PER_ITEM = ("ge", "gt", "le", "lt", "multiple_of", "pattern")
_NOT_PARAMETERS = ("accept", "authorization", "content-type")  # OpenAPI 3.1 §4.8.12.1: to be ignored


def path_parameters(pattern: Pattern, arguments: Iterable[Argument], schemas: Schemas) -> list[dict[str, Any]]:
    """Return the parameters of a path, by their names in its template."""
    bound = {argument.name: argument for argument in arguments if argument.source == "path"}
    return [
        {"name": part.name, "in": "path", "required": True, **_path_schema(part, bound.get(part.name), schemas)}
        for part in pattern.parameters
    ]


def _path_schema(part: PathParameter, argument: Argument | None, schemas: Schemas) -> dict[str, Any]:
    schema = dict(_CONVERTED.get(part.converter, {"type": "string"}))
    if part.converter == "regex":
        schema["pattern"] = f"^(?:{part.expression})$"
    said: dict[str, Any] = {}
    if argument is not None:
        if part.converter == "str" and argument.annotation is not EMPTY:
            annotated = schemas.of(argument.annotation, "in")
            schema = {**schema, **annotated} if annotated.get("type") == "string" else annotated
            if "enum" in schema or "format" in schema:
                schema.pop("minLength", None)
        schema = constrained(schema, [argument.parameter])
        said = _taken_out(schema)
    if part.converter == "path":
        said.setdefault("description", "The rest of the path; it may contain slashes.")
    return {**said, "schema": schema}


def other_parameters(arguments: Iterable[Argument], schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the query, header and cookie parameters, each once."""
    seen: set[tuple[str, str]] = set()
    for argument in arguments:
        key = (argument.source, argument.wire_name.lower() if argument.source == "header" else argument.wire_name)
        if argument.source not in ("query", "header", "cookie") or key in seen:
            continue
        seen.add(key)
        if argument.source == "header" and key[1] in _NOT_PARAMETERS:
            continue
        schema = without_null(_argument_schema(argument, schemas))
        said = _taken_out(schema)
        if argument.parameter.default is REQUIRED:
            said["required"] = True
        yield {"name": argument.wire_name, "in": argument.source, **said, "schema": schema}


def request_body(arguments: Iterable[Argument], model: Any, schemas: Schemas, *, streams: bool) -> Any:
    """Return the request body, or None.

    Args:
        arguments: Those of the handler and its dependencies.
        model: What `body=` said, for handlers whose signature does not.
        schemas: Collects models.
        streams: Whether the handler takes the body unread.
    """
    listed: list[Argument] = []
    for argument in arguments:  # a dependency may be mentioned more than once
        if argument not in listed:
            listed.append(argument)
    bodies = [argument for argument in listed if argument.source == "body"]
    forms = [argument for argument in listed if argument.source in ("form", "file")]
    content: dict[str, Any] = {}
    if forms:
        content.update(_form_content(forms, schemas))
    if bodies:
        content.update(_body_content(bodies, schemas))
    required = any(argument.parameter.default is REQUIRED for argument in (*forms, *bodies))
    if not content and model is not None:
        content, required = {"application/json": {"schema": schemas.of(model, "in")}}, True
    if not content and streams:
        content = {"application/octet-stream": {"schema": dict(BINARY)}}
    if not content:
        return None
    described = [argument.parameter.description for argument in bodies if not argument.is_member]
    description = next((text for text in described if text), None)
    return {**({"description": description} if description else {}), "content": content, "required": required}


def _body_content(arguments: list[Argument], schemas: Schemas) -> dict[str, Any]:
    if all(bare(argument.annotation) is bytes and not argument.is_member for argument in arguments):
        return {"application/octet-stream": {"schema": dict(BINARY)}}
    parts = [_argument_schema(argument, schemas) for argument in arguments if not argument.is_member]
    members = [argument for argument in arguments if argument.is_member]
    if members:
        parts.append(_object_of(members, schemas))
    return {"application/json": {"schema": parts[0] if len(parts) == 1 else {"allOf": parts}}}


def _form_content(arguments: list[Argument], schemas: Schemas) -> dict[str, Any]:
    schema = _object_of(arguments, schemas)
    kinds = ["multipart/form-data"]
    if not any(argument.source == "file" for argument in arguments):
        kinds.insert(0, "application/x-www-form-urlencoded")
    return {kind: {"schema": schema} for kind in kinds}


def _object_of(arguments: list[Argument], schemas: Schemas) -> Schema:
    """Return the schema of several values by name."""
    properties = {}
    for argument in arguments:
        schema = _argument_schema(argument, schemas)
        properties[argument.wire_name] = schema if argument.source == "body" else without_null(schema)
    required = [argument.wire_name for argument in arguments if argument.parameter.default is REQUIRED]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _argument_schema(argument: Argument, schemas: Schemas) -> Schema:
    """Return the schema of one value, with its marker's constraints and its default."""
    annotation = argument.annotation
    if annotation is EMPTY and argument.source != "body":
        annotation = str
    schema = schemas.of(annotation, "in")
    if argument.source == "file":
        schema = _uploads(schema)
    parameter = argument.parameter
    if schema.get("type") == "array" and "items" in schema:
        # On a list the marker's lengths bound the list, its other constraints each item.
        item = Parameter(source=parameter.source, **{name: getattr(parameter, name) for name in _PER_ITEM})
        schema = {**schema, "items": constrained(schema["items"], [item])}
        whole = parameter._replace(ge=None, gt=None, le=None, lt=None, multiple_of=None, pattern=None)
        schema = constrained(schema, [whole])
        if parameter.default is REQUIRED and argument.source != "body":
            schema.setdefault("minItems", 1)  # without any it would not be there
    else:
        schema = constrained(schema, [parameter])
    if parameter.default is not REQUIRED and parameter.default is not None:
        try:
            schema["default"] = as_json(parameter.default)
        except (TypeError, ValueError):  # it has no JSON form, so the schema cannot show it
            pass
    return schema


def _uploads(schema: Schema) -> Schema:
    """Return the schema of uploads, whose bytes are as they are in a form."""
    if schema.get("type") == "array":
        return {**schema, "items": dict(BINARY)}
    return dict(BINARY)


def _taken_out(schema: Schema) -> dict[str, Any]:
    """Take what a parameter says itself out of its schema."""
    said: dict[str, Any] = {name: schema.pop(name) for name in ("description", "deprecated") if name in schema}
    schema.pop("title", None)
    return said
