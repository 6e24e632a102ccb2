"""Spans of what requests call: database drivers, Redis, brokers and HTTP clients.

OpenTelemetry has a package for each library, which patches it: `pip install opentelemetry-instrumentation-redis`. Those
that are installed are switched on when a worker starts and off when it stops. Web frameworks and servers among them are
left alone: their requests are cello's own. OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names what is not wanted.
"""

import logging
import os
from importlib.metadata import EntryPoint, entry_points
from typing import Any

logger = logging.getLogger(__name__)

GROUP = "opentelemetry_instrumentor"
SERVERS = frozenset(
    {"aiohttp-server", "asgi", "django", "falcon", "fastapi", "flask", "pyramid", "starlette", "tornado", "wsgi"}
)


class Libraries:
    """The instrumentations of this process."""

    def __init__(self) -> None:
        self._on: list[Any] = []
        self._names: frozenset[str] = frozenset()

    def start(self, **providers: Any) -> list[str]:
        """Switch on all that are installed; return their names.

        Args:
            **providers: `tracer_provider` and `meter_provider`.
        """
        unwanted = {name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")}
        found = [each for each in entry_points(group=GROUP) if each.name not in SERVERS | unwanted]
        names = [each.name for each in found if self._start_one(each, providers)]
        self._names = frozenset(names)
        return names

    def covers(self, library: str) -> bool:
        """Return whether the instrumentation of that name is on."""
        return library in self._names

    def _start_one(self, found: EntryPoint, providers: dict[str, Any]) -> bool:
        try:
            instrumentor = found.load()()
            if instrumentor.is_instrumented_by_opentelemetry:
                return False  # the program did it itself
            instrumentor.instrument(**providers)
        except Exception as error:  # noqa: BLE001  # whatever a package of others raises: its library goes unobserved
            logger.warning("telemetry: the instrumentation %r does not work: %r", found.name, error)
            return False
        self._on.append(instrumentor)
        return bool(instrumentor.is_instrumented_by_opentelemetry)

    def stop(self) -> None:
        """Switch off what was switched on."""
        self._names = frozenset()
        while self._on:
            self._on.pop().uninstrument()
