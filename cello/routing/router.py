"""The router: all routes of an application, found by method and raw path.

Two looks: a dict for paths without parameters, spelled in the one way that needs no decoding; then the tree, over the
percent-decoded segments. An encoded slash (`%2F`) therefore never splits a segment, paths are case-sensitive, `.` and
`..` are literal, and `/users` and `/users/` are two paths.

HEAD is implied by GET at every pattern that has no HEAD of its own. A duplicate or a contradiction is refused when it
is registered; parameters may be named differently only where the methods differ. After `freeze` nothing can be added.
"""

from collections.abc import Callable

from cello.errors import RouteError, closest, too_late
from cello.http.url import decode_segment
from cello.routing.route import Route, RouteOptions, duplicate
from cello.routing.tree import Tree

__all__ = ["Route", "RouteOptions", "Router"]


class Router:
    """Where every request goes.

    Registration is for one thread; once frozen, finding is safe from any number of threads.

    Attributes:
        tree: All that `find` looks into.
        frozen: Whether `freeze` was called.
        find: Take a method and a raw path (still percent-encoded, without the query); return what the best route is
            bound to and its percent-decoded parameters in a dict of their own, or None. Raises `BadRequest` when the
            path has a broken escape or is not UTF-8 once decoded.
        find_socket: Does the same for WebSocket routes, which are found by upgrades only; the method is "GET".
    """

    __slots__ = (
        "_named",
        "_names",
        "_routes",
        "_socket_tree",
        "_sockets",
        "_taken",
        "find",
        "find_socket",
        "frozen",
        "tree",
    )

    def __init__(self) -> None:
        self.frozen = False
        self._routes: list[Route] = []
        self.tree = Tree()
        # PERF: the tree's own method, not one that calls it: a frame saved at every request.
        self.find: Callable[[str, str], tuple[object, dict[str, str]] | None] = self.tree.find_raw
        self._sockets: list[Route] = []
        self._socket_tree = Tree()
        self.find_socket: Callable[[str, str], tuple[object, dict[str, str]] | None] = self._socket_tree.find_raw
        self._taken: dict[tuple[str, object], Route] = {}
        self._named: dict[str, Route] = {}  # explicitly, one path each
        self._names: dict[str, list[Route]] = {}  # explicitly or after their handlers

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route that answers requests, in order of registration."""
        return tuple(self._routes)

    @property
    def sockets(self) -> tuple[Route, ...]:
        """Every WebSocket route, in order of registration."""
        return tuple(self._sockets)

    def add(self, route: Route) -> None:
        """Register a route; until `bind` says otherwise, `find` returns the route itself.

        Raises:
            RouteError: The router is frozen, or another route matches the same paths under the same method, or another
                path has the same explicit name.
        """
        if self.frozen:
            raise RouteError(too_late(str(route)))
        methods = route.methods if route.socket is None else ("WebSocket",)  # a page may stand at the same path
        for method in methods:
            if other := self._taken.get((method, route.pattern.shape)):
                raise duplicate(method, route, other)
        if route.options.name:
            namesake = self._named.setdefault(route.name, route)
            if namesake.pattern.path != route.pattern.path:
                raise RouteError(f"two routes have the name {route.name!r}: {namesake} and {route}")
        self._names.setdefault(route.name, []).append(route)
        for method in methods:
            self._taken[method, route.pattern.shape] = route
        (self._routes if route.socket is None else self._sockets).append(route)
        self.bind(route, route)

    def bind(self, route: Route, value: object) -> None:
        """Make `find` return `value` where it leads to `route`; allowed at any time."""
        if route.socket is not None:
            self._socket_tree.add("GET", route.pattern, value)
            return
        shape = route.pattern.shape
        for method in route.methods:
            self.tree.add(method, route.pattern, value)
        if "GET" in route.methods and ("HEAD", shape) not in self._taken:
            self.tree.add("HEAD", route.pattern, value)

    def freeze(self) -> None:
        """Refuse routes from now on."""
        self.frozen = True

    def allowed(self, raw_path: str) -> list[str]:
        """Return the methods that the path has, sorted, HEAD included where GET is; empty when no route has the path.

        Raises:
            BadRequest: As in `find`.
        """
        segments = [decode_segment(segment) for segment in raw_path.split("/")]
        return [] if segments[0] else sorted(self.tree.methods(segments))

    def url_for(self, name: str, /, **params: object) -> str:
        """Return the percent-encoded path of the route called `name`.

        Args:
            name: The `name=` of a route, or else its handler's name; after the names of its blueprints, with dots.
            **params: The route's parameters, all of them and no others.

        Raises:
            RouteError: There is no such route or more than one path, a parameter is missing or unknown, or a value
                would not lead back to the route.
        """
        named = self._named.get(name)
        if named is not None:
            return named.pattern.build(**params)
        routes = self._names.get(name)
        if not routes:
            close = closest(name, self._names)
            known = ", ".join(sorted(self._names)[:10]) or "none"
            raise RouteError(
                f"no route is named {name!r}; " + (f"did you mean {close!r}?" if close else f"there are: {known}")
            )
        if len({route.pattern.path for route in routes}) > 1:
            places = ", ".join(map(str, routes))
            raise RouteError(f"{name!r} could be any of {places}; give the one you mean a name=")
        return routes[0].pattern.build(**params)
