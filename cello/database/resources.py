"""What the switches of databases and Redis have in common: how they start, and how they keep loops free."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from cello.errors import CelloError, ConfigError
from cello.extension import Host
from cello.http.request import Request
from cello.pipeline.colour import must_be_awaited
from cello.pipeline.middleware import USER, Middleware
from cello.routing.route import Route

logger = logging.getLogger("cello.resources")

STARTUPS = ("fail", "wait", "lazy")
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
HELD_LOOP = "cello.held_loop"
"""What `HeldLoop` is provided as."""

_current: ContextVar[Request | None] = ContextVar("cello_resource_request", default=None)


def check_startup(switch: str, startup: str) -> str:
    """Return `startup`.

    Raises:
        ConfigError: It is none of "fail", "wait" and "lazy".
    """
    if startup not in STARTUPS:
        raise ConfigError(f"{switch}: startup must be one of {', '.join(STARTUPS)}, not {startup!r:.80}")
    return startup


class Starting:
    """Opens a resource at start-up: or the start fails, or it is tried until it works, or it waits for its first use.

    Args:
        startup: "fail", "wait" or "lazy".
        open_now: Opens it, or raises.
    """

    def __init__(self, startup: str, open_now: Callable[[], Awaitable[None]]) -> None:
        self._startup = startup
        self._open = open_now
        self._trying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the resource, or see to it that somebody does."""
        if self._startup == "fail":
            await self._open()
        elif self._startup == "wait":
            self._trying = asyncio.get_running_loop().create_task(self._try())

    async def stop(self) -> None:
        """Give up trying."""
        trying, self._trying = self._trying, None
        if trying is not None:
            trying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await trying

    async def _try(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._open()
            except CelloError as error:
                logger.info("waiting: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                return


class HeldLoop(Middleware):
    """Notes which request a `def` handler runs for, so that a blocking call on the loop can move its route to threads.

    The first such call of a route waits on the loop; from then on the route's handler runs on worker threads.
    """

    band = USER

    def __init__(self, host: Host) -> None:
        self._host = host

    @classmethod
    def install_once(cls, host: Host) -> "HeldLoop":
        """Return the one of this application."""
        held: HeldLoop | None = host.resource(HELD_LOOP)
        if held is None:
            held = cls(host)
            host.provide(HELD_LOOP, held)
            host.add_middleware(held)
        return held

    def applies_to(self, route: Route | None) -> bool:
        """Only `def` handlers are called on a loop that they hold."""
        return route is not None and not must_be_awaited(route.handler)

    def before(self, request: Request) -> None:
        """Note the request."""
        _current.set(request)

    def block(self) -> None:
        """Have the route of the request at hand run on worker threads from now on."""
        request = _current.get()
        if request is not None:
            params = request.params
            self._host.dispatcher.plan_for(request).offload.block()
            request.params = params
