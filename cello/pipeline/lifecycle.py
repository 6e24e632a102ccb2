"""What an application does when a worker starts and stops: hooks and lifespans, in bands.

Rule 1: start-up goes up the bands, shutdown goes down. Within a band start-up hooks and lifespans begin in order of
registration; on the way down its shutdown hooks run in order of registration, then its lifespans end, the last first.
Rule 2: a start-up that fails, or is cancelled, undoes what it did: the lifespans that were entered end, and the
shutdown hooks of every lower band run, as those bands had started completely. Then the error is raised; errors of the
undoing are logged and hide nothing.
Rule 3: a shutdown runs everything, whatever fails on the way, and then raises all that failed as one group.
Rule 4: starting what is started does nothing, nor does stopping what is not. What has stopped may start again. A forked
child has not started, whatever its parent had.

Plain functions run inline on the loop: nothing is served yet, or any more.
"""

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from cello.errors import CelloError, ConfigError

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)

H = TypeVar("H", bound=Callable[..., Any])
Manager = AbstractAsyncContextManager[Any] | AbstractContextManager[Any]

USER_BAND = 50
"""Where the hooks of an application's own author go; features start in lower bands and stop after them."""


class State(StrEnum):
    """Where an application is in its life."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Lifecycle:
    """The hooks of one application, and where it is between them.

    `startup` and `shutdown` run on an event loop; best in one task, since some lifespans (anyio's) insist on ending in
    the task they began in.

    Args:
        subject: What a lifespan that takes an argument is given: the application.
    """

    def __init__(self, subject: object = None) -> None:
        self._subject = subject
        self._starts: list[tuple[int, Callable[[], Any]]] = []
        self._stops: list[tuple[int, Callable[[], Any]]] = []
        self._drains: list[Callable[[], None]] = []
        self._entered: list[tuple[int, Manager]] = []
        self._state = State.NEW
        self._pid = os.getpid()
        self._stopped: asyncio.Future[None] | None = None

    @property
    def state(self) -> State:
        """Where the application is: `DRAINING` while the server takes no more, `STOPPING` once the hooks run."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._state = State.NEW
            self._entered = []
        return self._state

    def on_startup(self, hook: H, band: int = USER_BAND) -> H:
        """Run `hook`, sync or async, when the application starts; return it.

        Raises:
            ConfigError: It cannot be called without arguments, or the application has started.
        """
        self._refuse_late(hook)
        self._starts.append((band, _without_arguments(hook, "start-up")))
        return hook

    def on_shutdown(self, hook: H, band: int = USER_BAND) -> H:
        """Run `hook`, sync or async, when the application stops; return it.

        Raises:
            ConfigError: It cannot be called without arguments.
        """
        self._stops.append((band, _without_arguments(hook, "shutdown")))
        return hook

    def on_drain(self, hook: Callable[[], None]) -> None:
        """Call `hook`, a plain function that must not wait, when the server begins to drain; not every host says so."""
        self._drains.append(hook)

    def lifespan(self, make: H, band: int = USER_BAND) -> H:
        """Enter a context manager when the application starts and leave it when it stops; return `make`.

        Args:
            make: A generator function or async generator function with one `yield`, or anything that returns a context
                manager, sync or async; it takes the application or nothing.
            band: Its place among the others.

        Raises:
            ConfigError: It takes more than the application, or the application has started.
        """
        self._refuse_late(make)
        opener = _opener(make, self._subject)

        async def enter() -> None:
            manager = opener()
            if isinstance(manager, AbstractAsyncContextManager):
                value = await manager.__aenter__()
            elif isinstance(manager, AbstractContextManager):
                value = manager.__enter__()
            else:
                raise ConfigError(f"the lifespan {_name(make)} must return a context manager, not {manager!r:.80}")
            self._entered.append((band, manager))
            if isinstance(value, Mapping):
                raise ConfigError(f"the lifespan {_name(make)} yields a mapping; set attributes of app.state instead")

        self._starts.append((band, enter))
        return make

    async def startup(self) -> None:
        """Run all that is registered for the start.

        Raises:
            CelloError: A start-up or shutdown is under way.
            BaseException: What a hook or lifespan raised, after what had started was undone.
        """
        if self.state is State.READY:
            return
        if self._state in (State.STARTING, State.DRAINING, State.STOPPING):
            raise CelloError(f"the application cannot start: it is {self._state} already")
        self._state = State.STARTING
        reached: float = -inf
        try:
            for band, start in sorted(self._starts, key=_band):
                reached = band
                await _finished(start)
        except BaseException:
            self._state = State.STOPPING
            try:
                for error in await self._unwind(below=reached):
                    logger.error("while undoing a failed start-up", exc_info=error)
            finally:
                self._state = State.FAILED
            raise
        self._state = State.READY

    def begin_drain(self) -> None:
        """Note that the server takes no new connections and only finishes what is open."""
        if self.state is State.READY:
            self._state = State.DRAINING
            for hook in self._drains:
                hook()

    async def shutdown(self) -> None:
        """Run all that is registered for the stop; when that is under way already, wait for its end.

        Raises:
            CelloError: The start-up is under way: cancel that instead.
            ExceptionGroup: All that hooks and lifespans raised.
        """
        import asyncio  # there already, as this runs on its loop; declaring hooks does not need it

        if self.state is State.STARTING:
            raise CelloError("the application cannot stop: it is still starting; cancel its start-up instead")
        if self._state is State.STOPPING and self._stopped is not None:
            await asyncio.shield(self._stopped)
        if self._state not in (State.READY, State.DRAINING):
            return
        self._state = State.STOPPING
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            errors = await self._unwind()
        finally:
            self._state = State.STOPPED
            self._stopped.set_result(None)
            self._stopped = None
        if errors:
            raise ExceptionGroup("the application did not stop cleanly", errors)

    async def _unwind(self, below: float = inf) -> list[Exception]:
        """Run the shutdown hooks of lower bands and end what lifespans were entered; return what they raised."""
        entered, self._entered = self._entered, []
        steps = [(band, stop) for band, stop in self._stops if band < below]
        steps += [(band, _leave(manager)) for band, manager in reversed(entered)]
        errors = []
        for _, step in sorted(steps, key=_band, reverse=True):
            try:
                await _finished(step)
            except Exception as error:  # noqa: BLE001  # Rule 3: the rest must run; it is raised or logged afterwards
                errors.append(error)
        return errors

    def _refuse_late(self, hook: object) -> None:
        if self.state in (State.STARTING, State.READY, State.DRAINING, State.STOPPING):
            raise ConfigError(f"{_name(hook)} would never run: the application has started already")


def _band(entry: tuple[int, Callable[[], Any]]) -> int:
    """Sort by band alone; sorting is stable, also in reverse, so the order within a band stays."""
    return entry[0]


async def _finished(step: Callable[[], Any]) -> None:
    result = step()
    if inspect.isawaitable(result):
        await result


def _leave(manager: Manager) -> Callable[[], Any]:
    leave = manager.__aexit__ if isinstance(manager, AbstractAsyncContextManager) else manager.__exit__
    return lambda: leave(None, None, None)


def _without_arguments(hook: Callable[..., Any], kind: str) -> Callable[[], Any]:
    if not callable(hook):
        raise ConfigError(f"a {kind} hook must be a function, not {hook!r:.80}")
    needed = _needed(hook)
    if needed:
        raise ConfigError(f"the {kind} hook {_name(hook)} must take no arguments, but needs {', '.join(needed)}")
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        raise ConfigError(
            f"the {kind} hook {_name(hook)} has a yield, so it would not run: write @app.lifespan above it"
        )
    return hook


def _opener(make: Callable[..., Any], subject: object) -> Callable[[], Any]:
    if not callable(make):
        raise ConfigError(f"a lifespan must be a function that returns a context manager, not {make!r:.80}")
    needed = _needed(make)
    if len(needed) > 1:
        raise ConfigError(f"the lifespan {_name(make)} may take the application only, but needs {', '.join(needed)}")
    opener: Callable[..., Any] = make
    if inspect.isasyncgenfunction(make):
        opener = asynccontextmanager(make)
    elif inspect.isgeneratorfunction(make):
        opener = contextmanager(make)
    return (lambda: opener(subject)) if needed else opener


def _needed(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that a call must give."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some builtins do not say
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def _name(function: object) -> str:
    return repr(getattr(function, "__qualname__", function))
