"""What a consumer is declared to be: where its messages come from, who handles them, and what happens when that fails.

    @rabbitmq_consumer("orders", concurrency=4)
    async def take(order: Order): ...

    @app.rabbitmq.consumer("orders")
    def take(message): ...

The first form, of `cello.messaging`, is for every application of the process that has the broker switched on; the
second for one application. Both return the function as it is.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cello.errors import ConfigError
from cello.pipeline.colour import describe

F = TypeVar("F", bound=Callable[..., Any])

KAFKA, RABBITMQ, SQS = "kafka", "rabbitmq", "sqs"


def _no_handler(message: Any) -> None:
    raise RuntimeError("a consumer without a handler was run")


@dataclass(frozen=True, slots=True)
class DeclaredConsumer:
    """A consumer.

    Attributes:
        topic: The topic, queue, or URL of a queue.
        handler: Takes messages, or their bodies; see `binding.py`.
        group: Consumers of one group share the messages (Kafka).
        concurrency: How many handlers run at a time, in each worker process.
        prefetch: Most messages in hand, in each worker process; None: the config's.
        batch_size: The handler takes lists of up to so many messages; None: one by one.
        batch_wait_s: How long a batch may wait to become full.
        auto_ack: Acknowledge when the handler has returned; False leaves it to `message.ack()`.
        retries: How often a message that failed is handled again.
        backoff_s: The pause before the first retry; it doubles with each.
        max_backoff_s: The longest pause.
        in_order: Whether a message waits for its retries in this process, so that later ones of its order key wait,
            too; False: it is given back for later, and others overtake it. None: where it has an order key.
        timeout_s: How long the handler may take; None: for ever. A plain function goes on, but is not waited for.
        dead_letter: Where messages go that cannot be handled: a name; True: where the broker has them by default;
            False: they are logged and dropped.
        options: What only its broker understands.
    """

    topic: str
    handler: Callable[..., Any] = _no_handler
    group: str | None = None
    concurrency: int = 1
    prefetch: int | None = None
    batch_size: int | None = None
    batch_wait_s: float = 0.1
    auto_ack: bool = True
    retries: int = 3
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    in_order: bool | None = None
    timeout_s: float | None = None
    dead_letter: str | bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What logs and metrics call it: the handler's `module.qualname`."""
        return describe(self.handler)

    @property
    def has_handler(self) -> bool:
        """Whether it is a function's; False: somebody consumes by hand."""
        return self.handler is not _no_handler

    @property
    def dead_letter_place(self) -> str | None:
        """Where dead letters go by name, by default that of the topic with ".dead-letter" behind it; None: nowhere."""
        if isinstance(self.dead_letter, str):
            return self.dead_letter
        return f"{self.topic}.dead-letter" if self.dead_letter else None

    def delay_s(self, attempt: int) -> float:
        """Return the pause after that attempt, from 1 on: doubling, and up to a quarter shorter so that crowds part."""
        # Not beyond 2**30: floats overflow, and nobody waits for so long.
        longest = min(self.max_backoff_s, self.backoff_s * 2 ** min(attempt - 1, 30))
        return float(longest * random.uniform(0.75, 1.0))


class Declared:
    """Consumers by the kind of their broker, and what each is."""

    def __init__(self) -> None:
        self.consumers: dict[str, list[DeclaredConsumer]] = {}

    def of(self, kind: str) -> list[DeclaredConsumer]:
        """Return those of a kind of broker, in order."""
        return self.consumers.get(kind, [])

    def add(self, kind: str, consumer: DeclaredConsumer) -> None:
        """Add one."""
        self.consumers.setdefault(kind, []).append(consumer)


EVERYWHERE = Declared()
"""What the decorators of `cello.messaging` declare: for every application that has the broker switched on."""


