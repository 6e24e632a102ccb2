"""Where sessions of the server's side are kept: the protocol of a store, and one in memory.

A store is three functions over names and bytes, `def` or `async def`, called on whichever thread a request is on. One
that never waits may say `is_quick = True`: sessions are then fetched only for handlers that look at theirs. One with
`start`, `stop` or `check` has them called when a worker starts, when it stops, and by health checks; `install` is given
the `Host` when sessions are switched on.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

T = TypeVar("T")
Maybe: TypeAlias = T | Awaitable[T]

logger = logging.getLogger("cello.session")


@runtime_checkable
class SessionStore(Protocol):
    """What keeps sessions by name. Names are digests: who reads the store cannot use what it finds as a cookie."""

    def load(self, key: str) -> Maybe[bytes | None]:
        """Return what was saved under `key` and has not expired, or None."""

    def save(self, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> Maybe[bool]:
        """Keep `value` for `max_age_s` seconds; return whether that was done.

        SECURITY: where it is not new and no longer there, nothing is kept: somebody signed out while another request
        of the same browser was under way, and that must not bring the session back.
        """

    def delete(self, key: str) -> Maybe[None]:
        """Forget `key`, which may not be there."""


class MemoryStore:
    """Sessions in the memory of this process; gone when it ends, and unknown to other workers.

    Args:
        most: How many; beyond, the ones that were not written for longest are dropped.
        clock: Seconds that only go forward.
    """

    is_quick = True

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        # All are kept for the same time, so the one written first is also the one that expires first.
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._has_warned = False

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, key: str) -> bytes | None:
        """Return what was saved."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and entry[0] > self._clock() else None

    def save(self, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> bool:
        """Keep `value`."""
        now_s = self._clock()
        with self._lock:
            known = self._entries.pop(key, None)
            if not is_new and (known is None or known[0] <= now_s):
                return False
            self._entries[key] = now_s + max_age_s, value
            self._make_room(now_s)
        return True

    def delete(self, key: str) -> None:
        """Forget `key`."""
        with self._lock:
            self._entries.pop(key, None)

    def _make_room(self, now_s: float) -> None:
        entries = self._entries
        while entries and (next(iter(entries.values()))[0] <= now_s or len(entries) > self._most):
            _, (due_s, _) = entries.popitem(last=False)
            if due_s > now_s and not self._has_warned:
                self._has_warned = True
                logger.warning("there are more than %d sessions: the oldest are dropped (max_sessions)", self._most)
