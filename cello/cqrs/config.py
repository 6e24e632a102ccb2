"""What `enable_cqrs` is told."""

from cello.config import config, field


@config
class CqrsConfig:
    """How long commands and queries may take, and how often they are tried.

    Attributes:
        enable_event_sync: A command that appended events returns when the projections have seen them, so that queries
            show what it did; where `enable_event_sourcing` has projections.
        command_timeout_ms: Milliseconds that a command may take, retries included; beyond it is rejected.
        query_timeout_ms: Milliseconds that a query may take, retries included; beyond it fails.
        max_retries: How often a handler is called again after an error that is marked retryable.
        retry_delay_ms: Milliseconds before the first retry; each further one waits twice as long.
        event_sync_timeout_ms: Milliseconds that a command waits for projections at most; it has succeeded all the same.
    """

    enable_event_sync: bool = True
    command_timeout_ms: float = field(default=5000, above=0)
    query_timeout_ms: float = field(default=3000, above=0)
    max_retries: int = field(default=3, at_least=0)
    retry_delay_ms: float = field(default=50, at_least=0)
    event_sync_timeout_ms: float = field(default=1000, above=0)

    @classmethod
    def default(cls) -> "CqrsConfig":
        """All as it is by default."""
        return cls()
