"""Seeing that a source file changed.

With watchfiles installed the system tells; without it, modification times are compared a few times a second. Either
runs on a thread of its own and wakes whoever selects on the `Watcher`; changes are collected until they are taken.
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from cello.serve import console

_POLL_EVERY_S = 0.3
_LISTEN_FOR_MS = 300
_GATHER_MS = 20
"""An editor writes several files, or one in several steps; without a change for so long it is done."""
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})


class Watcher:
    """Watches folders for changed `.py` files.

    Args:
        folders: Where to look, with everything below; empty = the current folder.
        poll: Compare modification times even where watchfiles is installed.
    """

    def __init__(self, folders: Sequence[str] = (), *, poll: bool = False) -> None:
        self._folders = [Path(folder).resolve() for folder in folders or (".",)]
        for folder in self._folders:
            if not folder.is_dir():
                console.notice(f"--reload-dir {str(folder)!r} is not a folder; nothing is watched there")
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._lock = threading.Lock()
        self._changed: dict[str, None] = {}
        self._stop = threading.Event()
        by_system = not poll and find_spec("watchfiles") is not None
        target = self._listen if by_system else self._poll
        before = snapshot(self._folders)
        self._thread = threading.Thread(target=target, args=(before,), name="cello-reload", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The descriptor that becomes readable when something changed."""
        return self._receiver.fileno()

    def take(self) -> list[str]:
        """Return the files changed since the last call, relative to the current folder where they are below it."""
        try:
            self._receiver.recv(4096)
        except BlockingIOError:
            return []
        with self._lock:
            changed, self._changed = list(self._changed), {}
        return sorted({_relative(path) for path in changed})

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._receiver.close()
        self._sender.close()

    def _listen(self, before: Mapping[str, int]) -> None:
        import watchfiles

        rounds = watchfiles.watch(
            *[folder for folder in self._folders if folder.is_dir()],
            watch_filter=watchfiles.PythonFilter(),
            stop_event=self._stop,
            rust_timeout=_LISTEN_FOR_MS,
            step=_GATHER_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        is_first = True
        for changes in rounds:
            if is_first:  # only now the system surely watches; what changed since `before` it has not told
                self._report(_differences(before, snapshot(self._folders)))
                is_first = False
            self._report(path for _, path in changes)

    def _poll(self, before: Mapping[str, int]) -> None:
        while not self._stop.wait(_POLL_EVERY_S):
            now = snapshot(self._folders)
            self._report(_differences(before, now))
            before = now

    def _report(self, paths: Iterable[str]) -> None:
        found = dict.fromkeys(paths)
        if not found:
            return
        with self._lock:
            self._changed.update(found)
        try:
            self._sender.send(b"!")
        except BlockingIOError:
            return  # the reader has enough to wake up for


def snapshot(folders: Iterable[Path]) -> dict[str, int]:
    """Return the modification time of every `.py` file, in nanoseconds."""
    found = {}
    for path in _sources(folders):
        try:
            found[path] = os.stat(path).st_mtime_ns
        except FileNotFoundError:
            continue  # removed since it was listed
    return found


def _differences(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    return [path for path in {**before, **now} if before.get(path) != now.get(path)]


def _sources(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        for root, below, files in os.walk(folder):
            below[:] = [name for name in below if name not in _SKIPPED and not name.startswith(".")]
            yield from (os.path.join(root, name) for name in files if name.endswith(".py"))


def _relative(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
