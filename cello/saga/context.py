"""Contexts: what steps read and change, kept as JSON between them.

Each attempt of a step has a copy of its own, so what a failed attempt changed is gone, and so is what a step changed
whose worker died. What a step that succeeded changed is found out by comparison, one member of the context at a time.
"""

from collections.abc import Callable
from typing import Any

from cello.errors import ConfigError
from cello.http import json_codec
from cello.pipeline.models import is_model
from cello.pipeline.shapes import make_validator
from cello.pipeline.validation import Fault

MISSING = object()


class Codec:
    """Turns the contexts of a saga into JSON objects and back.

    Args:
        kind: Their class: dict, a dataclass, a Struct or a pydantic model.
        where: What an error names.

    Raises:
        ConfigError: JSON cannot say it.
    """

    def __init__(self, kind: Any, where: str) -> None:
        self._kind = kind
        self._validate: Callable[..., Any] | None = None
        if kind is not dict:
            if not is_model(kind):
                raise ConfigError(
                    f"{where}: its context is dict, a dataclass, Struct or pydantic model, not {kind!r:.80}"
                )
            self._validate = make_validator(kind, where)

    def encode(self, context: Any) -> dict[str, Any]:
        """Return a context as JSON has it, cut loose from the object.

        Raises:
            TypeError: It is of another class, or has no JSON form.
        """
        plain = json_codec.decode(json_codec.encode({} if context is None else context))
        if not isinstance(plain, dict):
            raise TypeError(f"the context of a saga is a JSON object, not {type(context).__name__}")
        return plain

    def decode(self, plain: dict[str, Any]) -> Any:
        """Return the object that a JSON object stands for, a new one each time.

        Raises:
            TypeError: It does not fit the class.
        """
        fresh = json_codec.decode(json_codec.encode(plain))
        if self._validate is None:
            return fresh
        faults: list[Fault] = []
        made = self._validate(fresh, (), faults)
        if faults:
            said = "; ".join(f"{fault['pointer'].removeprefix('#/')} {fault['detail']}" for fault in faults)
            raise TypeError(f"the context is no {self._kind.__name__}: {said}")
        return made


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the members that differ; `MISSING` for those that are gone."""
    found = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return found | {name: MISSING for name in before if name not in after}


def apply(context: dict[str, Any], changed: dict[str, Any]) -> None:
    """Make changes."""
    for name, value in changed.items():
        if value is MISSING:
            context.pop(name, None)
        else:
            context[name] = value
