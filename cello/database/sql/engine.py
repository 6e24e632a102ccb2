"""The same database as a SQLAlchemy engine, for Alembic and ORMs. The only place that loads SQLAlchemy."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from cello.database.config import DatabaseConfig
from cello.database.sql.address import Address


def make_engine(address: Address, config: DatabaseConfig, **options: Any) -> AsyncEngine:
    """Return an engine of `address`, without a pool unless `options` say `poolclass=`."""
    arguments: dict[str, Any] = {}
    if address.kind == "mysql":
        from cello.database.sql.mysql import options_of

        arguments = {name: value for name, value in options_of(address).items() if name in ("ssl", "program_name")}
        arguments["connect_timeout"] = config.connection_timeout_secs
    elif address.kind == "postgresql":
        from cello.database.sql.postgres import dsn

        arguments = {"dsn": dsn(address), "timeout": config.connection_timeout_secs}
    return create_async_engine(
        address.sqlalchemy_url(), **{"poolclass": NullPool, "connect_args": arguments, **options}
    )
