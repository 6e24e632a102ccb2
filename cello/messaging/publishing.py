"""A function whose result is also sent to a topic: `@kafka_producer("events")`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from cello.errors import ConfigError
from cello.http.response import Response
from cello.messaging.declared import KAFKA
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.params import Depends

F = TypeVar("F", bound=Callable[..., Any])
INJECTED = "_kafka"


def kafka_producer(topic: str) -> Callable[[F], F]:
    """Have what a handler returns also sent to a Kafka topic, confirmed before it is answered; None sends nothing.

    For handlers of routes and of messages, `def` and `async def`; of a body with a status the body is sent.

    Args:
        topic: The topic.

    Raises:
        ConfigError: The topic is no name.
        BrokerUnavailable: In the handler's stead, when the message was not confirmed: 503.
    """
    if not (topic and isinstance(topic, str)):
        raise ConfigError(f"kafka_producer: a topic is named by a string, not {topic!r:.80}")

    def decorate(function: F) -> F:
        if must_be_awaited(function):

            @functools.wraps(function)
            async def send_async(*args: Any, **named: Any) -> Any:
                kafka = named.pop(INJECTED)
                result = await function(*args, **named)
                if (value := _value(result, function)) is not None:
                    await kafka.aio.send(topic, value)
                return result

            wrapper: Any = send_async
        else:

            @functools.wraps(function)
            def send(*args: Any, **named: Any) -> Any:
                kafka = named.pop(INJECTED)
                result = function(*args, **named)
                if (value := _value(result, function)) is not None:
                    kafka.blocking.send(topic, value)
                return result

            wrapper = send
        wrapper.__signature__ = _injected(inspect.signature(function))
        return cast(F, wrapper)

    return decorate


def _value(result: Any, function: Callable[..., Any]) -> Any:
    """Return what is sent of what a handler returned."""
    value = result[0] if isinstance(result, tuple) and result else result
    if isinstance(value, Response) or inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise TypeError(f"@kafka_producer: {describe(function)} returns {value!r:.80}, which is no message")
    return value


def _injected(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature with what sends to be injected."""
    kept = list(signature.parameters.values())
    rest = [kept.pop()] if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    kafka = inspect.Parameter(INJECTED, inspect.Parameter.KEYWORD_ONLY, default=Depends(KAFKA))
    return signature.replace(parameters=[*kept, kafka, *rest])
