"""What the test client needs of a way into the application.

A transport is opened and closed on one event loop, and every request runs there: the client's own loop thread for
plain tests, the test's loop for async ones.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol

from cello.errors import CelloError
from cello.testing.outgoing import Body, Outgoing
from cello.testing.websocket import SocketConnection


class Incoming:
    """An answer on its way: the head is here, the body follows.

    Attributes:
        chunks: The body; read it to its end or call `aclose()`.
        aclose: Leaves the answer, as a client that goes away does; waits for the application to have noticed.
    """

    __slots__ = ("aclose", "chunks", "fields", "status")

    def __init__(
        self,
        status: int,
        fields: list[tuple[bytes, bytes]],
        chunks: AsyncIterator[bytes],
        aclose: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.status = status
        self.fields = fields
        self.chunks = chunks
        self.aclose = aclose


class Transport(Protocol):
    """One way into the application."""

    async def open(self) -> None:
        """Start the application: start-up hooks, freeze."""

    async def close(self) -> None:
        """Shut the application down."""

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request; returns when the answer's head has arrived."""

    async def connect(self, request: Outgoing) -> SocketConnection:
        """Open a WebSocket; `request` is its handshake.

        Raises:
            WebSocketDenied: It was not accepted.
        """

    async def settle(self) -> None:
        """Wait for what the application does after its answers: clean-ups and background tasks."""


class TransportError(CelloError):
    """The application broke the rules of its gateway's protocol, or gave no answer."""


async def body_chunks(body: Body) -> AsyncIterator[bytes]:
    """Yield a body's pieces; a plain iterator may block, so a thread takes each step."""
    if isinstance(body, bytes):
        if body:
            yield body
    elif isinstance(body, AsyncIterable):
        async for chunk in body:
            yield chunk
    else:
        chunks = iter(body)
        while chunk := await asyncio.to_thread(_next_chunk, chunks):
            yield chunk


def _next_chunk(chunks: Iterator[bytes]) -> bytes:
    """Return the next piece that is not empty, b"" at the end."""
    return next(filter(None, chunks), b"")
