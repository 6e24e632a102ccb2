"""The application's database: `app.database`, `request.database`, `Depends("database")`.

What handlers get is one object for both colours: its methods are awaited in `async def` and return results in `def`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cello.database import DatabaseConfig
from cello.database.resources import HeldLoop, Starting, check_startup
from cello.extension import Host
from cello.features.statements import StatementEvents
from cello.review import Deployment, Finding

if TYPE_CHECKING:
    from cello.database.colours import Both
    from cello.database.sql.blocking import BlockingDatabase
    from cello.database.sql.database import Database

RESOURCE = "database"
_USUAL_CONNECTIONS = {"postgresql": 100, "mysql": 151}
"""What a server allows where nobody changed it."""


class Pools:
    """The states of both pools, as metrics."""

    def __init__(self, host: Host, database: "Database") -> None:
        self._stats = database.stats
        connections = host.metric("gauge", "database_connections", "Connections, by what they do.", ("state",))
        self._rows = {state: connections.labelled(state) for state in ("in_use", "idle")}
        self._most = host.metric("gauge", "database_connections_max", "Most connections that there may be.").labelled()
        self._waiting = host.metric("gauge", "database_waiting", "Statements that wait for a connection.").labelled()
        self._opened = host.metric("counter", "database_connections_opened_total", "Connections opened.").labelled()

    def __call__(self) -> None:
        """Read them."""
        stats = self._stats()
        pools = [pool for pool in (stats["pool"], stats["blocking_pool"]) if pool is not None]
        for state, row in self._rows.items():
            row.set(sum(pool[state] for pool in pools))
        self._most.set(sum(pool["size"] for pool in pools))
        self._waiting.set(sum(pool["waiting"] for pool in pools))
        self._opened.follow(sum(pool["opened"] for pool in pools))


class DatabaseSwitch:
    """Opens and closes the database with the application. For what the arguments mean see `App.enable_database`."""

    name = "database"
    resource: "Both[Database, BlockingDatabase]"

    def __init__(self, config: DatabaseConfig | str | None = None, *, startup: str = "fail") -> None:
        from cello.database.colours import Both  # asyncio with it: only an application that has a database
        from cello.database.sql.database import Database

        self._startup = check_startup("enable_database", startup)
        database = Database(config)
        self.resource = Both(database, database.blocking)

    def install(self, host: Host) -> None:
        """Provide the database, and a health check of it."""
        database = self.resource.aio
        host.provide(RESOURCE, self.resource)
        held = HeldLoop.install_once(host)
        self.resource.blocking._loop.on_held_loop = held.block
        starting = Starting(self._startup, database._core.open)
        host.on_start(starting.start)
        host.on_stop(starting.stop)
        host.on_stop(database.disconnect)
        host.add_check("database", database._core.ping)
        database.add_listener(StatementEvents(host))
        host.on_collect(Pools(host, database))

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find databases that not every process reaches, and more connections than a server takes."""
        core = self.resource.aio._core.shared
        address, workers, machines = core.address, deployment.workers, deployment.machines
        if address.is_memory and workers * machines > 1:
            yield Finding(
                "error",
                "database-memory",
                f"enable_database: {address.safe_url} lives in the memory of one process, and there are "
                f"{workers * machines}: each has data of its own. Name a file, such as sqlite://app.db, or a server",
            )
        elif address.kind == "sqlite" and machines > 1:
            yield Finding(
                "error",
                "database-file",
                f"enable_database: {address.safe_url} is a file of one machine, and there are {machines}: each has "
                "data of its own, and a file shared over a network breaks. Use PostgreSQL or MySQL",
            )
        usual = _USUAL_CONNECTIONS.get(address.kind)
        wanted = core.config.pool_size * workers * machines
        if usual is not None and wanted > usual:
            yield Finding(
                "warning",
                "database-connections",
                f"enable_database: {workers * machines} processes with pool_size={core.config.pool_size} may open "
                f"{wanted} connections; a {address.kind} server allows {usual} unless it is told otherwise",
            )
