"""The config class of Kafka; nothing here imports its client."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from cello.config import config, field
from cello.errors import ConfigError

if TYPE_CHECKING:
    from cello.messaging.broker import Broker

SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@config
class KafkaConfig:
    """Which Kafka cluster, and how messages are sent to it and taken from it.

    Attributes:
        brokers: Some of its brokers as "host:port"; the others are found through them.
        group_id: The group of consumers that name none; None: each of them has a group of its own, named after it.
        client_id: How this application is called in the brokers' logs; None for "cello".
        auto_commit: A message is committed when its handler has returned, unless the consumer says
            `auto_commit=False`; False: for all consumers when they say `message.ack()`.
        session_timeout_ms: Milliseconds of silence after which the broker gives a consumer's partitions to others.
            Within half of them a consumer finishes what it has in hand when its partitions are taken from it.
        max_poll_records: Most messages that a consumer has in hand.
        auto_offset_reset: Where a group begins that has committed nothing: "earliest" or "latest".
        isolation_level: "read_committed" hides messages of transactions that were not committed; "read_uncommitted".
        connection_timeout_secs: Seconds that connecting may take at start-up, and what a health check asks.
        send_timeout_secs: Seconds within which a message must be confirmed.
        max_message_bytes: Bytes of a message with its key and headers; beyond, sending raises at once.
        compression: Of what is sent: None, "gzip", "snappy", "lz4" or "zstd".
        linger_ms: Milliseconds that a message waits for others to be sent with.
        idempotent: The broker drops what the client has sent twice because a confirmation was lost.
        transactional_id: What the ids of transactions begin with, see `Producer.transaction`; None for none.
        transaction_timeout_ms: Milliseconds after which the broker aborts a transaction that was not ended.
        security_protocol: "PLAINTEXT", "SSL", "SASL_PLAINTEXT" or "SASL_SSL".
        ssl_cafile: File with the certificates of trusted authorities; None for the system's.
        ssl_certfile: File with the client's certificate.
        ssl_keyfile: File with its key.
        sasl_mechanism: "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512".
        sasl_username: Who signs in.
        sasl_password: The password.
    """

    brokers: list[str] = field(default_factory=lambda: ["localhost:9092"])
    group_id: str | None = None
    client_id: str | None = None
    auto_commit: bool = True
    session_timeout_ms: int = field(default=30_000, at_least=100)
    max_poll_records: int = field(default=500, at_least=1)
    auto_offset_reset: str = field(default="earliest", one_of=("earliest", "latest"))
    isolation_level: str = field(default="read_committed", one_of=("read_committed", "read_uncommitted"))
    connection_timeout_secs: float = field(default=5, above=0)
    send_timeout_secs: float = field(default=30, above=0)
    max_message_bytes: int = field(default=1_048_576, at_least=1)
    compression: str | None = field(default=None, one_of=("gzip", "snappy", "lz4", "zstd"))
    linger_ms: int = field(default=0, at_least=0)
    idempotent: bool = True
    transactional_id: str | None = None
    transaction_timeout_ms: int = field(default=60_000, at_least=1)
    security_protocol: str = field(default="PLAINTEXT", one_of=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    sasl_mechanism: str = field(default="PLAIN", one_of=SASL_MECHANISMS)
    sasl_username: str | None = None
    sasl_password: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.brokers, (list, tuple)):  # what else it is the check of its type says
            _check_brokers(self.brokers)
        if (self.sasl_username is None) != (self.sasl_password is None):
            raise ConfigError("KafkaConfig: sasl_username and sasl_password come together")
        if str(self.security_protocol).startswith("SASL") != (self.sasl_username is not None):
            raise ConfigError(
                f"KafkaConfig: a sasl_username needs security_protocol SASL_PLAINTEXT or SASL_SSL, and these need one; "
                f"it is {self.security_protocol!r:.80}"
            )
        files = (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        if any(files) and not str(self.security_protocol).endswith("SSL"):
            raise ConfigError("KafkaConfig: ssl_cafile, ssl_certfile and ssl_keyfile need security_protocol SSL")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ConfigError("KafkaConfig: ssl_certfile and ssl_keyfile come together")

    @classmethod
    def local(cls, **options: Any) -> Self:
        """Return the config of the broker on this machine."""
        return cls(**{"brokers": ["localhost:9092"], **options})

    def make_broker(self) -> "Broker":
        """Return a broker that is not connected.

        Raises:
            MissingDependency: aiokafka is not installed.
        """
        from importlib import import_module

        made: Broker = import_module("cello.messaging.kafka.broker").KafkaBroker(self)  # it imports this module
        return made

    def __repr__(self) -> str:
        return f"KafkaConfig({', '.join(self.brokers)}, group_id={self.group_id!r})"


def _check_brokers(brokers: Sequence[Any]) -> None:
    if not brokers:
        raise ConfigError("KafkaConfig.brokers names no broker: give at least one 'host:port'")
    for broker in brokers:
        host, colon, port = broker.rpartition(":") if isinstance(broker, str) else ("", "", "")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
            raise ConfigError(f"KafkaConfig.brokers: {broker!r:.80} is no 'host:port'")


def as_config(config: "KafkaConfig | None") -> KafkaConfig:
    """Return a config: itself, or the default one.

    Raises:
        ConfigError: It is something else.
    """
    if config is None:
        return KafkaConfig()
    if not isinstance(config, KafkaConfig):
        raise ConfigError(f"enable_messaging() takes a KafkaConfig, not {config!r:.80}")
    return config
