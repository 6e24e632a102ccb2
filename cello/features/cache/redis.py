"""Entries that several machines have in common, in Redis.

    {prefix}e:{digest}   an entry, or the names that tell several apart; expires by itself
    {prefix}c:{digest}   a claim: the token of the process that makes the entry
    {prefix}g            a hash of generations, by counter

Rule 1: a generation is a random number, never a count: a hash that Redis lost begins with numbers that no entry has,
so nothing that was dropped comes back. (A Redis that restores an old snapshot brings back what was in it.)
Rule 2: while Redis does not answer, nobody waits for it: it is asked again after `PAUSE_S`. What was to be dropped
meanwhile is dropped before anything else is asked.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from cello.features.cache.entry import Entry, Varied, dump_names
from cello.features.cache.flights import MOST_WAIT_S, Flight, Landing
from cello.features.cache.store import Course, Found, Operation, StoreFailed, new_stamp

if TYPE_CHECKING:
    from cello.database import Redis

logger = logging.getLogger("cello.cache")

PAUSE_S = 1.0
_LOOK_AGAIN_S = 0.02
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

Words = tuple[Any, ...]


class Pause:
    """A moment after which to look again at what another process does."""

    def block(self) -> None:
        """Let the moment pass on this thread."""
        time.sleep(_LOOK_AGAIN_S)

    async def wait(self) -> None:
        """Let the moment pass on the running loop."""
        await asyncio.sleep(_LOOK_AGAIN_S)


class Ask:
    """Commands that are sent together."""

    __slots__ = ("_commands", "_store")

    def __init__(self, store: "RedisStore", commands: list[Words]) -> None:
        self._store = store
        self._commands = commands

    def block(self) -> list[Any]:
        """Send them on this thread; return the answers."""
        self._store.check_pause()
        try:
            client = self._store.redis.blocking.raw
            if len(self._commands) == 1:
                return [client.execute_command(*self._commands[0])]
            pipe = client.pipeline(transaction=False)
            for words in self._commands:
                pipe.execute_command(*words)
            return list(pipe.execute())
        except Exception as error:  # of redis-py, of sockets, of DNS, of TLS: all mean no store
            raise self._store.failed(error) from error

    async def wait(self) -> list[Any]:
        """Send them on the running loop; return the answers."""
        self._store.check_pause()
        try:
            client = self._store.redis.raw
            if len(self._commands) == 1:
                return [await client.execute_command(*self._commands[0])]
            pipe = client.pipeline(transaction=False)
            for words in self._commands:
                pipe.execute_command(*words)
            return list(await pipe.execute())
        except Exception as error:  # of redis-py, of sockets, of DNS, of TLS: all mean no store
            raise self._store.failed(error) from error


class RedisStore:
    """Entries in Redis.

    Args:
        redis: The client.
        prefix: What keys begin with.
        clock: Monotonic seconds.
    """

    def __init__(self, redis: "Redis", prefix: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.redis = redis
        self._prefix = (redis.config.key_prefix or "") + prefix
        self._generations = f"{self._prefix}g"
        self._token = os.urandom(12).hex()
        self._clock = clock
        self._asks_after_s = 0.0
        self._owed: set[int] = set()
        self._telling: Flight | None = None
        self._lock = threading.Lock()

    def check_pause(self) -> None:
        """Raise while nobody is to wait for Redis.

        Raises:
            StoreFailed: It did not answer a moment ago.
        """
        if self._clock() < self._asks_after_s:
            raise StoreFailed("Redis did not answer a moment ago")

    def failed(self, error: Exception) -> StoreFailed:
        """Note that Redis does not answer; return the error to raise."""
        self._asks_after_s = self._clock() + PAUSE_S
        logger.warning("the cache's Redis does not answer: %s", str(error) or type(error).__name__)
        return StoreFailed(f"Redis does not answer: {error}")

    shelf = None

    def reach(self) -> None:
        """Ask Redis whether it is there; blocks.

        Raises:
            StoreFailed: It is not.
        """
        Ask(self, [("PING",)]).block()

    def fetch(self, key: str, slots: tuple[int, ...]) -> Course[Found]:
        """Return what is kept under `key`, if anything, and the generations of `slots` now."""
        if self.owes:
            yield from self.flush()
        raw, stamps = yield Ask(self, [("GET", self._entry(key)), ("HMGET", self._generations, *slots)])
        if None in stamps:
            missing = [slot for slot, stamp in zip(slots, stamps, strict=True) if stamp is None]
            begin: list[Words] = [("HSETNX", self._generations, slot, new_stamp()) for slot in missing]
            *_, stamps = yield Ask(self, [*begin, ("HMGET", self._generations, *slots)])
        numbers = tuple([int(stamp or 0) for stamp in stamps])
        found = None if raw is None else Entry.load(raw)
        if isinstance(found, Entry) and found.stamps != numbers:
            return None, numbers
        return found, numbers

    def claim(self, key: str) -> Course[Operation | None]:
        """Claim the making of `key`, or return a pause: another process makes it."""
        claimed = yield Ask(self, [("SET", self._claim(key), self._token, "NX", "PX", int(MOST_WAIT_S * 1000))])
        return None if claimed[0] else Pause()

    def release(self, key: str) -> Course[None]:
        """Give up a claim, if it is still this process's."""
        yield Ask(self, [("EVAL", _RELEASE, 1, self._claim(key), self._token)])

    def keep(self, key: str, entry: Entry | Varied, useful_s: float) -> Course[None]:
        """Keep an entry for so many seconds."""
        raw = dump_names(entry) if isinstance(entry, Varied) else entry.dump()
        yield Ask(self, [("SET", self._entry(key), raw, "PX", max(1, int(useful_s * 1000)))])

    @property
    def owes(self) -> bool:
        """Whether there are invalidations that Redis has not been told."""
        return bool(self._owed) or self._telling is not None

    def invalidate(self, slots: tuple[int, ...]) -> None:
        """Note that everything that depends on one of `slots` is worthless; nothing is looked up before Redis knows."""
        with self._lock:
            self._owed.update(slots)

    def flush(self) -> Course[None]:
        """Tell Redis, or wait until another thread or task has."""
        while True:
            with self._lock:
                other = self._telling
                if other is None:
                    if not self._owed:
                        return
                    taken, self._owed = self._owed, set()
                    own = self._telling = Flight("", self._clock())
            if other is not None:
                yield other
                continue
            pairs = [value for slot in taken for value in (slot, new_stamp())]
            try:
                yield Ask(self, [("HSET", self._generations, *pairs)])
            except BaseException:
                self._end(own, taken)
                raise
            self._end(own, set())

    def _end(self, telling: Flight, still_owed: set[int]) -> None:
        with self._lock:
            self._owed |= still_owed
            self._telling = None
        telling.end(Landing.FAILED if still_owed else Landing.STORED)

    def _entry(self, key: str) -> str:
        return f"{self._prefix}e:{_digest(key)}"

    def _claim(self, key: str) -> str:
        return f"{self._prefix}c:{_digest(key)}"


def _digest(key: str) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
