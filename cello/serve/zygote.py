"""The process that imports the application once and forks the workers from that.

A supervisor starts the user's own command again with an `Assignment` in the environment; the copy runs up to
`app.run()` (or to the end of what `cello run` does before serving) and becomes the zygote there. It has no loop and
starts no thread; loops, pools and clients are made in the workers, after the fork.

A worker that dies is forked again (slots.py says when, and when not). One that is spent — enough requests, too much
memory — says so and serves on until its successor is ready. One whose loop does not turn for `worker_timeout` is asked
for its stacks and killed.

Who tells whom: supervisor → zygote → worker by SIGTERM (drain; a second one: at once) and SIGUSR1 (say how you are);
supervisor → zygote by lines of JSON with descriptors (slots that come and go); worker → zygote by a pipe: a line when
ready, when spent, and an empty one each second; zygote → supervisor by lines of JSON. When a parent disappears its
children see the end of a pipe (the lifeline) and drain.
"""

import dataclasses
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import MutableMapping
from typing import Any

from cello.serve import client_metrics, console
from cello.serve.cpus import pin
from cello.serve.lines import common_lock, write_whole_lines
from cello.serve.options import ZYGOTE_VARIABLE, RunOptions
from cello.serve.overseer import Overseer
from cello.serve.served import Served
from cello.serve.server import Server
from cello.serve.signals import SignalInbox, held_back
from cello.serve.slots import RestartPolicy, Slot, Worker
from cello.shared.origin import tell_children

logger = logging.getLogger("cello.server")

_KILL_MARGIN_S = 5.0
_STACKS_TAKE_S = 1.0
_WATCH_EVERY_S = 0.5
_ASLEEP_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """What a supervisor gives its zygote: a line to talk on, the listeners of each worker slot, and the arena."""

    control: socket.socket
    slots: list[list[socket.socket]]
    arena: int | None = None


def take_assignment(environment: MutableMapping[str, str]) -> Assignment | None:
    """Return the assignment of this process and remove it from the environment; None = it is no zygote."""
    text = environment.pop(ZYGOTE_VARIABLE, None)
    if text is None:
        return None
    plan = json.loads(text)
    if plan["supervisor"] != os.getppid():
        return None  # inherited by a program that the application started before it got here
    # Ctrl+C reaches the whole process group, the supervisor too, which passes it on as a drain.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    opened: dict[int, socket.socket] = {}
    for fd in [plan["control"], *(fd for slot in plan["slots"] for fd in slot)]:
        if fd not in opened:
            opened[fd] = socket.socket(fileno=fd)
            opened[fd].set_inheritable(False)
    arena = plan["arena"]
    if arena is not None:
        os.set_inheritable(arena, False)
    return Assignment(opened[plan["control"]], [[opened[fd] for fd in slot] for slot in plan["slots"]], arena)


