"""How routes are declared: the decorators that App and Blueprint share, and Blueprint itself.

A blueprint is a group of routes under a prefix, with guards, tags and a name that apply to all of them, outside-in: the
outer blueprint's guards are asked first. It passes each route on to whatever it is registered with, at once and also
later: routes may be added to a registered blueprint until the application starts, and every conflict is an error at the
line that causes it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

from cello.errors import ConfigError, RouteError
from cello.routing.marks import CacheMark
from cello.routing.pattern import join, parse
from cello.routing.place import caller
from cello.routing.route import (
    Guard,
    Route,
    SocketOptions,
    check_handler,
    check_methods,
    check_options,
    check_socket_options,
    handler_name,
)

H = TypeVar("H", bound=Callable[..., Any])


class FurtherOptions(TypedDict, total=False):
    """The options of a route that are given by keyword only; `RouteOptions` says what each means."""

    name: str | None
    stream: bool
    max_body_size: int | None
    timeout: float | None
    blocking: bool | None
    body: Any
    responses: Mapping[Any, Any] | None
    deprecated: bool
    cancel_on_disconnect: bool
    include_in_schema: bool
    cache: CacheMark | bool | float | None
    rate_limit: Any


class UnguardedOptions(FurtherOptions, total=False):
    """All options of a route but its guards, by keyword."""

    tags: Sequence[str] | None
    summary: str | None
    description: str | None


class AllOptions(UnguardedOptions, total=False):
    """All options of a route, by keyword."""

    guards: Sequence[Guard] | None


class FurtherSocketOptions(TypedDict, total=False):
    """The options of a WebSocket route that are given by keyword only."""

    name: str | None
    tags: Sequence[str] | None
    summary: str | None
    description: str | None
    cancel_on_disconnect: bool


class RouteDecorators(ABC):
    """The route decorators. Each returns the function it was put on, unchanged.

    Every decorator raises `RouteError` for a malformed path and `ConfigError` for an unknown option, an option's wrong
    value or a handler that cannot be called; the function itself is registered when the decorator is applied to it.
    """

    def get(
        self,
        path: str,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        guards: Sequence[Guard] | None = None,
        **options: Unpack[FurtherOptions],
    ) -> Callable[[H], H]:
        """Answer GET, and HEAD with it unless there is a HEAD route of its own."""
        return self._decorator("get", path, ["GET"], _all(options, tags, summary, description, guards))

    def post(
        self,
        path: str,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        guards: Sequence[Guard] | None = None,
        **options: Unpack[FurtherOptions],
    ) -> Callable[[H], H]:
        """Answer POST."""
        return self._decorator("post", path, ["POST"], _all(options, tags, summary, description, guards))

    def put(
        self,
        path: str,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        guards: Sequence[Guard] | None = None,
        **options: Unpack[FurtherOptions],
    ) -> Callable[[H], H]:
        """Answer PUT."""
        return self._decorator("put", path, ["PUT"], _all(options, tags, summary, description, guards))

    def patch(
        self,
        path: str,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        guards: Sequence[Guard] | None = None,
        **options: Unpack[FurtherOptions],
    ) -> Callable[[H], H]:
        """Answer PATCH."""
        return self._decorator("patch", path, ["PATCH"], _all(options, tags, summary, description, guards))

    def delete(
        self,
        path: str,
        tags: Sequence[str] | None = None,
        summary: str | None = None,
        description: str | None = None,
        guards: Sequence[Guard] | None = None,
        **options: Unpack[FurtherOptions],
    ) -> Callable[[H], H]:
        """Answer DELETE."""
        return self._decorator("delete", path, ["DELETE"], _all(options, tags, summary, description, guards))

    def options(
        self, path: str, guards: Sequence[Guard] | None = None, **options: Unpack[UnguardedOptions]
    ) -> Callable[[H], H]:
        """Answer OPTIONS in place of the automatic answer; a CORS preflight still goes to CORS."""
        return self._decorator("options", path, ["OPTIONS"], {**options, "guards": guards})

    def head(
        self, path: str, guards: Sequence[Guard] | None = None, **options: Unpack[UnguardedOptions]
    ) -> Callable[[H], H]:
        """Answer HEAD in place of the GET route at the same path."""
        return self._decorator("head", path, ["HEAD"], {**options, "guards": guards})

    def route(self, path: str, methods: Iterable[str] = ("GET",), **options: Unpack[AllOptions]) -> Callable[[H], H]:
        """Answer any methods, also those that no standard names."""
        return self._decorator("route", path, methods, options)

    def add_route(self, path: str, handler: H, methods: Iterable[str] = ("GET",), **options: Unpack[AllOptions]) -> H:
        """Do what `route` does, without a decorator; return the handler."""
        return self._decorator("add_route", path, methods, options)(handler)

    def websocket(
        self,
        path: str,
        allowed_origins: Sequence[str] | None = None,
        subprotocols: Sequence[str] | None = None,
        guards: Sequence[Guard] | None = None,
        compress: bool = True,
        **options: Unpack[FurtherSocketOptions],
    ) -> Callable[[H], H]:
        """Converse by WebSocket; the handler takes the `WebSocket`, and what handlers of requests take but a body.

        Args:
            path: As for requests; the same path may also answer them.
            allowed_origins: From which pages of browsers it may be opened besides the application's own, such as
                "https://app.example.com"; "*" is all. Who sends no Origin is no browser and may.
            subprotocols: What the handler speaks, the preferred first; `ws.subprotocol` is what was agreed on.
            guards: Asked before the conversation is accepted.
            compress: Whether messages may be compressed where the client wants it.
            options: `name`, `tags`, `summary`, `description`; `cancel_on_disconnect=True` cancels an `async def`
                handler when its client goes, instead of telling it at its next `recv` or `send`.
        """
        where = f"websocket({path!r:.80})"
        socket = check_socket_options(where, allowed_origins, subprotocols, compress)
        return self._decorator("websocket", path, ["GET"], {**options, "guards": guards}, socket)

    def add_websocket_route(
        self,
        path: str,
        handler: H,
        allowed_origins: Sequence[str] | None = None,
        subprotocols: Sequence[str] | None = None,
        guards: Sequence[Guard] | None = None,
        compress: bool = True,
        **options: Unpack[FurtherSocketOptions],
    ) -> H:
        """Do what `websocket` does, without a decorator; return the handler."""
        return self.websocket(path, allowed_origins, subprotocols, guards, compress, **options)(handler)

    def register_blueprint(self, blueprint: "Blueprint") -> None:
        """Add the routes of a blueprint, those it has and those it will have.

        Raises:
            RouteError: It is registered here already, would contain itself, or has a route that conflicts.
        """
        if not isinstance(blueprint, Blueprint):
            raise ConfigError(f"register_blueprint takes a Blueprint, not {blueprint!r:.80}")
        blueprint._register_with(self)

    def _decorator(
        self,
        called: str,
        path: str,
        methods: Iterable[str],
        options: Mapping[str, Any],
        socket: SocketOptions | None = None,
    ) -> Callable[[H], H]:
        where = f"{called}({path!r:.80})"
        if not isinstance(path, str):
            raise ConfigError(f"{called} needs a path first, as in {called}('/users'), not {path!r:.80}")
        pattern = parse(self._full_path(path))
        checked_methods = check_methods(where, methods)
        checked = check_options(where, options, None if socket is None else _SOCKET_OPTIONS)
        place = caller()

        def register(handler: H) -> H:
            check_handler(where, handler)
            name = checked.name or handler_name(handler)
            self._add(Route(checked_methods, pattern, handler, checked, name, place, socket=socket))
            return handler

        return register

    @abstractmethod
    def _add(self, route: Route) -> None:
        """Take a route whose pattern is complete as far as this object is concerned."""

    def _adopt(self, route: Route) -> None:
        """Take a route of a blueprint that is registered here."""
        self._add(route)

    def _full_path(self, path: str) -> str:
        """Return the path that a decorator's path stands for."""
        return path


