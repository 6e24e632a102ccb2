"""Annotations → GraphQL types.

What is not `| None` is non-null. Dataclasses, Structs, TypedDicts and pydantic models are object types where they are
given, and input types (`UserInput`) where they are taken.
"""

import dataclasses
import inspect
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    Undefined,
)

from cello.errors import ConfigError
from cello.graphql.declared import Field, is_interface
from cello.graphql.plain import Reader
from cello.graphql.scalars import SCALARS

LISTS = (list, tuple, set, frozenset, Sequence, Iterable)
_STREAMS = (AsyncIterator, AsyncGenerator, AsyncIterable, Generator, Iterator)

Bind = Callable[[Callable[..., Any], bool, bool], Callable[..., Any]]
"""Makes a resolver of a function, given whether it is a method, and whether it takes `info`."""


class Types:
    """The types of one schema, each made once.

    Args:
        bind: Makes resolvers of methods.
        camel_case: Whether names are published in camel case.

    Attributes:
        implementations: Types that only interfaces lead to.
        uploads: Whether files are taken.
    """

    def __init__(self, bind: Bind, *, camel_case: bool = False) -> None:
        self._bind = bind
        self._camel_case = camel_case
        self._outputs: dict[Any, Any] = {}
        self._inputs: dict[Any, Any] = {}
        self._named: dict[str, Any] = {}
        self.implementations: list[Any] = []

    # -- what is given --

    def output(self, annotation: Any, where: str) -> Any:
        """Return the type of what a resolver or attribute gives.

        Raises:
            ConfigError: GraphQL has no type for it; the message names `where`.
        """
        inner, is_optional = _without_none(annotation)
        named = self._output_named(inner, where)
        return named if is_optional else GraphQLNonNull(named)

    def _output_named(self, annotation: Any, where: str) -> Any:
        if (scalar := _scalar(annotation)) is not None:
            return scalar
        if (item := _item_of(annotation)) is not None:
            return GraphQLList(self.output(item, where))
        if annotation not in self._outputs:
            self._outputs[annotation] = self._make_output(annotation, where)
        return self._outputs[annotation]

    def _make_output(self, annotation: Any, where: str) -> Any:
        if get_origin(annotation) in (Union, types.UnionType):
            return self._union(annotation, where)
        if _is_enum(annotation):
            return self._enum(annotation)
        if not _is_model(annotation):
            raise ConfigError(f"{where}: GraphQL has no type for {_spelled(annotation)}; {_ADVICE}")
        fields = lambda: self._fields_of(annotation)  # noqa: E731  # made late: types mention each other
        description = _description(annotation)
        if is_interface(annotation):
            abstract = GraphQLInterfaceType(
                annotation.__name__,
                fields,
                self._interfaces(annotation),
                resolve_type=self._type_of,
                description=description,
            )
            self._outputs[annotation] = abstract
            self.implementations += [
                self._output_named(each, where) for each in _descendants(annotation) if not is_interface(each)
            ]
            return self._own(annotation.__name__, annotation, abstract)
        found = GraphQLObjectType(annotation.__name__, fields, self._interfaces(annotation), description=description)
        return self._own(annotation.__name__, annotation, found)

    def _union(self, annotation: Any, where: str) -> Any:
        members = [self._output_named(each, where) for each in get_args(annotation)]
        if not all(isinstance(member, GraphQLObjectType) for member in members):
            raise ConfigError(f"{where}: a union is one of object types, not {_spelled(annotation)}")
        name = "Or".join(member.name for member in members)
        return self._own(name, annotation, GraphQLUnionType(name, members, resolve_type=self._type_of))

    def _interfaces(self, cls: type) -> Callable[[], list[Any]]:
        bases = [base for base in cls.__mro__[1:] if is_interface(base)]
        return lambda: [self._output_named(base, cls.__qualname__) for base in bases]

    def _type_of(self, value: Any, info: Any, abstract: Any) -> str:
        for cls in type(value).__mro__:
            found = self._outputs.get(cls)
            if isinstance(found, GraphQLObjectType):
                return found.name
        if isinstance(value, Mapping) and "__typename" in value:
            return str(value["__typename"])
        raise GraphQLError(f"{type(value).__name__} is no member of {abstract.name}")

    def _fields_of(self, cls: type) -> dict[str, GraphQLField]:
        fields = {}
        for attribute, annotation in _members(cls).items():
            said = _said_in(annotation)
            where = f"{cls.__qualname__}.{attribute}"
            fields[said.name or self.published(attribute)] = GraphQLField(
                self.output(annotation, where),
                resolve=Reader(attribute),
                description=said.description,
                deprecation_reason=said.deprecated,
                extensions={"complexity": said.complexity},
            )
        for attribute, field in _methods(cls):
            if field.function is not None:
                fields[field.name or self.published(attribute)] = self.resolved(field, cls.__qualname__, is_method=True)
        if not fields:
            raise ConfigError(f"{cls.__qualname__}: an object type needs a field")
        return fields

    def resolved(self, field: Field, where: str, *, is_method: bool = False) -> GraphQLField:
        """Return the field of a function: its type from what it returns, its arguments from what it takes.

        Raises:
            ConfigError: An annotation is missing, or has no type.
        """
        function = field.function
        if function is None:
            raise ConfigError(f"{where}: a Field that computes decorates a function")
        where = f"{where}.{getattr(function, '__name__', 'field')}"
        hints = _hints(function, where)
        if "return" not in hints:
            raise ConfigError(f"{where}: say what it returns, as in `-> list[User]`; GraphQL's types come from that")
        parameters = list(inspect.signature(function).parameters.values())[1 if is_method else 0 :]
        takes_info = bool(parameters) and (parameters[0].name == "info" or parameters[0].name not in hints)
        arguments = {}
        for parameter in parameters[1 if takes_info else 0 :]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigError(f"{where}: an argument has a name, *{parameter.name} has none")
            if parameter.name not in hints:
                raise ConfigError(f"{where}: the argument {parameter.name!r} needs an annotation")
            arguments[self.published(parameter.name)] = self._argument(parameter, hints[parameter.name], where)
        doc = inspect.getdoc(function)
        return GraphQLField(
            self.output(_streamed(hints["return"]), where),
            arguments,
            self._bind(function, is_method, takes_info),
            description=field.description or doc,
            deprecation_reason=field.deprecated,
            extensions={"complexity": field.complexity},
        )

    def _argument(self, parameter: inspect.Parameter, annotation: Any, where: str) -> GraphQLArgument:
        where = f"{where}({parameter.name})"
        kind, default = self._taken(annotation, parameter.default, parameter.empty, where)
        return GraphQLArgument(kind, default, description=_said_in(annotation).description, out_name=parameter.name)

    # -- what is taken --

    def input(self, annotation: Any, where: str) -> Any:
        """Return the type of what a resolver takes.

        Raises:
            ConfigError: GraphQL has no type for it.
        """
        inner, is_optional = _without_none(annotation)
        named = self._input_named(inner, where)
        return named if is_optional else GraphQLNonNull(named)

    def _input_named(self, annotation: Any, where: str) -> Any:
        if (scalar := _scalar(annotation)) is not None:
            return scalar
        if (item := _item_of(annotation)) is not None:
            return GraphQLList(self.input(item, where))
        if _is_enum(annotation):
            return self._output_named(annotation, where)
        if annotation not in self._inputs:
            if not _is_model(annotation):
                raise ConfigError(f"{where}: GraphQL cannot take {_spelled(annotation)}; {_ADVICE}")
            self._inputs[annotation] = self._make_input(annotation)
        return self._inputs[annotation]

    def _make_input(self, cls: type) -> Any:
        name = cls.__name__ if cls.__name__.endswith("Input") else f"{cls.__name__}Input"

        def fields() -> dict[str, GraphQLInputField]:
            return {
                said.name or self.published(attribute): self._input_field(cls, attribute, annotation, said)
                for attribute, annotation in _members(cls).items()
                for said in (_said_in(annotation),)
            }

        found = GraphQLInputObjectType(name, fields, description=_description(cls), out_type=_maker(cls))
        return self._own(name, (cls, "input"), found)

    def _input_field(self, cls: type, attribute: str, annotation: Any, said: Field) -> GraphQLInputField:
        where = f"{cls.__qualname__}.{attribute}"
        kind, default = self._taken(annotation, _default(cls, attribute), Undefined, where)
        return GraphQLInputField(kind, default, description=said.description, out_name=attribute)

    def _taken(self, annotation: Any, default: Any, nothing: Any, where: str) -> tuple[Any, Any]:
        """Return the type and default of what may be left out; a default that GraphQL cannot show is Python's own."""
        kind = self.input(annotation, where)
        if default is nothing:
            return kind, Undefined
        if default is None or isinstance(default, str | int | float | bool | Enum):
            return kind, default
        return (kind.of_type if isinstance(kind, GraphQLNonNull) else kind), Undefined

    # -- both --

    def _enum(self, cls: Any) -> Any:
        found = GraphQLEnumType(cls.__name__, cls, description=_description(cls), names_as_values=None)
        return self._own(cls.__name__, cls, found)

    def _own(self, name: str, key: Any, made: Any) -> Any:
        owner = self._named.setdefault(name, key)
        if owner is not key and owner != key:
            raise ConfigError(f"two GraphQL types are called {name!r}: {_spelled(owner)} and {_spelled(key)}")
        return made

    def published(self, name: str) -> str:
        """Return what a Python name is called in the schema."""
        if not self._camel_case:
            return name
        first, *others = name.strip("_").split("_")
        return first + "".join(word.capitalize() for word in others)


