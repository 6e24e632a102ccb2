"""Paths that a switch leaves alone, as its `…_paths=` says."""

from collections.abc import Collection
from typing import Any

from cello.errors import ConfigError
from cello.routing.route import Route


class OpenPaths:
    """Paths, each of which stands for itself and all that is below it.

    SECURITY: "/" stands for the root alone; everything below it would be everything.

    Args:
        owner: The switch and argument, for messages.
        paths: As given.

    Raises:
        ConfigError: Something is no path.
    """

    def __init__(self, owner: str, paths: Collection[Any] | None) -> None:
        if isinstance(paths, str) or not all(isinstance(path, str) and path.startswith("/") for path in paths or ()):
            raise ConfigError(f"{owner} is a list of paths, each beginning with '/', not {paths!r:.80}")
        self._exact = frozenset(path.rstrip("/") or "/" for path in paths or ())
        self._below = tuple(f"{path}/" for path in self._exact if path != "/")

    def __bool__(self) -> bool:
        return bool(self._exact)

    def has(self, path: str) -> bool:
        """Return whether a path, or a route's template, is one of them or below one."""
        return path in self._exact or path.startswith(self._below)

    def covers(self, route: Route | None) -> bool:
        """Return whether a route is one of them, going by its template."""
        return route is not None and self.has(route.template)
