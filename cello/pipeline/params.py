"""The markers by which a handler's signature says where a value comes from.

As a default, `page: int = Query(1, ge=1)`, or in the annotation, `page: Annotated[int, Query(ge=1)] = 1`. They are read
once, when the route is registered; nothing here runs during a request.

The public names are functions returning Any, so that a type checker accepts `page: int = Query(1)`.
"""

from collections.abc import Callable
from types import EllipsisType
from typing import Any, Final, NamedTuple, final

from cello.errors import ConfigError, closest


@final
class Required:
    """The type of `REQUIRED`: a value the client must send."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required()


class Parameter(NamedTuple):
    """Where one value comes from, and what it must satisfy. Bounds are inclusive for ge, le and the lengths.

    Attributes:
        source: "path", "query", "header", "cookie", "body", "form" or "file".
        default: The value when the client sends none, or `REQUIRED`.
        alias: The client's name for it, where that differs from the parameter's.
        pattern: A regular expression that must match somewhere in the text (as in JSON Schema; anchor it to be strict).
        embed: For bodies: the value is one member of the JSON object, not all of it.
    """

    source: str
    default: Any = REQUIRED
    alias: str | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    embed: bool = False
    title: str | None = None
    description: str | None = None
    examples: tuple[Any, ...] = ()
    deprecated: bool = False


_OPTIONS = Parameter._fields[2:]


class Dependency(NamedTuple):
    """A value made by a callable, or registered under a name.

    Attributes:
        target: The callable, the name, or None: then the annotation is called.
        use_cache: Whether several mentions in one request share one value.
    """

    target: Callable[..., Any] | str | None
    use_cache: bool = True


def _made(source: str, default: Any, options: dict[str, Any]) -> Parameter:
    """Return a marker.

    Raises:
        ConfigError: There is no such option.
    """
    for name in options:
        if name not in _OPTIONS:
            close = closest(name, _OPTIONS)
            hint = f"did you mean {close!r}?" if close else f"it has: {', '.join(_OPTIONS)}"
            raise ConfigError(f"{source.capitalize()}() has no option {name!r:.80}; {hint}")
    return Parameter(source, REQUIRED if isinstance(default, EllipsisType) else default, **options)


def Path(**options: Any) -> Any:  # noqa: N802  # markers are written like the classes they stand for
    """Constrain a path parameter.

    As in `id: Annotated[int, Path(ge=1)]`; without constraints the name is enough.
    """
    return _made("path", REQUIRED, options)


def Query(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take a query parameter.

    As in `page: int = Query(1, ge=1)`; a list annotation takes every value of the name.

    Args:
        default: The value when the client sends none; left out (or `...`), the parameter is required.
        **options: The other attributes of `Parameter`: alias, ge, gt, le, lt, multiple_of, min_length, max_length,
            pattern, title, description, examples, deprecated.
    """
    return _made("query", default, options)


def Header(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take a request header; `user_agent` reads `User-Agent` unless `alias=` says otherwise. Options as `Query`."""
    return _made("header", default, options)


def Cookie(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take a cookie. Options as `Query`."""
    return _made("cookie", default, options)


def Body(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take the JSON body, whatever its type.

    As in `items: list[int] = Body()`; `bytes` takes it raw. With several `Body()` parameters in one
    signature, or `embed=True`, each is the member of its name. Options as `Query`, and embed.
    """
    return _made("body", default, options)


def Form(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take a field of an urlencoded or multipart form. Options as `Query`."""
    return _made("form", default, options)


def File(default: Any = REQUIRED, **options: Any) -> Any:  # noqa: N802
    """Take an uploaded file: `UploadedFile`, a list of them, or `bytes` for its content. Options as `Query`."""
    return _made("file", default, options)


def Depends(dependency: Callable[..., Any] | str | None = None, *, use_cache: bool = True) -> Any:  # noqa: N802
    """Take a registered singleton by name, or what a callable gives.

    The callable may be `def`, `async def`, a class, or a generator: what follows its `yield` runs after the answer was
    sent, with the handler's exception raised at the `yield` if there was one. It may have dependencies of its own.

    Args:
        dependency: The name, or the callable; None calls the annotated class.
        use_cache: Whether several mentions in one request share one value.
    """
    return Dependency(dependency, use_cache)
