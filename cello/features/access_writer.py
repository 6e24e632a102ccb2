"""The thread that writes the access log, so that no request ever waits for a disk, a pipe or a terminal.

Requests put entries into a bounded queue, which costs them well below a microsecond. The thread takes what has
gathered, makes lines of it, writes them in one go, and rests for a moment, so that a busy server wakes it fifty times a
second and not for every request.

Rule 1: a full queue drops entries and counts them, and so does a sink that fails; the number is logged as soon as lines
can be written again.
Rule 2: where the program has configured logging (any handler sees the logger `cello.access`) each line is a record,
with its facts as attributes; elsewhere lines go to standard error.
Rule 3: stopping writes what is queued, but waits for a blocked sink no longer than `PATIENCE_S`.
"""

import contextlib
import logging
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from cello.features.access_lines import Entry, Lines

logger = logging.getLogger("cello.access")

Raw = tuple[Any, ...]
"""The fields of an `Entry`."""
REST_S = 0.02
PATIENCE_S = 3.0
BATCH = 1_000


class Writer:
    """Writes entries on a thread of its own, from `start` to `stop`.

    Args:
        lines: Makes lines of entries.
        limit: How many entries may wait.

    Attributes:
        dropped: Lines that were not written, because the queue was full or the sink failed.
    """

    def __init__(self, lines: Lines, limit: int) -> None:
        self._lines = lines
        self._limit = limit
        self._queue: SimpleQueue[Raw | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._told = 0
        self._counting = threading.Lock()
        self.dropped = 0

    def put(self, entry: Raw) -> None:
        """Have an entry written, or drop it; never waits. Safe on any thread."""
        queue = self._queue
        if queue.qsize() >= self._limit:
            self._drop(1)
        else:
            queue.put(entry)

    def _drop(self, count: int) -> None:
        with self._counting:  # many threads may be here
            self.dropped += count

    def start(self) -> None:
        """Start the thread; once for each process, after its fork."""
        if logger.level == logging.NOTSET:
            # Enabled is enabled: a root logger left at its default, WARNING, does not take the lines away again.
            logger.setLevel(logging.INFO)
        self._queue = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cello-access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._queue.put(None)
            thread.join(PATIENCE_S)

    def _run(self) -> None:
        queue, stopping = self._queue, self._stopping
        while True:
            first = queue.get()
            batch = [first, *_waiting(queue)]
            self._write([Entry._make(raw) for raw in batch if raw is not None])
            if stopping.is_set() and queue.empty():
                return
            stopping.wait(REST_S)

    def _write(self, entries: list[Entry]) -> None:
        wall_ns = time.time_ns() - time.perf_counter_ns()
        dropped = self.dropped - self._told
        warning = f"{dropped} requests were not logged: the log could not keep up, or failed" if dropped else None
        write = self._hand_on if logger.hasHandlers() else self._print
        if write(entries, wall_ns, warning):
            self._told += dropped

    def _print(self, entries: list[Entry], wall_ns: int, warning: str | None) -> bool:
        """Write lines to standard error; return whether the warning is told."""
        lines = [self._lines.render(self._lines.facts(entry, wall_ns)) for entry in entries]
        if warning is not None:
            lines.append(f"cello.access: {warning}")
        try:
            sys.stderr.write("".join(f"{line}\n" for line in lines))
            sys.stderr.flush()
        except (AttributeError, OSError, ValueError):  # there is none, its pipe has no reader, or it is closed
            self._drop(len(entries))
            return False
        return True

    def _hand_on(self, entries: list[Entry], wall_ns: int, warning: str | None) -> bool:
        """Make records of lines; return whether the warning is told."""
        if logger.isEnabledFor(logging.INFO):
            for entry in entries:
                facts = self._lines.facts(entry, wall_ns)
                if not _is_handled(make_record(self._lines.render(facts), facts)):
                    self._drop(1)
        if warning is None:
            return True
        return _is_handled(logger.makeRecord(logger.name, logging.WARNING, __file__, 0, warning, (), None))


def _is_handled(record: logging.LogRecord) -> bool:
    try:
        logger.handle(record)
    except Exception:  # noqa: BLE001  # what a handler raises must not end the thread that all lines come by
        return False
    return True


def make_record(line: str, facts: dict[str, Any]) -> logging.LogRecord:
    """Return the record of one line: `message` is the line, every fact an attribute, `created` when it was answered."""
    record = logging.getLogRecordFactory()(logger.name, logging.INFO, __file__, 0, line, (), None)
    for name in ("request_id", "trace_id", "route"):
        facts.setdefault(name, "-")
    record.__dict__.update({name: value for name, value in facts.items() if name not in _OWN_NAMES})
    record.created = facts["time"]
    record.msecs = facts["time"] * 1000 % 1000
    return record


_OWN_NAMES = frozenset({"time", *vars(logging.makeLogRecord({})), "message", "asctime"})


def _waiting(queue: "SimpleQueue[Raw | None]") -> list[Raw | None]:
    found: list[Raw | None] = []
    with contextlib.suppress(Empty):
        while len(found) < BATCH:
            found.append(queue.get_nowait())
    return found