class Blueprint(RouteDecorators):
    """A group of routes that are registered together.

    Args:
        prefix: Stands before every path, joined with exactly one slash; may hold parameters. A route's path may be
            empty here and then means the prefix itself.
        name: Stands before every route's name, with a dot: "users.show".
        guards: Asked before the routes' own.
        tags: Stand before the routes' own.

    Raises:
        ConfigError: A value cannot be what it is meant to be.
        RouteError: The prefix is malformed.
    """

    def __init__(
        self,
        prefix: str = "",
        name: str | None = None,
        guards: Sequence[Guard] | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        where = f"Blueprint({prefix!r:.80})"
        if prefix != "":
            parse(prefix)
        checked = check_options(where, {"name": name, "guards": guards, "tags": tags})
        self.prefix = prefix
        self.name = checked.name
        self.guards = checked.guards
        self.tags = checked.tags
        self._routes: list[Route] = []
        self._parents: list[RouteDecorators] = []

    def __repr__(self) -> str:
        return f"Blueprint({self.prefix!r}, name={self.name!r})"

    @property
    def routes(self) -> tuple[Route, ...]:
        """Its routes and those of the blueprints in it, with all that it adds to them."""
        return tuple(self._routes)

    def register(self, blueprint: "Blueprint") -> None:
        """Nest a blueprint in this one, like `register_blueprint`."""
        self.register_blueprint(blueprint)

    def _add(self, route: Route) -> None:
        options = route.options._replace(
            guards=self.guards + route.options.guards,
            tags=tuple(dict.fromkeys(self.tags + route.options.tags)),
        )
        name = f"{self.name}.{route.name}" if self.name else route.name
        dressed = route.changed(options=options, name=name)
        for parent in self._parents:
            parent._adopt(dressed)
        self._routes.append(dressed)

    def _adopt(self, route: Route) -> None:
        self._add(route.changed(pattern=parse(join(self.prefix, route.pattern.path))))

    def _full_path(self, path: str) -> str:
        if path and not path.startswith("/"):
            parse(path)
        return join(self.prefix, path)

    def _register_with(self, parent: RouteDecorators) -> None:
        if self._contains(parent):
            raise RouteError(f"{self!r} cannot be registered with {parent!r}: it would contain itself")
        if parent in self._parents:
            raise RouteError(f"{self!r} is registered with {parent!r} already")
        for route in self._routes:
            parent._adopt(route)
        self._parents.append(parent)

    def _contains(self, other: RouteDecorators) -> bool:
        """Return whether `other` is this blueprint or nested in it, however deep."""
        if other is self:
            return True
        return isinstance(other, Blueprint) and any(self._contains(parent) for parent in other._parents)


_SOCKET_OPTIONS = (*FurtherSocketOptions.__annotations__, "guards")


def _all(
    further: FurtherOptions,
    tags: Sequence[str] | None,
    summary: str | None,
    description: str | None,
    guards: Sequence[Guard] | None,
) -> dict[str, Any]:
    return {**further, "tags": tags, "summary": summary, "description": description, "guards": guards}
