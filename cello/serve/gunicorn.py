"""cello's own server inside gunicorn: `gunicorn -k cello.serve.gunicorn.CelloWorker module:app`.

gunicorn keeps the processes — it binds, forks, watches heartbeats, reloads on HUP — and each worker serves with
`serve.server`, so WebSocket, streams and keep-alive are those of `cello run`. gunicorn's `--graceful-timeout`,
`--max-requests` and certificate options are obeyed; its parser limits are not, since `App.set_limits` decides here.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from cello.errors import CelloError
from cello.serve.loops import choose_loop
from cello.serve.options import RunOptions, resolve
from cello.serve.overseer import Ready
from cello.serve.server import FAILED, Server
from cello.serve.tls import TlsConfig

HEARTBEAT_S = 1.0


class CelloWorker(Worker):
    """A gunicorn worker that serves an `App` natively."""

    def init_signals(self) -> None:
        """Undo the arbiter's handlers; the server sets its own once its loop runs."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)

    def run(self) -> None:
        """Serve until gunicorn says stop.

        Raises:
            SystemExit: Always; with gunicorn's code for "do not try again" when the application did not start.
        """
        self._is_ready = False
        _, new_loop = choose_loop("auto")
        code = FAILED
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                code = runner.run(self._serve())
        except CelloError as error:
            self.log.error("%s", error)
        sys.exit(code if self._is_ready else code and Arbiter.WORKER_BOOT_ERROR)

    async def _serve(self) -> int:
        app: Any = self.app.wsgi()
        server = Server(
            app,
            self._make_options(),
            listeners=[getattr(listener, "sock", listener) for listener in self.sockets],
            overseer=self,
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        serving = asyncio.ensure_future(server.serve())
        is_orphan = False
        while not serving.done():
            self.notify()
            if os.getppid() != self.ppid and not is_orphan:
                is_orphan = True
                self.log.info("the parent process changed: worker %s stops", self.pid)
                server.stop()
            await asyncio.wait({serving}, timeout=min(HEARTBEAT_S, (self.timeout or 2 * HEARTBEAT_S) / 2))
        return serving.result()

    # What `serve.overseer.Oversight` asks for, so that the server tells this worker how it fares.

    name = "worker"
    beat_every_s = HEARTBEAT_S

    def ready(self, ready: Ready) -> None:
        """Note that connections are accepted."""
        self._is_ready = True
        self.log.info("serving with cello: %s loop, %s parser", ready.loop, ready.parser)

    def beat(self) -> None:
        """Nothing: `_serve` tells gunicorn that the loop turns."""

    def spent(self, why: str) -> bool:
        """Have the worker end; the arbiter starts another one."""
        self.log.info("worker %s ends: %s", self.pid, why)
        return False

    def stopping(self) -> None:
        """Nothing: the arbiter knows."""

    def _make_options(self) -> RunOptions:
        options: dict[str, Any] = {"env": "production", "shutdown_timeout": float(self.cfg.graceful_timeout)}
        if self.cfg.max_requests:
            options["max_requests"] = self.max_requests
            options["max_requests_jitter"] = 0  # gunicorn has added its own already
        tls = TlsConfig(self.cfg.certfile, self.cfg.keyfile, self.cfg.ca_certs) if self.cfg.is_ssl else None
        return resolve({**options, "workers": 1}, tls=tls)
