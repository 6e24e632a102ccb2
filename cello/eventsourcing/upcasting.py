"""Upcasting: data of events that were written in an older form is brought to the newest one when it is read.

What is stored never changes. Each step knows one form and makes the next of it, so that a chain of them reads the
oldest event there is.
"""

from collections.abc import Callable
from typing import Any

from cello.errors import ConfigError
from cello.eventsourcing.event import Event, event_name

Upcaster = Callable[[Any], Any]
"""Takes the data in one form, returns it in the next."""


class Upcasters:
    """The steps of all types of events."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[int, Upcaster]] = {}

    def add(self, event_type: str | type, from_version: int, step: Upcaster) -> None:
        """Have `step` make the data of version `from_version + 1` of that of `from_version`.

        Raises:
            ConfigError: There is one already, or the version is none.
        """
        name = event_name(event_type)
        if from_version < 1:
            raise ConfigError(f"an upcaster of {name!r} begins with a version from 1, not {from_version!r:.80}")
        steps = self._steps.setdefault(name, {})
        if from_version in steps:
            raise ConfigError(f"there is an upcaster of {name!r} from version {from_version} already")
        steps[from_version] = step

    def newest(self, event_type: str) -> int:
        """Return the version that new events of a type have."""
        steps = self._steps.get(event_type)
        return max(steps) + 1 if steps else 1

    def bring(self, event: Event) -> Event:
        """Bring an event to the newest form, and return it."""
        steps = self._steps.get(event.event_type)
        version = event.schema_version or 1
        while steps and (step := steps.get(version)) is not None:
            event.data = step(event.data)
            version += 1
            event.schema_version = version
        return event
