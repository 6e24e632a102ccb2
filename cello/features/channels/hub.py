"""Who listens in this process, by channel; and the way from a message to each of them.

Any thread may add, remove and deliver. What belongs to an event loop is reached on it: at once where the message comes
from a callback or task of that loop, else by one call for all of a loop's receivers.
"""

import asyncio
import threading
from collections.abc import Iterable
from typing import Protocol


class Receiver(Protocol):
    """Who hears what is published on a channel; hashed by identity.

    Attributes:
        loop: Where `take` is to be called; None for any thread.
    """

    loop: asyncio.AbstractEventLoop | None

    def take(self, content: bytes) -> None:
        """Hear a message."""

    def missed(self, count: int) -> None:
        """Hear that messages were lost on the way: `count` of all channels together."""

    def end(self) -> None:
        """Hear that no more come; from any thread."""


class Hub:
    """The receivers of one process."""

    def __init__(self) -> None:
        # Reentrant, and lists changed by single calls: what nobody refers to any more is removed by the garbage
        # collector, which may come in the middle of anything.
        self._lock = threading.RLock()
        self._receivers: dict[str, list[Receiver]] = {}
        self._is_closed = False

    def add(self, name: str, receiver: Receiver) -> bool:
        """Have `receiver` hear the channel; return whether it is the first."""
        with self._lock:
            if self._is_closed:
                receiver.end()
                return False
            listening = self._receivers.setdefault(name, [])
            listening.append(receiver)
            return len(listening) == 1

    def remove(self, name: str, receiver: Receiver) -> bool:
        """Have `receiver` hear no more; return whether it was there, and the last."""
        with self._lock:
            listening = self._receivers.get(name)
            if listening is None or receiver not in listening:
                return False
            listening.remove(receiver)
            if not listening:
                del self._receivers[name]
            return not listening

    def names(self) -> list[str]:
        """Return the channels that somebody listens to."""
        return list(self._receivers)

    def of(self, name: str) -> tuple[Receiver, ...]:
        """Return who listens to a channel."""
        return tuple(self._receivers.get(name, ()))

    def deliver(self, name: str, content: bytes) -> None:
        """Have everybody who listens to the channel hear a message."""
        listening = self._receivers.get(name)
        if listening is None:
            return
        receivers = tuple(listening)
        by_loop: dict[asyncio.AbstractEventLoop, list[Receiver]] = {}
        for receiver in receivers:
            if receiver.loop is None:
                receiver.take(content)
            else:
                by_loop.setdefault(receiver.loop, []).append(receiver)
        if by_loop:
            here = asyncio._get_running_loop()
            for loop, members in by_loop.items():
                if loop is here:
                    _hand_out(members, content)
                else:
                    _call_on(loop, members, content)

    def missed(self, count: int) -> None:
        """Tell everybody that messages were lost."""
        for name in self.names():
            for receiver in self.of(name):
                receiver.missed(count)

    def close(self) -> None:
        """End everybody's listening, for good."""
        with self._lock:
            self._is_closed = True
            receivers = [receiver for each in self._receivers.values() for receiver in each]
            self._receivers.clear()
        for receiver in receivers:
            receiver.end()


def _hand_out(receivers: Iterable[Receiver], content: bytes) -> None:
    for receiver in receivers:
        receiver.take(content)


def _call_on(loop: asyncio.AbstractEventLoop, receivers: list[Receiver], content: bytes) -> None:
    try:
        loop.call_soon_threadsafe(_hand_out, receivers, content)
    except RuntimeError:  # the loop was closed, and its receivers are about to go
        return