class Zygote:
    """Forks and tends the workers of one generation.

    Args:
        app: The application, imported and not frozen; it is frozen in each worker after its start-up hooks.
        options: What this generation's code resolved; listeners and number of workers are the supervisor's.
        assignment: What the supervisor gave.
    """

    def __init__(self, app: Served, options: RunOptions, assignment: Assignment) -> None:
        self._app = app
        self._options = options
        self._control = assignment.control
        self._slots = [Slot(index, listeners) for index, listeners in enumerate(assignment.slots)]
        self._workers: list[Worker] = []
        self._policy = RestartPolicy(options.max_restarts, time.monotonic)
        self._selector = selectors.DefaultSelector()
        self._inbox = SignalInbox([signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1])
        self._lifeline, self._lifeline_held = os.pipe()
        self._told: bytes = b""
        self._fds: list[int] = []
        self._looked_at = time.monotonic()
        if assignment.arena is not None:
            tell_children(assignment.arena)
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Tend the workers until the generation ends; return the exit code."""
        write_whole_lines(common_lock())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that goes away is the supervisor's business
        self._selector.register(self._inbox, selectors.EVENT_READ, self._obey_signals)
        self._selector.register(self._control, selectors.EVENT_READ, self._hear_supervisor)
        # What the import made stays shared with the workers: the collector would otherwise write into its pages.
        gc.collect()
        gc.freeze()
        while not (self._stopping and not self._workers):
            self._fork_due()
            for key, _ in self._selector.select(self._pause()):
                key.data()
            self._reap()
            self._watch()
        return self._code

    def _pause(self) -> float | None:
        """Return how long nothing can be due, in seconds; None = only an event can change anything."""
        moments = [slot.fork_at for slot in self._slots if slot.fork_at is not None and not self._stopping]
        moments += [worker.kill_at for worker in self._workers if worker.kill_at is not None]
        if self._options.worker_timeout and any(map(self._is_watched, self._workers)):
            moments.append(time.monotonic() + _WATCH_EVERY_S)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _fork_due(self) -> None:
        for slot in self._slots:
            if not self._stopping and slot.fork_at is not None and slot.fork_at <= time.monotonic():
                self._fork(slot)

    def _fork(self, slot: Slot) -> None:
        receiving, sending = os.pipe()
        os.set_blocking(sending, False)
        sys.stdout.flush()
        sys.stderr.flush()
        with held_back(signal.SIGTERM, signal.SIGUSR1):
            pid = os.fork()
            if pid == 0:
                os.close(receiving)
                self._become_worker(slot, sending)
        os.close(sending)
        worker = slot.worker = Worker(pid, slot, receiving, heard_at=time.monotonic())
        slot.fork_at = None
        self._workers.append(worker)
        self._selector.register(receiving, selectors.EVENT_READ, lambda: self._hear(worker))

    def _become_worker(self, slot: Slot, report: int) -> None:
        """Serve in the child, and end it without unwinding into the program that it was forked from."""
        code = 1
        try:
            self._inbox.close()
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the server can answer it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
            self._selector.close()
            self._control.close()
            os.close(self._lifeline_held)
            for other in self._workers:
                if other.report is not None:
                    os.close(other.report)
            for listener in {sock for other in self._slots for sock in other.listeners} - set(slot.listeners):
                listener.close()
            if self._options.cpu_affinity:
                pin(slot.index)
            overseer = Overseer(report, f"worker {slot.index}")
            server = Server(
                self._app, self._options, listeners=slot.listeners, overseer=overseer, lifeline=self._lifeline
            )
            code = server.run()
        except BaseException:
            logger.exception("worker %d ends", slot.index)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    # -- what workers say --

    def _hear(self, worker: Worker) -> None:
        """Take what a worker says, or the end of its pipe."""
        assert worker.report is not None
        received = os.read(worker.report, 65536)
        if not received:
            self._forget_report(worker)
            return
        worker.heard_at = time.monotonic()
        *lines, worker.unread = (worker.unread + received).split(b"\n")
        for line in lines:
            if line:
                self._obey_worker(worker, json.loads(line))

    def _obey_worker(self, worker: Worker, message: dict[str, Any]) -> None:
        slot = worker.slot
        if message["event"] == "ready":
            worker.ready_at, slot.has_served = time.monotonic(), True
            self._tell({**message, "slot": slot.index, "pid": worker.pid})
            if slot.spent is not None:
                self._dismiss(slot.spent)
        elif message["event"] == "spent" and not self._stopping and slot.worker is worker:
            console.notice(f"worker {slot.index} (process {worker.pid}) is replaced: {message['why']}")
            slot.spent, slot.worker, slot.fork_at = worker, None, 0.0

    def _forget_report(self, worker: Worker) -> None:
        if worker.report is not None:
            self._selector.unregister(worker.report)
            os.close(worker.report)
            worker.report = None

    # -- what the supervisor says --

    def _hear_supervisor(self) -> None:
        received, fds, _, _ = socket.recv_fds(self._control, 65536, 16)
        if not received:
            self._lose_supervisor()
            return
        self._fds += fds
        *lines, self._told = (self._told + received).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["event"] == "add":
                self._add_slot(message["listeners"])
            else:
                self._remove_slot()

    def _add_slot(self, count: int) -> None:
        listeners = [socket.socket(fileno=fd) for fd in self._fds[:count]]
        del self._fds[:count]
        self._slots.append(Slot(len(self._slots), listeners, has_served=True))

    def _remove_slot(self) -> None:
        slot = self._slots.pop()
        for worker in (slot.worker, slot.spent):
            if worker is not None:
                self._dismiss(worker)
        for listener in slot.listeners:
            if not any(listener in other.listeners for other in self._slots):
                listener.close()

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._lose_supervisor()

    def _lose_supervisor(self) -> None:
        """Drain: the supervisor has died."""
        if self._control.fileno() >= 0:
            self._selector.unregister(self._control)
            self._control.close()
            self._terminate()

    # -- ends --

    def _obey_signals(self) -> None:
        seen = self._inbox.take()
        for _ in range(seen[signal.SIGTERM]):
            self._terminate()
        if seen[signal.SIGUSR1]:
            for worker in self._workers:
                os.kill(worker.pid, signal.SIGUSR1)

    def _dismiss(self, worker: Worker) -> None:
        """Let a worker drain, and set the time after which it is killed."""
        margin_s = _KILL_MARGIN_S if worker.is_leaving else self._options.drain_timeout_s + _KILL_MARGIN_S
        worker.is_leaving = True
        worker.kill_at = time.monotonic() + margin_s
        os.kill(worker.pid, signal.SIGTERM)

    def _terminate(self) -> None:
        """Pass a SIGTERM on to every worker; told twice, they end at once."""
        self._stopping = True
        for worker in self._workers:
            self._dismiss(worker)

    def _is_watched(self, worker: Worker) -> bool:
        return worker.ready_at is not None and not worker.is_leaving and not worker.is_stuck

    def _watch(self) -> None:
        """Kill who is late: with its drain, or with its heartbeat."""
        now = time.monotonic()
        has_slept, self._looked_at = now - self._looked_at > _ASLEEP_S, now
        for worker in list(self._workers):
            if has_slept:  # this process was stopped, and the workers perhaps with it
                worker.heard_at = now
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                if not worker.is_stuck:
                    what = f"worker {worker.slot.index} (process {worker.pid})"
                    console.failure(f"{what} did not end in time and is killed")
                os.kill(worker.pid, signal.SIGKILL)
            elif self._is_watched(worker) and 0 < self._options.worker_timeout <= now - worker.heard_at:
                worker.is_stuck = True
                worker.kill_at = now + _STACKS_TAKE_S
                console.failure(
                    f"worker {worker.slot.index} (process {worker.pid}) is stuck: nothing heard of it for "
                    f"{self._options.worker_timeout:g} s; its stacks follow, then it is killed"
                )
                os.kill(worker.pid, signal.SIGUSR1)

    def _reap(self) -> None:
        # One waitpid per worker, never waitpid(-1): the application may have children of its own.
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: Worker, code: int) -> None:
        """Decide what follows from a worker's end."""
        while worker.report is not None:
            self._hear(worker)  # what it said last may not have been read yet
        self._workers.remove(worker)
        client_metrics.forget(worker.pid)
        slot = worker.slot
        if slot.spent is worker:
            slot.spent = None
            return
        slot.worker = None if slot.worker is worker else slot.worker
        if self._stopping or worker.is_leaving:
            return
        if code == 0 and worker.ready_at is not None:
            slot.fork_at = 0.0  # somebody told it to end
            return
        pause_s = self._policy.pause_after(slot, worker)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if pause_s is None:
            times = f"died {slot.young_deaths} times in a row ({how})" if slot.has_served else "did not start"
            self._give_up(f"worker {slot.index} {times}")
            return
        slot.fork_at = time.monotonic() + pause_s
        console.failure(f"worker {slot.index} (process {worker.pid}) died: {how}; a new one starts in {pause_s:g} s")

    def _give_up(self, why: str) -> None:
        self._code = 1
        console.failure(f"{why}; the service ends")
        self._terminate()
