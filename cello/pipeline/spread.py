"""A model whose members are parameters: `filters: Annotated[Filters, Query()]`, or with Header, Cookie or Form.

Each member comes from the client under its own name, is converted and checked by its own annotation, and what the
client leaves out the model decides by its default. Faults of all members are reported, like those of parameters.
"""

import inspect
from collections.abc import Callable
from typing import Any

from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline.annotations import bare
from cello.pipeline.models import Field, is_model, is_pydantic, model_fields, pydantic_faults
from cello.pipeline.params import REQUIRED, Parameter
from cello.pipeline.signature import Argument
from cello.pipeline.validation import Getter, Invalid, parameter_fault

_ABSENT = object()
_SPREAD = ("query", "header", "cookie", "form")


def spread(argument: Argument) -> list[Argument] | None:
    """Return the members of `argument` as arguments of their own, or None where it is one value.

    Raises:
        ConfigError: The model's annotations cannot be resolved.
    """
    model = bare(argument.annotation)
    if argument.source not in _SPREAD or model is inspect.Parameter.empty or not is_model(model):
        return None
    return [_member(argument, field) for field in _fields(model, argument.owner)]


def spread_getter(argument: Argument, members: list[Argument], make: Callable[[Argument], Getter]) -> Getter:
    """Return the getter of the whole model.

    Args:
        argument: The parameter that is the model.
        members: What `spread` made of it.
        make: Makes the getter of one member.
    """
    getters = [(member.name, make(_unless_absent(member))) for member in members]
    build = _builder(bare(argument.annotation), argument)

    def get(request: Request) -> Any:
        found: dict[str, Any] = {}
        faults: list[dict[str, Any]] = []
        for name, getter in getters:
            try:
                value = getter(request)
            except Invalid as invalid:
                faults.extend(invalid.faults)
            else:
                if value is not _ABSENT:
                    found[name] = value
        if faults:
            raise Invalid(faults)
        return build(found)

    return get


def _fields(model: Any, owner: str) -> list[Field]:
    if not is_pydantic(model):
        return list(model_fields(model, owner).members)
    fields = getattr(model, "model_fields", None)
    if fields is None:
        raise ConfigError(f"{owner}: parameters can be a pydantic model, but not a dataclass of pydantic's")
    return [
        Field(name, field.alias or name, field.rebuild_annotation(), field.is_required())
        for name, field in fields.items()
    ]


def _member(argument: Argument, field: Field) -> Argument:
    markers = [item for item in getattr(field.annotation, "__metadata__", ()) if isinstance(item, Parameter)]
    marker = markers[0] if markers else Parameter(source=argument.source)
    # In a model that does not say otherwise, `user_agent` is the field User-Agent, as in a signature.
    alias = marker.alias or (field.wire_name if field.wire_name != field.name else None)
    default = REQUIRED if field.required else None
    marker = marker._replace(source=argument.source, default=default, alias=alias)
    return Argument(field.name, argument.source, field.annotation, True, marker, argument.owner)


def _unless_absent(member: Argument) -> Argument:
    """Return `member` with a default that shows that the client sent nothing."""
    if member.parameter.default is REQUIRED:
        return member
    return member._replace(marker=member.parameter._replace(default=_ABSENT))


def _builder(model: Any, argument: Argument) -> Callable[[dict[str, Any]], Any]:
    """Return what makes the model of its members, by their Python names."""
    source = argument.source
    if is_pydantic(model):
        names = {field.name: field.wire_name for field in _fields(model, argument.owner)}
        return lambda found: _validated(model, argument, {names[name]: value for name, value in found.items()})
    build = model_fields(model, argument.owner).build

    def make(found: dict[str, Any]) -> Any:
        try:
            return build(found)
        except (ValueError, TypeError) as error:  # the model's own checks, in __post_init__
            raise Invalid([parameter_fault(source, argument.wire_name, str(error))]) from None

    return make


def _validated(model: Any, argument: Argument, members: dict[str, Any]) -> Any:
    try:
        return model.__pydantic_validator__.validate_python(members)
    except ValueError as error:
        found = [(".".join(map(str, steps)), words) for steps, words in pydantic_faults(error)]
        faults = [parameter_fault(argument.source, name or argument.wire_name, words) for name, words in found]
        raise Invalid(faults) from None
