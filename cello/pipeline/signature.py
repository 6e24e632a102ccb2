"""What a handler's signature says: where each parameter's value comes from. Read once, when the route is registered.

In this order a parameter is claimed: by its marker; as the request (named `request`, or annotated so); as a path
parameter of its name; as the JSON body, when annotated with a model; and the first positional one that nothing claims
is the request again. What is left cannot be bound, and that is an error which names function and parameter.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from cello.errors import ConfigError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.annotations import bare, is_optional, metadata
from cello.pipeline.colour import describe
from cello.pipeline.models import is_model
from cello.pipeline.params import REQUIRED, Dependency, Parameter

EMPTY = inspect.Parameter.empty
_VARIADIC_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Unresolved(NamedTuple):
    """An annotation written as text whose names do not exist (yet, or but for the type checker)."""

    text: str
    reason: str


class Argument(NamedTuple):
    """One parameter of a function and where its value comes from.

    Attributes:
        name: The parameter's name.
        source: "request", "path", "query", "header", "cookie", "body", "form", "file" or "depends".
        annotation: Its annotation, with `Annotated` around it, or `EMPTY`.
        by_keyword: Whether it is passed by keyword.
        marker: What the signature says beyond that.
        owner: What an error about it names.
        is_member: Whether it is one member of the JSON body, not all of it; known once its function is bound.
    """

    name: str
    source: str
    annotation: Any
    by_keyword: bool
    marker: Parameter | Dependency | None
    owner: str
    is_member: bool = False

    @property
    def parameter(self) -> Parameter:
        """The marker of a value from the client, with defaults where the signature has none."""
        return self.marker if isinstance(self.marker, Parameter) else Parameter(source=self.source)

    @property
    def wire_name(self) -> str:
        """The client's name for the value."""
        alias = self.parameter.alias
        if alias is not None:
            return alias
        return self.name.replace("_", "-") if self.source == "header" else self.name


class Signature(NamedTuple):
    """A function's arguments in order, and what it says it returns.

    Attributes:
        function: The function as registered.
        arguments: All that must be passed.
        returns: The return annotation, or `EMPTY`.
    """

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    returns: Any


