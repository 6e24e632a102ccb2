"""A bell: whoever waits, on whatever event loop, hears when somebody rings, on whatever thread."""

import asyncio
import threading


class Bell:
    """Rings for all who wait just then.

    Attributes:
        count: How often it has rung; who looks at it first, and waits then for it to change, misses nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def ring(self) -> None:
        """Ring; from any thread."""
        with self._lock:
            self.count += 1
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_settle, future)
            except RuntimeError:  # that loop has ended
                continue

    async def wait(self, known: int, timeout_s: float) -> None:
        """Wait until it has rung after `count` was `known`, or so many seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (loop, future)
        with self._lock:
            if self.count != known:
                return
            self._waiting.append(entry)
        try:
            await asyncio.wait((future,), timeout=timeout_s)
        finally:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
