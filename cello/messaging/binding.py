"""A consumer's handler as a callable of messages alone: bound by its signature, once, when the application starts.

    async def take(order: Order, message: Message, db=Depends("database")): ...

A parameter is claimed in this order: `Depends(…)`; the message, by the annotation `Message` or the name `message`; the
body, by any other annotation: a model, `dict`, `list[int]` … from JSON, validated; `bytes` and `str` as they are. One
with a default that is no model keeps it. What is left over must be the first parameter, and is the message. Handlers of
batches take lists of the same.

Dependencies are plain or async callables, generators among them, with parameters like a handler's; the clean-up of a
generator runs when the handler has ended, with its exception if there was one. Several mentions of one share a value.
"""

import contextlib
import functools
import inspect
import operator
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from cello.errors import ConfigError, UnsupportedMediaType
from cello.http.request import Request
from cello.messaging.errors import InvalidBody
from cello.messaging.message import Message
from cello.pipeline.annotations import bare
from cello.pipeline.bodies import body_getter, member_getter
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.models import is_model
from cello.pipeline.params import Dependency, Parameter
from cello.pipeline.validation import Invalid

Value = Callable[["Delivery"], Awaitable[Any]]
Subject = Message | list[Message]
"""What a handler is called for: a message, or a batch."""
Reading = Callable[[Any], Any]
"""What makes an argument of the subject alone."""
OnThread = Callable[..., Awaitable[Any]]
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_EMPTY = inspect.Parameter.empty


class Delivery:
    """One call of a handler: what it is for, and what its dependencies have made so far."""

    __slots__ = ("made", "stack", "subject")

    def __init__(self, subject: Subject, stack: AsyncExitStack) -> None:
        self.subject = subject
        self.stack = stack
        self.made: dict[Any, Any] = {}


class _Argument(NamedTuple):
    """Where an argument comes from.

    Attributes:
        name: Of the parameter.
        by_keyword: Whether it must be named.
        value: Makes it.
        reading: Makes it of the subject alone, where no more is needed.
    """

    name: str
    by_keyword: bool
    value: Value
    reading: Reading | None


