"""How users write: functions become the fields of Query, Mutation and Subscription, methods the fields of a type.

@Query
def user(info, id: int) -> User | None: ...

@dataclass
class User:
id: int

@Field
async def posts(self, info, limit: int = 10) -> list[Post]: ...
"""

from collections.abc import Callable
from typing import Any, NewType, TypeVar, overload

from cello.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

ID = NewType("ID", str)
"""GraphQL's ID: text that identifies."""

QUERY, MUTATION, SUBSCRIPTION = "Query", "Mutation", "Subscription"


class Field:
    """A field with more to say than its annotation; as a decorator, a method that computes a field.

    Args:
        function: The method, where it decorates one.
        name: What it is called in the schema; default: as in Python.
        description: For readers of the schema; default: the docstring.
        deprecated: Why it should not be used any more.
        complexity: What it costs, see `GraphQLConfig.max_complexity`.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        deprecated: str | None = None,
        complexity: int = 1,
    ) -> None:
        if type(complexity) is not int or complexity < 0:
            raise ConfigError(f"a field's complexity is a number from 0 on, not {complexity!r:.80}")
        self.function = function
        self.name = name
        self.description = description
        self.deprecated = deprecated
        self.complexity = complexity

    def __call__(self, function: Callable[..., Any]) -> "Field":
        """Decorate a method: `@Field(complexity=5)`."""
        self.function = function
        return self

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None or self.function is None:
            return self
        return self.function.__get__(instance, owner)


class Declared:
    """Functions that are to be fields of the three root types.

    Attributes:
        fields: Root type → name → what was declared.
    """

    def __init__(self) -> None:
        self.fields: dict[str, dict[str, Field]] = {QUERY: {}, MUTATION: {}, SUBSCRIPTION: {}}

    def add(self, root: str, function: Callable[..., Any], field: Field | None = None) -> None:
        """Add a function.

        Raises:
            ConfigError: It cannot be called, or the name is taken.
        """
        if not callable(function):
            raise ConfigError(f"a resolver is a function, not {function!r:.80}")
        field = field or Field()
        name = field.name or function.__name__
        taken = self.fields[root].get(name)
        if taken is not None and taken.function is not None:
            raise ConfigError(f"{root}.{name} is declared twice: by {_place(taken.function)} and {_place(function)}")
        field.function = function
        self.fields[root][name] = field

    def extended(self, other: "Declared") -> "Declared":
        """Return what both declare."""
        both = Declared()
        for declared in (self, other):
            for root, fields in declared.fields.items():
                for field in fields.values():
                    if field.function is not None:
                        both.add(root, field.function, _copy(field))
        return both

    def is_empty(self) -> bool:
        """Return whether nothing was declared."""
        return not any(self.fields.values())


EVERYWHERE = Declared()
"""What the decorators of this module declare: for every application that has no schema of its own."""


class RootDecorator:
    """`@Query`, `@Query(name="…")`: declares a function, and returns it as it is."""

    def __init__(self, declared: Declared, root: str) -> None:
        self._declared = declared
        self._root = root

    @overload
    def __call__(self, function: F) -> F: ...

    @overload
    def __call__(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        deprecated: str | None = None,
        complexity: int = 1,
    ) -> Callable[[F], F]: ...

    def __call__(self, function: Any = None, **said: Any) -> Any:
        """Declare a function; what can be said of it is what `Field` takes."""
        if function is not None:
            self._declared.add(self._root, function, Field(**said))
            return function

        def declare(function: F) -> F:
            self._declared.add(self._root, function, Field(**said))
            return function

        return declare


Query = RootDecorator(EVERYWHERE, QUERY)
Mutation = RootDecorator(EVERYWHERE, MUTATION)
Subscription = RootDecorator(EVERYWHERE, SUBSCRIPTION)


def interface(cls: C) -> C:
    """Publish a class as an interface: its subclasses are the types that implement it."""
    cls.__graphql_interface__ = cls  # type: ignore[attr-defined]  # a mark of our own
    return cls


def is_interface(cls: type) -> bool:
    """Return whether the class itself, not only a base, was published as an interface."""
    return getattr(cls, "__graphql_interface__", None) is cls


def _copy(field: Field) -> Field:
    return Field(
        name=field.name, description=field.description, deprecated=field.deprecated, complexity=field.complexity
    )


def _place(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"
