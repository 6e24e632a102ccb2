"""The pulse of a serving process: once a second it says that the loop turns, and looks whether it has had enough."""

import asyncio

from cello.gateways.native import ServerState
from cello.serve import console
from cello.serve.diagnosis import memory_mb
from cello.serve.options import RunOptions
from cello.serve.overseer import Oversight


class Heartbeat:
    """Beats from the first `beat` to the end of the loop.

    Args:
        state: Of the process.
        options: `max_requests` with its jitter, and `max_rss_mb`.
        overseer: Who is told.
        stop: What begins the drain where no successor will come.
    """

    def __init__(self, state: ServerState, options: RunOptions, overseer: Oversight, stop: asyncio.Event) -> None:
        self._state = state
        self._overseer = overseer
        self._stop = stop
        self._max_rss_mb = options.max_rss_mb
        self._max_requests: int | None = None
        if options.max_requests is not None:
            import random

            # Workers begin together: without the jitter they would also all be replaced together.
            self._max_requests = options.max_requests + random.Random().randint(0, options.max_requests_jitter)

        if self._max_rss_mb is not None and (held := memory_mb()) > self._max_rss_mb:
            # Its successor would be spent at once too, and the next one.
            console.failure(f"max_rss_mb={self._max_rss_mb} is not obeyed: a new worker takes {held:.0f} MiB already")
            self._max_rss_mb = None

    def beat(self) -> None:
        """Beat, now and from now on."""
        self._overseer.beat()
        why = None if self._state.draining else self._why_spent()
        if why is not None:
            self._max_requests = self._max_rss_mb = None  # said once
            if not self._overseer.spent(why):
                self._stop.set()
        self._state.loop.call_later(self._overseer.beat_every_s, self.beat)

    def _why_spent(self) -> str | None:
        if self._max_requests is not None and self._state.requests >= self._max_requests:
            return f"{self._state.requests} requests (max_requests)"
        if self._max_rss_mb is not None and (held := memory_mb()) > self._max_rss_mb:
            return f"{held:.0f} MiB of memory (max_rss_mb={self._max_rss_mb})"
        return None
