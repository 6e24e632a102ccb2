"""What the client still sends while an ASGI request is served: the rest of its body, and that it has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from cello.errors import ClientDisconnected, ContentTooLarge, HTTPError
from cello.gateways.live import Message
from cello.pipeline.deadlines import within
from cello.pipeline.dispatch import Dispatcher

T = TypeVar("T")
Receive = Callable[[], Awaitable[Message]]


class Inbox:
    """The receiving side of one ASGI request: a `BodySource`, and the watcher for a disconnect.

    Rule: messages come through one `receive()`, so a disconnect can be seen only once the body was read to its end.
    """

    # PERF: defaults of the class, set on the instance when they change: making one takes 0.15 instead of 0.4 µs.
    is_complete = False
    is_gone = False
    _received = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _watcher: "asyncio.Task[None] | None" = None
    _body_is_complete: asyncio.Event | None = None

    def __init__(self, receive: Receive, limit_bytes: int, dispatcher: Dispatcher) -> None:
        self._receive = receive
        self._limit = limit_bytes
        self._dispatcher = dispatcher

    def lend(self) -> None:
        """Get ready for `read_blocking` by a thread; call it on the loop."""
        self._loop = asyncio.get_running_loop()

    def expect(self, length: int) -> None:
        """Note the body's announced length.

        Raises:
            ContentTooLarge: It is over the limit, so nothing needs to be read.
        """
        if length > self._limit:
            raise self._too_large()

    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its end.

        Raises:
            ClientDisconnected: The client left before the body was complete.
            ContentTooLarge: More than the limit arrived.
            HTTPError: 408, where nothing came for too long.
        """
        stalls, wait_s = self._dispatcher.stalls, self._dispatcher.timeouts.read_body
        while not self.is_complete:
            if self.is_gone:
                raise ClientDisconnected("the client left before its request was complete")
            try:
                message = await within(stalls, wait_s, self._receive())
            except TimeoutError:
                raise HTTPError(408, "The request body came too slowly.") from None
            chunk = self.take(message)
            if chunk:
                return chunk
        return b""

    def take(self, message: Message) -> bytes:
        """Return the piece of the body that a message brings, if any.

        Raises:
            ContentTooLarge: More than the limit arrived.
        """
        if message["type"] == "http.disconnect":
            self.is_gone = True
            return b""
        if not message.get("more_body"):
            self.is_complete = True
            if self._body_is_complete is not None:
                self._body_is_complete.set()
        chunk: bytes = message.get("body", b"")
        if chunk:
            self._received += len(chunk)
            if self._received > self._limit:
                raise self._too_large()
        return chunk

    def read_blocking(self) -> bytes:
        """Do the same for a `def` handler, which runs on a worker thread."""
        if self._loop is None:
            raise RuntimeError("nobody has lent this body to a thread")
        return asyncio.run_coroutine_threadsafe(self.read(), self._loop).result()

    async def disconnected(self) -> bool:
        """Whether the client has gone; asks the host without waiting for it."""
        if not self.is_gone and self.is_complete:
            self.watch()
            await asyncio.sleep(0)  # one turn of the loop: the watcher sees what is there already
        return self.is_gone

    def watch(self) -> "asyncio.Task[None]":
        """Return the task that ends when the client goes."""
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._wait_until_gone())
        return self._watcher

    def close(self) -> None:
        """End the watching."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait_until_gone(self) -> None:
        if not self.is_complete:
            self._body_is_complete = asyncio.Event()
            await self._body_is_complete.wait()
        while not self.is_gone:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.is_gone = True
            else:
                # A host that hands out requests without end tells nothing by it; give others a turn.
                await asyncio.sleep(0)

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The request body is larger than {self._limit} bytes.")


async def run_unless_gone(work: Coroutine[Any, Any, T], inbox: Inbox) -> T | None:
    """Run `work` in a task that is cancelled when the client goes; None then."""
    task = asyncio.get_running_loop().create_task(work)
    gone = inbox.watch()
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        if inbox.is_gone:
            return None
        raise asyncio.CancelledError
    return task.result()
