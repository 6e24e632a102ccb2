"""Handlers of commands and queries: how they are marked, bound and called, in either colour."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from cello.errors import ConfigError
from cello.gateways.home_loop import NestedThreads
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.models import is_model
from cello.pipeline.params import Dependency
from cello.pipeline.shapes import Validate, make_validator

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__cello_handles__"
COMMAND, QUERY = "command", "query"


class Manner(NamedTuple):
    """How a handler is called, beyond what the config says.

    Attributes:
        timeout_ms: Instead of the config's.
        max_retries: Instead of the config's.
        retry_on: Errors that are retried though they are not marked.
    """

    timeout_ms: float | None = None
    max_retries: int | None = None
    retry_on: tuple[type[Exception], ...] = ()


class Mark(NamedTuple):
    """What a decorated function handles."""

    kind: str
    message: type
    manner: Manner


def command_handler(
    command: type,
    *,
    timeout_ms: float | None = None,
    max_retries: int | None = None,
    retry_on: tuple[type[Exception], ...] = (),
) -> Callable[[F], F]:
    """Mark a function as the handler of a class of commands, for `CommandBus.register`; return it unchanged.

    It is called with the command and returns a `CommandResult`, or the data of one. Further parameters have
    `Depends("name")` as their default.

    Args:
        command: The class.
        timeout_ms: Milliseconds, instead of the config's.
        max_retries: Instead of the config's.
        retry_on: Errors that are retried though they are not marked retryable.
    """
    return _marking(COMMAND, command, Manner(timeout_ms, max_retries, retry_on))


def query_handler(
    query: type,
    *,
    timeout_ms: float | None = None,
    max_retries: int | None = None,
    retry_on: tuple[type[Exception], ...] = (),
) -> Callable[[F], F]:
    """Mark a function as the handler of a class of queries, for `QueryBus.register`; return it unchanged.

    It is called with the query and returns a `QueryResult`, or the data of one. For the arguments see
    `command_handler`.
    """
    return _marking(QUERY, query, Manner(timeout_ms, max_retries, retry_on))


def _marking(kind: str, message: type, manner: Manner) -> Callable[[F], F]:
    if not isinstance(message, type):
        raise ConfigError(f"{kind}_handler takes a class, not {message!r:.80}")
    if manner.timeout_ms is not None and not manner.timeout_ms > 0:
        raise ConfigError(f"{kind}_handler({message.__name__}): timeout_ms must be above 0, not {manner.timeout_ms!r}")
    if manner.max_retries is not None and manner.max_retries < 0:
        raise ConfigError(f"{kind}_handler({message.__name__}): max_retries must be at least 0")

    def mark(function: F) -> F:
        setattr(function, MARK, Mark(kind, message, manner))
        return function

    return mark


@dataclasses.dataclass(frozen=True, slots=True)
class Handler:
    """A registered handler.

    Attributes:
        function: As it was written.
        message: The class it handles.
        manner: How it is called.
        is_async: Its colour.
        wants: Parameter → the name of the dependency it is given.
        check: Finds what breaks the annotations of a message; None where they cannot be checked.
        validates: Whether messages have a `validate()` of their own.
    """

    function: Callable[..., Any]
    message: type
    manner: Manner
    is_async: bool
    wants: dict[str, str]
    check: Validate | None
    validates: bool

    @classmethod
    def of(cls, kind: str, message: type, function: Callable[..., Any]) -> "Handler":
        """Bind a function.

        Raises:
            ConfigError: It cannot be called with the message and dependencies alone.
        """
        if not isinstance(message, type):
            raise ConfigError(f"{kind} bus: register takes a class and its handler, not {message!r:.80}")
        if not callable(function):
            raise ConfigError(f"{kind} bus: the handler of {message.__name__} is a function, not {function!r:.80}")
        mark = getattr(function, MARK, None)
        if mark is not None and (mark.kind != kind or not issubclass(message, mark.message)):
            raise ConfigError(
                f"{describe(function)} is marked as the handler of the {mark.kind} {mark.message.__name__}, "
                f"not of the {kind} {message.__name__}"
            )
        manner = Manner() if mark is None else mark.manner
        return cls(
            function=function,
            message=message,
            manner=manner,
            is_async=must_be_awaited(function),
            wants=_wants(function, message),
            check=_check_of(message, function),
            validates=_validates(message),
        )

    async def call(self, message: Any, given: Callable[[str], Any], threads: NestedThreads, around: Any) -> Any:
        """Call it; a plain function on a thread.

        Args:
            message: What it handles.
            given: Returns a dependency by name.
            threads: For plain functions.
            around: The transaction around the call, or None.
        """
        named = {parameter: given(name) for parameter, name in self.wants.items()}
        if self.is_async:
            if around is not None:
                return await around.run(lambda: self.function(message, **named))
            return await self.function(message, **named)
        if around is not None:
            return await threads.run(around.run_blocking, lambda: self.function(message, **named))
        made = await threads.run(lambda: self.function(message, **named))
        return await made if inspect.isawaitable(made) else made


def _wants(function: Callable[..., Any], message: type) -> dict[str, str]:
    owner = describe(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin does not say
        return {}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = parameters and parameters[0].kind in (*positional, inspect.Parameter.VAR_POSITIONAL)
    if not takes or isinstance(parameters[0].default, Dependency):
        raise ConfigError(f"{owner}: its first parameter must take the {message.__name__} that it handles")
    wants: dict[str, str] = {}
    for parameter in parameters[1:]:
        marker = parameter.default
        if isinstance(marker, Dependency):
            if not isinstance(marker.target, str):
                raise ConfigError(
                    f"{owner}, parameter {parameter.name!r}: handlers of messages get dependencies by name, "
                    f"as Depends('database'), not {marker.target!r:.80}: there is no request"
                )
            wants[parameter.name] = marker.target
        elif marker is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(
                f"{owner}, parameter {parameter.name!r}: a handler is called with the {message.__name__} alone; "
                f"give it a default, such as Depends('database')"
            )
    return wants


def _check_of(message: type, function: Callable[..., Any]) -> Validate | None:
    """Return what checks a message against its annotations; pydantic's models have done so themselves."""
    if not is_model(message) or hasattr(message, "__pydantic_validator__"):
        return None
    try:
        return make_validator(message, describe(function))
    except ConfigError:  # a field of a class that JSON cannot say: whoever made the message knows what is in it
        return None


def _validates(message: type) -> bool:
    """Whether messages have a `validate()` without arguments; pydantic's classes have another one."""
    validate = inspect.getattr_static(message, "validate", None)
    return inspect.isfunction(validate) and len(inspect.signature(validate).parameters) == 1
