"""Who is told of the commands that a Redis client sends, and what: for metrics and traces."""

from time import perf_counter
from types import TracebackType
from typing import Protocol, Self


class Watcher(Protocol):
    """Is told of every command, on the thread and in the context that sends it."""

    def begin(self, command: str) -> None:
        """Hear of one that is about to be sent."""

    def end(self, command: str, seconds: float, error: BaseException | None) -> None:
        """Hear how it went."""


class Watched:
    """The block around one command.

    Args:
        watcher: Who is told.
        command: Its first word.
    """

    __slots__ = ("_began_s", "_command", "_watcher")

    def __init__(self, watcher: Watcher, command: str) -> None:
        self._watcher = watcher
        self._command = command

    def __enter__(self) -> Self:
        self._watcher.begin(self._command)
        self._began_s = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watcher.end(self._command, perf_counter() - self._began_s, error)