def consumer_of(
    topic: str,
    handler: Callable[..., Any],
    *,
    group: str | None = None,
    concurrency: int = 1,
    prefetch: int | None = None,
    batch: int | None = None,
    batch_wait: float = 0.1,
    auto_ack: bool = True,
    retries: int = 3,
    backoff: float = 1.0,
    max_backoff: float = 60.0,
    in_order: bool | None = None,
    timeout: float | None = None,
    dead_letter: str | bool = True,
    **options: Any,
) -> DeclaredConsumer:
    """Return a checked declaration; the times are in seconds. For what the arguments mean see `DeclaredConsumer`.

    Args:
        topic: The topic or queue; "" where the config says it (SQS).
        handler: What handles messages.

    Raises:
        ConfigError: Something is out of range.
    """
    if not callable(handler):
        raise ConfigError(f"a consumer is a function, not {handler!r:.80}")
    who = f"the consumer {describe(handler)}"
    if not isinstance(topic, str):
        raise ConfigError(f"{who}: a topic or queue is named by a string, not {topic!r:.80}")
    counts: dict[str, Any] = {"concurrency": concurrency, "prefetch": prefetch, "batch": batch, "retries": retries}
    for name, value in counts.items():
        least = 0 if name == "retries" else 1
        if (value is None and name in ("concurrency", "retries")) or _is_no_count(value, least):
            raise ConfigError(f"{who}: {name} is a whole number from {least} on, not {value!r:.80}")
    times: dict[str, Any] = {"batch_wait": batch_wait, "backoff": backoff, "max_backoff": max_backoff}
    for name, seconds in times.items():
        if not isinstance(seconds, int | float) or not seconds >= 0:
            raise ConfigError(f"{who}: {name} is a number of seconds from 0 on, not {seconds!r:.80}")
    if timeout is not None and not timeout > 0:
        raise ConfigError(f"{who}: timeout is a number of seconds above 0, not {timeout!r:.80}")
    place: Any = dead_letter
    if not isinstance(place, str | bool) or place == "":
        raise ConfigError(f"{who}: dead_letter is a name, True or False, not {dead_letter!r:.80}")
    return DeclaredConsumer(
        topic=topic,
        handler=handler,
        group=group,
        concurrency=concurrency,
        prefetch=prefetch,
        batch_size=batch,
        batch_wait_s=batch_wait,
        auto_ack=auto_ack,
        retries=retries,
        backoff_s=backoff,
        max_backoff_s=max_backoff,
        in_order=in_order,
        timeout_s=timeout,
        dead_letter=dead_letter,
        options=options,
    )


def _is_no_count(value: Any, least: int) -> bool:
    return value is not None and (type(value) is not int or value < least)


def declaring(declared: Declared, kind: str, topic: str, **said: Any) -> Callable[[F], F]:
    """Return a decorator that declares a consumer and returns the function as it is."""

    def declare(function: F) -> F:
        declared.add(kind, consumer_of(topic, function, **said))
        return function

    return declare


def kafka_consumer(topic: str, group: str | None = None, auto_commit: bool = True, **options: Any) -> Callable[[F], F]:
    """Have a function handle the messages of a Kafka topic, in every application that calls `enable_messaging`.

    Args:
        topic: The topic.
        group: Consumers of one group share the messages; None: the config's group.
        auto_commit: Commit a message when its handler has returned; False leaves it to `message.ack()`.
        options: The further ones of `consumer_of`, and of Kafka.

    Raises:
        ConfigError: Something is out of range.
    """
    return declaring(EVERYWHERE, KAFKA, topic, group=group, auto_ack=auto_commit, **options)


def rabbitmq_consumer(queue: str, **options: Any) -> Callable[[F], F]:
    """Have a function handle the messages of a RabbitMQ queue, in every application that calls `enable_rabbitmq`.

    Args:
        queue: The queue; it is declared if need be.
        options: Those of `consumer_of`, and of RabbitMQ.

    Raises:
        ConfigError: Something is out of range.
    """
    return declaring(EVERYWHERE, RABBITMQ, queue, **options)


def sqs_consumer(queue_url: str | None = None, **options: Any) -> Callable[[F], F]:
    """Have a function handle the messages of an SQS queue, in every application that calls `enable_sqs`.

    Args:
        queue_url: The queue; None: the config's.
        options: Those of `consumer_of`, and of SQS.

    Raises:
        ConfigError: Something is out of range.
    """
    return declaring(EVERYWHERE, SQS, queue_url or "", **options)