def read_signature(function: Callable[..., Any], path_names: Collection[str]) -> Signature:
    """Return what the signature of `function` says.

    Args:
        function: A handler, a dependency, or another callable bound like them.
        path_names: The path parameters of its route.

    Raises:
        ConfigError: A parameter cannot be bound; names function and parameter.
    """
    owner = describe(function)
    if _takes_only_the_request(function):
        return Signature(
            function, (Argument("request", "request", EMPTY, False, None, _parameter(owner, "request")),), EMPTY
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in: it is called with nothing
        return Signature(function, (), EMPTY)
    hints = _annotations(function)
    preset = _preset(function)
    wraps = hasattr(function, "__wrapped__")
    arguments: list[Argument] = []
    taken = any(_is_request(parameter, hints.get(parameter.name, EMPTY)) for parameter in parameters)
    for position, parameter in enumerate(parameters):
        if parameter.kind in _VARIADIC or parameter.name in preset:
            continue
        annotation = hints.get(parameter.name, EMPTY)
        where = _parameter(owner, parameter.name)
        source, marker = _claim(parameter, annotation, path_names, where, may_be_request=not taken)
        taken = taken or source == "request"
        # A decorator's wrapper is `(request, *args, **kwargs)` at best: only the first goes by position.
        keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY or (wraps and position > 0)
        arguments.append(Argument(parameter.name, source, annotation, keyword, marker, where))
    if not any(argument.source == "request" for argument in arguments) and _is_catch_all(parameters):
        arguments.insert(0, Argument("request", "request", Request, False, None, owner))
    if wraps:
        _check_call(function, arguments, owner)
    return Signature(function, tuple(arguments), hints.get("return", EMPTY))


def _takes_only_the_request(function: Callable[..., Any]) -> bool:
    """Return whether this is `def f(request)` and nothing more.

    PERF: most handlers are, and `inspect` takes 20 µs for each; 200 routes start 7 ms sooner.
    """
    if (
        type(function) is not types.FunctionType
        or function.__dict__
        or function.__annotations__
        or function.__defaults__
    ):
        return False
    code = function.__code__
    is_one = code.co_argcount == 1 and not code.co_kwonlyargcount
    return is_one and not code.co_flags & _VARIADIC_FLAGS and code.co_varnames[0] == "request"


def _parameter(owner: str, name: str) -> str:
    """Return what an error about one parameter names."""
    return f"{owner}, parameter {name!r}"


def _claim(
    parameter: inspect.Parameter, annotation: Any, path_names: Collection[str], where: str, *, may_be_request: bool
) -> tuple[str, Parameter | Dependency | None]:
    """Return the source of one parameter, and its marker with the parameter's default in it."""
    marker = _marker(parameter, annotation, where)
    if isinstance(marker, Dependency):
        return "depends", _resolved_dependency(marker, annotation, where)
    if marker is not None:
        if marker.source == "path" and parameter.name not in path_names:
            raise ConfigError(f"{where}: the path has no {{{parameter.name}}}{_known(path_names)}")
        return marker.source, _optional(marker, annotation)
    if _is_request(parameter, annotation):
        return "request", None
    if parameter.name in path_names:
        return "path", Parameter(source="path")
    if is_model(bare(annotation)) or _is_optional_model(annotation):
        default = REQUIRED if parameter.default is EMPTY else parameter.default
        return "body", _optional(Parameter(source="body", default=default), annotation)
    positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    if may_be_request and positional and parameter.default is EMPTY and _may_be_request(annotation):
        return "request", None
    raise ConfigError(
        f"{where}: cannot be bound: it is neither the request nor a path parameter{_known(path_names)}; "
        f"say where it comes from with Query(), Header(), Cookie(), Body(), Form(), File() or Depends()"
    )


def _marker(parameter: inspect.Parameter, annotation: Any, where: str) -> Parameter | Dependency | None:
    """Return the marker of a parameter, from its default or its annotation."""
    found: list[Parameter | Dependency] = []
    if typing.get_origin(annotation) is typing.Annotated:
        found = [item for item in typing.get_args(annotation)[1:] if isinstance(item, Parameter | Dependency)]
    default = parameter.default
    if isinstance(default, Parameter | Dependency):
        found.append(default)
    if len(found) > 1:
        raise ConfigError(f"{where}: has {len(found)} markers; one says where its value comes from")
    if not found:
        return None
    marker = found[0]
    if isinstance(marker, Parameter) and default is not EMPTY and marker is not default:
        if marker.default is not REQUIRED:
            raise ConfigError(f"{where}: has two defaults, one in the marker and one behind '='")
        marker = marker._replace(default=default)
    return marker


def _resolved_dependency(marker: Dependency, annotation: Any, where: str) -> Dependency:
    """Return `marker` with its target: `Depends()` without one calls the annotated class."""
    target = bare(annotation) if marker.target is None else marker.target
    if target is EMPTY or isinstance(target, Unresolved) or not (callable(target) or isinstance(target, str)):
        raise ConfigError(f"{where}: Depends takes a callable or the name of a singleton, not {target!r:.80}")
    return Dependency(target, marker.use_cache)


def _optional(marker: Parameter, annotation: Any) -> Parameter:
    """Return `marker` with None as default, where the annotation allows it and there is no other."""
    if marker.default is REQUIRED and marker.source != "path" and annotation is not EMPTY and is_optional(annotation):
        return marker._replace(default=None)
    return marker


def _is_optional_model(annotation: Any) -> bool:
    members = [member for member in typing.get_args(bare(annotation)) if member is not type(None)]
    return is_optional(annotation) and bool(members) and all(is_model(bare(member)) for member in members)


def _is_request(parameter: inspect.Parameter, annotation: Any) -> bool:
    """Return whether name or annotation say that a parameter is the request."""
    if isinstance(parameter.default, Parameter | Dependency) or parameter.kind in _VARIADIC:
        return False
    if any(isinstance(item, Parameter | Dependency) for item in getattr(annotation, "__metadata__", ())):
        return False
    if parameter.name == "request":
        return True
    kind = bare(annotation)
    if isinstance(kind, Unresolved):  # imported for the type checker only
        return kind.text.rpartition(".")[2] == "Request"
    return isinstance(kind, type) and issubclass(kind, Request)


def _may_be_request(annotation: Any) -> bool:
    """Return whether an annotation leaves open that the parameter is the request."""
    kind = bare(annotation)
    return kind in (EMPTY, Any, object) or isinstance(kind, Unresolved | typing.TypeVar) or _is_protocol(kind)


def _is_protocol(kind: Any) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _known(path_names: Collection[str]) -> str:
    return f" (there are {', '.join(map(repr, path_names))})" if path_names else ""


def _preset(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names that a partial has set by keyword; they keep their value."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names.update(function.keywords)
        function = function.func
    return frozenset(names)


def _is_catch_all(parameters: list[inspect.Parameter]) -> bool:
    """Return whether a function takes whatever it is given: then it is given the request."""
    return bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL


def _check_call(function: Callable[..., Any], arguments: list[Argument], owner: str) -> None:
    """Check that the outermost wrapper takes what its wrapped function's signature promises.

    Raises:
        ConfigError: It does not.
    """
    positional = [None for argument in arguments if not argument.by_keyword]
    keywords = {argument.name: None for argument in arguments if argument.by_keyword}
    try:
        inspect.signature(function, follow_wrapped=False).bind(*positional, **keywords)
    except TypeError as error:
        raise ConfigError(f"{owner}: its decorator's wrapper cannot be called like the function: {error}") from None


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of what `function` finally calls, text evaluated where its names exist."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    if inspect.isclass(target):
        target = target.__init__
    elif not isinstance(target, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001  # evaluating text can raise anything; below it is done one by one
        return dict(_one_by_one(inspect.unwrap(target)))


def _one_by_one(target: Any) -> Iterator[tuple[str, Any]]:
    """Yield each annotation, as `Unresolved` where it cannot be evaluated."""
    module_names = _COMMON_NAMES | getattr(target, "__globals__", {})
    for name, annotation in getattr(target, "__annotations__", {}).items():
        single = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            yield name, typing.get_type_hints(single, module_names, None, include_extras=True)[name]
        except Exception as error:  # noqa: BLE001  # evaluating text can raise anything; who needs it says so
            yield name, Unresolved(str(annotation), str(error))


# What is often imported for the type checker only.
_COMMON_NAMES = {
    **{name: getattr(typing, name) for name in ("Any", "Literal", "Mapping", "Optional", "Sequence", "Union")},
    **{name: getattr(typing, name) for name in ("AsyncGenerator", "AsyncIterable", "AsyncIterator", "Generator")},
    **{name: getattr(typing, name) for name in ("Awaitable", "Coroutine", "Iterable", "Iterator")},
    "Response": Response,
}


def constraints_of(argument: Argument) -> tuple[Any, ...]:
    """Return the constraint objects of an argument: its marker and what else `Annotated` says."""
    return (argument.parameter, *metadata(argument.annotation))
