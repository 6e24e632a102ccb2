"""What `enable_grpc` is told."""

import re
from typing import Any

from cello.config import config, field
from cello.errors import ConfigError
from cello.serve.tls import TlsConfig

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/]+):(?P<port>\d{1,5})")


@config
class GrpcConfig:
    """Where gRPC is served, and what a call may use.

    Attributes:
        address: "host:port"; all workers share it. "[::]" is every interface. Port 0 takes a free one.
        reflection: Let clients ask for the services and their messages, as grpcurl does.
        max_message_size: Bytes of one message, either way; beyond → RESOURCE_EXHAUSTED.
        enable_web: Serve gRPC-Web on the HTTP port, too.
        keepalive_secs: Seconds of silence after which a client is pinged; one that does not answer is dropped.
        concurrency_limit: Calls under way, per worker; beyond → RESOURCE_EXHAUSTED.
        keepalive_timeout_secs: Seconds that the answer to such a ping may take.
        shutdown_timeout_secs: Seconds that calls may go on when the worker stops; then they are cancelled.
        tls: Certificates; None serves without encryption.
    """

    address: str = "[::]:50051"
    reflection: bool = True
    max_message_size: int = field(default=4_194_304, at_least=1, at_most=2_147_483_647)
    enable_web: bool = False
    keepalive_secs: float = field(default=60, at_least=1)
    concurrency_limit: int = field(default=100, at_least=1)
    keepalive_timeout_secs: float = field(default=20, above=0)
    shutdown_timeout_secs: float = field(default=10, at_least=0)
    tls: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.address, str):
            split_address(self.address)
        if self.tls is None:
            return
        if not isinstance(self.tls, TlsConfig):
            raise ConfigError(f"GrpcConfig.tls is a TlsConfig, not {self.tls!r:.80}")
        if (self.tls.min_version, self.tls.max_version) != ("1.2", "1.3"):
            raise ConfigError(
                "GrpcConfig.tls: gRPC speaks TLS 1.2 and 1.3, min_version and max_version cannot narrow it"
            )
        if self.tls.server_names:
            raise ConfigError("GrpcConfig.tls: gRPC has one certificate, server_names has no place there")

    @classmethod
    def local(cls) -> "GrpcConfig":
        """For this machine only, with reflection."""
        return cls(address="127.0.0.1:50051")

    @classmethod
    def production(cls, address: str = "[::]:50051", max_message_size: int = 4_194_304) -> "GrpcConfig":
        """Without reflection."""
        return cls(address=address, max_message_size=max_message_size, reflection=False)


def split_address(address: str) -> tuple[str, int]:
    """Return host, without brackets, and port.

    Raises:
        ConfigError: It is no "host:port".
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > 65_535:
        raise ConfigError(f"a gRPC address is 'host:port', such as '[::]:50051' or '127.0.0.1:0', not {address!r:.80}")
    return found["host"].strip("[]"), int(found["port"])
