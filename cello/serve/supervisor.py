"""The process that holds the listeners and replaces everything else; it never imports the application.

It has no loop and runs none of the user's code, so nothing in it can hang or leak. Per generation of the code it
starts the user's command as a zygote, which forks the workers. SIGHUP, or a changed source file under `reload`, starts
a new generation; when its first worker is ready the old one drains, and if it does not start, the old one stays and
the error has been shown. Listeners are never closed meanwhile: no queued connection is lost. The arena, which all
workers share (`cello.shared`), is made here too, so that it outlives every worker and every generation.

    SIGTERM, SIGINT   drain and end; a second one: at once
    SIGHUP            new generation
    SIGTTIN, SIGTTOU  one worker more, one fewer
    SIGUSR1           print the state of every process, and the stacks of the workers
"""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from cello.errors import ConfigError
from cello.serve import client_metrics, console, sockets
from cello.serve.options import ZYGOTE_VARIABLE, RunOptions
from cello.serve.pid_file import PidFile
from cello.serve.reload import Watcher
from cello.serve.signals import SignalInbox, held_back
from cello.serve.systemd import Notifier
from cello.serve.tls import TlsConfig
from cello.shared import origin

VARIABLE = "CELLO_SUPERVISOR"
"""The environment variable that carries a supervisor's plan over `exec`, as JSON."""

_KILL_MARGIN_S = 10.0
_MAX_LOST_ZYGOTES = 5
_HANDSHAKES_TAKE_S = 0.5
_OBEYED = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGTTIN", "SIGTTOU", "SIGUSR1")
    if hasattr(signal, name)
]


def exec_supervisor(options: RunOptions, command: list[str]) -> NoReturn:
    """Replace this process by a supervisor: same process id, none of the memory, threads or descriptors.

    Args:
        options: What was resolved with the application imported.
        command: What to start as the zygote: this process's own command line.
    """
    tls = None if options.tls is None else dataclasses.asdict(options.tls)
    plan = {"options": {**options._asdict(), "tls": tls}, "command": command, "path": sys.path}
    os.environ[VARIABLE] = json.dumps(plan)
    sys.stdout.flush()
    sys.stderr.flush()
    launcher = str(Path(__file__).with_name("launch.py"))
    os.execv(sys.executable, [sys.executable, "-P", launcher])


def main() -> int:
    """Supervise by the plan in the environment; return the exit code."""
    plan: dict[str, Any] = json.loads(os.environ.pop(VARIABLE))
    told = plan["options"]
    tls = None if told["tls"] is None else TlsConfig(**told["tls"])
    options = RunOptions(
        **{**told, "tls": tls, **{name: tuple(told[name]) for name in ("reload_dir", "notices", "fds")}}
    )
    notifier = Notifier(os.environ)
    try:
        with PidFile(options.pid_file):
            return _supervise(options, plan["command"], notifier)
    except ConfigError as error:
        console.failure(str(error))
        return 1
    finally:
        notifier.close()


def _supervise(options: RunOptions, command: list[str], notifier: Notifier) -> int:
    slots = sockets.bind_slots(options)
    try:
        with client_metrics.directory(os.environ):
            return Supervisor(options, command, slots, notifier).run()
    finally:
        sockets.remove_file(options, slots[0])
        for listeners in slots:
            sockets.close(listeners)


@dataclasses.dataclass(slots=True, eq=False)
class Generation:
    """One zygote and its workers.

    Attributes:
        is_ready: Whether its first worker has begun to serve.
        is_leaving: Whether it was told to drain.
        workers: How many slots it has.
    """

    process: "subprocess.Popen[bytes]"
    control: socket.socket
    unread: bytes = b""
    is_ready: bool = False
    is_leaving: bool = False
    workers: int = 0

    def say(self, message: dict[str, Any], listeners: Sequence[socket.socket] = ()) -> None:
        """Tell the zygote something, with listeners for it."""
        line = json.dumps({**message, "listeners": len(listeners)}).encode() + b"\n"
        with contextlib.suppress(OSError):  # it is about to end, or has much unread: then it is not well anyway
            socket.send_fds(self.control, [line], [listener.fileno() for listener in listeners])

    def terminate(self) -> None:
        """Tell the zygote to drain; told twice, it ends at once."""
        self.is_leaving = True
        self.process.terminate()


