"""The bus over several machines: Redis' own publish and subscribe, spoken on an event loop thread of its own.

Every process follows in Redis what somebody in it listens to, and nothing else. What it publishes goes to Redis and
comes back from there, so that all hear all in one order. When the connection breaks it is made again, with pauses that
grow to five seconds; what was published meanwhile is lost, which is logged. Publishing then fails, loudly.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from cello.errors import ConfigError, MissingDependency
from cello.features.channels.bus import ChannelError
from cello.features.channels.hub import Hub

logger = logging.getLogger("cello.channels")

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
CLOSE_TIMEOUT_S = 5.0
_SCHEMES = ("redis://", "rediss://", "unix://")


def check_redis(url: str) -> None:
    """Check that Redis can be spoken with at all; connects to nothing.

    Raises:
        ConfigError: It is no URL of Redis.
        MissingDependency: The client is not installed.
    """
    if not str(url).startswith(_SCHEMES):
        raise ConfigError(f"redis must be a URL that begins with {', '.join(_SCHEMES)}, not {url!r:.80}")
    try:
        import redis.asyncio  # noqa: F401  # whether it is there
    except ImportError:
        raise MissingDependency("enable_channels with Redis needs 'redis': pip install 'cello[redis]'") from None


class RedisBus:
    """One process' connections to Redis.

    Args:
        hub: Who listens.
        url: Of the server.
        prefix: What the names of channels begin with there.
    """

    def __init__(self, hub: Hub, url: str, prefix: str) -> None:
        from redis.asyncio import Redis

        self._hub = hub
        self._prefix = prefix.encode()
        self._client: Redis = Redis.from_url(url)
        self._listener = self._client.pubsub()
        self._followed: dict[bytes, asyncio.Future[None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cello-channels", daemon=True)
        self._thread.start()

    def publish(self, name: str, content: bytes) -> "Future[Any]":
        """Publish a message; the future fails when Redis has not got it."""
        return self._run(self._publish(self._prefix + name.encode(), content))

    def follow(self, name: str) -> "Future[Any]":
        """Subscribe; the future is done once Redis has confirmed it."""
        return self._run(self._follow(self._prefix + name.encode()))

    def forget(self, name: str) -> None:
        """Unsubscribe."""
        if not self._loop.is_closed():
            self._run(self._forget(self._prefix + name.encode(), name))

    def close(self) -> None:
        """Close the connections and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._close()).result(CLOSE_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_TIMEOUT_S)
        self._loop.close()

    async def _publish(self, key: bytes, content: bytes) -> None:
        from redis.exceptions import RedisError

        try:
            await self._client.publish(key, content)
        except RedisError as error:
            raise ChannelError(f"Redis has not taken what was published: {error}") from error

    def _run(self, call: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    async def _follow(self, key: bytes) -> None:
        confirmed = self._followed.get(key)
        if confirmed is None:
            confirmed = self._followed[key] = self._loop.create_future()
            await self._listener.subscribe(key)
            if self._reading is None:
                self._reading = self._loop.create_task(self._read())
        await asyncio.shield(confirmed)

    async def _forget(self, key: bytes, name: str) -> None:
        if name in self._hub.names():  # somebody has come meanwhile
            return
        if self._followed.pop(key, None) is not None:
            await self._listener.unsubscribe(key)

    async def _read(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                message = await self._listener.get_message(timeout=None)
                pause_s = FIRST_PAUSE_S
            except Exception as error:  # noqa: BLE001  # the client raises its own, the system's, and timeouts
                if pause_s == FIRST_PAUSE_S:
                    logger.error("the connection to Redis is lost, channels with it: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
                continue
            if message is not None:
                self._hear(message)
            elif not self._followed:
                await asyncio.sleep(FIRST_PAUSE_S)  # nothing is subscribed to, so nothing is waited for

    def _hear(self, message: dict[str, Any]) -> None:
        key = message["channel"]
        if message["type"] == "message":
            self._hub.deliver(key[len(self._prefix) :].decode(), message["data"])
        elif message["type"] == "subscribe":
            confirmed = self._followed.get(key)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)

    async def _close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._listener.aclose()  # type: ignore[no-untyped-call]  # the client leaves it bare
        await self._client.aclose()
