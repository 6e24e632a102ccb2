"""What the application said about caching one route."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any, NamedTuple

from cello.errors import ConfigError
from cello.features.cache.store import slot_of
from cello.routing.marks import CacheMark, cache_mark_of
from cello.routing.route import Route


class Policy(NamedTuple):
    """How answers of one route are kept.

    Attributes:
        ttl_s: Seconds that one lives which does not say so itself; None keeps only those that do.
        tags: What may be invalidated; `{name}` stands for a path parameter.
        shared: Answers are the same for everybody.
        stale_s: Seconds after its time in which one is given out while it is made anew.
        error_s: Seconds after its time in which one is given out when that fails.
    """

    ttl_s: float | None
    tags: tuple[str, ...]
    shared: bool
    stale_s: float
    error_s: float

    def slots(self, url: str, params: Mapping[str, str]) -> tuple[int, ...]:
        """Return the counters that an answer of this route for `url` depends on."""
        if not self.tags:
            return (slot_of(url),)
        return (slot_of(url), *[slot_of(tag.format_map(params) if "{" in tag else tag) for tag in self.tags])


def policy_of(
    route: Route, defaults: Policy, guards: Sequence[Any], excluded: tuple[str, ...], methods: Sequence[str]
) -> Policy | None:
    """Return how answers of `route` are kept, or None where they are not.

    Args:
        route: The route.
        defaults: What holds for all.
        guards: Those of every route.
        excluded: Paths that are left alone, and what is below them.
        methods: Those whose answers are kept.

    Raises:
        ConfigError: A tag names a path parameter that the route has not.
    """
    if not any(method in route.methods for method in ("GET", *methods)):
        return None
    mark = cache_mark_of(route.handler, route.options.cache)
    if mark is not None and mark.ttl_s == 0:
        return None
    if is_below(route.template, excluded) or route.options.stream:
        return None
    if mark is None:
        return None if guards or route.options.guards else defaults
    if (guards or route.options.guards) and not mark.shared:
        return None
    return _marked(route, mark, defaults)


def _marked(route: Route, mark: CacheMark, defaults: Policy) -> Policy:
    for tag in mark.tags:
        try:
            names = {name for _, name, _, _ in Formatter().parse(tag) if name is not None}
        except ValueError as error:
            raise ConfigError(f"route {route}: the cache tag {tag!r:.80} is malformed: {error}") from None
        for name in names.difference(route.pattern.param_names):
            raise ConfigError(f"route {route}: the cache tag {tag!r:.80} names {name!r}, which is no path parameter")
    stale_s, error_s = mark.stale_while_revalidate_s, mark.stale_if_error_s
    return Policy(
        defaults.ttl_s if mark.ttl_s is None else mark.ttl_s,
        mark.tags,
        mark.shared,
        defaults.stale_s if stale_s is None else stale_s,
        defaults.error_s if error_s is None else error_s,
    )


def is_below(path: str, excluded: tuple[str, ...]) -> bool:
    """Return whether `path` is one of `excluded`, or below it."""
    return any(path == each or path.startswith(f"{each}/") for each in excluded)


def checked_defaults(ttl: float, stale_while_revalidate: float, stale_if_error: float) -> Policy:
    """Return the policy of routes that say nothing themselves; all three are in seconds.

    Raises:
        ConfigError: One of them is no number of seconds.
    """
    seconds: dict[str, object] = {
        "ttl": ttl,
        "stale_while_revalidate": stale_while_revalidate,
        "stale_if_error": stale_if_error,
    }
    for name, value in seconds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"enable_caching: {name} is a number of seconds, at least 0, not {value!r:.80}")
    return Policy(float(ttl) if ttl else None, (), False, float(stale_while_revalidate), float(stale_if_error))


def checked_paths(paths: object) -> tuple[str, ...]:
    """Return paths without the slash at their end.

    Raises:
        ConfigError: Not a list of paths.
    """
    if paths is None:
        return ()
    if not isinstance(paths, list | tuple | set | frozenset) or not all(
        isinstance(path, str) and path.startswith("/") for path in paths
    ):
        raise ConfigError(f"enable_caching: exclude_paths is a list such as ['/live', '/ws'], not {paths!r:.80}")
    return tuple(path.rstrip("/") for path in paths)


def checked_methods(methods: object) -> tuple[str, ...]:
    """Return the methods whose answers are kept.

    Raises:
        ConfigError: One of them is neither GET nor HEAD: what it answers depends on more than its URL.
    """
    if methods is None:
        return ("GET", "HEAD")
    if isinstance(methods, str) or not isinstance(methods, list | tuple | set | frozenset) or not methods:
        raise ConfigError(f"enable_caching: methods is a list of methods, not {methods!r:.80}")
    checked = tuple(method.upper() if isinstance(method, str) else method for method in methods)
    for method in checked:
        if method not in ("GET", "HEAD"):
            raise ConfigError(
                f"enable_caching: answers to {method!r:.80} are not cached; methods are of 'GET' and 'HEAD'"
            )
    return checked
