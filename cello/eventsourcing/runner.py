"""Runs one projection: of all processes that could, the one that has the lease.

Rule 1: the lease says who runs; the epoch says whose checkpoints count. Each holder has a higher epoch than those
before, and the checkpoint's row refuses lower ones: who was slow and has lost the lease without noticing cannot undo
what its successor did.
Rule 2: an event that fails is tried again, ever more slowly, and what comes after it waits; its fault stands in the
checkpoint's row, for health checks of every process. With `skip_after` it is logged and left out in the end.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from cello.database.errors import DatabaseError
from cello.eventsourcing.causes import caused_by
from cello.eventsourcing.event import Event
from cello.eventsourcing.journal import Checkpoint
from cello.eventsourcing.projection import Subject, call
from cello.eventsourcing.store import EventStore

logger = logging.getLogger("cello.eventsourcing")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
LOOK_AFTER_S = 1.0
"""How long a holder without events goes without looking whether its projection is to begin anew."""


class Superseded(Exception):
    """Somebody else runs the projection now, or it is to begin anew."""


class Failed(Exception):
    """An event could not be handled.

    Attributes:
        event: Which.
        handled: Those before it, since the last checkpoint.
    """

    def __init__(self, event: Event, handled: int) -> None:
        super().__init__(event)
        self.event = event
        self.handled = handled


class Runner:
    """Runs one projection whenever it has the lease.

    Args:
        store: Whose events.
        subject: The projection.
        owner: The name of this process among those who want the lease.
        count: Called with "handled", "skipped" or "failed" and how many events that were.
        set_lag: Called with how many events are still to be handled.

    Attributes:
        is_leading: Whether this process runs it.
    """

    def __init__(
        self,
        store: EventStore,
        subject: Subject,
        owner: str,
        *,
        count: Callable[[str, int], None],
        set_lag: Callable[[int], None],
    ) -> None:
        self.subject = subject
        self.is_leading = False
        self._store = store
        self._journal = store._journal
        self._owner = owner
        self._lease_s = store.config.lease_secs
        self._lease = f"{store.config.table_prefix}projection:{subject.name}"
        self._count = count
        self._set_lag = set_lag
        self._tries: tuple[int, int] = (0, 0)

    async def run(self) -> None:
        """Run until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                token = await self._journal.leases.acquire(self._lease, self._owner, self._lease_s)
                if token is not None and await self._journal.take(self.subject.name, token):
                    pause_s = FIRST_PAUSE_S
                    await self._lead(token)
                await asyncio.sleep(min(self._lease_s / 4, 1.0))
            except Exception:
                logger.exception("projection %r: cannot go on, tries again", self.subject.name)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _lead(self, token: int) -> None:
        """Run the projection for as long as the lease is held."""
        loop = asyncio.get_running_loop()
        self.is_leading = True
        work = loop.create_task(self._work(token))
        renewed_s = loop.time()
        try:
            while not (await asyncio.wait((work,), timeout=self._lease_s / 4))[0]:
                try:
                    async with asyncio.timeout(self._lease_s / 4):
                        is_held = await self._journal.leases.renew(self._lease, self._owner, token, self._lease_s)
                except (DatabaseError, TimeoutError):
                    is_held = loop.time() - renewed_s < self._lease_s
                else:
                    renewed_s = loop.time()
                if not is_held:
                    logger.warning("projection %r: another process has taken over", self.subject.name)
                    return
            with contextlib.suppress(Superseded):
                work.result()
        finally:
            self.is_leading = False
            self._set_lag(0)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            with contextlib.suppress(DatabaseError, TimeoutError):
                async with asyncio.timeout(self._lease_s / 4):
                    await self._journal.leases.release(self._lease, self._owner, token)

    async def _work(self, epoch: int) -> None:
        """Handle what there is, then what comes."""
        loop = asyncio.get_running_loop()
        pause_s = FIRST_PAUSE_S
        batch, careful_until = self.subject.batch, 0
        while True:
            known = await self._begun(await self._journal.checkpoint(self.subject.name), epoch)
            looked_s = loop.time()
            while loop.time() - looked_s < LOOK_AFTER_S:
                rung = self._store.bell.count
                most = batch if known.position >= careful_until else 1
                events = await self._store.read_feed(known.position, most)
                if not events:
                    self._set_lag(0)
                    await self._store.bell.wait(rung, self._store.config.poll_ms / 1000)
                    continue
                looked_s = loop.time()
                if len(events) == most:
                    self._set_lag(await self._journal.head() - known.position)
                try:
                    known = await self._handle(events, known, epoch)
                except Failed as failed:
                    careful_until = failed.event.position
                    if failed.handled and self.subject.takes_tx:
                        continue  # those before it were undone with it: now up to it, one at a time
                    known = await self._note_failure(failed, known, epoch)
                    if known.fault is not None:
                        await asyncio.sleep(pause_s)
                        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                        break
                else:
                    pause_s = FIRST_PAUSE_S

    async def _begun(self, known: Checkpoint, epoch: int) -> Checkpoint:
        """Reset a projection that is to begin anew."""
        if not known.is_fresh:
            return known
        logger.info("projection %r: begins anew", self.subject.name)
        if self.subject.reset is not None:
            await call(self.subject.reset)
        return await self._advance(known._replace(is_fresh=False), epoch)

    async def _handle(self, events: list[Event], known: Checkpoint, epoch: int) -> Checkpoint:
        """Handle events; return the checkpoint after them.

        Raises:
            Failed: One could not be handled.
            Superseded: Somebody else does.
        """
        after = known._replace(position=events[-1].position)
        name, about = f"project {self.subject.name}", {"cello.events": len(events)}
        with self._store.spans.span(name, "internal", about):
            return await self._handle_all(events, known, after, epoch)

    async def _handle_all(self, events: list[Event], known: Checkpoint, after: Checkpoint, epoch: int) -> Checkpoint:
        if not self.subject.takes_tx:
            count = await self._handle_each(events, None)
            known = await self._advance(after, epoch)
        else:
            async with self._journal.database.transaction() as tx:
                count = await self._handle_each(events, tx)
                known = await self._advance(after, epoch)
        self._count("handled", count)
        return known

    async def _handle_each(self, events: list[Event], tx: Any) -> int:
        handled = 0
        for number, event in enumerate(events):
            try:
                with caused_by(event):
                    handled += await self.subject.handle(event, tx)
            except Exception as error:
                raise Failed(event, number) from error
        return handled

    async def _advance(self, known: Checkpoint, epoch: int, fault: str | None = None) -> Checkpoint:
        if not await self._journal.advance(self.subject.name, epoch, known, fault):
            raise Superseded
        return known._replace(fault=fault)

    async def _note_failure(self, failed: Failed, known: Checkpoint, epoch: int) -> Checkpoint:
        """Keep what was done before the event, and say what is wrong with it; return the checkpoint."""
        event, error = failed.event, failed.__cause__
        position, tries = self._tries
        tries = tries + 1 if position == event.position else 1
        self._tries = (event.position, tries)
        self._count("failed", 1)
        self._set_lag(await self._journal.head() - event.position + 1)
        subject = self.subject
        if subject.skip_after is not None and tries >= subject.skip_after:
            logger.error("projection %r: leaves out %r after %d attempts", subject.name, event, tries, exc_info=error)
            self._count("skipped", 1)
            return await self._advance(known._replace(position=event.position), epoch)
        logger.error("projection %r: cannot handle %r, attempt %d", subject.name, event, tries, exc_info=error)
        fault = f"event {event.id} at position {event.position}: {error!r}"
        return await self._advance(known._replace(position=event.position - 1), epoch, fault[:1_000])
