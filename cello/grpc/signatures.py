"""What a method takes and gives, found in its annotations.

| parameters | the client's message |
|---|---|
| `request`, not annotated, or a `GrpcRequest` | a Struct, as the mapping that the request is |
| one model, dict, or protobuf message | that |
| one iterator, async or plain, of such | a stream of them |
| others | a message with a field for each |
| none | Empty |

A further parameter annotated `GrpcRequest`, or called `context`, gets the call. What is returned: nothing annotated,
or a `GrpcResponse`, is a Struct; None is Empty; a model, dict or protobuf message is that; an iterator is a stream;
anything else is a message with one field, `value`.
"""

import inspect
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, NamedTuple

from cello.errors import ConfigError
from cello.grpc.declared import Declared
from cello.grpc.request import GrpcRequest, GrpcResponse
from cello.pipeline.annotations import bare
from cello.pipeline.models import Field, is_model, is_pydantic

_STREAMS = (AsyncIterator, AsyncGenerator, AsyncIterable, Generator, Iterator, Iterable)
_CONTEXT = ("context", "ctx")
_EMPTY = inspect.Parameter.empty


class Untyped:
    """Stands for a message without a type of its own."""


class Signature(NamedTuple):
    """What a method takes and gives.

    Attributes:
        takes: The class of the client's messages; `Untyped`, None for Empty, or a list of the fields of one.
        gives: The class of its own messages; `Untyped`, or None for Empty.
        wraps: Whether what it gives is the field `value` of a message made for it.
        client_streams: Whether messages come as a stream.
        server_streams: Whether it answers a stream.
        call: Calls it with the message, or the stream of them, and the request.
    """

    takes: Any
    gives: Any
    wraps: bool
    client_streams: bool
    server_streams: bool
    call: Callable[[Any, GrpcRequest], Any]


def read_signature(declared: Declared, where: str) -> Signature:
    """Return the signature of a method.

    Raises:
        ConfigError: A parameter cannot be taken from a message; the message names `where`.
    """
    function: Any = declared.function
    try:
        hints = typing.get_type_hints(_inner(function), include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"{where}: its annotations cannot be resolved: {error}") from None
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"{where}: a field has a name, *{parameter.name} has none")
    takes, client_streams, call = _taken(function, parameters, hints, where)
    gives, server_streams = _given(declared, function, hints, where)
    wraps = not (gives in (Untyped, None) or is_message(gives))
    return Signature(takes, gives, wraps, client_streams, server_streams, call)


def _taken(
    function: Any, parameters: list[inspect.Parameter], hints: Mapping[str, Any], where: str
) -> tuple[Any, bool, Callable[[Any, GrpcRequest], Any]]:
    contexts = [
        each.name
        for place, each in enumerate(parameters)
        if hints.get(each.name) is GrpcRequest or (place and each.name in _CONTEXT and each.name not in hints)
    ]
    if len(contexts) > 1:
        raise ConfigError(f"{where}: two parameters want the GrpcRequest: {', '.join(contexts)}")
    others = [each for each in parameters if each.name not in contexts]
    name = contexts[0] if contexts else None
    if not others:
        if name is None:
            return None, False, lambda message, request: function()
        return Untyped, False, _untyped(function, name)
    first = others[0]
    if len(others) == 1:
        if first.name not in hints:
            if name is not None:
                raise ConfigError(f"{where}: the parameter {first.name!r} needs an annotation")
            return Untyped, False, _untyped(function, first.name)
        annotation = bare(hints[first.name])
        if typing.get_origin(annotation) in _STREAMS:
            item = _item(annotation)
            if not (item is Untyped or is_message(item)):
                raise ConfigError(f"{where}: a stream is one of models, dicts or protobuf messages, not of {item}")
            return item, True, _whole(function, first.name, name)
        if is_message(annotation):
            return (Untyped if _is_dict(annotation) else annotation), False, _whole(function, first.name, name)
    for each in others:
        if each.name not in hints:
            raise ConfigError(f"{where}: the parameter {each.name!r} needs an annotation")
    fields = [Field(each.name, each.name, hints[each.name], each.default is _EMPTY) for each in others]
    return fields, False, _spread(function, name)


def _given(declared: Declared, function: Any, hints: Mapping[str, Any], where: str) -> tuple[Any, bool]:
    inner = _inner(function)
    is_generator = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
    annotation = bare(hints.get("return", Untyped))
    is_iterator = typing.get_origin(annotation) in _STREAMS or annotation in _STREAMS
    streams = bool(declared.stream) or is_generator or is_iterator
    if streams and declared.stream is False:
        raise ConfigError(f"{where}: stream=False, but it gives several messages")
    if is_iterator:
        annotation = _item(annotation)
    if annotation in (GrpcResponse, Untyped) or _is_dict(annotation):
        return Untyped, streams
    return (None if annotation in (None, type(None)) else annotation), streams


def _untyped(function: Any, name: str) -> Callable[[Any, GrpcRequest], Any]:
    return lambda message, request: function(request)


def _whole(function: Any, name: str, context: str | None) -> Callable[[Any, GrpcRequest], Any]:
    if context is None:
        return lambda message, request: function(message)
    return lambda message, request: function(**{name: message, context: request})


def _spread(function: Any, context: str | None) -> Callable[[Any, GrpcRequest], Any]:
    if context is None:
        return lambda message, request: function(**message)
    return lambda message, request: function(**message, **{context: request})


def _item(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    item = bare(arguments[0]) if arguments else Untyped
    return Untyped if _is_dict(item) or item in (Any, GrpcResponse) else item


def _is_dict(annotation: Any) -> bool:
    return (typing.get_origin(annotation) or annotation) in (dict, Mapping)


def is_message(annotation: Any) -> bool:
    """Return whether a class is a message by itself."""
    return _is_dict(annotation) or is_model(annotation) or is_pydantic(annotation) or is_generated(annotation)


def is_generated(annotation: Any) -> bool:
    """Return whether a class was generated by protobuf's compiler."""
    return isinstance(annotation, type) and hasattr(annotation, "DESCRIPTOR") and hasattr(annotation, "FromString")


def _inner(function: Any) -> Any:
    """Return the function in a partial, or behind an object's `__call__`."""
    while hasattr(function, "func"):
        function = function.func
    if inspect.isfunction(function) or inspect.ismethod(function) or isinstance(function, type):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004  # its annotations are wanted
