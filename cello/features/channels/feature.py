"""The channels of an application: which bus carries them, and what belongs to each process."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from cello.extension import Host
from cello.features.channels.bus import Bus, LocalBus
from cello.features.channels.channel import Channel
from cello.features.channels.hub import Hub
from cello.features.channels.ring_bus import RingBus
from cello.review import Deployment, Finding
from cello.shared.regions import Region
from cello.shared.ring import Ring, RingLayout


@dataclass(frozen=True, slots=True)
class Here:
    """What one process has.

    Attributes:
        pid: Its own.
        hub: Who listens in it.
        bus: The way to the others.
    """

    pid: int
    hub: Hub
    bus: Bus


class Channels:
    """The feature behind `app.channel`.

    Args:
        redis: A URL; None for the workers of one machine alone.
        prefix: What the names of channels begin with in Redis.
    """

    name = "channels"

    def __init__(self, redis: str | None = None, *, prefix: str = "cello:channel:") -> None:
        self._redis = redis
        self._prefix = prefix
        self._here: Here | None = None
        self._region: Region[Ring] | None = None
        self._lock = threading.Lock()
        if redis is not None:
            from cello.features.channels.redis_bus import check_redis

            check_redis(redis)

    def install(self, host: Host) -> None:
        """Claim what workers share, and have everything end with the application."""
        if self._redis is None:
            self._region = host.shared.region("channels", RingLayout())
        host.on_stop(self.close)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find channels that end at the machine."""
        if deployment.machines > 1 and self._redis is None:
            yield Finding(
                "error",
                "channels-machines",
                f"app.channel() reaches the workers of one machine, and there are {deployment.machines}: call "
                "enable_channels(redis=…)",
            )

    def channel(self, name: str) -> Channel:
        """Return a channel."""
        return Channel(self, name)

    def here(self) -> Here:
        """Return what this process has, made when it is first asked for: after the fork."""
        here = self._here
        if here is None or here.pid != os.getpid():
            with self._lock:
                here = self._here
                if here is None or here.pid != os.getpid():
                    here = self._here = self._open()
        return here

    def close(self) -> None:
        """End every subscription of this process."""
        here, self._here = self._here, None
        if here is not None and here.pid == os.getpid():
            here.hub.close()
            here.bus.close()

    def _open(self) -> Here:
        hub = Hub()
        return Here(os.getpid(), hub, self._make_bus(hub))

    def _make_bus(self, hub: Hub) -> Bus:
        if self._redis is not None:
            from cello.features.channels.redis_bus import RedisBus

            return RedisBus(hub, self._redis, self._prefix)
        ring = None if self._region is None else self._region.open()
        return RingBus(hub, ring) if ring is not None and ring.is_shared else LocalBus(hub)
