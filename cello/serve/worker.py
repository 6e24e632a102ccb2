"""A process that runs what an application does beside answering requests: its consumers. There is no HTTP server.

The order of a life: start-up hooks → freeze → work → drain → shutdown hooks. SIGTERM or SIGINT begins the drain:
consumers fetch no more and finish what they have in hand, within their own bounds. A second signal ends it at once.
"""

import asyncio
import logging
import signal
from typing import Any

from cello.serve import console
from cello.serve.loops import choose_loop
from cello.serve.served import Served

logger = logging.getLogger("cello.server")

FAILED = 1
KILLED = 130
WORKER = "worker"


def run(app: Served, loop: str = "auto") -> int:
    """Run an application's consumers until told to stop; return the exit code.

    Raises:
        CelloError: The loop cannot be had, or the application does not freeze.
    """
    app.role = WORKER
    _, new_loop = choose_loop(loop)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_work(app))


async def _work(app: Served) -> int:
    """Start, wait for the signal, stop: all in this task, as a lifespan may insist on ending where it began."""
    told = _Told(asyncio.current_task())
    told.watch()
    try:
        told.cancels = True
        await app.lifecycle.startup()
        told.cancels = False
    except asyncio.CancelledError:
        if not told.stop.is_set():
            raise
        console.notice("stopped during start-up")
        return 0
    except Exception as error:
        logger.exception("start-up")
        console.failure(f"the application did not start: {type(error).__name__}: {error}")
        return FAILED
    try:
        app.freeze()
        console.notice("at work; Ctrl-C ends it")
        await told.stop.wait()
    finally:
        told.cancels = True
        app.lifecycle.begin_drain()
        code = await _stop(app)
    return code


async def _stop(app: Served) -> int:
    try:
        await app.lifecycle.shutdown()
    except asyncio.CancelledError:
        console.notice("cut off by the second signal")
        return KILLED
    except Exception as error:
        logger.exception("shutdown")
        console.failure(f"a shutdown hook failed: {type(error).__name__}: {error}")
        return FAILED
    return 0


class _Told:
    """What signals say.

    Attributes:
        stop: Set by the first.
        cancels: Whether one cancels the task: it does while the application starts or stops.
    """

    def __init__(self, task: "asyncio.Task[Any] | None") -> None:
        self.stop = asyncio.Event()
        self.cancels = False
        self._task = task

    def watch(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self._hear)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._hear))

    def _hear(self) -> None:
        self.stop.set()
        if self.cancels and self._task is not None:
            self._task.cancel()
