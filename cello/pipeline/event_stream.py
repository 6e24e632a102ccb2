"""`SseStream`: server-sent events that are added from elsewhere, by any thread, while a client reads them."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from cello.http.sse import SseEvent


class SseStream(AsyncIterator[SseEvent]):
    """Events for one client, for `Response.sse(stream)`.

    ```python
    stream = SseStream()
    stream.add_event("greeting", "hello")
    return Response.sse(stream)  # ends after what was added

    stream = SseStream(live=True)  # goes on until close(), or until the client leaves
    listeners.add(stream)
    return Response.sse(stream)
    ```

    Adding is for any thread and any coroutine, and never waits.

    Args:
        live: Whether more events come once the answer is being sent.
        max_pending: Events that may wait for the client. Beyond, the client has not kept up: its stream ends behind
            them, and it comes back with the id of the last event it has seen (`request.last_event_id`).
    """

    def __init__(self, live: bool = False, max_pending: int = 1000) -> None:
        self._live = live
        self._max_pending = max_pending
        self._events: deque[SseEvent] = deque()
        self._is_closed = False
        self._is_given = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing can be added any more: closed, or the client has left or fallen behind."""
        return self._is_closed

    def add(self, event: Any) -> bool:
        """Add an event, text, or what has a JSON form; False when the stream is closed."""
        made = event if isinstance(event, SseEvent) else SseEvent(event)
        with self._lock:
            if self._is_closed:
                return False
            if self._live and len(self._events) >= self._max_pending:
                self._is_closed = True
                return False
            self._events.append(made)
            self._wake()
            return True

    def add_data(self, data: Any) -> bool:
        """Add an event that is just data; False when the stream is closed."""
        return self.add(SseEvent(data))

    def add_event(self, event: str, data: Any, id: str | None = None) -> bool:
        """Add an event with a name; False when the stream is closed."""
        return self.add(SseEvent(data, event, id))

    def close(self) -> None:
        """End the stream behind what was added."""
        with self._lock:
            self._is_closed = True
            self._wake()

    def __len__(self) -> int:
        return len(self._events)

    def len(self) -> int:
        """Return how many events wait."""
        return len(self._events)

    def is_empty(self) -> bool:
        """Return whether no event waits."""
        return not self._events

    def __bool__(self) -> bool:
        return True

    def _wake(self) -> None:
        """Have a reader look again; called with the lock held."""
        if self._waiter is not None and self._loop is not None:
            waiter, self._waiter = self._waiter, None
            try:
                self._loop.call_soon_threadsafe(_release, waiter)
            except RuntimeError:  # the loop has ended, and the reader with it
                self._is_closed = True

    def __aiter__(self) -> "SseStream":
        if self._is_given:
            raise RuntimeError("an SseStream is for one client; make one for each")
        self._is_given = True
        return self

    async def __anext__(self) -> SseEvent:
        while True:
            with self._lock:
                if not self._live:
                    self._is_closed = True
                if self._events:
                    return self._events.popleft()
                if self._is_closed:
                    raise StopAsyncIteration
                self._loop = asyncio.get_running_loop()
                waiter = self._waiter = self._loop.create_future()
            await waiter

    async def aclose(self) -> None:
        """Be left by the client."""
        with self._lock:
            self._is_closed = True
            self._events.clear()


def _release(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
