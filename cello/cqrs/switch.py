"""The feature: the two buses of an application, for handlers of both colours."""

from collections.abc import Callable
from typing import Any

from cello.cqrs.bus import BlockingBus, CommandBus, QueryBus
from cello.cqrs.config import CqrsConfig
from cello.cqrs.routes import Statuses, command_endpoint, query_endpoint
from cello.database.colours import Both
from cello.errors import ConfigError
from cello.extension import Host
from cello.gateways.home_loop import HomeLoop
from cello.pipeline.colour import describe

CHECK_BAND = 60
"""After the application's own hooks."""


class Cqrs:
    """Commands and queries of an application. For what the arguments mean see `App.enable_cqrs`.

    Attributes:
        command_bus: For handlers of both colours.
        query_bus: For handlers of both colours.
    """

    name = "cqrs"
    command_bus: Both[CommandBus, BlockingBus]
    query_bus: Both[QueryBus, BlockingBus]

    def __init__(self, config: CqrsConfig | None = None) -> None:
        if config is not None and not isinstance(config, CqrsConfig):
            raise ConfigError(f"enable_cqrs takes a CqrsConfig, not {config!r:.80}")
        self.config = config or CqrsConfig()
        self._commands = CommandBus(self.config)
        self._queries = QueryBus(self.config)

    def install(self, host: Host) -> None:
        """Provide the buses."""
        self._host = host
        home = HomeLoop.install_once(host)
        self.command_bus = Both(self._commands, BlockingBus(self._commands, home))
        self.query_bus = Both(self._queries, BlockingBus(self._queries, home))
        host.provide("command_bus", self.command_bus)
        host.provide("query_bus", self.query_bus)
        text = "How long commands and queries took, in seconds."
        self._durations = host.metric("histogram", "cqrs_duration_seconds", text, ("kind", "message", "outcome"))
        for bus in (self._commands, self._queries):
            bus._given = self._given
            bus.spans = host.spans
            bus.listeners.append(self._counter(bus.kind))
        host.on_start(self._check, band=CHECK_BAND)

    def command_route(
        self, path: str, command: type, method: str, statuses: Statuses, returns: Any, options: dict[str, Any]
    ) -> None:
        """Add a route that dispatches a command."""
        endpoint = command_endpoint(self._commands, path, command, statuses, returns)
        said = {statuses.failed: "The command failed", statuses.rejected: "The command was rejected"}
        options["responses"] = {**said, 503: "The command took too long", **(options.get("responses") or {})}
        self._host.app.add_route(path, endpoint, methods=[method], **options)

    def query_route(self, path: str, query: type, returns: Any, options: dict[str, Any]) -> None:
        """Add a route that executes a query."""
        endpoint = query_endpoint(self._queries, path, query, returns)
        options["responses"] = {
            404: "Nothing was found", 503: "The query took too long", **(options.get("responses") or {}),
        }  # fmt: skip
        self._host.app.add_route(path, endpoint, methods=["GET"], **options)

    def _check(self) -> None:
        """Refuse handlers whose dependencies nobody provides, and find projections, once all have had their chance."""
        for bus in (self._commands, self._queries):
            for handler in bus.handlers():
                for parameter, name in handler.wants.items():
                    if self._host.resource(name) is None:
                        raise ConfigError(
                            f"{describe(handler.function)}, parameter {parameter!r}: there is no dependency {name!r}"
                        )
        source = self._host.app.feature("event_sourcing")
        if self.config.enable_event_sync and source is not None and source.projections.names():
            from cello.cqrs.sync import EventSync

            self._commands.sync = EventSync(source.store, source.projections, self.config.event_sync_timeout_ms)

    def _given(self, name: str) -> Any:
        overrides = self._host.app.dependency_overrides
        return overrides[name] if name in overrides else self._host.resource(name)

    def _counter(self, kind: str) -> Callable[[Any, str, float], None]:
        def count(message: Any, outcome: str, seconds: float) -> None:
            self._durations.labelled(kind, type(message).__name__, outcome).observe(seconds)

        return count
