"""Start-up and shutdown of an application inside a host that announces neither.

WSGI knows no start-up event, and some ASGI hosts skip the lifespan protocol. There the first request of a process
starts the application (start-up hooks, then freeze) while other first requests wait.

Strategy: one task lives as long as the application does. It runs the start-up, waits, and runs the shutdown, so that
lifespans end in the task they began in. It ends when the process exits, or when its loop does: loops that are closed
in order cancel what still runs. Everything is keyed by the process id: a worker forked from a host that preloaded the
application starts on its own.
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from concurrent.futures import Future
from importlib import import_module
from typing import Protocol

from cello.gateways.portal import Portal
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.lifecycle import Lifecycle

logger = logging.getLogger("cello")


class ServedApp(Protocol):
    """What a gateway needs to know of the application."""

    @property
    def lifecycle(self) -> Lifecycle:
        """Start-up and shutdown hooks."""

    def freeze(self) -> Dispatcher:
        """Compile what was registered; idempotent."""

    def note_other_processes(self) -> None:
        """Know that the host runs this application in other processes too."""


class HostedStart:
    """Starts `app` once per process, whoever asks first, and shuts it down when the process exits.

    Args:
        app: The application.
        portal: Where the application lives for callers without a loop.

    Attributes:
        dispatcher: What answers, while the application runs.
        pid: The process that started it.
    """

    __slots__ = ("_app", "_life", "_lock", "_portal", "dispatcher", "pid")

    def __init__(self, app: ServedApp, portal: Portal) -> None:
        self._app = app
        self._portal = portal
        # Reentrant: a child that forgets its parent's life under the lock ends that one's coroutine, which forgets too.
        self._lock = threading.RLock()
        self._life: _Life | None = None
        self.dispatcher: Dispatcher | None = None
        self.pid = 0

    def run_blocking(self) -> Dispatcher:
        """Start on the portal, for WSGI. A failed start is raised, and tried again by the next call."""
        return self._portal.run(self.run())

    def note_other_processes(self) -> None:
        """Pass on what a host says of itself: that it runs the application in other processes too."""
        self._app.note_other_processes()

    async def run(self) -> Dispatcher:
        """Start on the running loop, for ASGI without lifespan. A failed start is tried again by the next call."""
        with self._lock:
            life = self._life
            if life is None or self.pid != os.getpid():
                life = self._life = _Life(self._app, asyncio.get_running_loop())
                self.pid = os.getpid()
                # A task of its own: the request that came first may be cancelled, the start-up may not.
                life.task = life.loop.create_task(self._live(life))
                # A forked child drops its parent's task unfinished, which is nothing to warn of.
                life.task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio itself does
        return await asyncio.shield(asyncio.wrap_future(life.started))

    async def _live(self, life: "_Life") -> None:
        try:
            dispatcher = await life.start()
            self.dispatcher = dispatcher
            self._watch_exit()
            life.started.set_result(dispatcher)
            try:
                await life.stopping.wait()
            finally:
                await life.stop(dispatcher)
        except BaseException as error:
            if life.started.done():
                raise
            self._forget(life)
            life.started.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._forget(life)

    def _watch_exit(self) -> None:
        """Have `stop` called when the process exits; children of `multiprocessing` do not run `atexit` (granian)."""
        atexit.register(self._stop_at_exit, os.getpid())
        multiprocessing = sys.modules.get("multiprocessing.process")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            import_module("multiprocessing.util").Finalize(None, self._stop_at_exit, (os.getpid(),), exitpriority=0)

    def _forget(self, life: "_Life") -> None:
        with self._lock:
            if self._life is life:
                self._life = self.dispatcher = None
                atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self, pid: int) -> None:
        if pid == os.getpid():  # a fork inherits its parent's exit handlers, but not what they would end
            self.stop()

    def stop(self) -> None:
        """Shut the application down and close the portal; nothing happens when nothing was started."""
        life = self._life
        if life is not None and self.pid == os.getpid():
            try:
                life.end(self._portal)
            except Exception:
                logger.exception("a shutdown hook failed")
            self._forget(life)
        self._portal.close()


class _Life:
    """One run of an application, from start-up to shutdown, on one loop."""

    task: "asyncio.Task[None]"

    def __init__(self, app: ServedApp, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.loop = loop
        self.started: Future[Dispatcher] = Future()
        self.stopping = asyncio.Event()

    async def start(self) -> Dispatcher:
        await self.app.lifecycle.startup()
        try:
            return self.app.freeze()
        except BaseException:
            await self.app.lifecycle.shutdown()
            raise

    async def stop(self, dispatcher: Dispatcher) -> None:
        try:
            await self.app.lifecycle.shutdown()
        finally:
            dispatcher.end_threads()

    def end(self, portal: Portal) -> None:
        """Run the shutdown where the application lives, or on the portal when that loop is gone."""
        loop = self.loop
        if loop.is_closed():
            portal.run(self.app.lifecycle.shutdown())
        elif loop.is_running():
            ended: Future[None] = Future()
            loop.call_soon_threadsafe(self._end_soon, ended)
            ended.result()
        else:
            self.stopping.set()
            loop.run_until_complete(self.task)

    def _end_soon(self, ended: "Future[None]") -> None:
        def report(task: "asyncio.Task[None]") -> None:
            error = None if task.cancelled() else task.exception()
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        self.stopping.set()
        self.task.add_done_callback(report)