class Supervisor:
    """Keeps one generation serving.

    Args:
        options: What was resolved when the service started.
        command: What starts a zygote.
        slots: Listening sockets, one list per worker; the list grows with SIGTTIN.
        notifier: To systemd.
    """

    def __init__(
        self, options: RunOptions, command: list[str], slots: list[list[socket.socket]], notifier: Notifier
    ) -> None:
        self._options = options
        self._command = command
        self._slots = slots
        self._used_slots = len(slots)
        self._retire_at: float | None = None
        self._notifier = notifier
        self._alive_at = None if notifier.every_s is None else 0.0
        self._had_terminal = os.isatty(0)
        self._arena = origin.make_unnamed()
        self._selector = selectors.DefaultSelector()
        self._inbox = SignalInbox(_OBEYED)
        self._generations: list[Generation] = []
        self._stopping = False
        self._kill_at: float | None = None
        self._lost_zygotes = 0
        self._was_announced = False
        self._code = 0

    def run(self) -> int:
        """Supervise until told to stop or until the application cannot run; return the exit code."""
        self._selector.register(self._inbox, selectors.EVENT_READ, self._obey_signals)
        watcher = Watcher(self._options.reload_dir) if self._options.reload else None
        if watcher is not None:
            self._selector.register(watcher, selectors.EVENT_READ, lambda: self._reload(watcher))
        self._start_generation()
        try:
            while self._generations:
                for key, _ in self._selector.select(self._pause()):
                    key.data()
                for generation in list(self._generations):
                    if generation.process.poll() is not None:
                        self._bury(generation, generation.process.returncode)
                self._do_due()
        finally:
            if watcher is not None:
                watcher.close()
        return self._code

    def _pause(self) -> float | None:
        moments = [at for at in (self._kill_at, self._retire_at, self._alive_at) if at is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _do_due(self) -> None:
        now = time.monotonic()
        if self._alive_at is not None and now >= self._alive_at:
            self._alive_at = now + (self._notifier.every_s or 1.0)
            self._notifier.alive()
        if self._retire_at is not None and now >= self._retire_at:
            self._retire_slots()
        self._kill_late()

    def _start_generation(self) -> None:
        ours, theirs = socket.socketpair()
        fds = [[listener.fileno() for listener in listeners] for listeners in self._slots[: self._used_slots]]
        if self._options.reload:
            self._renew_arena()
        arena = self._arena
        assignment = json.dumps({"supervisor": os.getpid(), "control": theirs.fileno(), "slots": fds, "arena": arena})
        # The child starts with SIGINT held back: Ctrl+C while it imports prints no traceback (see take_assignment).
        with theirs, held_back(signal.SIGINT):
            process = subprocess.Popen(
                self._command,
                env={**os.environ, ZYGOTE_VARIABLE: assignment},
                pass_fds=[
                    theirs.fileno(),
                    *sorted({fd for slot in fds for fd in slot}),
                    *([] if arena is None else [arena]),
                ],
            )
        ours.setblocking(False)
        generation = Generation(process, ours, workers=self._used_slots)
        self._generations.append(generation)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(generation))

    def _renew_arena(self) -> None:
        """Let a generation begin with empty shared memory: whoever edits the code wants to see what it does now."""
        if self._arena is not None and self._generations:
            os.close(self._arena)
            self._arena = origin.make_unnamed()

    def _hear(self, generation: Generation) -> None:
        received = generation.control.recv(65536)
        if not received:
            self._selector.unregister(generation.control)  # it is about to end; `poll` tells how
            return
        *lines, generation.unread = (generation.unread + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "ready" and not generation.is_ready:
                generation.is_ready = True
                self._promote(generation, message)

    def _promote(self, generation: Generation, message: dict[str, Any]) -> None:
        """Let the older generations go, now that this one serves."""
        for other in self._generations:
            if other is not generation and not other.is_leaving:
                other.terminate()
        self._notifier.ready(f"{self._used_slots} workers")
        if self._was_announced:
            console.notice("the new code is serving")
            return
        self._was_announced = True
        encrypted = self._options.tls is not None
        urls = list(dict.fromkeys(sockets.urls([sock for slot in self._slots for sock in slot], encrypted=encrypted)))
        console.banner(self._options, urls, loop=message["loop"], parser=message["parser"])

    def _bury(self, generation: Generation, code: int) -> None:
        """Decide what follows from a zygote's end."""
        self._generations.remove(generation)
        if generation.control in self._selector.get_map():
            self._selector.unregister(generation.control)
        generation.control.close()
        if self._stopping or generation.is_leaving:
            return
        if any(not other.is_leaving for other in self._generations):
            console.failure("the new code did not start; the old code goes on serving")
            self._notifier.ready("the new code did not start; the old code goes on serving")
        elif code < 0 and generation.is_ready and self._lost_zygotes < _MAX_LOST_ZYGOTES:
            self._lost_zygotes += 1
            console.failure(f"the zygote was killed by {signal.Signals(-code).name}; a new one starts")
            self._start_generation()
        else:
            self._code = 1
            self._terminate()

    def _obey_signals(self) -> None:
        seen = self._inbox.take()
        for _ in range(seen[signal.SIGTERM] + seen[signal.SIGINT]):
            self._terminate()
        if self._stopping:
            return
        if seen[signal.SIGHUP] and self._had_terminal and not os.isatty(0):
            self._terminate()  # the terminal has gone
        elif seen[signal.SIGHUP]:
            console.notice("SIGHUP: loading the code anew")
            self._roll()
        for _ in range(seen[signal.SIGTTIN]):
            self._add_worker()
        for _ in range(seen[signal.SIGTTOU]):
            self._remove_worker()
        if seen[signal.SIGUSR1]:
            self._describe()

    def _add_worker(self) -> None:
        """Serve with one process more, in a slot that was in use before or in a new one."""
        if self._used_slots == len(self._slots):
            try:
                self._slots.append(sockets.one_more(self._slots))
            except OSError as error:
                console.failure(f"SIGTTIN: no listener for another worker: {error.strerror}")
                return
        self._used_slots += 1
        sockets.spread_over(self._slots[0], self._used_slots)
        console.notice(f"SIGTTIN: {self._used_slots} workers")
        self._retire_at = self._retire_at and time.monotonic()
        for generation in self._generations:
            if not generation.is_leaving and generation.workers < self._used_slots:
                generation.workers += 1
                generation.say({"event": "add"}, self._slots[generation.workers - 1])

    def _remove_worker(self) -> None:
        """Serve with one process fewer: the kernel gives it no new connections, and then it drains."""
        if self._used_slots == 1:
            console.notice("SIGTTOU: the last worker stays")
        elif not sockets.spread_over(self._slots[0], self._used_slots - 1):
            console.failure("SIGTTOU: this system cannot keep new connections away from a worker; all stay")
        else:
            self._used_slots -= 1
            console.notice(f"SIGTTOU: {self._used_slots} workers")
            self._retire_at = time.monotonic() + _HANDSHAKES_TAKE_S

    def _retire_slots(self) -> None:
        """End the workers beyond those wanted; what was on its way to them has arrived by now."""
        self._retire_at = None
        for generation in self._generations:
            while not generation.is_leaving and generation.workers > self._used_slots:
                generation.workers -= 1
                generation.say({"event": "remove"})

    def _describe(self) -> None:
        console.say(f"supervisor (process {os.getpid()}): {self._used_slots} workers wanted")
        for generation in self._generations:
            how = "leaving" if generation.is_leaving else "serving" if generation.is_ready else "starting"
            console.say(f"  zygote (process {generation.process.pid}): {how}, {generation.workers} workers")
            if generation.is_ready:
                generation.process.send_signal(signal.SIGUSR1)

    def _reload(self, watcher: Watcher) -> None:
        changed = watcher.take()
        if changed and not self._stopping:
            console.notice(f"{', '.join(changed)} changed: loading the code anew")
            self._roll()

    def _roll(self) -> None:
        """Start a new generation in place of one that is still starting, if there is one."""
        self._notifier.reloading()
        for generation in self._generations:
            if not generation.is_ready and not generation.is_leaving:
                generation.terminate()
        self._start_generation()

    def _terminate(self) -> None:
        margin = _KILL_MARGIN_S if self._stopping else self._options.drain_timeout_s + _KILL_MARGIN_S
        self._stopping = True
        self._notifier.stopping()
        self._kill_at = time.monotonic() + margin
        for generation in self._generations:
            generation.terminate()

    def _kill_late(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            for generation in self._generations:
                console.failure(f"process {generation.process.pid} did not end in time and is killed")
                generation.process.kill()
