"""What about a message broker's settings does not fit where the application is to run (`cello check`).

Nothing is reached for that: it is read off the config and the consumers that were declared.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from cello.messaging.broker import BrokerConfig
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.kafka.config import KafkaConfig
from cello.messaging.memory import MemoryConfig
from cello.messaging.rabbitmq.config import RabbitMQConfig
from cello.messaging.sqs.config import SqsConfig
from cello.review import Deployment, Finding


def review_broker(switch: str, config: BrokerConfig, deployment: Deployment) -> Iterator[Finding]:
    """Find what is wrong with a config: who else can read along, and which processes do not reach the broker.

    Args:
        switch: The method that was called, for the texts.
        config: What it was called with.
        deployment: Where the application is to run.
    """
    if isinstance(config, MemoryConfig):
        yield from _review_memory(switch, deployment)
        return
    hosts = _hosts_of(config)
    if hosts and all(map(_is_this_machine, hosts)):
        if deployment.machines > 1:
            yield Finding(
                "error",
                "messaging-localhost",
                f"{switch}: {', '.join(hosts)} is another broker on each of {deployment.machines} machines; name one "
                "that all reach",
            )
        return
    if not deployment.is_production:
        return
    if isinstance(config, KafkaConfig):
        yield from _review_kafka(config)
    elif isinstance(config, RabbitMQConfig):
        yield from _review_rabbitmq(config)
    elif isinstance(config, SqsConfig):
        yield from _review_sqs(config)


def review_consumers(
    switch: str, consumers: Sequence[DeclaredConsumer], deployment: Deployment, *, only_in_workers: bool
) -> Iterator[Finding]:
    """Find consumers that do less at a time than they say, or that somebody has to start.

    Args:
        switch: The method that was called.
        consumers: With `prefetch` set.
        deployment: Where the application is to run.
        only_in_workers: Whether they run in `cello worker` only.
    """
    for consumer in consumers:
        size = consumer.batch_size or 1
        in_hand = max(consumer.prefetch or 1, size)
        if consumer.concurrency * size > in_hand:
            each = "" if consumer.batch_size is None else f" of {size} messages each"
            yield Finding(
                "warning",
                "messaging-prefetch",
                f"consumer {consumer.name}: {consumer.concurrency} handlers{each} never run at the same time, as at "
                f"most {in_hand} messages are in hand; say prefetch={consumer.concurrency * size}",
            )
    if only_in_workers and consumers and deployment.is_production:
        yield Finding(
            "note",
            "messaging-worker",
            f'{switch}(consumers="worker"): nobody consumes {", ".join(sorted({each.topic for each in consumers}))} '
            "unless `cello worker` runs, too",
        )


def _review_memory(switch: str, deployment: Deployment) -> Iterator[Finding]:
    processes = deployment.workers * deployment.machines
    if processes > 1:
        yield Finding(
            "error",
            "messaging-memory",
            f"{switch}: a broker in memory is one process' own, and there are {processes}: use a real one",
        )
    elif deployment.is_production:
        yield Finding(
            "warning", "messaging-memory", f"{switch}: messages in memory end with the process: use a real broker"
        )


def _review_kafka(config: KafkaConfig) -> Iterator[Finding]:
    if config.security_protocol == "SASL_PLAINTEXT":
        what = "the password and " if config.sasl_mechanism == "PLAIN" else ""
        yield Finding(
            "warning",
            "messaging-plaintext",
            f"KafkaConfig.security_protocol: {what}all messages go over the network as they are; use SASL_SSL",
        )
    elif config.security_protocol == "PLAINTEXT":
        yield Finding(
            "note",
            "messaging-plaintext",
            "KafkaConfig.security_protocol: nobody signs in, and who is in the network can read along; is it closed?",
        )
    if len(config.brokers) == 1:
        yield Finding(
            "note",
            "messaging-one-broker",
            f"KafkaConfig.brokers: while {config.brokers[0]} is away, the application finds none of the others at its "
            "start; name two or three",
        )


def _review_rabbitmq(config: RabbitMQConfig) -> Iterator[Finding]:
    parts = urlsplit(config.url)
    if parts.scheme == "amqp":
        yield Finding(
            "warning",
            "messaging-plaintext",
            f"RabbitMQConfig.url: the password and all messages go to {parts.hostname} as they are; use amqps://",
        )
    if unquote(parts.username or "guest") == "guest":
        yield Finding(
            "warning",
            "messaging-guest",
            f"RabbitMQConfig.url: RabbitMQ lets 'guest' in from its own machine only, and where {parts.hostname} was "
            "told otherwise, everybody knows the password; name a user",
        )


def _review_sqs(config: SqsConfig) -> Iterator[Finding]:
    for name in ("endpoint_url", "queue_url"):
        parts = urlsplit(getattr(config, name) or "")
        if parts.scheme == "http":
            yield Finding(
                "warning",
                "messaging-plaintext",
                f"SqsConfig.{name}: all messages go to {parts.hostname} as they are; use https://",
            )
            break
    if config.wait_time_secs == 0:
        yield Finding(
            "warning",
            "messaging-polling",
            "SqsConfig.wait_time_secs: with 0 an empty queue is asked again and again, and each request is paid for; "
            "use 20",
        )


def _hosts_of(config: BrokerConfig) -> list[str]:
    """Return the machines that a config names."""
    if isinstance(config, KafkaConfig):
        return [broker.rpartition(":")[0].strip("[]") for broker in config.brokers]
    if isinstance(config, RabbitMQConfig):
        return [urlsplit(config.url).hostname or ""]
    if isinstance(config, SqsConfig):
        host = urlsplit(config.endpoint_url or config.queue_url).hostname
        return [host] if host else []
    return []


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
