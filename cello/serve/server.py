"""One serving process: a loop, its listeners, its connections, and an orderly end.

The order of a life: bind (a port in use is found before any hook runs) → start-up hooks → freeze → listen → serve →
drain → shutdown hooks. Nothing is accepted before the start-up hooks are through.

SIGTERM or SIGINT begins the drain: no new connections, requests that arrive on open ones are answered with
`Connection: close`, idle ones are closed gently, and the process ends when none is left or after the shutdown timeout.
A second signal ends it at once. A worker of a supervisor also drains when its lifeline closes: the supervisor is gone.
SIGUSR1 prints stacks and state; SIGHUP reads the certificates anew (a supervisor does more, see supervisor.py).
"""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

from cello.errors import CelloError
from cello.gateways.native import ServerState, Tier, choose_tier, make_protocol_factory
from cello.gateways.native.accepting import Acceptor
from cello.http import json_codec
from cello.serve import console, sockets
from cello.serve.diagnosis import answer_sigusr1
from cello.serve.heartbeat import Heartbeat
from cello.serve.loops import choose_loop
from cello.serve.options import RunOptions
from cello.serve.overseer import Oversight, OwnProcess, Ready
from cello.serve.pid_file import PidFile
from cello.serve.served import Served
from cello.serve.systemd import Notifier

if TYPE_CHECKING:
    from cello.serve.tls import Certificates

logger = logging.getLogger("cello.server")

FAILED = 1
"""Exit code of a process that never served, and of one whose shutdown hooks failed."""

_COMPLAIN_EVERY_S = 10.0


