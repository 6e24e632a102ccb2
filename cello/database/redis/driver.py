"""How redis-py is set up, for both colours: pools, time limits, TLS, and the names of its errors here.

Rule 1: whoever finds all connections in use waits, `connection_timeout_secs` at most. A cluster's nodes share that.
Rule 2: redis-py sends nothing twice of itself: what changes something would be done twice. Connections that were closed
while idle are noticed before they are used, and what only reads is sent again by us.
"""

import contextlib
from collections.abc import Iterator
from inspect import signature
from typing import Any

from cello.database.config import RedisConfig
from cello.database.errors import LockError, RedisError, RedisUnavailable
from cello.database.redis.address import RedisAddress
from cello.errors import ConfigError, MissingDependency


def require_redis(who: str) -> None:
    """Check that redis-py is installed, without loading it.

    Raises:
        MissingDependency: It is not; the message names the extra.
    """
    from importlib.util import find_spec  # only an application with Redis asks

    if find_spec("redis") is None:
        raise MissingDependency(f"{who} needs 'redis': pip install 'cello[redis]'")


def make_client(config: RedisConfig, *, aio: bool, listening: bool = False, node: int = 0) -> Any:
    """Return a client of redis-py; it connects when used.

    Args:
        config: Which server or cluster.
        aio: Whether for `async def`.
        listening: It is for subscriptions: connections are not bounded, and wait for ever. In a cluster one node will
            do, as what is published goes to all of them.
        node: Which of the nodes to listen to.
    """
    import redis as blocking
    import redis.asyncio as redis_aio

    module: Any = redis_aio if aio else blocking
    address = RedisAddress.of(config)
    common = {**_common(config, address), "retry": _retry(aio=aio)}
    if listening:
        common["socket_timeout"] = None
    if address.tls:
        common |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        if config.tls_ca_file is not None:
            common["ssl_ca_certs"] = config.tls_ca_file
    if config.cluster_mode and not listening:
        return _cluster(module, config, address, common)
    if address.path:
        connection = {"connection_class": module.UnixDomainSocketConnection, "path": address.path}
    else:
        host, port = address.nodes[node % len(address.nodes)]
        connection = {"host": host, "port": port, "socket_keepalive": True}
        if address.tls:
            connection["connection_class"] = module.SSLConnection if aio else blocking.SSLConnection
    bounds = {} if listening else {"max_connections": config.pool_size, "timeout": config.connection_timeout_secs}
    pool_class = module.ConnectionPool if listening else module.BlockingConnectionPool
    connection |= _plain_connections(module.ConnectionPool)
    pool = pool_class(db=address.database, **bounds, **connection, **common)
    return module.Redis.from_pool(pool)


def _cluster(module: Any, config: RedisConfig, address: RedisAddress, common: dict[str, Any]) -> Any:
    from redis.asyncio.cluster import ClusterNode as AsyncNode
    from redis.cluster import ClusterNode

    node = AsyncNode if module.__name__ == "redis.asyncio" else ClusterNode
    nodes = [node(host, port) for host, port in address.nodes]
    if address.tls:
        common["ssl"] = True
    common.pop("retry")  # a cluster's client follows moved slots, and nodes that are gone, by its own
    return module.RedisCluster(startup_nodes=nodes, max_connections=config.pool_size, **common)


def _common(config: RedisConfig, address: RedisAddress) -> dict[str, Any]:
    return {
        "username": address.user,
        "password": address.password,
        "socket_timeout": config.connection_timeout_secs,
        "socket_connect_timeout": config.connection_timeout_secs,
        "health_check_interval": config.idle_timeout_secs,
        "encoding_errors": "surrogateescape",
        "decode_responses": False,
    }


def _plain_connections(pool: Any) -> dict[str, Any]:
    """Return what keeps redis-py's notices of maintenance out.

    While they are on, it does not look whether an idle connection was closed.
    """
    if "maint_notifications_config" not in signature(pool.__init__).parameters:
        return {}  # a release that has no such notices
    from redis.maint_notifications import MaintNotificationsConfig

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def _retry(*, aio: bool) -> Any:
    from redis.backoff import NoBackoff

    if aio:
        from redis.asyncio.retry import Retry as AsyncRetry

        return AsyncRetry(NoBackoff(), 0)
    from redis.retry import Retry

    return Retry(NoBackoff(), 0)


@contextlib.contextmanager
def translating(where: str) -> Iterator[None]:
    """Raise errors of redis-py by their names here."""
    from redis import exceptions

    try:
        yield
    except exceptions.LockError as error:
        raise LockError(str(error)) from error
    except (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        exceptions.ClusterDownError,
        exceptions.TryAgainError,
        OSError,
    ) as error:
        raise RedisUnavailable(f"Redis at {where} is not available: {str(error) or type(error).__name__}") from error
    except exceptions.RedisClusterException as error:
        if "slot" in str(error):
            raise RedisError(
                f"{error}: in a cluster the keys of one command need one hash tag, as in {{user:1}}:name"
            ) from error
        raise RedisUnavailable(f"the Redis cluster at {where} is not available: {error}") from error
    except exceptions.RedisError as error:
        if "CROSSSLOT" in str(error):
            raise RedisError(
                f"{error}: in a cluster the keys of one command need one hash tag, as in {{user:1}}:name"
            ) from error
        raise RedisError(str(error)) from error


def as_config(config: RedisConfig | str | None) -> RedisConfig:
    """Return a config: itself, that of a URL, or the default one.

    Raises:
        ConfigError: It is something else.
    """
    if config is None or isinstance(config, str):
        return RedisConfig() if config is None else RedisConfig(url=config)
    if not isinstance(config, RedisConfig):
        raise ConfigError(f"Redis takes a RedisConfig, not {config!r:.80}")
    return config
