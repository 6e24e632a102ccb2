"""Connections that begin with a PROXY header: it is read before the connection has a transport.

Bytes are looked at in the kernel's buffer and only the header's are taken out, so what follows (TLS, too) finds the
connection as if nothing had happened. What was announced is kept by the number of the descriptor, where `peer_of`
looks; a number that comes again has been announced again.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable

from cello.errors import ProtocolError
from cello.gateways.native.state import ServerState
from cello.wire.proxy_header import ProxyHeader

logger = logging.getLogger("cello.server")

_LOOKED_AT_BYTES = 4096
_ACCEPTED_AT_ONCE = 64
_PAUSE_S = 1.0


class AnnouncedConnections:
    """Accepts, reads headers, and hands sockets on.

    Args:
        state: Of the worker.
        serve: Makes a transport of a socket.
        timeout_s: How long a header may take.
    """

    def __init__(self, state: ServerState, serve: Callable[[socket.socket], Awaitable[None]], timeout_s: float) -> None:
        self._state = state
        self._serve = serve
        self._timeout_s = timeout_s
        self._listening: dict[int, socket.socket] = {}
        self._pending = 0
        state.announced = {}

    def listen(self, listener: socket.socket) -> None:
        """Accept what arrives."""
        listener.setblocking(False)
        self._listening[listener.fileno()] = listener
        self._state.loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Accept no more."""
        for fd in self._listening:
            self._state.loop.remove_reader(fd)
        self._listening.clear()

    def introduce(self, accepted: socket.socket) -> None:
        """Read the header of an accepted connection, and serve it."""
        if self._pending >= self._state.dispatcher.limits.max_connections:
            accepted.close()
            return
        accepted.setblocking(False)
        self._state.spawn(self._introduce(accepted))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listener, error)
                return
            if accepted.family in (socket.AF_INET, socket.AF_INET6):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.introduce(accepted)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            raise error
        loop, fd = self._state.loop, listener.fileno()
        loop.call_exception_handler({"message": "accept", "exception": error, "socket": listener})
        loop.remove_reader(fd)
        loop.call_later(_PAUSE_S, self._go_on, fd)

    def _go_on(self, fd: int) -> None:
        if fd in self._listening:
            self.listen(self._listening[fd])

    async def _introduce(self, accepted: socket.socket) -> None:
        self._pending += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                header = await self._read(accepted)
        except (ProtocolError, OSError, TimeoutError) as error:
            logger.info(
                "a connection was dropped before its first request: %s", str(error) or "no PROXY header in time"
            )
            accepted.close()
            return
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            self._pending -= 1
        announced = self._state.announced
        if announced is not None:
            announced[accepted.fileno()] = None if header.client is None else (header.client, header.server)
        try:
            await self._serve(accepted)
        except OSError as error:  # also of TLS
            logger.debug("a connection ended before its first request: %s", error)

    async def _read(self, accepted: socket.socket) -> ProxyHeader:
        header = ProxyHeader()
        while not header.is_complete:
            try:
                arrived = accepted.recv(_LOOKED_AT_BYTES, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._readable(accepted)
                continue
            if not arrived:
                raise ProtocolError("it ended before its PROXY header")
            accepted.recv(header.take(arrived))
        return header

    async def _readable(self, accepted: socket.socket) -> None:
        loop, fd = self._state.loop, accepted.fileno()
        arrived = asyncio.Event()
        loop.add_reader(fd, arrived.set)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(fd)
