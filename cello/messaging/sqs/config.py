"""The config class of SQS; nothing here imports its client."""

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from cello.config import config, field
from cello.errors import ConfigError

if TYPE_CHECKING:
    from cello.messaging.broker import Broker

PREFETCH = 10
"""Most messages in hand of a consumer that says nothing itself."""


@config
class SqsConfig:
    """Which queues of AWS SQS, or of a server that speaks its protocol, and how messages are taken from them.

    Attributes:
        region: Of AWS, such as "us-east-1".
        queue_url: The queue of consumers and of `send` that name none.
        endpoint_url: A server other than AWS', such as LocalStack or moto.
        max_messages: Most messages that one request fetches.
        wait_time_secs: Seconds that a request for messages waits for the first (long poll); 0 asks again and again.
        visibility_timeout_secs: Seconds for which a received message is hidden from others. While its handler runs the
            time is extended, so this is how long a message of a killed worker waits.
        connection_timeout_secs: Seconds that connecting and one answer may take, beyond `wait_time_secs`.
        send_timeout_secs: Seconds within which a message must be confirmed, retries included.
        max_message_bytes: Bytes of a message with its headers, and of a batch; beyond, sending raises at once. AWS
            takes a MiB, or less where a queue says so.
        access_key_id: Who signs in; None: as boto3 finds it (environment, files, the machine's role).
        secret_access_key: Its secret.
        session_token: The token of temporary credentials.
    """

    region: str = "us-east-1"
    queue_url: str = ""
    endpoint_url: str | None = None
    max_messages: int = field(default=10, at_least=1, at_most=10)
    wait_time_secs: int = field(default=20, at_least=0, at_most=20)
    visibility_timeout_secs: int = field(default=30, at_least=1, at_most=43_200)
    connection_timeout_secs: float = field(default=5, above=0)
    send_timeout_secs: float = field(default=30, above=0)
    max_message_bytes: int = field(default=1_048_576, at_least=1)
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None

    def __post_init__(self) -> None:
        for name in ("queue_url", "endpoint_url"):
            url = getattr(self, name)
            if isinstance(url, str) and url and not is_url(url):
                raise ConfigError(f"SqsConfig.{name} is a URL, http:// or https://, not {url!r:.80}")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ConfigError("SqsConfig: access_key_id and secret_access_key come together")
        if self.session_token is not None and self.access_key_id is None:
            raise ConfigError("SqsConfig: a session_token needs access_key_id and secret_access_key")

    @classmethod
    def local(cls, queue_url: str = "", **options: Any) -> Self:
        """Return the config of LocalStack on this machine, which believes any credentials."""
        known = {"endpoint_url": "http://localhost:4566", "access_key_id": "test", "secret_access_key": "test"}
        return cls(**{"queue_url": queue_url, **known, **options})

    def make_broker(self) -> "Broker":
        """Return a broker that is not connected.

        Raises:
            MissingDependency: aiobotocore is not installed.
        """
        from importlib import import_module

        made: Broker = import_module("cello.messaging.sqs.broker").SqsBroker(self)  # it imports this module
        return made

    def __repr__(self) -> str:
        return f"SqsConfig({self.queue_url or self.endpoint_url or self.region!r})"


def is_url(text: str) -> bool:
    """Whether it is a URL of a queue or a server."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def as_config(config: "SqsConfig | None") -> SqsConfig:
    """Return a config: itself, or the default one.

    Raises:
        ConfigError: It is something else.
    """
    if config is None:
        return SqsConfig()
    if not isinstance(config, SqsConfig):
        raise ConfigError(f"enable_sqs() takes a SqsConfig, not {config!r:.80}")
    return config
