"""Signals as something to wait for beside sockets, for processes without an event loop.

A handler only notes the signal; `set_wakeup_fd` makes a `select` on `SignalInbox` return. Nothing else happens inside
a handler, so nothing is ever interrupted half-way.
"""

import contextlib
import signal
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from types import FrameType


class SignalInbox:
    """Collects signals of the main thread until they are taken.

    Args:
        wanted: The signals to collect; their former handlers are lost.
    """

    def __init__(self, wanted: Iterable[signal.Signals]) -> None:
        self._wanted = list(wanted)
        self._seen: Counter[int] = Counter()
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in self._wanted:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen[number] += 1

    def fileno(self) -> int:
        """The descriptor that becomes readable when a signal has come."""
        return self._receiver.fileno()

    def take(self) -> Counter[int]:
        """Return how often each signal has come since the last call."""
        with contextlib.suppress(BlockingIOError):
            while self._receiver.recv(512):
                pass
        seen, self._seen = self._seen, Counter()
        return seen

    def close(self) -> None:
        """Give every signal its default action again; used by a forked child before it becomes something else."""
        signal.set_wakeup_fd(-1)
        for number in self._wanted:
            signal.signal(number, signal.SIG_DFL)
        self._receiver.close()
        self._sender.close()


@contextlib.contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back while processes are made; they are delivered afterwards, none is lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
