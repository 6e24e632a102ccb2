"""The application's event store: `app.event_store`, `Depends("event_store")`, `app.repository(Account)`."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, TypeVar

from cello.database.colours import Both
from cello.database.lease import new_owner
from cello.database.resources import HeldLoop
from cello.errors import ConfigError
from cello.eventsourcing.aggregate import Aggregate
from cello.eventsourcing.archiving import keep_archiving
from cello.eventsourcing.blocking import BlockingEventStore
from cello.eventsourcing.causes import NoteRequest
from cello.eventsourcing.config import EventSourcingConfig
from cello.eventsourcing.projections import BlockingProjections, Projections
from cello.eventsourcing.repository import BlockingRepository, Repository
from cello.eventsourcing.store import EventStore
from cello.extension import Host
from cello.review import Deployment, Finding

A = TypeVar("A", bound=Aggregate)

logger = logging.getLogger("cello.eventsourcing")

RESOURCE = "event_store"
STORE_BAND = 35
"""Between databases, which it may use, and the application's own hooks, which may use it."""


class StoreOfBoth(Both[EventStore, BlockingEventStore]):
    """The store for handlers of both colours; made when it is first used, as it may need the application's database."""

    __slots__ = ("_switch",)

    def __init__(self, switch: "EventSourcing") -> None:
        self._switch = switch

    @property
    def aio(self) -> EventStore:  # type: ignore[override]  # what is a slot there
        """The one for `async def`."""
        return self._switch.store

    @property
    def blocking(self) -> BlockingEventStore:  # type: ignore[override]
        """The one for `def`."""
        return self._switch.store.blocking


class RepositoryOfBoth(Both[Repository[A], BlockingRepository[A]]):
    """A repository for handlers of both colours."""

    __slots__ = ("_kind", "_made", "_switch")

    def __init__(self, switch: "EventSourcing", kind: type[A]) -> None:
        self._switch = switch
        self._kind = kind
        self._made: Repository[A] | None = None

    @property
    def aio(self) -> Repository[A]:  # type: ignore[override]
        """The one for `async def`."""
        if self._made is None:
            self._made = Repository(self._switch.store, self._kind)
        return self._made

    @property
    def blocking(self) -> BlockingRepository[A]:  # type: ignore[override]
        """The one for `def`."""
        return self.aio.blocking


class EventSourcing:
    """Opens and closes the store with the application. For what the arguments mean see `App.enable_event_sourcing`.

    Attributes:
        resource: The store, for handlers of both colours.
        projections: What is made of the events.
        projections_of_both: The same for handlers of both colours.
    """

    name = "event_sourcing"
    projections: Projections
    projections_of_both: Both[Projections, BlockingProjections]

    def __init__(self, config: EventSourcingConfig | None = None) -> None:
        config = EventSourcingConfig() if config is None else config
        if not isinstance(config, EventSourcingConfig):
            raise ConfigError(f"enable_event_sourcing takes an EventSourcingConfig, not {config!r:.80}")
        self.config = config
        self.resource = StoreOfBoth(self)
        self._store: EventStore | None = None
        self._archiving: asyncio.Task[None] | None = None
        self._host: Host

    @property
    def store(self) -> EventStore:
        """The store; in the application's own database where the config names none.

        Raises:
            ConfigError: There is no such database.
        """
        if self._store is None:
            self._store = self._make_store()
            self._store.spans = self._host.spans
        return self._store

    def install(self, host: Host) -> None:
        """Provide the store, and a health check of it."""
        self._host = host
        host.provide(RESOURCE, self.resource)
        host.add_middleware(NoteRequest())
        self._held = HeldLoop.install_once(host)
        host.on_start(self._start, band=STORE_BAND)
        host.on_stop(self._stop, band=STORE_BAND)
        self.projections = Projections(host, lambda: self.store)
        blocking = BlockingProjections(self.projections, lambda: self.store)
        self.projections_of_both = Both(self.projections, blocking)
        host.add_check(RESOURCE, self._check)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find stores that not every process reaches."""
        kind, processes = self.config.store_type, deployment.workers * deployment.machines
        if kind == "memory" and processes > 1:
            yield Finding(
                "error",
                "events-memory",
                f"enable_event_sourcing: events live in the memory of one process, and there are {processes}: each has "
                'events of its own. Say EventSourcingConfig(store_type="sqlite"), or a server',
            )
        elif kind == "memory" and deployment.env == "production":
            yield Finding(
                "warning",
                "events-memory",
                "enable_event_sourcing: events live in memory and are gone when the process ends. Say "
                'EventSourcingConfig(store_type="sqlite"), or a server',
            )
        elif kind == "sqlite" and deployment.machines > 1:
            yield Finding(
                "error",
                "events-file",
                f"enable_event_sourcing: SQLite is a file of one machine, and there are {deployment.machines}: each "
                "has events of its own. Use PostgreSQL or MySQL",
            )

    def repository(self, kind: type[A], name: str | None = None) -> RepositoryOfBoth[A]:
        """Return the repository of a class of aggregates, and provide it under a name."""
        made = RepositoryOfBoth(self, kind)
        if name is not None:
            self._host.provide(name, made)
        return made

    def _make_store(self) -> EventStore:
        config = self.config
        if config.store_type == "memory" or config.connection_url is not None:
            return EventStore(config)
        shared = self._host.resource("database")
        if isinstance(shared, Both) and shared.aio._shared.address.kind == config.store_type:
            return EventStore(config, database=shared.aio)
        return EventStore(config)

    async def _start(self) -> None:
        store = self.store
        if store.config.store_type == "memory" and not self._host.shared.origin().is_alone:
            logger.warning(
                "events are kept in the memory of this worker alone, and are gone when it ends: "
                'EventSourcingConfig(store_type="sqlite") keeps them for all workers'
            )
        await store.open()
        if store.config.event_ttl_secs > 0:
            self._archiving = asyncio.create_task(keep_archiving(store, new_owner()), name="event archive")
        database = store._journal.database
        if database is not None:
            database.blocking._loop.on_held_loop = self._held.block

    async def _stop(self) -> None:
        archiving, self._archiving = self._archiving, None
        if archiving is not None:
            archiving.cancel()
            await asyncio.gather(archiving, return_exceptions=True)
        if self._store is not None:
            await self._store.close()

    async def _check(self) -> dict[str, Any]:
        return {"store": self.config.store_type, "events": await self.store._journal.head()}
