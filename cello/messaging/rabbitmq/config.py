"""What `enable_rabbitmq` is told; nothing here imports the client library."""

from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote, urlsplit

from cello.config import config, field
from cello.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from cello.messaging.broker import Broker

QUEUE_TYPES = ("classic", "quorum")


@config
class RabbitMQConfig:
    """Which RabbitMQ server, and how it is used.

    Attributes:
        url: `amqp://[user:password@]host[:port][/vhost]`, or `amqps://…` with TLS (`?cafile=…` names the authorities);
            without a user "guest" and its password.
        vhost: The virtual host; where the URL names one too they must agree.
        prefetch_count: Most messages in hand, of each consumer in each worker process.
        heartbeat: Seconds between signs of life; a peer that is silent for two of them is gone. 0 for none.
        connection_timeout_secs: Seconds that connecting may take, and each question to the server.
        confirm_timeout_secs: Seconds in which the server must confirm a message.
        max_message_bytes: What is larger is refused before it is sent; None leaves that to the server.
        queue_type: Of the queues that consumers declare: "classic", or "quorum", which is replicated in a cluster.
    """

    url: str = "amqp://localhost"
    vhost: str = "/"
    prefetch_count: int = field(default=10, at_least=1, at_most=65_535)
    heartbeat: int = field(default=60, at_least=0, at_most=65_535)
    connection_timeout_secs: float = field(default=5, above=0)
    confirm_timeout_secs: float = field(default=10, above=0)
    max_message_bytes: int | None = field(default=None, at_least=0)
    queue_type: str = field(default="classic", one_of=QUEUE_TYPES)

    def __post_init__(self) -> None:
        if type(self.url) is str and type(self.vhost) is str:  # what else they are the check of their types says
            self._split()

    def _split(self) -> tuple[str, str]:
        """Return the URL's parts that matter: (netloc, virtual host)."""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"RabbitMQConfig.url: {error}") from None
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname or port == 0:
            raise ConfigError("RabbitMQConfig.url is such as 'amqp://user:password@host:5672', not what was given")
        named = unquote(parts.path[1:])
        if named and self.vhost != "/" and named != self.vhost:
            raise ConfigError(
                f"RabbitMQConfig: the URL names the virtual host {named!r:.80}, vhost is {self.vhost!r:.80}"
            )
        return parts.netloc, named or self.vhost

    @property
    def full_url(self) -> str:
        """The URL with the virtual host in it; holds the password."""
        parts = urlsplit(self.url)
        netloc, vhost = self._split()
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{netloc}/{quote(vhost, safe='')}{query}"

    @property
    def safe_url(self) -> str:
        """The URL without password and query."""
        parts = urlsplit(self.url)
        netloc, vhost = self._split()
        user, at, host = netloc.rpartition("@")
        return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}/{'' if vhost == '/' else quote(vhost, safe='')}"

    @classmethod
    def local(cls) -> Self:
        """Return the config of the server on this machine."""
        return cls()

    def make_broker(self) -> "Broker":
        """Return a broker that is not connected.

        Raises:
            MissingDependency: aio-pika is not installed.
        """
        from importlib import import_module
        from importlib.util import find_spec  # only an application with RabbitMQ asks

        if find_spec("aio_pika") is None:
            raise MissingDependency("RabbitMQ needs 'aio-pika': pip install 'cello[rabbitmq]'")
        made: Broker = import_module("cello.messaging.rabbitmq.broker").RabbitMQBroker(self)  # it imports this module
        return made

    def __repr__(self) -> str:
        return f"RabbitMQConfig({self.safe_url!r})"


def as_config(config: RabbitMQConfig | str | None) -> RabbitMQConfig:
    """Return a config: itself, that of a URL, or the default one.

    Raises:
        ConfigError: It is something else.
    """
    if config is None or isinstance(config, str):
        return RabbitMQConfig() if config is None else RabbitMQConfig(url=config)
    if not isinstance(config, RabbitMQConfig):
        raise ConfigError(f"enable_rabbitmq() takes a RabbitMQConfig, not {config!r:.80}")
    return config