_ADVICE = "use a scalar, an Enum, a dataclass, Struct, TypedDict or pydantic model, a list of these, or `| None`"


def _without_none(annotation: Any) -> tuple[Any, bool]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation is None or annotation is type(None):
        return bool, True  # a mutation that returns nothing: a nullable Boolean
    if get_origin(annotation) in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if each is not type(None)]
        if len(members) < len(get_args(annotation)):
            return (members[0] if len(members) == 1 else Union[tuple(members)]), True  # noqa: UP007  # made, not written
    return annotation, annotation is Any


def _scalar(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is dict or get_origin(annotation) is Mapping:
        return SCALARS[dict]
    if get_origin(annotation) is Literal:
        kinds = {type(value) for value in get_args(annotation)}
        return SCALARS.get(kinds.pop()) if len(kinds) == 1 else None
    try:
        return SCALARS.get(annotation)
    except TypeError:  # not hashable: no scalar either
        return None


def _item_of(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in LISTS and arguments and (origin is not tuple or arguments[1:] == (...,)):
        return arguments[0]
    return None


def _streamed(annotation: Any) -> Any:
    """Return what a generator yields, anything else as it is."""
    return get_args(annotation)[0] if get_origin(annotation) in _STREAMS else annotation


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def _is_model(annotation: Any) -> bool:
    if not isinstance(annotation, type):
        return False
    return (
        dataclasses.is_dataclass(annotation)
        or is_typeddict(annotation)
        or hasattr(annotation, "__struct_fields__")
        or hasattr(annotation, "model_fields")
    )


def _members(cls: type) -> dict[str, Any]:
    hints = _hints(cls, cls.__qualname__)
    names: Iterable[str] = hints
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    elif hasattr(cls, "__struct_fields__"):
        names = cls.__struct_fields__
    elif hasattr(cls, "model_fields"):
        names = cls.model_fields
    return {name: hints[name] for name in names if not name.startswith("_")}


def _methods(cls: type) -> list[tuple[str, Field]]:
    found = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
    return [(name, value) for name, value in found.items() if isinstance(value, Field)]


def _default(cls: Any, name: str) -> Any:
    """Return the default of a member; `Undefined` where there is none."""
    if dataclasses.is_dataclass(cls):
        [field] = [each for each in dataclasses.fields(cls) if each.name == name]
        if field.default_factory is not dataclasses.MISSING:
            return ...
        return Undefined if field.default is dataclasses.MISSING else field.default
    if hasattr(cls, "__struct_fields__"):
        from msgspec import NODEFAULT
        from msgspec.structs import fields

        [found] = [each for each in fields(cls) if each.name == name]
        if found.default_factory is not NODEFAULT:
            return ...
        return Undefined if found.default is NODEFAULT else found.default
    if hasattr(cls, "model_fields"):
        return Undefined if cls.model_fields[name].is_required() else ...
    return Undefined if name in cls.__required_keys__ else ...


def _maker(cls: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what makes an instance of the values of an input; faults are the client's."""

    def make(values: dict[str, Any]) -> Any:
        try:
            made = cls(**values)
            if hasattr(cls, "__struct_fields__"):
                import msgspec

                return msgspec.convert(msgspec.to_builtins(made), cls)  # constraints are checked only here
        except (TypeError, ValueError) as error:
            raise GraphQLError(f"{cls.__name__} is not valid: {error}") from None
        return made

    return make


def _said_in(annotation: Any) -> Field:
    if get_origin(annotation) is Annotated:
        for said in get_args(annotation)[1:]:
            if isinstance(said, Field):
                return said
    return Field()


def _description(cls: type) -> str | None:
    doc = cls.__doc__
    if doc is None or doc.startswith(f"{cls.__name__}(") or doc == Enum.__doc__:
        return None  # what dataclasses and enums say of themselves
    return inspect.cleandoc(doc)


def _descendants(cls: type) -> list[type]:
    found: list[type] = []
    subclasses: list[type] = type.__subclasses__(cls)
    for subclass in subclasses:
        found += [subclass, *_descendants(subclass)]
    return found


def _hints(subject: Any, where: str) -> dict[str, Any]:
    try:
        return get_type_hints(subject, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"{where}: its annotations cannot be resolved: {error}") from None


def _spelled(annotation: Any) -> str:
    if isinstance(annotation, TypeVar):
        return f"the type variable {annotation}"
    if isinstance(annotation, tuple):
        return f"{annotation[0].__qualname__} as an input"
    return getattr(annotation, "__qualname__", None) or str(annotation)
