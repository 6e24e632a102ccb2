"""What stands around and in a type annotation: `Annotated`, NewType, aliases, unions, None."""

import types
import typing
from typing import Any

from cello.pipeline.params import Parameter


def bare(annotation: Any) -> Any:
    """Return `annotation` without `Annotated`, NewType and type aliases around it."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def is_union(annotation: Any) -> bool:
    """Return whether `annotation` is `X | Y`, `Union` or `Optional`."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def is_optional(annotation: Any) -> bool:
    """Return whether None is among what `annotation` allows."""
    annotation = bare(annotation)
    return annotation is None or (is_union(annotation) and type(None) in typing.get_args(annotation))


def metadata(annotation: Any) -> tuple[Any, ...]:
    """Return what `Annotated` says around `annotation`, markers of cello excepted."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return ()
    inner, *extra = typing.get_args(annotation)
    return (*metadata(inner), *(item for item in extra if not isinstance(item, Parameter)))
