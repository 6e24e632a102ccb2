"""The application's outbox: `app.outbox`, `Depends("outbox")`; for the idea see `cello/messaging/outbox.py`."""

from typing import Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.messaging.outbox import Outbox, Relay

TABLES_BAND = 35
RELAY_BAND = 60


class OutboxSwitch:
    """Makes the tables, and runs the relay with the application. For what the arguments mean see `App.enable_outbox`.

    Attributes:
        resource: What handlers get.
    """

    name = "outbox"

    def __init__(self, broker: str, table: str, *, interval: float, attempts: int) -> None:
        if not interval > 0:
            raise ConfigError(f"enable_outbox: interval is a number of seconds above 0, not {interval!r:.80}")
        if type(attempts) is not int or attempts < 1:
            raise ConfigError(f"enable_outbox: attempts is a whole number from 1 on, not {attempts!r:.80}")
        self._broker = broker
        self._interval_s = interval
        self._attempts = attempts
        self._host: Host | None = None
        self._relay: Relay | None = None
        self.resource = Outbox(lambda: self._needed("database", "enable_database()"), table)

    def install(self, host: Host) -> None:
        """Provide the outbox."""
        self._host = host
        host.provide(self.name, self.resource)
        host.on_start(self._make_tables, band=TABLES_BAND)
        host.on_start(self._start, band=RELAY_BAND)
        host.on_stop(self._stop, band=RELAY_BAND)

    async def _make_tables(self) -> None:
        database = self._needed("database", "enable_database()").aio
        await self.resource.make_tables(database, database._shared.address.kind)

    async def _start(self) -> None:
        database = self._needed("database", "enable_database()").aio
        producer = self._needed(self._broker, f"enable_{self._broker}()").aio
        self._relay = Relay(self.resource, database, producer, interval_s=self._interval_s, attempts=self._attempts)
        await self._relay.start()

    async def _stop(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.stop()

    def _needed(self, resource: str, switch: str) -> Any:
        found = None if self._host is None else self._host.resource(resource)
        if found is None:
            raise ConfigError(f"enable_outbox: there is no {resource!r:.80}: call app.{switch}, too")
        return found
