"""What carries messages from who publishes to the hubs of all processes; and the simplest, for one process alone."""

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Protocol

from cello.errors import CelloError
from cello.features.channels.hub import Hub

WAIT_S = 10.0
"""How long a `def` handler waits for a bus that answers from elsewhere."""


class ChannelError(CelloError):
    """The bus could not be reached: what was to be published was not."""


class Bus(Protocol):
    """The way between processes; all calls may come from any thread, and never wait.

    A future stands for what is done elsewhere; None: it is done.
    """

    def publish(self, name: str, content: bytes) -> "Future[Any] | None":
        """Have every hub deliver a message."""

    def follow(self, name: str) -> "Future[Any] | None":
        """Have messages of a channel come to this process' hub from now on."""

    def forget(self, name: str) -> None:
        """Let them come no more."""

    def close(self) -> None:
        """End; what was published before is still delivered elsewhere."""


class LocalBus:
    """The bus of a single process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._turn = threading.Lock()

    def publish(self, name: str, content: bytes) -> None:
        """Deliver a message; one after the other, so that all hear all in one order."""
        with self._turn:
            self._hub.deliver(name, content)

    def follow(self, name: str) -> None:
        """Do nothing: all messages come."""

    def forget(self, name: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Done:
    """What a channel's calls return: to be awaited in `async def` handlers; in `def` handlers it is done already.

    Where the bus answers from elsewhere (Redis), awaiting it raises what went wrong there.
    """

    __slots__ = ("_future", "value")

    def __init__(self, future: "Future[Any] | None", value: Any = None) -> None:
        self._future = future
        self.value = value

    def wait(self) -> None:
        """Wait for the bus; called on threads without a loop.

        Raises:
            Exception: What went wrong.
        """
        if self._future is not None:
            self._future.result(WAIT_S)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._future is not None:
            yield from asyncio.wrap_future(self._future).__await__()
        return self.value


def settled(future: "Future[Any] | None") -> Done:
    """Return what stands for a call to the bus, waited for where this thread may wait."""
    done = Done(future)
    if future is not None and asyncio._get_running_loop() is None:
        done.wait()
    return done
