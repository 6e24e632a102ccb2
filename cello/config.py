"""The machinery of config classes, and the ones that the core itself reads.

A config class is a frozen dataclass under `@config`: unknown names and values out of range raise `ConfigError` with
the field's name, at construction; `dataclasses.replace` makes variations. Constraints stand beside the field they bind:

    @config
    class PoolConfig:
        size: int = field(default=10, at_least=1)
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin

from cello.errors import ConfigError, closest

T = TypeVar("T")


def field(
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    one_of: tuple[object, ...] | None = None,
) -> Any:
    """Declare a config field with its constraints.

    Args:
        default: The value when the caller names none.
        default_factory: Makes the default, for mutable ones.
        at_least: Inclusive lower bound.
        at_most: Inclusive upper bound.
        above: Exclusive lower bound.
        one_of: The only values allowed.
    """
    limits = {"at_least": at_least, "at_most": at_most, "above": above, "one_of": one_of}
    metadata = {name: limit for name, limit in limits.items() if limit is not None}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    if default is not dataclasses.MISSING:
        return dataclasses.field(default=default, metadata=metadata)
    return dataclasses.field(metadata=metadata)


@dataclass_transform(frozen_default=True, field_specifiers=(field, dataclasses.field))
def config(cls: type[T]) -> type[T]:
    """Turn an annotated class into a frozen, slotted, checked config class."""
    for name in ("__repr__", "__eq__", "__hash__"):
        if name not in vars(cls):
            setattr(cls, name, getattr(_Record, name))
    made = dataclasses.dataclass(frozen=True, slots=True, repr=False, eq=False)(cls)
    build = made.__init__
    checks = {f.name: _Check.of(made.__name__, f) for f in dataclasses.fields(made)}  # type: ignore[arg-type]  # made is one

    def __init__(self: object, *args: object, **kwargs: object) -> None:
        for name in kwargs:
            if name not in checks:
                raise ConfigError(f"{made.__name__} has no field {name!r:.80}{_suggest(name, checks)}")
        try:
            build(self, *args, **kwargs)
        except TypeError as error:
            raise ConfigError(f"{made.__name__}: {str(error).partition('__init__() ')[2] or error}") from None
        for name, check in checks.items():
            check(getattr(self, name))

    __init__.__wrapped__ = build  # type: ignore[attr-defined]  # inspect.signature shows the real fields
    made.__init__ = __init__  # type: ignore[method-assign]
    return made


class _Record:
    """The methods that are the same for every config class.

    PERF: a dataclass has its own written and compiled for each class, which is a third of what making it takes.
    """

    def __repr__(self: Any) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__qualname__}({shown})"

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))


def _values(of: Any) -> tuple[object, ...]:
    return tuple(getattr(of, name) for name in of.__dataclass_fields__)


def _suggest(name: str, known: Mapping[str, object]) -> str:
    close = closest(name, known)
    return f"; did you mean {close!r}?" if close else f"; it has: {', '.join(known)}"


_TYPES: dict[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a string"),
    bool: ((bool,), "True or False"),
    list: ((list, tuple), "a list"),
    dict: ((Mapping,), "a mapping"),
    NoneType: ((NoneType,), "None"),
}
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "at_least": (lambda value, limit: value >= limit, "at least"),
    "at_most": (lambda value, limit: value <= limit, "at most"),
    "above": (lambda value, limit: value > limit, "above"),
    "one_of": (lambda value, limit: value in limit, "one of"),
}


class _Check:
    """What one field accepts, found out once from its annotation and its constraints."""

    def __init__(self, name: str, kinds: list[object], limits: Mapping[str, Any]) -> None:
        self.name = name
        self.limits = limits
        known = [_TYPES[kind] for kind in kinds if kind in _TYPES]
        # An annotation that names anything else (a class, a callable) is left to whoever reads the field.
        self.types = tuple(t for types, _ in known for t in types) if len(known) == len(kinds) else (object,)
        self.words = " or ".join(words for _, words in known)
        self.takes_bool = bool in kinds or object in self.types
        self.takes_none = not {NoneType, Any, object}.isdisjoint(kinds)

    @classmethod
    def of(cls, owner: str, declared: "dataclasses.Field[Any]") -> "_Check":
        kind: object = declared.type
        parts = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        kinds = [get_origin(part) or part for part in parts]
        if declared.default is None and NoneType not in kinds:
            kinds.append(NoneType)
        return cls(f"{owner}.{declared.name}", kinds, declared.metadata)

    def __call__(self, value: Any) -> None:
        if value is None:
            if not self.takes_none:
                raise ConfigError(f"{self.name} must not be None")
            return
        if not isinstance(value, self.types) or (isinstance(value, bool) and not self.takes_bool):
            raise ConfigError(f"{self.name} must be {self.words}, not {value!r:.80}")
        for bound, limit in self.limits.items():
            holds, words = _BOUNDS[bound]
            if not holds(value, limit):
                raise ConfigError(f"{self.name} must be {words} {limit}, not {value!r:.80}")


@config
class LimitsConfig:
    """What one connection and one request may use; nothing is unlimited by default.

    Attributes:
        max_header_size: Bytes of a request head, request line included; beyond → 431.
        max_body_size: Bytes of a request body; beyond → 413. A route's `max_body_size=` overrides it.
        max_connections: Open connections per worker; beyond → 503.
        max_requests_per_connection: Requests on one keep-alive connection before it is closed.
        max_request_line: Bytes of the request line; beyond → 414.
        max_fields: Header or trailer fields of one message; beyond → 431.
        max_pipelined: Requests that may wait behind the one being answered; reading pauses beyond.
        max_form_fields: Fields of one urlencoded or multipart form; beyond → 413.
        max_multipart_parts: Parts of one multipart body; beyond → 413.
        max_ws_message: Bytes of one WebSocket message, before and after decompression; beyond → close 1009.
        ws_ping_interval: Seconds of silence after which a WebSocket client is sent a ping; 0 for never.
        ws_ping_timeout: Seconds in which anything must come back then; beyond, the connection is dropped.
        max_spool_memory: Bytes of one body or uploaded file kept in memory; the rest goes to a temporary file.
    """

    max_header_size: int = field(default=16_384, at_least=256)
    max_body_size: int = field(default=10_485_760, at_least=0)
    max_connections: int = field(default=10_000, at_least=1)
    max_requests_per_connection: int = field(default=1_000, at_least=1)
    max_request_line: int = field(default=8_192, at_least=64)
    max_fields: int = field(default=100, at_least=1)
    max_pipelined: int = field(default=16, at_least=1)
    max_form_fields: int = field(default=1_000, at_least=1)
    max_multipart_parts: int = field(default=128, at_least=1)
    max_ws_message: int = field(default=16_777_216, at_least=0)
    ws_ping_interval: float = field(default=20.0, at_least=0)
    ws_ping_timeout: float = field(default=20.0, above=0)
    max_spool_memory: int = field(default=1_048_576, at_least=0)


@config
class TimeoutConfig:
    """How long the server waits, in seconds.

    Attributes:
        read_header: From the first byte of a request head to its last; beyond → 408.
        read_body: Without a byte of the body; beyond → 408, and so is less than 240 B/s after 20 s.
        write: Without progress while sending an answer; beyond, the connection is dropped.
        idle: A keep-alive connection between requests.
        handler: From the complete request to the first byte of the answer; beyond → 503. A route may set its own.
    """

    read_header: float = field(default=5.0, above=0)
    read_body: float = field(default=30.0, above=0)
    write: float = field(default=30.0, above=0)
    idle: float = field(default=60.0, above=0)
    handler: float = field(default=30.0, above=0)

    @property
    def read_header_timeout(self) -> float:
        """`read_header` by the name the Rust package gave it."""
        return self.read_header

    @property
    def read_body_timeout(self) -> float:
        """`read_body` by the name the Rust package gave it."""
        return self.read_body

    @property
    def write_timeout(self) -> float:
        """`write` by the name the Rust package gave it."""
        return self.write

    @property
    def idle_timeout(self) -> float:
        """`idle` by the name the Rust package gave it."""
        return self.idle

    @property
    def handler_timeout(self) -> float:
        """`handler` by the name the Rust package gave it."""
        return self.handler


@config
class ThreadPoolConfig:
    """The threads that run blocking `def` handlers.

    Attributes:
        size: Most threads per worker process.
        offload_threshold_ms: Milliseconds a `def` handler may hold the loop before the time counts as debt.
        adaptive: Move a route whose debt grew to the threads; False keeps every unmarked `def` handler inline.
        max_long: Most threads per worker process for what may take hours: `def` WebSocket handlers, beyond → 503, and
            `def` generators of server-sent events, which wait.
    """

    size: int = field(default=64, at_least=1)
    offload_threshold_ms: float = field(default=1.0, above=0)
    adaptive: bool = True
    max_long: int = field(default=4_096, at_least=1)
