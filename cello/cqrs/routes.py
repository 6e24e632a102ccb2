"""A command or query as a route: its fields from path, query and body, its result as the answer."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from cello.cqrs.bus import CommandBus, QueryBus
from cello.cqrs.messages import INVALID, REJECTED, TIMEOUT
from cello.errors import ConfigError, HTTPError, NotFound, ServiceUnavailable, UnprocessableContent
from cello.pipeline.annotations import bare
from cello.pipeline.models import Field, ModelFields, is_model, is_pydantic, model_fields
from cello.pipeline.params import Query as FromQuery
from cello.pipeline.shapes import make_validator
from cello.routing.pattern import parse

BODY = "body"
_EMPTY = inspect.Parameter.empty


class Statuses(NamedTuple):
    """What results without an error of their own are answered with.

    Attributes:
        ok: Success with data; without any it is 204.
        failed: The handler said `fail`.
        rejected: The handler said `rejected`.
    """

    ok: int = 200
    failed: int = 409
    rejected: int = 409


def command_endpoint(bus: CommandBus, path: str, command: type, statuses: Statuses, returns: Any) -> Callable[..., Any]:
    """Return a handler of requests that dispatches a command.

    Fields that the path names come from there, the others are the JSON body.

    Raises:
        ConfigError: The class has no fields, or none for a parameter of the path.
    """
    where = f"command_route({path!r:.80})"
    parts = _Parts.of(where, command, parse(path).param_names)
    parameters = [parts.parameter(field, _EMPTY) for field in parts.in_path]
    if not parts.in_path:
        parameters.append(_keyword(BODY, command))
    elif parts.others:
        members = {f.wire_name: f.annotation if f.required else NotRequired[f.annotation] for f in parts.others}
        body = TypedDict(f"{command.__name__}Body", members)  # type: ignore[misc]  # made of what the class says
        parameters.append(_keyword(BODY, body))

    async def endpoint(**given: Any) -> Any:
        made = given[BODY] if not parts.in_path else parts.build(given, given.pop(BODY, {}))
        result = await bus._run(made, checked=True)
        if result.success:
            return None if result.data is None else (result.data, statuses.ok)
        if result.exception is not None:
            raise result.exception
        if result.outcome == INVALID:
            raise UnprocessableContent(result.reason)
        if result.outcome == TIMEOUT:
            raise ServiceUnavailable("The command took too long; it may have been carried out.", {"Retry-After": "1"})
        raise HTTPError(
            *((statuses.rejected, result.reason) if result.outcome == REJECTED else (statuses.failed, result.error))
        )

    return _signed(endpoint, where, command, parameters, returns)


def query_endpoint(bus: QueryBus, path: str, query: type, returns: Any) -> Callable[..., Any]:
    """Return a handler of requests that executes a query.

    Fields that the path names come from there, the others from the query string.

    Raises:
        ConfigError: As `command_endpoint`.
    """
    where = f"query_route({path!r:.80})"
    parts = _Parts.of(where, query, parse(path).param_names)
    parameters = [parts.parameter(field, _EMPTY) for field in parts.in_path]
    parameters += [parts.parameter(field, _default_of(query, field)) for field in parts.others]

    async def endpoint(**given: Any) -> Any:
        result = await bus._run(parts.build(given, {}), checked=True)
        if result.exception is not None:
            raise result.exception
        if result.found:
            return result.data
        if result.outcome == INVALID:
            raise UnprocessableContent(result.error)
        if result.outcome == TIMEOUT:
            raise ServiceUnavailable("The query took too long.", {"Retry-After": "1"})
        if result.error is not None:
            raise HTTPError(500, result.error)
        raise NotFound

    return _signed(endpoint, where, query, parameters, returns)


class _Parts(NamedTuple):
    """The fields of a class, by where they come from."""

    model: ModelFields
    in_path: list[Field]
    others: list[Field]

    @classmethod
    def of(cls, where: str, message: type, path_names: Collection[str]) -> "_Parts":
        if not is_model(message):
            raise ConfigError(
                f"{where}: {getattr(message, '__name__', message)!s:.80} has no annotated fields that a request could "
                "fill; annotate them, as in a dataclass"
            )
        if is_pydantic(message):
            return cls._of_pydantic(where, message, path_names)
        found = model_fields(message, where)
        names = {field.name for field in found.members}
        for name in path_names:
            if name not in names:
                raise ConfigError(f"{where}: {message.__name__} has no field {name!r}, which the path names")
        make_validator(message, where)
        members = found.members
        return cls(
            found, [f for f in members if f.name in path_names], [f for f in members if f.name not in path_names]
        )

    @classmethod
    def _of_pydantic(cls, where: str, message: Any, path_names: Collection[str]) -> "_Parts":
        if path_names or where.startswith("query"):
            raise ConfigError(
                f"{where}: {message.__name__} is a pydantic model, which is the body as a whole; "
                "for parameters of path and query use a dataclass, Struct or Command"
            )
        return cls(ModelFields((), lambda given: message(**given)), [], [])

    def parameter(self, field: Field, default: Any) -> inspect.Parameter:
        annotation = field.annotation if default is _EMPTY else Annotated[field.annotation, FromQuery()]
        return _keyword(field.name, annotation, _EMPTY if default is _REQUIRED else default)

    def build(self, given: dict[str, Any], body: dict[str, Any]) -> Any:
        names = {field.wire_name: field.name for field in self.others}
        return self.model.build({**given, **{names[wire]: value for wire, value in body.items() if wire in names}})


_REQUIRED = object()


def _default_of(message: Any, field: Field) -> Any:
    """Return what a field is where nothing is said, `_REQUIRED` where something must be."""
    if field.required:
        return _REQUIRED
    if dataclasses.is_dataclass(message):
        declared = next(each for each in dataclasses.fields(message) if each.name == field.name)
        return declared.default_factory() if callable(declared.default_factory) else declared.default
    names = message.__struct_fields__
    default = message.__struct_defaults__[names.index(field.name) - len(names)]
    factory = getattr(default, "factory", None)
    return default if factory is None else factory()


def _keyword(name: str, annotation: Any, default: Any = _EMPTY) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _signed(
    endpoint: Any, where: str, message: type, parameters: list[inspect.Parameter], returns: Any
) -> Callable[..., Any]:
    """Give a handler the signature that requests are bound by, and the name and words that OpenAPI shows."""
    returned = _EMPTY if returns is None or bare(returns) is _EMPTY else returns
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=returned)
    endpoint.__annotations__ = {each.name: each.annotation for each in parameters}
    if returned is not _EMPTY:
        endpoint.__annotations__["return"] = returned
    endpoint.__name__ = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", message.__name__).lower()
    endpoint.__qualname__ = f"{where} of {message.__name__}"
    endpoint.__module__ = message.__module__
    own = message.__dict__.get("__doc__") or ""
    endpoint.__doc__ = "" if own.startswith(f"{message.__name__}(") else own  # what dataclass writes says nothing
    return endpoint  # type: ignore[no-any-return]  # it is a function
