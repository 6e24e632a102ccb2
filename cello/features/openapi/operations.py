"""One route and method as an OpenAPI operation."""

import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from cello.features.openapi.naming import Schema
from cello.features.openapi.parameters import other_parameters, path_parameters, request_body
from cello.features.openapi.responses import Stock, declared_responses, in_order, success
from cello.features.openapi.schemas import Schemas
from cello.features.openapi.security import Security, describe_guards
from cello.pipeline.inject import Binding
from cello.routing.route import Route

_FROM_CLIENT = ("path", "query", "header", "cookie", "body", "form", "file")


class Operation(NamedTuple):
    """An operation, but for its id and the names that its path parameters get.

    Attributes:
        members: Of the Operation Object.
        path_parameters: Under the names of the route's own template.
        parameters: All others.
    """

    members: Schema
    path_parameters: list[Schema]
    parameters: list[Schema]


class Operations:
    """Makes the operations of one document.

    Args:
        guards: Those of every route.
        schemas: Collects models.
        security: Collects security schemes.
    """

    def __init__(self, guards: Sequence[Any], schemas: Schemas, security: Security) -> None:
        self._guards = tuple(guards)
        self._schemas = schemas
        self._security = security
        self.stock = Stock(schemas)

    def make(self, route: Route, binding: Binding) -> Operation:
        """Return what every method of `route` does."""
        options = route.options
        guards = (*self._guards, *options.guards)
        arguments = binding.arguments
        summary, description = describe(route)
        members: Schema = {"tags": list(dict.fromkeys(options.tags))} if options.tags else {}
        members["summary"] = summary
        paragraphs = [*([description] if description else []), *describe_guards(guards)]
        if paragraphs:
            members["description"] = "\n\n".join(paragraphs)
        if options.deprecated:
            members["deprecated"] = True
        body = request_body(arguments, options.body, self._schemas, streams=options.stream)
        if body is not None:
            members["requestBody"] = body
        declared = options.responses or {}
        problems = self.stock.problems(
            wants_user=self._security.wants_user(guards) or self._security.wants_sign_in(route),
            is_guarded=bool(guards),
            validates=any(argument.source in _FROM_CLIENT for argument in arguments),
        )
        known = success(binding.signature.returns, declared, self._schemas) | problems
        members["responses"] = self.stock.refer(in_order(declared_responses(declared, known, self._schemas)))
        requirements = self._security.requirements(guards, route)
        if requirements:
            members["security"] = requirements
        return Operation(
            members,
            path_parameters(route.pattern, arguments, self._schemas),
            list(other_parameters(arguments, self._schemas)),
        )


def describe(route: Route) -> tuple[str, str | None]:
    """Return summary and description of a route: as given, else from its docstring, else from its handler's name."""
    options = route.options
    doc = inspect.getdoc(route.handler) if inspect.isroutine(route.handler) else None
    first, _, rest = (doc or "").partition("\n\n")
    summary = options.summary or " ".join(first.split()).removesuffix(".")
    if not summary:
        words = re.sub(r"[_.\W]+", " ", route.name.rpartition(".")[2]).strip()
        summary = words[:1].upper() + words[1:]
    return summary, options.description or rest.strip() or None


def identify(operations: Sequence[tuple[str, Route]]) -> list[str]:
    """Return an id for each (method, route), none of them twice: the name, with method and path where needed."""
    choices: list[tuple[str, ...]] = []
    for method, route in operations:
        name = _identifier(route.name)
        choices.append((name, f"{name}_{method.lower()}", f"{name}_{method.lower()}_{_identifier(route.template)}"))
    counts = [[choice[length] for choice in choices] for length in range(3)]
    given: dict[str, None] = {}
    for number, choice in enumerate(choices):
        free = [
            name for name, all_of_them in zip(choice, counts, strict=True)
            if all_of_them.count(name) == 1 and name not in given
        ]  # fmt: skip
        given[free[0] if free else f"{choice[2]}_{number}"] = None
    return list(given)


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "root"
