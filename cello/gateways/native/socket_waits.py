"""The calls of a WebSocket's `TaskPort` that really wait, as coroutines.

They stand beside its compiled source, since a compiled coroutine is slower than one of the interpreter's.
"""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from cello.errors import ClientDisconnected
from cello.gateways.native.socket_link import SocketLink
from cello.http.websocket_message import WebSocketMessage


class Roomed(Protocol):
    """A port whose senders may have to wait.

    Attributes:
        room: Done when the client takes again what is sent, or never will; None while nobody waits for it.
    """

    room: "asyncio.Future[None] | None"


async def receive_within(received: Awaitable[WebSocketMessage | None], timeout_s: float) -> WebSocketMessage | None:
    """Return the next message, or None when there are no more.

    Raises:
        TimeoutError: There was none in time.
    """
    async with asyncio.timeout(timeout_s):
        return await received


async def drain(link: SocketLink, port: Roomed) -> None:
    """Wait until the client has taken enough of what was sent.

    Raises:
        ClientDisconnected: It has gone, or the connection was closed.
    """
    while not link.can_write:
        if not link.is_open:
            raise ClientDisconnected("the WebSocket was closed before all was sent")
        if port.room is None:
            port.room = link.state.loop.create_future()
        await asyncio.shield(port.room)


async def close(link: SocketLink, code: int, reason: str) -> None:
    """Close, and wait until the client has too, or its time is up."""
    link.close(code, reason)
    await asyncio.shield(link.gone)
