"""What the models of a document are called.

Rule 1. Names are given when all models are known, so that they do not depend on the order of routes.
Rule 2. A model is named after its class, a generic one with its parameters: "Page_User". Where several classes share a
name, all of them are named with their modules: "shop__models__User".
Rule 3. A model that looks different on the way in and on the way out, in itself or in what it mentions, is two
components: "User-Input" and "User-Output", as pydantic has it.
"""

import re
import typing
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from cello.errors import ConfigError

Schema = dict[str, Any]
Way = Literal["in", "out"]
T = TypeVar("T")

REFERENCE = "#/components/schemas/"


class Model(NamedTuple):
    """A class with a schema of its own, on the way in or out; stands in references until it has a name."""

    kind: Any
    way: Way


def foreign_components(models: Sequence[Model]) -> tuple[dict[Model, str], dict[str, Schema]]:
    """Return what pydantic calls its models, and their schemas by name.

    Raises:
        ConfigError: pydantic cannot describe one of them.
    """
    if not models:
        return {}, {}
    from pydantic.json_schema import models_json_schema

    modes: dict[Way, Literal["validation", "serialization"]] = {"in": "validation", "out": "serialization"}
    wanted = [(model.kind, modes[model.way]) for model in models]
    try:
        references, definitions = models_json_schema(wanted, ref_template=REFERENCE + "{model}")
    except Exception as error:
        known = ", ".join(kind.__name__ for kind, _ in wanted)
        raise ConfigError(f"pydantic cannot describe one of {known}: {error}") from error
    names = {model: references[model.kind, modes[model.way]]["$ref"].removeprefix(REFERENCE) for model in models}
    return names, dict(definitions.get("$defs", {}))


def name_models(made: Mapping[Model, Schema], foreign: Mapping[Model, str], taken: Container[str]) -> dict[Model, str]:
    """Return the names of models.

    Args:
        made: The models and their schemas.
        foreign: Those that were named by others.
        taken: Names that are not free.
    """
    different = _different(made, foreign)
    kinds = dict.fromkeys(model.kind for model in made)
    short = {kind: _short_name(kind) for kind in kinds}
    count = Counter(short.values())
    names: dict[Model, str] = {}
    used: set[str] = set()
    for kind, base in short.items():
        if count[base] > 1 or base in taken:
            base = _long_name(kind)
        number, name = 1, base
        while name in used or name in taken:
            number += 1
            name = f"{base}_{number}"
        used.add(name)
        names[Model(kind, "in")] = f"{name}-Input" if kind in different else name
        names[Model(kind, "out")] = f"{name}-Output" if kind in different else name
    return names


def named(value: T, names: Mapping[Model, str]) -> T:
    """Return a schema or document with references by name in place of models."""
    result: Any = value
    if isinstance(value, Model):
        result = REFERENCE + names[value]
    elif isinstance(value, dict):
        result = {key: named(item, names) for key, item in value.items()}
    elif isinstance(value, list):
        result = [named(item, names) for item in value]
    return typing.cast(T, result)


def _different(made: Mapping[Model, Schema], foreign: Mapping[Model, str]) -> set[Any]:
    """Return the classes that need two names."""
    different = {
        model.kind for model in foreign if foreign.get(Model(model.kind, "in")) != foreign.get(Model(model.kind, "out"))
    }
    mentions: dict[Any, set[Any]] = {}
    for model, taken in made.items():
        given = made.get(Model(model.kind, "out"))
        if model.way == "out" or given is None:
            continue
        mentions[model.kind] = {mentioned.kind for mentioned in (*_references(taken), *_references(given))}
        if _without_ways(taken) != _without_ways(given):
            different.add(model.kind)
    while more := {kind for kind, others in mentions.items() if kind not in different and others & different}:
        different |= more
    return different


def _references(value: Any) -> Iterator[Model]:
    if isinstance(value, Model):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _without_ways(value: Any) -> Any:
    if isinstance(value, Model):
        return (value.kind,)
    if isinstance(value, dict):
        return {key: _without_ways(item) for key, item in value.items()}
    return [_without_ways(item) for item in value] if isinstance(value, list) else value


def _short_name(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin is None:
        return _clean(getattr(kind, "__name__", str(kind)))
    return "_".join([_short_name(origin), *(_short_name(argument) for argument in typing.get_args(kind))])


def _long_name(kind: Any) -> str:
    origin = typing.get_origin(kind) or kind
    place = f"{origin.__module__}.{origin.__qualname__}".replace("<locals>.", "").replace(".", "__")
    return _clean(place + _short_name(kind).removeprefix(_short_name(origin)))


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")
