"""Messages: consumers and producers on Kafka, RabbitMQ, SQS, and in memory. Each name loads what it needs when used.

declared.py    what a consumer is          message.py   what it gets and may say
binding.py     its handler's arguments     producer.py  what handlers send with
schedule.py    whose turn it is            consumer.py  consuming by hand
runner.py, work.py  it at work             broker.py    what a broker must do: read this to add one
memory.py, rabbitmq/, …  the brokers       outbox.py    sending what a database transaction decided
"""

from typing import TYPE_CHECKING, Any

from cello.messaging.declared import kafka_consumer, rabbitmq_consumer, sqs_consumer
from cello.messaging.errors import (
    BatchError,
    BrokerUnavailable,
    InvalidBody,
    MessagingError,
    Refused,
    SendTimeout,
    TooLarge,
    Unroutable,
)
from cello.messaging.message import Message, MessageResult, Outgoing, Receipt

if TYPE_CHECKING:
    from cello.messaging.consumer import Consumer
    from cello.messaging.kafka.config import KafkaConfig
    from cello.messaging.memory import MemoryConfig
    from cello.messaging.producer import BlockingProducer, Producer
    from cello.messaging.publishing import kafka_producer
    from cello.messaging.rabbitmq.config import RabbitMQConfig
    from cello.messaging.sqs.config import SqsConfig

_LAZY = {
    "BlockingProducer": "cello.messaging.producer",
    "Consumer": "cello.messaging.consumer",
    "MemoryConfig": "cello.messaging.memory",
    "Producer": "cello.messaging.producer",
    "kafka_producer": "cello.messaging.publishing",
    "KafkaConfig": "cello.messaging.kafka.config",
    "RabbitMQConfig": "cello.messaging.rabbitmq.config",
    "SqsConfig": "cello.messaging.sqs.config",
}

__all__ = [
    "BatchError",
    "BlockingProducer",
    "BrokerUnavailable",
    "Consumer",
    "InvalidBody",
    "KafkaConfig",
    "MemoryConfig",
    "Message",
    "MessageResult",
    "MessagingError",
    "Outgoing",
    "Producer",
    "RabbitMQConfig",
    "Receipt",
    "Refused",
    "SendTimeout",
    "SqsConfig",
    "TooLarge",
    "Unroutable",
    "kafka_consumer",
    "kafka_producer",
    "rabbitmq_consumer",
    "sqs_consumer",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'cello.messaging' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
