"""The bus between the workers of one machine: a ring in shared memory.

Who publishes appends to the ring, and then delivers to the hub of its own process whatever the ring holds up to there:
so a message needs no thread to reach its own worker's listeners, and still everybody hears everything in one order. In
other workers a thread waits for the bell. It is started by the first who listens.
"""

import logging
import selectors
import socket
import threading

from cello.features.channels.hub import Hub
from cello.shared.ring import Reader, Ring

logger = logging.getLogger("cello.channels")

GLANCE_S = 1.0
"""Seconds after which the ring is looked at without having been rung, should a bell ever be lost."""


class RingBus:
    """One process' side of the ring.

    Args:
        hub: Who listens here.
        ring: What all workers share.
    """

    def __init__(self, hub: Hub, ring: Ring) -> None:
        self._hub = hub
        self._ring = ring
        self._turn = threading.Lock()
        self._reader: Reader | None = None
        self._thread: threading.Thread | None = None
        self._lost = 0
        self._stop, self._stopping = socket.socketpair()

    def publish(self, name: str, content: bytes) -> None:
        """Append a message, and deliver it here.

        Raises:
            ValueError: It is too long.
        """
        named = name.encode()
        self._ring.publish(bytes((len(named),)) + named + content)
        if self._reader is not None:
            self._deliver()

    def follow(self, name: str) -> None:
        """Begin to listen, with the first channel that anybody here listens to."""
        with self._turn:
            if self._thread is None:
                self._reader = self._ring.reader()
                self._thread = threading.Thread(target=self._listen, args=(self._reader,), daemon=True)
                self._thread.name = "cello-channels"
                self._thread.start()

    def forget(self, name: str) -> None:
        """Go on listening: others may come, and what nobody listens to is dropped by the hub."""

    def close(self) -> None:
        """End the thread."""
        self._stopping.send(b"!")
        if self._thread is not None:
            self._thread.join(5)
        with self._turn:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        self._ring.close()
        self._stop.close()
        self._stopping.close()

    def _deliver(self) -> None:
        with self._turn:  # one at a time, so that all hear all in one order
            reader = self._reader
            if reader is None:
                return
            for message in reader.take():
                end = 1 + message[0]
                self._hub.deliver(message[1:end].decode(), message[end:])
            if reader.lost > self._lost:
                missed, self._lost = reader.lost - self._lost, reader.lost
                logger.warning("this worker did not keep up: %d messages of its channels are lost", missed)
                self._hub.missed(missed)

    def _listen(self, reader: Reader) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(reader.wake, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(GLANCE_S)]
                if self._stop in ready:
                    return
                reader.answer()
                self._deliver()
