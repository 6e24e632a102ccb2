"""The config classes of Kafka and SQS: what they have by default, and what they refuse."""

import dataclasses
from typing import Any

import pytest

from cello import App, KafkaConfig, SqsConfig
from cello.errors import ConfigError
from cello.messaging.kafka.config import KafkaConfig as TheKafkaConfig

REFUSED_KAFKA = {
    "no broker": ({"brokers": []}, "names no broker"),
    "a broker without a port": ({"brokers": ["localhost"]}, "'localhost' is no 'host:port'"),
    "a broker that is a URL": ({"brokers": ["kafka://a:9092"]}, "is no 'host:port'"),
    "a port out of range": ({"brokers": ["a:70000"]}, "is no 'host:port'"),
    "brokers as a string": ({"brokers": "localhost:9092"}, "KafkaConfig.brokers must be a list"),
    "a user without a password": ({"sasl_username": "a", "security_protocol": "SASL_SSL"}, "come together"),
    "a user without SASL": ({"sasl_username": "a", "sasl_password": "b"}, "needs security_protocol"),
    "SASL without a user": ({"security_protocol": "SASL_PLAINTEXT"}, "needs security_protocol"),
    "certificates without TLS": ({"ssl_cafile": "ca.pem"}, "need security_protocol SSL"),
    "a certificate without its key": ({"ssl_certfile": "a", "security_protocol": "SSL"}, "come together"),
    "another reset": ({"auto_offset_reset": "none"}, "auto_offset_reset must be one of"),
    "an unknown field": ({"broker": []}, "did you mean 'brokers'"),
    "no records": ({"max_poll_records": 0}, "max_poll_records must be at least 1"),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED_KAFKA.values(), ids=REFUSED_KAFKA.keys())
def test_what_kafka_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        KafkaConfig(**fields)


REFUSED_SQS = {
    "a queue that is no URL": ({"queue_url": "orders"}, "queue_url is a URL"),
    "an endpoint that is no URL": ({"endpoint_url": "localhost:4566"}, "endpoint_url is a URL"),
    "too many messages": ({"max_messages": 11}, "max_messages must be at most 10"),
    "too long a poll": ({"wait_time_secs": 21}, "wait_time_secs must be at most 20"),
    "too long a timeout": ({"visibility_timeout_secs": 43_201}, "at most 43200"),
    "a key without its secret": ({"access_key_id": "a"}, "come together"),
    "a token without a key": ({"session_token": "a"}, "a session_token needs"),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED_SQS.values(), ids=REFUSED_SQS.keys())
def test_what_sqs_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SqsConfig(**fields)


def test_the_defaults_are_the_documented_ones() -> None:
    kafka, sqs = KafkaConfig(), SqsConfig()
    assert (kafka.brokers, kafka.group_id, kafka.client_id) == (["localhost:9092"], None, None)
    assert (kafka.auto_commit, kafka.session_timeout_ms, kafka.max_poll_records) == (True, 30_000, 500)
    assert (sqs.region, sqs.queue_url, sqs.endpoint_url) == ("us-east-1", "", None)
    assert (sqs.max_messages, sqs.wait_time_secs, sqs.visibility_timeout_secs) == (10, 20, 30)
    assert TheKafkaConfig is KafkaConfig


def test_local_presets_take_further_fields() -> None:
    kafka = KafkaConfig.local(group_id="g")
    assert (kafka.brokers, kafka.group_id) == (["localhost:9092"], "g")
    sqs = SqsConfig.local("http://localhost:4566/0/q", max_messages=3)
    assert (sqs.endpoint_url, sqs.queue_url, sqs.max_messages) == (
        "http://localhost:4566",
        "http://localhost:4566/0/q",
        3,
    )
    assert dataclasses.replace(sqs, region="eu-west-1").region == "eu-west-1"


def test_secrets_are_not_shown() -> None:
    kafka = KafkaConfig(security_protocol="SASL_SSL", sasl_username="u", sasl_password="hidden")
    assert "hidden" not in repr(kafka)
    assert "hidden" not in repr(SqsConfig(access_key_id="a", secret_access_key="hidden"))


@pytest.mark.parametrize("switch", ["enable_messaging", "enable_sqs"])
def test_another_kind_of_config_is_refused(switch: str) -> None:
    with pytest.raises(ConfigError, match=switch):
        getattr(App(), switch)({"brokers": []})


def test_certificates_that_cannot_be_read_are_said_when_it_is_switched_on() -> None:
    pytest.importorskip("aiokafka")
    config = KafkaConfig(security_protocol="SSL", ssl_cafile="/nowhere/ca.pem")
    with pytest.raises(ConfigError, match="certificates cannot be read"):
        App().enable_messaging(config)
