"""Databases and Redis."""

from typing import TYPE_CHECKING, Any

from cello.enable.base import Base

if TYPE_CHECKING:
    from cello.database import DatabaseConfig, RedisConfig


class Data(Base):
    """Databases and Redis."""

    def enable_database(self, config: "DatabaseConfig | str | None" = None, *, startup: str = "fail") -> None:
        """Open a database with the application: `app.database`, `request.database`, `Depends("database")`.

        Args:
            config: Which one; a URL will do; None for "sqlite://cello.db".
            startup: When it cannot be reached: "fail" to end the start with an error, "wait" to start and keep trying
                (not ready until then), "lazy" to connect at the first use.

        Raises:
            ConfigError: The URL is no database's, or a field means nothing to it.
            MissingDependency: Its driver is not installed.
        """
        from cello.features.database import DatabaseSwitch

        self._host.install(DatabaseSwitch(config, startup=startup))

    @property
    def database(self) -> Any:
        """The database; its methods are awaited in `async def` and return results in `def`.

        Raises:
            ConfigError: `enable_database()` was not called.
        """
        return self._resource("database", "enable_database()")

    def enable_redis(self, config: "RedisConfig | str | None" = None, *, startup: str = "fail") -> None:
        """Open a client of Redis with the application: `app.redis`, `request.redis`, `Depends("redis")`.

        Args:
            config: Which server or cluster; a URL will do; None for the one on this machine.
            startup: When it cannot be reached: "fail" to end the start with an error, "wait" to start and keep trying
                (not ready until then), "lazy" to connect at the first use.

        Raises:
            ConfigError: The URL is no Redis', or fields contradict each other.
            MissingDependency: Its client is not installed.
        """
        from cello.features.redis import RedisSwitch

        self._host.install(RedisSwitch(config, startup=startup))

    @property
    def redis(self) -> Any:
        """Redis; its methods are awaited in `async def` and return results in `def`.

        Raises:
            ConfigError: `enable_redis()` was not called.
        """
        return self._resource("redis", "enable_redis()")
