"""How many processes serve, and how they are kept: what `App.set_cluster` and `run(cluster=…)` take."""

from cello.config import config, field
from cello.serve.cpus import usable_cpus


@config
class ClusterConfig:
    """The worker processes of the own server; each field stands behind the option of the same name.

    An option that is said by command line, environment or `run()` goes before its field here. With a ClusterConfig
    there is always a supervisor, also over a single worker.

    Attributes:
        workers: Worker processes; None = one per usable processor in production, else 1.
        cpu_affinity: Keep each worker on one processor.
        max_restarts: How often in a row a worker may die within ten seconds of its start before the service ends.
        graceful_shutdown: Let open requests finish at the end; False drops them.
        shutdown_timeout: Seconds that they get.
    """

    workers: int | None = field(default=None, at_least=1, at_most=1024)
    cpu_affinity: bool = False
    max_restarts: int = field(default=5, at_least=0)
    graceful_shutdown: bool = True
    shutdown_timeout: float = field(default=30.0, at_least=0)

    @classmethod
    def auto(cls) -> "ClusterConfig":
        """Return the config of one worker per processor that this process may use."""
        return cls(workers=usable_cpus())
