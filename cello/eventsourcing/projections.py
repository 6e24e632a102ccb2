"""The projections of an application: declared, run with it, looked after."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from cello.database.colours import awaited
from cello.database.lease import new_owner
from cello.errors import CelloError, ConfigError
from cello.eventsourcing.projection import BATCH, Subject, make_subject
from cello.eventsourcing.runner import Runner
from cello.eventsourcing.store import EventStore
from cello.extension import Host

F = TypeVar("F")

RUN_BAND = 60
"""After the application's own hooks, which may make the tables that projections write to."""


class ProjectionStopped(CelloError):
    """A projection does not go on: an event fails, again and again."""


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How a projection stands.

    Attributes:
        name: Which.
        position: The last event that it has seen.
        lag: How many there are after it.
        holder: The process that runs it: host, process id and a word of its own; None where nobody does just now.
        is_leading: Whether it is this process.
        fault: Why it does not go on, or None.
        generation: How often it was begun anew.
    """

    name: str
    position: int
    lag: int
    holder: str | None
    is_leading: bool
    fault: str | None
    generation: int


class Projections:
    """What `app.projections` is, in `async def`.

    Args:
        host: The application.
        get_store: Returns the store, once it is known.
    """

    def __init__(self, host: Host, get_store: Callable[[], EventStore]) -> None:
        self._host = host
        self._get_store = get_store
        self._subjects: dict[str, Subject] = {}
        self._runners: dict[str, Runner] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lag = host.metric("gauge", "projection_lag_events", "Events that a projection has to handle.", ("name",))
        text = "Events that projections have handled, skipped, or failed at."
        self._count = host.metric("counter", "projection_events_total", text, ("name", "outcome"))

    def add(
        self,
        name: str,
        target: Any,
        event_types: tuple[str | type, ...] = (),
        *,
        reset: Callable[[], Any] | None = None,
        batch: int = BATCH,
        skip_after: int | None = None,
    ) -> None:
        """Add a projection. For what the arguments mean see `App.projection`."""
        if name in self._subjects:
            raise ConfigError(f"there is a projection named {name!r} already")
        subject = make_subject(name, target, event_types, reset, batch, skip_after)
        if not self._subjects:
            self._host.on_start(self.start, band=RUN_BAND)
            self._host.on_stop(self.stop, band=RUN_BAND)
            self._host.keep_loop_free()  # a `def` handler may wait for a projection, which runs on the loop
        self._subjects[name] = subject
        self._host.add_check(f"projection:{name}", lambda: self._check(name), critical=False)

    async def start(self) -> None:
        """Run all of them, each where it has the lease.

        Raises:
            ConfigError: One takes a transaction, and the store is in memory.
        """
        store = self._get_store()
        for subject in self._subjects.values():
            if subject.takes_tx and store.config.store_type == "memory":
                raise ConfigError(f"projection {subject.name!r} takes tx, but the event store is in memory")
            count = partial(self._counted, subject.name)
            runner = Runner(store, subject, new_owner(), count=count, set_lag=self._lag.labelled(subject.name).set)
            self._runners[subject.name] = runner
            self._tasks.append(asyncio.create_task(runner.run(), name=f"projection {subject.name}"))

    async def stop(self) -> None:
        """Stop them; each finishes nothing, as what was not noted is done again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @awaited
    async def status(self, name: str) -> ProjectionStatus:
        """Return how a projection stands, wherever it runs.

        Raises:
            ConfigError: There is none of that name.
        """
        return await self._status(self._get_store(), name)

    async def _status(self, store: EventStore, name: str) -> ProjectionStatus:
        self._require(name)
        journal = store._journal
        known = await journal.checkpoint(name)
        head = await journal.head()
        holder = await journal.leases.holder(f"{store.config.table_prefix}projection:{name}")
        runner = self._runners.get(name)
        is_leading = runner is not None and runner.is_leading
        lag = max(0, head - known.position)
        return ProjectionStatus(name, known.position, lag, holder, is_leading, known.fault, known.generation)

    @awaited
    async def rebuild(self, name: str) -> None:
        """Have a projection begin anew: whoever runs it resets it, and gives it all events there ever were.

        Raises:
            ConfigError: There is none of that name.
        """
        await self._rebuild(self._get_store(), name)

    async def _rebuild(self, store: EventStore, name: str) -> None:
        self._require(name)
        await store._journal.rewind(name)

    @awaited
    async def wait(self, name: str, position: int | None = None, *, timeout: float = 10) -> None:  # noqa: ASYNC109
        """Wait until a projection has seen an event, so that what is read then shows it.

        Args:
            name: Which.
            position: The event's position; None for the last one there is now.
            timeout: Seconds.

        Raises:
            ConfigError: There is none of that name.
            TimeoutError: It has not come so far.
        """
        await self._wait(self._get_store(), name, position, timeout)

    async def _wait(self, store: EventStore, name: str, position: int | None, timeout_s: float) -> None:
        self._require(name)
        position = await store._journal.head() if position is None else position
        deadline_s = monotonic() + timeout_s
        while True:
            known = await store._journal.checkpoint(name)
            if known.position >= position and not known.is_fresh:
                return
            if monotonic() >= deadline_s:
                raise TimeoutError(f"projection {name!r} is at {known.position}, not {position}, after {timeout_s:g} s")
            await asyncio.sleep(min(0.02, store.config.poll_ms / 1000))

    def _counted(self, name: str, outcome: str, events: int) -> None:
        self._count.labelled(name, outcome).add(events)

    def names(self) -> list[str]:
        """Return the names of all."""
        return list(self._subjects)

    def _require(self, name: str) -> None:
        if name not in self._subjects:
            raise ConfigError(f"there is no projection {name!r:.80}; there are: {', '.join(self._subjects) or 'none'}")

    async def _check(self, name: str) -> dict[str, Any]:
        status = await self._status(self._get_store(), name)
        if status.fault is not None:
            raise ProjectionStopped(f"projection {name!r}: {status.fault}")
        return {"position": status.position, "lag": status.lag, "is_run": status.holder is not None}


class BlockingProjections:
    """What `app.projections` is in `def` handlers. See `Projections` for each method."""

    def __init__(self, projections: Projections, get_store: Callable[[], EventStore]) -> None:
        self._projections = projections
        self._get_store = get_store

    def status(self, name: str) -> ProjectionStatus:
        """Return how a projection stands, wherever it runs."""
        found: ProjectionStatus = self._run(lambda store: self._projections._status(store, name))
        return found

    def rebuild(self, name: str) -> None:
        """Have a projection begin anew."""
        self._run(lambda store: self._projections._rebuild(store, name))

    def wait(self, name: str, position: int | None = None, *, timeout: float = 10) -> None:
        """Wait until a projection has seen an event; None for the last one there is now."""
        self._run(lambda store: self._projections._wait(store, name, position, timeout))

    def _run(self, work: Callable[[EventStore], Any]) -> Any:
        return self._get_store().blocking._run(work)
