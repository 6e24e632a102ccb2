"""What `enable_saga` is told."""

from cello.config import config, field
from cello.database.config import DatabaseConfig
from cello.errors import ConfigError

MEMORY = "memory"
OF_THE_APPLICATION = "database"


@config
class SagaConfig:
    """How steps are tried, and where the state of executions is kept.

    Attributes:
        max_retries: How often a step, or its compensation, is called again after an error.
        retry_delay_ms: Milliseconds before the first retry; each further one waits twice as long, a minute at most.
        timeout_ms: Milliseconds that the steps of an execution may take in all, waiting for events and times left out;
            beyond, what was done is compensated. Each attempt of a compensation may take as long.
        enable_logging: Log every transition by "cello.saga".
        store: "memory", the URL or `DatabaseConfig` of a database, or "database" for the application's; None: memory.
        lease_secs: Seconds after which another worker takes over from one that has disappeared.
        poll_interval_ms: Milliseconds between looks for executions that are due.
        max_concurrent: Executions that a worker takes over, or resumes, at once.
    """

    max_retries: int = field(default=3, at_least=0)
    retry_delay_ms: float = field(default=1000, at_least=0)
    timeout_ms: float = field(default=30_000, above=0)
    enable_logging: bool = True
    store: str | DatabaseConfig | None = None
    lease_secs: float = field(default=30, above=0)
    poll_interval_ms: float = field(default=1000, above=0)
    max_concurrent: int = field(default=100, at_least=1)

    def __post_init__(self) -> None:
        if isinstance(self.store, str) and self.store not in (MEMORY, OF_THE_APPLICATION):
            try:
                DatabaseConfig(self.store)
            except ConfigError as error:
                raise ConfigError(
                    f'SagaConfig.store is "memory", "database" or the URL of a database: {error}'
                ) from None

    @classmethod
    def default(cls) -> "SagaConfig":
        """All as it is by default."""
        return cls()

    @property
    def is_memory(self) -> bool:
        """Whether executions are gone with their process."""
        return self.store is None or self.store == MEMORY

    def database_config(self) -> DatabaseConfig:
        """Return where executions are kept, if not in the application's database."""
        if isinstance(self.store, DatabaseConfig):
            return self.store
        return DatabaseConfig("sqlite://:memory:" if self.store is None or self.is_memory else self.store)