class Binding:
    """A handler and where its arguments come from.

    Args:
        handler: The user's function.
        singletons: What `Depends("name")` gives; read when a message comes.
        overrides: What it gives instead, in tests; read when a message comes.
        on_thread: Runs plain functions.
        is_batch: Whether it takes lists.

    Attributes:
        call: Calls the handler for a message, or for a batch; returns what is to be awaited for what it returns.
            Raises `InvalidBody` where a body is not what the annotation says, and what the handler or a dependency
            raises: at once, or when it is awaited.

    Raises:
        ConfigError: A parameter cannot be bound.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        *,
        singletons: Mapping[str, Any],
        overrides: Mapping[Any, Any],
        on_thread: OnThread,
        is_batch: bool = False,
    ) -> None:
        self._singletons = singletons
        self._overrides = overrides
        self._on_thread = on_thread
        self._is_batch = is_batch
        self._subject_of: Reading = list if is_batch else _itself
        self._is_plain = not must_be_awaited(handler)
        self._handler = handler
        self._arguments = self._arguments_of(handler, ())
        self.call = self._make_call()

    def _make_call(self) -> Callable[[Subject], Awaitable[Any]]:
        # PERF: without dependencies nothing is to be kept or cleaned up, and nothing is around the handler itself:
        # 0.2 instead of 0.5 µs (bench.streams shows the sum of such things)
        handler, readings = self._handler, None if self._is_plain else _readings_of(self._arguments)
        if readings is None:
            return self._with_dependencies
        if len(readings) != 1:
            return lambda subject: handler(*[read(subject) for read in readings])
        read_only = readings[0]
        return handler if read_only is _itself else lambda subject: handler(read_only(subject))

    async def _with_dependencies(self, subject: Subject) -> Any:
        async with AsyncExitStack() as stack:
            return await self._call(self._handler, self._arguments, Delivery(subject, stack))

    async def _call(self, function: Callable[..., Any], arguments: tuple[_Argument, ...], delivery: Delivery) -> Any:
        args = [await argument.value(delivery) for argument in arguments if not argument.by_keyword]
        named = {argument.name: await argument.value(delivery) for argument in arguments if argument.by_keyword}
        if must_be_awaited(function):
            return await function(*args, **named)
        result = await self._plainly(function, *args, **named)
        return await result if inspect.isawaitable(result) else result

    async def _plainly(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call a plain function: on a thread beside a plain handler, which may wait; else at once."""
        if self._is_plain:
            return await self._on_thread(function, *args, **named)
        return function(*args, **named)

    def _arguments_of(self, function: Callable[..., Any], chain: tuple[Any, ...]) -> tuple[_Argument, ...]:
        owner = describe(function)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # a built-in: it is called with nothing
            return ()
        hints = _hints(function, owner)
        found = []
        for position, parameter in enumerate(parameters):
            if parameter.kind in _VARIADIC:
                continue
            where = f"{owner}, parameter {parameter.name!r}"
            value = self._value_of(parameter, hints.get(parameter.name, _EMPTY), where, position, (*chain, function))
            if value is not None:
                keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
                reading = value.of if isinstance(value, _Read) else None
                found.append(_Argument(parameter.name, keyword, value, reading))
        return tuple(found)

    def _value_of(
        self, parameter: inspect.Parameter, annotation: Any, where: str, position: int, chain: tuple[Any, ...]
    ) -> Value | None:
        dependency = _dependency_of(parameter, annotation)
        if dependency is not None:
            target = bare(annotation) if dependency.target is None else dependency.target
            return self._dependency(target, where, chain, use_cache=dependency.use_cache)
        marker = _marker_of(parameter, annotation)
        if marker is not None and marker.source != "body":
            raise ConfigError(f"{where}: a message has no {marker.source} parameters")
        if _is_message(annotation) or (annotation is _EMPTY and parameter.name in ("message", "messages")):
            return _Read(self._subject_of)
        has_default = parameter.default is not _EMPTY and not isinstance(parameter.default, Parameter)
        if has_default and not is_model(annotation):
            return None  # it keeps it
        if annotation is not _EMPTY or marker is not None:
            kind = Any if annotation is _EMPTY else annotation
            return _Read(
                _body(kind, marker or Parameter(source="body"), parameter.name, where, is_batch=self._is_batch)
            )
        if position == 0:
            return _Read(self._subject_of)
        raise ConfigError(f"{where}: nothing says what it is: annotate it with the type of the body, or use Depends()")

    def _dependency(self, target: Any, where: str, chain: tuple[Any, ...], *, use_cache: bool) -> Value:
        if isinstance(target, str):
            return self._singleton(target, where)
        if not callable(target):
            raise ConfigError(f"{where}: Depends() takes a name or a callable, not {target!r:.80}")
        if target in chain:
            circle = " → ".join(describe(link) for link in (*chain[chain.index(target) :], target))
            raise ConfigError(f"{where}: dependencies go in a circle: {circle}")
        plan: dict[Any, tuple[_Argument, ...]] = {target: self._arguments_of(target, chain)}

        async def value(delivery: Delivery) -> Any:
            if use_cache and target in delivery.made:
                return delivery.made[target]
            function = self._overrides.get(target, target) if self._overrides else target
            if function not in plan:
                plan[function] = self._arguments_of(function, chain)
            made = await self._make(function, plan[function], delivery)
            if use_cache:
                delivery.made[target] = made
            return made

        return value

    def _singleton(self, name: str, where: str) -> Value:
        if name not in self._singletons and name not in self._overrides:
            known = ", ".join(map(repr, self._singletons)) or "none"
            raise ConfigError(f"{where}: Depends({name!r}), but no singleton has that name (registered: {known})")

        async def value(delivery: Delivery) -> Any:
            return self._overrides[name] if name in self._overrides else self._singletons[name]

        return value

    async def _make(self, function: Callable[..., Any], arguments: tuple[_Argument, ...], delivery: Delivery) -> Any:
        if inspect.isasyncgenfunction(function):
            made = contextlib.asynccontextmanager(_only_values(function, arguments, delivery))()
            return await delivery.stack.enter_async_context(made)
        if not inspect.isgeneratorfunction(function):
            return await self._call(function, arguments, delivery)
        manager = contextlib.contextmanager(function)
        args = [await argument.value(delivery) for argument in arguments if not argument.by_keyword]
        named = {argument.name: await argument.value(delivery) for argument in arguments if argument.by_keyword}
        entered = manager(*args, **named)
        value = await self._plainly(entered.__enter__)
        delivery.stack.push_async_exit(functools.partial(self._plainly, entered.__exit__))
        return value


