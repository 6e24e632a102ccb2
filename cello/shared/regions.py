"""What features are given of shared memory: named regions, mapped when a worker starts.

A region is claimed while the application is declared, where nothing may be mapped yet: the process that imports may
fork the workers. `Region.open` maps it, once per process.
"""

import logging
import os
from typing import Any, Generic, TypeVar

from cello.errors import ConfigError
from cello.shared.layouts import Layout, as_text
from cello.shared.origin import Origin, find, trouble

logger = logging.getLogger("cello")

T = TypeVar("T")


class Region(Generic[T]):
    """A piece of memory that all workers have in common.

    Attributes:
        name: What it is called.
        layout: What it holds.
    """

    def __init__(self, shared: "Shared", name: str, layout: Layout[T]) -> None:
        self.name = name
        self.layout = layout
        self._shared = shared
        self._opened: tuple[Origin, T] | None = None

    def open(self) -> T:
        """Return what reads and writes it; the same object for a process, until the application stops.

        Raises:
            ConfigError: There is no room, or the memory cannot be had.
        """
        origin = self._shared.origin()
        if self._opened is None or self._opened[0] is not origin:
            text = as_text(self.layout)
            block = origin.memory.claim(self._shared.application, self.name, text, self.layout.size)
            self._opened = (origin, self.layout.open(block))
        return self._opened[1]

    @property
    def opened(self) -> T | None:
        """What reads and writes it, where `open` was called; None where it was not."""
        return None if self._opened is None else self._opened[1]


class Shared:
    """The regions of one application.

    Args:
        application: What tells it from others: where it was made.
    """

    def __init__(self, application: str) -> None:
        self.application = application
        self._regions: dict[str, Region[Any]] = {}
        self._origin: Origin | None = None
        self._pid = 0
        self._is_private = False

    def region(self, name: str, layout: Layout[T]) -> Region[T]:
        """Return the region called `name`; one and the same for equal layouts.

        Raises:
            ConfigError: It was claimed with another layout.
        """
        held = self._regions.setdefault(name, Region(self, name, layout))
        if as_text(held.layout) != as_text(layout):
            raise ConfigError(f"the shared region {name!r} is {as_text(held.layout)} already, not {as_text(layout)}")
        return held

    def regions(self) -> list[Region[Any]]:
        """Return every region that was claimed."""
        return list(self._regions.values())

    def keep_private(self) -> None:
        """Use memory of this process alone: there are no other workers."""
        self._is_private = True

    def origin(self) -> Origin:
        """Return where this process's memory comes from, finding out on the first call."""
        if self._origin is None or self._pid != os.getpid():
            self._origin, self._pid = find(self.application, is_private=self._is_private), os.getpid()
            if self._origin.warning is not None:
                logger.warning("%s", self._origin.warning)
        return self._origin

    def note_other_processes(self) -> None:
        """Warn if other processes run this application and the memory is this process's alone."""
        origin = self.origin()
        if origin.is_alone and origin.warning is None:
            logger.warning(
                "limits, caches and sessions are per worker: this host runs several processes and is not known; "
                "set CELLO_SHARED_DIR to a folder that all of them may write to"
            )

    def trouble(self) -> str | None:
        """Return what would keep the workers of this machine apart, or None."""
        return trouble()

    def close(self) -> None:
        """Give up this process's part of it; the next `open` begins anew."""
        if self._origin is not None and self._pid == os.getpid():
            self._origin.memory.close()
        self._origin = None