class Server:
    """Serves one App in this process.

    Args:
        app: The App, not yet frozen.
        options: Where and how.
        listeners: Sockets made by a supervisor; None = bind what the options name.
        overseer: Who is told how it fares; default: this process is the whole service.
        lifeline: A descriptor that becomes readable (at its end) when the supervisor is gone.
    """

    def __init__(
        self,
        app: Served,
        options: RunOptions,
        *,
        listeners: list[socket.socket] | None = None,
        overseer: Oversight | None = None,
        lifeline: int | None = None,
    ) -> None:
        self._app = app
        self._options = options
        self._listeners = listeners
        self._owns_listeners = listeners is None
        self._overseer = overseer
        self._lifeline = lifeline
        self._is_own_process = False
        self._certificates: Certificates | None = None
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()
        self._starting: asyncio.Task[Any] | None = None

    def run(self) -> int:
        """Serve until told to stop; return the process's exit code."""
        self._is_own_process = True
        notifier = Notifier(os.environ)
        try:
            if self._overseer is not None:
                return self._run_loop()
            self._overseer = OwnProcess(self._options, notifier)
            with PidFile(self._options.pid_file):
                return self._run_loop()
        except CelloError as error:
            console.failure(str(error))
            return FAILED
        finally:
            notifier.close()

    def _run_loop(self) -> int:
        _, new_loop = choose_loop(self._options.loop)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(self.serve())

    async def serve(self) -> int:
        """Serve on the running loop until told to stop; return an exit code.

        Raises:
            CelloError: An option cannot be obeyed (address, certificate, parser) or the App does not freeze.
        """
        loop = asyncio.get_running_loop()
        tier = choose_tier(self._options.http)
        if self._options.tls is not None:
            from cello.serve.tls import Certificates

            self._certificates = Certificates(self._options.tls)
        context = None if self._certificates is None else self._certificates.context
        raise_descriptor_limit()
        listeners = self._listeners = sockets.bind(self._options) if self._listeners is None else self._listeners
        self._app.urls = sockets.urls(listeners, encrypted=context is not None)
        installed = self._watch_signals(loop)
        try:
            code = await self._start_app()
            if code is not None:
                return code
            try:
                code = await self._serve_app(loop, tier, listeners, context)
            finally:
                stopped = await self._stop_app()
            return code or stopped
        finally:
            for number in installed:
                loop.remove_signal_handler(number)
            self._give_up_address(listeners)
            if self._owns_listeners:
                sockets.close(listeners)

    def stop(self) -> None:
        """Begin the drain; the second call ends it at once. Call it on the server's loop."""
        if self._stop.is_set():
            self._abort.set()
        self._stop.set()
        if self._starting is not None:
            self._starting.cancel()

    def _watch_signals(self, loop: asyncio.AbstractEventLoop) -> list[signal.Signals]:
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._lose_supervisor, loop)
        if threading.current_thread() is not threading.main_thread():
            return []  # only the main thread may; whoever started this thread stops the server itself
        wanted = [signal.SIGTERM] if self._lifeline is not None else [signal.SIGTERM, signal.SIGINT]
        try:
            for number in wanted:
                loop.add_signal_handler(number, self.stop)
            if self._is_own_process and self._lifeline is None:
                loop.add_signal_handler(signal.SIGHUP, self._hang_up, os.isatty(0))
                for number in (signal.SIGTTIN, signal.SIGTTOU):  # by default they would stop the process
                    loop.add_signal_handler(number, console.notice, f"{number.name}: one process is not scaled")
                wanted += [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU]
        except NotImplementedError:  # Windows
            for number in wanted:
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(self.stop))
            return []
        return wanted

    def _hang_up(self, had_terminal: bool) -> None:
        """Read the certificates anew; when it was the terminal that went away, end."""
        if had_terminal and not os.isatty(0):
            self.stop()
        elif self._certificates is None:
            console.notice("SIGHUP: nothing to do in one process; with --workers 2 or more it loads the code anew")
        else:
            try:
                self._certificates.reload()
            except CelloError as error:
                console.failure(f"{error}; the old certificates stay in use")
            else:
                console.notice("SIGHUP: the certificates were read anew")

    def _lose_supervisor(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._lifeline is not None:
            loop.remove_reader(self._lifeline)
        if not self._stop.is_set():
            self.stop()

    async def _start_app(self) -> int | None:
        """Run the start-up hooks; a signal meanwhile cancels them. Return None, or the exit code if that was all.

        In this task, not in one of its own: a lifespan may insist on ending in the task that it began in.
        """
        task = self._starting = asyncio.current_task()
        try:
            await self._app.lifecycle.startup()
        except asyncio.CancelledError:
            if task is None or not self._stop.is_set():
                raise
            task.uncancel()
            console.notice("stopped during start-up")
            return 0
        except Exception as error:
            logger.exception("start-up")
            console.failure(f"the application did not start: {type(error).__name__}: {error}")
            return FAILED
        finally:
            self._starting = None
        return None

    async def _stop_app(self) -> int:
        try:
            await self._app.lifecycle.shutdown()
        except Exception as error:
            logger.exception("shutdown")
            console.failure(f"a shutdown hook failed: {type(error).__name__}: {error}")
            return FAILED
        return 0

    async def _serve_app(
        self,
        loop: asyncio.AbstractEventLoop,
        tier: Tier,
        listeners: list[socket.socket],
        context: ssl.SSLContext | None,
    ) -> int:
        """Freeze, listen, serve and drain; return an exit code."""
        try:
            dispatcher = self._app.freeze()
            sockets.listen(listeners)
        except CelloError as error:
            console.failure(str(error))
            return FAILED
        state = ServerState(dispatcher, loop, tier)
        make_connection = make_protocol_factory(dispatcher, state)
        loop.set_exception_handler(_ExceptionHandler())
        announced_to = state if self._options.proxy_protocol else None
        acceptor = Acceptor(loop, make_connection, context, dispatcher.timeouts.read_header, announced_to)
        overseer = self._overseer
        for listener in listeners:
            await acceptor.listen(listener)
        sockets.listen(listeners)  # again: `create_server` has set the length of the queue to its own number
        json_codec.encode(None)  # loads the codec: the first request should neither wait for that nor lack descriptors
        state.start()
        if overseer is not None:
            if self._is_own_process and threading.current_thread() is threading.main_thread():
                answer_sigusr1(loop, overseer.name, state)
            Heartbeat(state, self._options, overseer, self._stop).beat()
            overseer.ready(Ready(_loop_name(loop), tier.name, self._app.urls))
        try:
            await self._stop.wait()
            if overseer is not None:
                overseer.stopping()
            await _accept_queued(acceptor, listeners)
        finally:
            self._give_up_address(listeners)
            acceptor.stop()
        await self._drain(state)
        acceptor.close()
        state.stop()
        dispatcher.end_threads()
        return 0

    def _give_up_address(self, listeners: list[socket.socket]) -> None:
        if self._owns_listeners:
            sockets.remove_file(self._options, listeners)

    async def _drain(self, state: ServerState) -> None:
        """Let open requests finish, up to the shutdown timeout or the second signal."""
        self._app.lifecycle.begin_drain()
        state.drain()
        emptying = asyncio.ensure_future(state.wait_empty())
        aborting = asyncio.ensure_future(self._abort.wait())
        await asyncio.wait(
            {emptying, aborting}, timeout=self._options.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not emptying.done():
            why = "second signal" if aborting.done() else f"not done after {self._options.drain_timeout_s:g} s"
            console.notice(f"{len(state.connections)} open connections dropped: {why}")
            state.abort()
        for task in (emptying, aborting):
            task.cancel()
        await asyncio.gather(emptying, aborting, return_exceptions=True)


class _ExceptionHandler:
    """Passes the loop's complaints on, and says once in a while that no descriptor is left to accept with.

    The loop pauses accepting for a second by itself, but on asyncio it complains about each waiting connection.
    """

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE) or "socket" not in context:
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + _COMPLAIN_EVERY_S
            logger.warning("no new connections for a while: %s", error.strerror)


async def _accept_queued(acceptor: Acceptor, listeners: list[socket.socket]) -> None:
    """Take in the connections that the kernel has accepted already: closing a listener would reset them."""
    for listener in listeners:
        for _ in range(sockets.BACKLOG):
            try:
                accepted, _ = listener.accept()
            except OSError:
                break  # the queue is empty, or no descriptor is left to take more
            with contextlib.suppress(OSError, ssl.SSLError):  # the peer has gone or does not speak TLS: nothing is lost
                await acceptor.adopt(accepted)


def raise_descriptor_limit() -> None:
    """Raise this process's limit of open descriptors to what it is allowed: each connection takes one."""
    if os.name != "posix":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:  # macOS refuses "unlimited"
        logger.debug("the limit of %d open descriptors stays: %s", soft, error)


def _loop_name(loop: asyncio.AbstractEventLoop) -> str:
    module = type(loop).__module__.partition(".")[0]
    return "uvloop" if module == "uvloop" else "asyncio"
