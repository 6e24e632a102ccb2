"""Who is told how a serving process fares.

A worker reports to its zygote through a pipe; a process of its own prints its banner, speaks to systemd, and holds the
pid file. `Server` does not know which of the two it has.
"""

import os
from typing import NamedTuple, Protocol

from cello.serve import console
from cello.serve.options import RunOptions
from cello.serve.systemd import Notifier


class Ready(NamedTuple):
    """What a process that serves says of itself."""

    loop: str
    parser: str
    urls: list[str]


class Oversight(Protocol):
    """What a server tells, on its loop.

    Attributes:
        name: What the process is called in messages.
        beat_every_s: How often `beat` is called.
    """

    name: str
    beat_every_s: float

    def ready(self, ready: Ready) -> None:
        """Hear that connections are accepted."""

    def beat(self) -> None:
        """Hear that the loop turns."""

    def spent(self, why: str) -> bool:
        """Hear that the process has had enough; True = a successor comes and will end it, False = it ends itself."""

    def stopping(self) -> None:
        """Hear that the drain begins."""


class Overseer:
    """A worker's line to its zygote.

    Args:
        pipe: Its writing end, not blocking.
        name: Of the worker.
    """

    beat_every_s = 1.0

    def __init__(self, pipe: int, name: str) -> None:
        self._pipe = pipe
        self.name = name

    def ready(self, ready: Ready) -> None:
        """Say that this worker serves."""
        self._say({"event": "ready", **ready._asdict()})

    def beat(self) -> None:
        """Say that this worker lives, by an empty line."""
        self._write(b"\n")

    def spent(self, why: str) -> bool:
        """Ask for a successor."""
        self._say({"event": "spent", "why": why})
        return True

    def stopping(self) -> None:
        """Nothing: it was the zygote that said so."""

    def _say(self, message: dict[str, object]) -> None:
        import json  # only where there are several processes

        self._write(json.dumps(message).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            os.write(self._pipe, line)
        except BlockingIOError:
            return  # the zygote has not read for a day; it will find enough to read
        except BrokenPipeError:
            return  # the zygote has died, which the lifeline tells too


class OwnProcess:
    """The oversight of a process that serves without a supervisor.

    Args:
        options: For the banner.
        notifier: To systemd.
    """

    name = "server"

    def __init__(self, options: RunOptions, notifier: Notifier) -> None:
        self._options = options
        self._notifier = notifier
        self.beat_every_s = min(1.0, notifier.every_s or 1.0)

    def ready(self, ready: Ready) -> None:
        """Print the banner."""
        console.banner(self._options, ready.urls, loop=ready.loop, parser=ready.parser)
        self._notifier.ready(f"listening on {', '.join(ready.urls)}")

    def beat(self) -> None:
        """Feed the watchdog."""
        self._notifier.alive()

    def spent(self, why: str) -> bool:
        """Say so; there will be no successor."""
        console.notice(f"the server ends: {why}")
        return False

    def stopping(self) -> None:
        """Tell systemd."""
        self._notifier.stopping()
