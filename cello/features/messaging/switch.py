"""A message broker in an application: opened and closed with it, its consumers at work in between.

Order of a life: connect (band 30) → the application's own start-up hooks (50) → consumers begin (80) … the server
drains: consumers fetch no more → consumers end within the bound (80) → the application's shutdown hooks → disconnect.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cello.database.resources import HeldLoop, Starting, check_startup
from cello.errors import ConfigError
from cello.extension import Host
from cello.features.messaging.messenger import Messenger
from cello.features.messaging.observing import MessageEvents
from cello.features.messaging.review import review_broker, review_consumers
from cello.messaging.binding import Binding
from cello.messaging.broker import Broker, BrokerConfig
from cello.messaging.declared import EVERYWHERE, Declared, DeclaredConsumer
from cello.messaging.memory import Hub, MemoryConfig
from cello.messaging.producer import BlockingProducer, Producer
from cello.messaging.runner import Runner, make_runner_check
from cello.pipeline.threads import WorkerThreads
from cello.review import Deployment, Finding

logger = logging.getLogger("cello.messaging")

CONSUMERS_BAND = 80
PLACES = ("everywhere", "worker")


class MessagingSwitch:
    """One broker. For what the arguments mean see `App.enable_rabbitmq`.

    Args:
        kind: "rabbitmq", "kafka" or "sqs": the name of the resource, and whose decorated functions consume.
        switch: The name of the method that switches it on.
        config: Makes brokers.
        prefetch: Most messages in hand of a consumer that says nothing itself.
        startup: "fail", "wait" or "lazy".
        consumers: "everywhere", or only in a "worker" (`cello worker`).
        drain_timeout: Seconds in which handlers may end when the application stops.
        auto_ack: Whether messages are acknowledged for those consumers that do not forbid it.

    Attributes:
        resource: What handlers get.
        config: Replace it before the start to have another broker: tests do.
    """

    def __init__(
        self,
        kind: str,
        switch: str,
        config: BrokerConfig,
        *,
        prefetch: int = 10,
        startup: str = "fail",
        consumers: str = "everywhere",
        drain_timeout: float = 30.0,
        auto_ack: bool = True,
    ) -> None:
        if consumers not in PLACES:
            raise ConfigError(f"{switch}: consumers must be one of {', '.join(PLACES)}, not {consumers!r:.80}")
        if not drain_timeout >= 0:
            raise ConfigError(f"{switch}: drain_timeout is a number of seconds from 0 on, not {drain_timeout!r:.80}")
        self.name = kind
        self.switch = switch
        self.config = config
        self._prefetch = prefetch
        self._auto_ack = auto_ack
        self._startup = check_startup(switch, startup)
        self._consumers = consumers
        self._drain_timeout_s = drain_timeout
        self._declared = Declared()
        self._has_started = False
        self._runners: list[Runner] = []
        self._threads: WorkerThreads | None = None
        self._broker: Any = _Latest(lambda: self.config)
        self._events: MessageEvents | None = None
        self._host: Host | None = None
        config.make_broker()  # raises here what is wrong with it, or missing for it
        aio = Producer(self._broker)
        blocking = BlockingProducer(lambda: Producer(self.config.make_broker(), self._events))
        self.resource = Messenger(kind, aio, blocking, self._declared, self._refuse_late)

    def install(self, host: Host) -> None:
        """Provide the producers, and see to it that consumers run."""
        self._host = host
        self._events = MessageEvents(host, self.name)
        self.resource.aio._observer = self._events
        self.resource.blocking.on_held_loop = HeldLoop.install_once(host).block
        host.provide(self.name, self.resource)
        starting = Starting(self._startup, lambda: self._broker.connect())
        host.on_start(starting.start)
        host.on_stop(starting.stop)
        host.on_stop(self._disconnect)
        host.on_start(self._start_consumers, band=CONSUMERS_BAND)
        host.on_drain(self._stop_fetching)
        host.on_stop(self._stop_consumers, band=CONSUMERS_BAND)
        host.add_check(self.name, make_runner_check(self._runners, lambda: self._broker.check()))

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find what about the broker, and about its consumers, does not fit the deployment."""
        yield from review_broker(self.switch, self.config, deployment)
        only_in_workers = self._consumers == "worker"
        yield from review_consumers(self.switch, self.declared(), deployment, only_in_workers=only_in_workers)

    def declared(self) -> list[DeclaredConsumer]:
        """Return all consumers of this broker: declared here, and for every application."""
        found = [*EVERYWHERE.of(self.name), *self._declared.of(self.name)]
        return [
            replace(each, prefetch=each.prefetch or self._prefetch, auto_ack=each.auto_ack and self._auto_ack)
            for each in found
        ]

    def use_memory(self, hub: Hub) -> None:
        """Have a broker in memory in place of the real one: for tests.

        Raises:
            ConfigError: The application is running.
        """
        if self._has_started:
            raise ConfigError(f"{self.switch}: the application is running on its broker already")
        self.config = MemoryConfig(hub=hub)

    def has_work(self) -> bool:
        """Return whether `cello worker` has anything to do."""
        return bool(self.declared())

    def _runs_here(self) -> bool:
        return self._consumers == "everywhere" or (self._host is not None and self._host.app.role == "worker")

    async def _start_consumers(self) -> None:
        self._has_started = True
        declared = self.declared()
        if not declared or not self._runs_here():
            return
        threads = self._threads = WorkerThreads(sum(consumer.concurrency for consumer in declared))
        self._runners[:] = [Runner(self._broker, each, self._bind(each, threads), self._events) for each in declared]
        if self._startup != "fail":
            for runner in self._runners:
                runner.start_later()
            return
        try:
            for runner in self._runners:
                await runner.start()
        except BaseException:
            await self._stop_consumers()
            raise

    def _bind(self, consumer: DeclaredConsumer, threads: WorkerThreads) -> Binding:
        app = self._host.app  # type: ignore[union-attr]  # installed, or nothing would start
        return Binding(
            consumer.handler,
            singletons=app.singletons,
            overrides=app.dependency_overrides,
            on_thread=threads.run,
            is_batch=consumer.batch_size is not None,
        )

    def _stop_fetching(self) -> None:
        for runner in self._runners:
            runner.stop_fetching()

    async def _stop_consumers(self) -> None:
        await asyncio.gather(*(runner.stop(self._drain_timeout_s) for runner in self._runners))
        self._runners.clear()
        self._has_started = False
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(0)

    async def _disconnect(self) -> None:
        try:
            await self.resource.aio.close()
        finally:
            # Not by a thread: at the exit of a WSGI host's process there can be no new ones. The loop waits shortly.
            self.resource.blocking.close()

    def _refuse_late(self) -> None:
        if self._has_started:
            raise ConfigError(f"a consumer of {self.name} comes too late: the application has started already")


class _Latest:
    """The broker of a config that may still change until it is first used.

    Args:
        config: Returns it.
    """

    def __init__(self, config: Callable[[], BrokerConfig]) -> None:
        self._config = config
        self._made: tuple[BrokerConfig, Broker] | None = None

    def __getattr__(self, name: str) -> Any:
        config = self._config()
        if self._made is None or self._made[0] is not config:
            self._made = (config, config.make_broker())
        return getattr(self._made[1], name)
