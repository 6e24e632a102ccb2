"""The application's Redis: `app.redis`, `request.redis`, `Depends("redis")`.

What handlers get is one object for both colours: its methods are awaited in `async def` and return results in `def`.
"""

from typing import TYPE_CHECKING

from cello.database import RedisConfig
from cello.database.resources import HeldLoop, Starting, check_startup
from cello.extension import Host
from cello.features.redis_commands import RedisCommands

if TYPE_CHECKING:
    from cello.database.colours import Both
    from cello.database.redis.blocking import BlockingRedis
    from cello.database.redis.client import Redis

RESOURCE = "redis"


class RedisSwitch:
    """Opens and closes Redis with the application. For what the arguments mean see `App.enable_redis`."""

    name = "redis"
    resource: "Both[Redis, BlockingRedis]"

    def __init__(self, config: RedisConfig | str | None = None, *, startup: str = "fail") -> None:
        from cello.database.colours import Both  # asyncio with it: only an application that has Redis
        from cello.database.redis.client import Redis

        self._startup = check_startup("enable_redis", startup)
        redis = Redis(config)
        self.resource = Both(redis, redis.blocking)

    def install(self, host: Host) -> None:
        """Provide Redis, and a health check of it."""
        redis = self.resource.aio
        host.provide(RESOURCE, self.resource)
        self.resource.blocking.on_held_loop = HeldLoop.install_once(host).block
        starting = Starting(self._startup, redis._open)
        host.on_start(starting.start)
        host.on_stop(starting.stop)
        host.on_stop(redis.disconnect)
        host.add_check("redis", redis._open)
        redis.watcher = self.resource.blocking.watcher = RedisCommands(host)
