"""A WebSocket that is sent what is published: no task and no thread of its own waits for messages."""

import asyncio
import logging
import weakref
from collections.abc import Callable

from cello.errors import ClientDisconnected
from cello.features.channels.message import as_socket_message
from cello.features.channels.subscription import Slow
from cello.http.websocket import WebSocket

logger = logging.getLogger("cello.channels")

TRY_AGAIN_LATER = 1013
"""The close code for who was dropped (IANA registry)."""


class Member:
    """One WebSocket in one channel.

    Attributes:
        loop: Where it is sent to, or None: on any thread.
        skipped: Messages that it was not sent because its client did not keep up.
    """

    def __init__(self, socket: WebSocket, slow: Slow, gone: Callable[["Member"], None]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = socket.loop
        self.skipped = 0
        self._drops = slow == "drop"
        self._gone = gone
        self._socket = weakref.ref(socket, lambda _: gone(self))

    def is_of(self, socket: WebSocket) -> bool:
        """Whether it stands for this WebSocket."""
        return self._socket() is socket

    def take(self, content: bytes) -> None:
        """Send a message, if the client takes it."""
        socket = self._socket()
        if socket is None:
            return
        try:
            was_taken = socket.offer(as_socket_message(content))
        except ClientDisconnected:
            self._gone(self)
            return
        if not was_taken:
            self._be_slow(socket)

    def missed(self, count: int) -> None:
        """Note that messages were lost on the way."""
        self.skipped += count

    def end(self) -> None:
        """Do nothing: the worker closes its WebSockets itself."""

    def _be_slow(self, socket: WebSocket) -> None:
        self.skipped += 1
        if self._drops:
            logger.warning("%r does not keep up and is dropped", socket)
            self._gone(self)
            socket.drop(TRY_AGAIN_LATER, "too slow")