def _only_values(
    function: Callable[..., Any], arguments: tuple[_Argument, ...], delivery: Delivery
) -> Callable[[], AsyncIterator[Any]]:
    """Return the async generator function with its arguments filled in when it begins."""

    async def generate() -> AsyncIterator[Any]:
        args = [await argument.value(delivery) for argument in arguments if not argument.by_keyword]
        named = {argument.name: await argument.value(delivery) for argument in arguments if argument.by_keyword}
        inner = contextlib.asynccontextmanager(function)(*args, **named)
        async with inner as value:
            yield value

    return generate


def _hints(function: Callable[..., Any], owner: str) -> dict[str, Any]:
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as error:
        raise ConfigError(f"{owner}: its annotations cannot be resolved: {error}") from None


def _dependency_of(parameter: inspect.Parameter, annotation: Any) -> Dependency | None:
    if isinstance(parameter.default, Dependency):
        return parameter.default
    if typing.get_origin(annotation) is typing.Annotated:
        return next((item for item in typing.get_args(annotation)[1:] if isinstance(item, Dependency)), None)
    return None


def _marker_of(parameter: inspect.Parameter, annotation: Any) -> Parameter | None:
    if isinstance(parameter.default, Parameter):
        return parameter.default
    if typing.get_origin(annotation) is typing.Annotated:
        return next((item for item in typing.get_args(annotation)[1:] if isinstance(item, Parameter)), None)
    return None


def _is_message(annotation: Any) -> bool:
    annotation = bare(annotation)
    if typing.get_origin(annotation) in (list, Sequence):
        annotation = bare((*typing.get_args(annotation), None)[0])
    return isinstance(annotation, type) and issubclass(annotation, Message)


class _Read:
    """A value that is read from the subject alone.

    Args:
        of: Reads it.
    """

    __slots__ = ("of",)

    def __init__(self, of: Reading) -> None:
        self.of = of

    async def __call__(self, delivery: Delivery) -> Any:
        return self.of(delivery.subject)


def _itself(message: Message) -> Message:
    return message


def _readings_of(arguments: Sequence[_Argument]) -> tuple[Reading, ...] | None:
    """Return what reads all arguments; None where that is not all there is to do."""
    readings = [argument.reading for argument in arguments if not argument.by_keyword]
    found = tuple(reading for reading in readings if reading is not None)
    return found if len(found) == len(arguments) else None


def _body(annotation: Any, marker: Parameter, name: str, where: str, *, is_batch: bool) -> Reading:
    """Return what reads the body of a message, or the bodies of a batch, as `annotation` says.

    Raises:
        ConfigError: It cannot be read from JSON, or a batch is not taken as a list.
    """
    if is_batch:
        kind = bare(annotation)
        if kind is list:
            kind = list[Any]
        if typing.get_origin(kind) not in (list, Sequence):
            raise ConfigError(f"{where}: a batch is taken as a list, such as list[Order], not {annotation!r:.80}")
        read_one = _reader((*typing.get_args(kind), Any)[0], marker, name, where)

        def bodies(messages: Sequence[Message]) -> Any:
            found, wrong = [], {}
            for place, message in enumerate(messages):
                try:
                    found.append(read_one(message))
                except InvalidBody as error:
                    wrong[place] = str(error)
            if wrong:
                raise InvalidBody(next(iter(wrong.values())), tuple(wrong))
            return found

        return bodies
    return _reader(annotation, marker, name, where)


def _reader(annotation: Any, marker: Parameter, name: str, where: str) -> Callable[[Message], Any]:
    kind = bare(annotation)
    if not marker.embed and kind in (bytes, str):
        return operator.attrgetter("body" if kind is bytes else "text")
    if marker.embed:
        get = member_getter(annotation, marker, marker.alias or name, where)
    else:
        get = body_getter(annotation, marker, where)

    def read(message: Message) -> Any:
        try:
            return get(Request("POST", "/", body=message.body))
        except Invalid as invalid:
            fault = invalid.faults[0]
            more = f" (and {len(invalid.faults) - 1} more)" if len(invalid.faults) > 1 else ""
            raise InvalidBody(f"the body is not valid: {fault.get('pointer', '#')} {fault['detail']}{more}") from None
        except (ValueError, UnsupportedMediaType) as error:
            raise InvalidBody(f"the body is no JSON: {getattr(error, 'detail', error)}") from None

    return read
