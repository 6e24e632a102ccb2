"""What `cello check` says of message brokers and their consumers."""

from typing import Any

import pytest

from cello import App, KafkaConfig, RabbitMQConfig, SqsConfig
from cello.features.messaging.switch import MessagingSwitch
from cello.messaging import MemoryConfig, Message
from cello.review import Deployment

REMOTE = ["kafka1:9092", "kafka2:9092"]


def kafka(**fields: Any) -> KafkaConfig:
    return KafkaConfig(**{"brokers": REMOTE, "security_protocol": "SSL", **fields})


def signed_in(protocol: str, mechanism: str = "PLAIN") -> KafkaConfig:
    return kafka(security_protocol=protocol, sasl_mechanism=mechanism, sasl_username="shop", sasl_password="s3cret")


def review(config: Any, **deployment: Any) -> dict[str, str]:
    switch = MessagingSwitch("messages", "enable_messages", config)
    return {found.code: found.level for found in switch.review(Deployment(**deployment))}


CONFIGS: dict[str, tuple[Any, dict[str, str]]] = {
    "kafka, encrypted": (kafka(), {}),
    "kafka, encrypted and signed in": (signed_in("SASL_SSL"), {}),
    "kafka, a password as it is": (signed_in("SASL_PLAINTEXT"), {"messaging-plaintext": "warning"}),
    "kafka, for everybody": (kafka(security_protocol="PLAINTEXT"), {"messaging-plaintext": "note"}),
    "kafka, one address": (kafka(brokers=["kafka1:9092"]), {"messaging-one-broker": "note"}),
    "kafka, on this machine": (KafkaConfig.local(), {}),
    "kafka, on this machine by IPv6": (KafkaConfig(["[::1]:9092"]), {}),
    "rabbitmq, encrypted": (RabbitMQConfig("amqps://shop:s3cret@rabbit"), {}),
    "rabbitmq, a password as it is": (
        RabbitMQConfig("amqp://shop:s3cret@rabbit"), {"messaging-plaintext": "warning"},
    ),
    "rabbitmq, guest": (RabbitMQConfig("amqps://guest:guest@rabbit"), {"messaging-guest": "warning"}),
    "rabbitmq, nobody named": (RabbitMQConfig("amqps://rabbit"), {"messaging-guest": "warning"}),
    "rabbitmq, on this machine": (RabbitMQConfig(), {}),
    "sqs, of AWS": (SqsConfig(), {}),
    "sqs, of another server": (
        SqsConfig(endpoint_url="http://queues.internal:9324"), {"messaging-plaintext": "warning"},
    ),
    "sqs, without waiting": (SqsConfig(wait_time_secs=0), {"messaging-polling": "warning"}),
    "sqs, on this machine": (SqsConfig.local(), {}),
    "memory": (MemoryConfig(), {"messaging-memory": "warning"}),
}  # fmt: skip


@pytest.mark.parametrize(("config", "findings"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_broker_is_looked_at_before_production(config: Any, findings: dict[str, str]) -> None:
    assert review(config) == findings
    assert review(config, env="development") == {}


@pytest.mark.parametrize("config", [KafkaConfig.local(), RabbitMQConfig(), SqsConfig.local()], ids=str)
def test_a_broker_on_each_machine_is_not_one_for_all(config: Any) -> None:
    assert review(config, machines=2) == {"messaging-localhost": "error"}


@pytest.mark.parametrize("deployment", [{"workers": 2}, {"machines": 2}, {"workers": 2, "env": "development"}], ids=str)
def test_a_broker_in_memory_is_for_one_process(deployment: dict[str, Any]) -> None:
    assert review(MemoryConfig(), **deployment) == {"messaging-memory": "error"}


def test_no_secret_is_told() -> None:
    for config in (signed_in("SASL_PLAINTEXT"), RabbitMQConfig("amqp://guest:s3cret@rabbit")):
        switch = MessagingSwitch("messages", "enable_messages", config)
        assert not [found for found in switch.review(Deployment()) if "s3cret" in found.text]


def many(messages: list[Message]) -> None: ...


def one(message: Message) -> None: ...


CONSUMERS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "as many as are in hand": (one, {"concurrency": 10}, []),
    "more than are in hand": (one, {"concurrency": 50}, ["messaging-prefetch"]),
    "more than it says itself": (one, {"concurrency": 3, "prefetch": 2}, ["messaging-prefetch"]),
    "one list": (many, {"batch": 100}, []),
    "more lists than are in hand": (many, {"batch": 100, "concurrency": 2}, ["messaging-prefetch"]),
    "lists that are": (many, {"batch": 100, "concurrency": 2, "prefetch": 200}, []),
}


@pytest.mark.parametrize(("handler", "options", "codes"), CONSUMERS.values(), ids=CONSUMERS.keys())
def test_handlers_that_never_run_at_the_same_time_are_found(
    handler: Any, options: dict[str, Any], codes: list[str]
) -> None:
    app = App()
    app.enable_rabbitmq(RabbitMQConfig())
    app.rabbitmq.consumer("orders", **options)(handler)
    assert [found.code for found in app.review(Deployment())] == codes


def test_consumers_that_somebody_has_to_start_are_named() -> None:
    app = App()
    app.enable_rabbitmq(RabbitMQConfig(), consumers="worker")
    assert app.review(Deployment()) == []
    app.rabbitmq.consumer("orders")(one)
    (found,) = app.review(Deployment())
    assert (found.level, found.code) == ("note", "messaging-worker")
    assert "orders" in found.text
    assert app.review(Deployment(env="development")) == []
