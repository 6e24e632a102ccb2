"""Event sourcing, commands and queries, sagas."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cello.enable.base import Base
from cello.errors import ConfigError

if TYPE_CHECKING:
    from cello.cqrs.config import CqrsConfig
    from cello.cqrs.switch import Cqrs
    from cello.eventsourcing.config import EventSourcingConfig
    from cello.eventsourcing.switch import EventSourcing, RepositoryOfBoth
    from cello.saga.config import SagaConfig


Projecting = TypeVar("Projecting")


class Events(Base):
    """Event sourcing, commands and queries, sagas."""

    def enable_event_sourcing(self, config: "EventSourcingConfig | None" = None) -> Self:
        """Open an event store with the application: `app.event_store`, `Depends("event_store")`, `app.repository(…)`.

        Args:
            config: Which store; default: `EventSourcingConfig()`, in the memory of this process.

        Returns:
            The application.

        Raises:
            ConfigError: The store cannot be of that kind. That the database cannot be reached is an error at the start.
            MissingDependency: Its driver is not installed.
        """
        from cello.eventsourcing.switch import EventSourcing

        self._host.install(EventSourcing(config))
        return self

    @property
    def event_store(self) -> Any:
        """The event store; its methods are awaited in `async def` and return results in `def`.

        Raises:
            ConfigError: `enable_event_sourcing()` was not called.
        """
        return self._resource("event_sourcing", "enable_event_sourcing()")

    def repository(self, kind: type[Any], name: str | None = None) -> "RepositoryOfBoth[Any]":
        """Return the repository of a class of aggregates, for handlers of both colours.

        Args:
            kind: A subclass of `cello.eventsourcing.Aggregate`.
            name: Under which handlers take it, `accounts=Depends("accounts")`; None for under no name.

        Raises:
            ConfigError: `enable_event_sourcing()` was not called, or the name is taken.
        """
        return self._event_sourcing("repository").repository(kind, name)

    def projection(
        self,
        name: str,
        *event_types: "str | type",
        reset: Callable[[], Any] | None = None,
        batch: int = 100,
        skip_after: int | None = None,
    ) -> Callable[[Projecting], Projecting]:
        """Have a function, or an object with `@event_handler` methods, called with every event, in order: a decorator.

        Of all workers and machines one runs it. It goes on where it stopped; after a crash the last events come again,
        with the same `event.id`. An `async def` function that also takes `tx` works in the transaction that notes how
        far it has come, so that what it does there happens once.

        Args:
            name: What its checkpoint is kept by.
            event_types: Names, or classes whose models the data is to be; none for all events.
            reset: Undoes all that it has made, before it begins anew.
            batch: Most events between two checkpoints, which is what comes again after a crash; 1 to 1,000.
            skip_after: How often an event that fails is tried before it is left out; None: it is tried for ever, and
                those after it wait.

        Raises:
            ConfigError: `enable_event_sourcing()` was not called, the name is taken, or something cannot be.
        """

        def add(target: Projecting) -> Projecting:
            projections = self._event_sourcing("projection").projections
            projections.add(name, target, event_types, reset=reset, batch=batch, skip_after=skip_after)
            return target

        return add

    @property
    def projections(self) -> Any:
        """The projections: `rebuild(name)`, `status(name)` and `wait(name)`, awaited in `async def`.

        Raises:
            ConfigError: `enable_event_sourcing()` was not called.
        """
        return self._event_sourcing("projections").projections_of_both

    def _event_sourcing(self, asked: str) -> "EventSourcing":
        feature: EventSourcing | None = self.feature("event_sourcing")
        if feature is None:
            raise ConfigError(f"app.{asked}: call app.enable_event_sourcing() first")
        return feature

    def enable_cqrs(self, config: "CqrsConfig | None" = None) -> Self:
        """Have a bus for commands and one for queries: `app.command_bus`, `app.query_bus`; return the application.

        They are `Depends("command_bus")` and `Depends("query_bus")` in handlers, whose calls are awaited in `async def`
        and return results in `def`. `def` handlers run on worker threads from now on, as they wait there.

        Args:
            config: Time limits and retries; default: `CqrsConfig()`.

        Raises:
            ConfigError: The config is of another kind.
        """
        from cello.cqrs.switch import Cqrs

        self._host.install(Cqrs(config))
        return self

    @property
    def command_bus(self) -> Any:
        """Takes commands to their handlers.

        Raises:
            ConfigError: `enable_cqrs()` was not called.
        """
        return self._cqrs("app.command_bus").command_bus

    @property
    def query_bus(self) -> Any:
        """Takes queries to their handlers.

        Raises:
            ConfigError: `enable_cqrs()` was not called.
        """
        return self._cqrs("app.query_bus").query_bus

    def command_route(
        self,
        path: str,
        command: type,
        method: str = "POST",
        *,
        status: int = 200,
        fail_status: int = 409,
        reject_status: int = 409,
        returns: Any = None,
        **options: Any,
    ) -> None:
        """Dispatch a command for each request: fields that the path names come from there, the others are the body.

        Success is answered with the data, or 204 without any; what is not valid is 422, a time limit 503, and an
        exception of the handler what the application answers to it.

        Args:
            path: As of every route.
            command: A class with annotated fields: a dataclass, Struct or `Command`; a pydantic model where the path
                has no parameters.
            method: The method of the request.
            status: Of an answer with data.
            fail_status: Where the handler says `CommandResult.fail`.
            reject_status: Where the handler says `CommandResult.rejected`.
            returns: The type of the data, for OpenAPI.
            options: As of every route.

        Raises:
            ConfigError: The class has no fields, or not those of the path; `enable_cqrs()` was not called.
        """
        from cello.cqrs.routes import Statuses

        statuses = Statuses(status, fail_status, reject_status)
        self._cqrs("command_route()").command_route(path, command, method, statuses, returns, options)

    def query_route(self, path: str, query: type, *, returns: Any = None, **options: Any) -> None:
        """Execute a query for each GET: fields that the path names come from there, the others from the query string.

        What is found is answered as it is, nothing is 404; what is not valid is 422, a time limit 503, and an exception
        of the handler what the application answers to it.

        Args:
            path: As of every route.
            query: A class with annotated fields: a dataclass, Struct or `Query`.
            returns: The type of the data, for OpenAPI.
            options: As of every route.

        Raises:
            ConfigError: The class has no fields, or not those of the path; `enable_cqrs()` was not called.
        """
        self._cqrs("query_route()").query_route(path, query, returns, options)

    def _cqrs(self, what: str) -> "Cqrs":
        found: Cqrs | None = self.feature("cqrs")
        if found is None:
            raise ConfigError(f"{what} needs app.enable_cqrs() first")
        return found

    def enable_saga(self, config: "SagaConfig | None" = None) -> Self:
        """Run sagas with the application: `app.sagas`; return the application.

        It is `Depends("sagas")` in handlers, whose calls are awaited in `async def` and return results in `def`. `def`
        handlers run on worker threads from now on, as they wait there. Executions that are due, of workers that have
        disappeared too, are taken up by themselves.

        Args:
            config: How steps are tried, and where executions are kept; default: `SagaConfig()`, in memory.

        Raises:
            ConfigError: The config is of another kind.
            MissingDependency: The driver of its database is not installed.
        """
        from cello.saga.switch import Sagas

        self._host.install(Sagas(config))
        return self

    @property
    def sagas(self) -> Any:
        """Begins sagas, and tells how they stand.

        Raises:
            ConfigError: `enable_saga()` was not called.
        """
        return self._resource("saga", "enable_saga()")
