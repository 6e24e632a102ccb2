"""What `cello check` asks a feature, and what it may answer.

Apart from `cello.extension`, because no application that runs needs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Deployment", "Finding", "Reviewed"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where an application is to run, for those who look at its settings before it does (`cello check`).

    Attributes:
        env: "development" or "production".
        debug: Whether errors show tracebacks.
        host: The address that is listened on; "" for a socket of another kind.
        workers: Processes on each machine.
        machines: How many machines answer for it.
        is_encrypted: Whether clients come by https as far as can be seen: by TLS of our own, or a trusted proxy.
        knows_its_hosts: Whether only hosts that are known are answered.
    """

    env: str = "production"
    debug: bool = False
    host: str = "127.0.0.1"
    workers: int = 1
    machines: int = 1
    is_encrypted: bool = True
    knows_its_hosts: bool = False

    @property
    def is_production(self) -> bool:
        """Whether others use it."""
        return self.env == "production"


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting that will not work, or is not wise, where the application is to run.

    Attributes:
        level: "error" (it does not work, or lets somebody in), "warning" (probably not what is wanted), or "note".
        code: What it is about, to be named by who knows better.
        text: What is wrong, and what to do.
    """

    level: str
    code: str
    text: str


class Reviewed(Protocol):
    """A feature that can say what about it does not fit a deployment."""

    def review(self, deployment: Deployment) -> Iterable[Finding]:
        """Return what is wrong with its settings there; nothing is opened or reached for that."""
