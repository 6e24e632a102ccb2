"""Accepting connections: by our own poller where it is compiled and fits, else by the loop.

The poller (`cello._speedups.transport`) serves plain sockets on Linux. TLS is the loop's. `CELLO_POLLER=0` leaves all
connections to the loop, which makes a difference in speed only.
"""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from cello import _speedups
from cello.gateways.native.announced import AnnouncedConnections
from cello.gateways.native.state import ServerState

ACCEPTED_AT_ONCE = 64
"""asyncio tries so often per turn of the loop, also when it is out of descriptors."""


class Closable(Protocol):
    """Something that accepts."""

    def close(self) -> None:
        """Accept no more."""


class Acceptor:
    """Accepts for one worker.

    Args:
        loop: The worker's.
        make_connection: Returns the protocol of a new connection.
        context: For TLS.
        handshake_timeout_s: How long a TLS handshake, or a PROXY header, may take.
        announced_to: The worker's state, where every connection begins with a PROXY header; else None.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_connection: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None = None,
        handshake_timeout_s: float = 5.0,
        announced_to: ServerState | None = None,
    ) -> None:
        self._loop = loop
        self._make_connection = make_connection
        self._context = context
        self._handshake_timeout_s = None if context is None else handshake_timeout_s
        self._listening: list[Closable] = []
        self._poller: Any = None
        if context is None and is_polling_ours():
            self._poller = import_module("cello._speedups.transport").Poller(loop)
        self._announced: AnnouncedConnections | None = None
        if announced_to is not None:
            self._announced = AnnouncedConnections(announced_to, self._serve, handshake_timeout_s)

    async def listen(self, listener: socket.socket) -> None:
        """Accept what arrives at `listener`."""
        if self._announced is not None:
            self._announced.listen(listener)
            return
        if self._poller is not None:
            self._listening.append(self._poller.listen(listener, self._make_connection))
            return
        self._listening.append(
            await self._loop.create_server(
                self._make_connection,
                sock=listener,
                backlog=ACCEPTED_AT_ONCE,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_timeout_s,
            )
        )

    async def adopt(self, accepted: socket.socket) -> None:
        """Serve a connection that was accepted already.

        Raises:
            OSError: The peer has gone, or does not speak TLS (`ssl.SSLError`).
        """
        if self._announced is not None:
            self._announced.introduce(accepted)
        else:
            await self._serve(accepted)

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if self._poller is not None:
            self._poller.adopt(accepted, self._make_connection())
        else:
            await self._loop.connect_accepted_socket(
                self._make_connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_timeout_s,
            )

    def stop(self) -> None:
        """Accept no more; open connections stay."""
        if self._announced is not None:
            self._announced.close()
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    def close(self) -> None:
        """Let go of everything, open connections included."""
        self.stop()
        if self._poller is not None:
            self._poller.close()


def is_polling_ours() -> bool:
    """Return whether plain connections go through our own poller."""
    return _speedups.enabled and sys.platform == "linux" and os.environ.get("CELLO_POLLER") != "0"
