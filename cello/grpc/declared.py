"""How services are written: classes of annotated methods, or functions registered one by one."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, overload

from cello.errors import ConfigError, closest

F = TypeVar("F", bound=Callable[..., Any])

_SERVICE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_METHOD_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MARK = "_grpc_method"


class Field:
    """What is said of a field of a message, in an annotation: `Annotated[int, Field(3, kind="uint32")]`.

    Args:
        number: Its number on the wire; None for the one after the field before it. A number that clients know must
            stay: pin it before fields above it are moved or removed.
        kind: How numbers are encoded: "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
            "sfixed32", "sfixed64", "float" or "double"; None for int64 and double.
    """

    __slots__ = ("kind", "number")

    def __init__(self, number: int | None = None, *, kind: str | None = None) -> None:
        if number is not None and not (1 <= number <= 536_870_911 and not 19_000 <= number <= 19_999):
            raise ConfigError(f"a field's number is 1-536870911 without 19000-19999, not {number!r:.80}")
        self.number = number
        self.kind = kind

    def __repr__(self) -> str:
        return f"Field({self.number!r}, kind={self.kind!r})"


class Declared(NamedTuple):
    """A method as declared.

    Attributes:
        name: As clients call it.
        function: What answers, bound to its object; None where nothing does yet.
        stream: Whether it answers a stream of messages; None where its annotations say.
    """

    name: str
    function: Callable[..., Any] | None
    stream: bool | None = None


@overload
def grpc_method(function: F, /) -> F: ...
@overload
def grpc_method(*, stream: bool | None = None, name: str | None = None) -> Callable[[F], F]: ...
def grpc_method(function: Any = None, /, *, stream: bool | None = None, name: str | None = None) -> Any:
    """Make a method of a `GrpcService` one that clients can call.

    Args:
        function: The method.
        stream: Whether it answers a stream of messages; default: its annotations say, or that it is a generator.
        name: As clients call it; default: its own.

    Raises:
        ConfigError: The name is none.
    """

    def mark(function: Any) -> Any:
        setattr(function, _MARK, (check_method_name(name or function.__name__), stream))
        return function

    return mark if function is None else mark(function)


class GrpcService:
    """A service: a class whose methods under `@grpc_method` are called by clients.

    Args:
        name: As clients know it, with its package if it has one: "shop.v1.UserService"; default: the class's name, or
            the one in `class Users(GrpcService, name="shop.v1.UserService")`.
    """

    _name: str | None = None

    def __init_subclass__(cls, name: str | None = None, **named: Any) -> None:
        super().__init_subclass__(**named)
        if name is not None:
            cls._name = check_service_name(name)

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self._name = check_service_name(name)

    def get_name(self) -> str:
        """Return its name."""
        return self._name or type(self).__name__

    def get_methods(self) -> list[dict[str, Any]]:
        """Return name and `stream` of each method."""
        return [{"name": each.name, "stream": bool(each.stream)} for each in methods_of(self)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.get_name()!r}, methods={len(methods_of(self))})"


def methods_of(service: GrpcService) -> list[Declared]:
    """Return the methods of a service in the order of their declaration, those of base classes first."""
    found: dict[str, None] = {}
    for base in reversed(type(service).__mro__):
        found |= {name: None for name, value in vars(base).items() if hasattr(value, _MARK)}
    marked = [getattr(service, name) for name in found if hasattr(getattr(type(service), name), _MARK)]
    return [Declared(name, function, stream) for function in marked for name, stream in [getattr(function, _MARK)]]


class Service:
    """A service as registered: `app.add_grpc_service` returns one.

    Attributes:
        name: Its full name.
        methods: By name.
        servicer: The object of generated code that answers, or None.
        guards: Asked beside those of the application.
    """

    def __init__(self, name: str, methods: Any = None, guards: Iterable[Any] | None = None) -> None:
        self.name = check_service_name(name)
        self.methods: dict[str, Declared] = {}
        self.servicer: object | None = None
        self.guards = None if guards is None else list(guards)
        self._on_method: Callable[[Declared], None] | None = None
        self._is_listed = False
        self._take(methods)

    @classmethod
    def of(cls, service: GrpcService) -> "Service":
        """Return a service that was written as a class."""
        return cls(service.get_name(), service)

    def _take(self, methods: Any) -> None:
        if isinstance(methods, type):
            raise ConfigError(f"gRPC service {self.name}: pass an object, {methods.__name__}(), not the class itself")
        if isinstance(methods, GrpcService):
            self.methods = {each.name: each for each in methods_of(methods)}
            if not self.methods:
                raise ConfigError(
                    f"gRPC service {self.name}: {type(methods).__name__} has no method under @grpc_method"
                )
        elif isinstance(methods, Mapping):
            for name, function in methods.items():
                if not callable(function):
                    raise ConfigError(f"gRPC method {self.name}/{name} is a function, not {function!r:.80}")
                _, stream = getattr(function, _MARK, (None, None))
                self.methods[check_method_name(name)] = Declared(name, function, stream)
        elif isinstance(methods, list | tuple | set | frozenset):
            self._is_listed = True
            self.methods = {check_method_name(name): Declared(name, None) for name in methods}
        elif isinstance(methods, str):
            raise ConfigError(f"gRPC service {self.name}: methods is a list such as ['GetUser'], not {methods!r:.80}")
        elif methods is not None:
            self.servicer = methods

    def method(self, name: str | None = None, *, stream: bool | None = None) -> Callable[[F], F]:
        """Have a function, `def` or `async def`, answer a method: `@users.method("GetUser")`.

        Args:
            name: The method's; default: the function's own.
            stream: Whether it answers a stream of messages; default: its annotations say, or that it is a generator.

        Raises:
            ConfigError: There is no such method, it has a function already, or it is answered by generated code.
        """
        if name is not None and not isinstance(name, str):
            raise ConfigError(f'write @service.method("Name") or @service.method(), not @service.method {name!r:.80}')

        def register(function: F) -> F:
            wanted = check_method_name(name or function.__name__)
            if self.servicer is not None:
                raise ConfigError(f"gRPC service {self.name} is answered by {type(self.servicer).__name__}")
            held = self.methods.get(wanted)
            if held is None and self._is_listed:
                close = closest(wanted, self.methods)
                hint = f"did you mean {close!r}?" if close else f"it has: {', '.join(self.methods)}"
                raise ConfigError(f"gRPC service {self.name} has no method {wanted!r}; {hint}")
            if held is not None and held.function is not None:
                raise ConfigError(f"gRPC method {self.name}/{wanted} has a function already")
            made = self.methods[wanted] = Declared(wanted, function, stream)
            if held is None and self._on_method is not None:
                self._on_method(made)
            return function

        return register

    def watch(self, on_method: Callable[[Declared], None]) -> None:
        """Have `on_method` called with each method there is, and those that come."""
        self._on_method = on_method
        for declared in self.methods.values():
            on_method(declared)

    def bare(self) -> list[str]:
        """Return the names of methods that nothing answers."""
        return [name for name, declared in self.methods.items() if declared.function is None]

    def __repr__(self) -> str:
        return f"<gRPC service {self.name}: {', '.join(self.methods)}>"


def check_service_name(name: object) -> str:
    """Return a service's name.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(name, str) or _SERVICE_NAME.fullmatch(name) is None:
        raise ConfigError(f"a gRPC service's name is such as 'UserService' or 'shop.v1.UserService', not {name!r:.80}")
    return name


def check_method_name(name: object) -> str:
    """Return a method's name.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(name, str) or _METHOD_NAME.fullmatch(name) is None:
        raise ConfigError(f"a gRPC method's name is such as 'GetUser', not {name!r:.80}")
    return name
