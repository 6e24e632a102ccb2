"""Other applications beside cello's routes: `app.mount("/old", flask_app)`.

A mount is one streaming handler behind a prefix, so it works under every gateway. A WSGI application is a `def` handler
(on the calling thread under WSGI, on the bounded worker threads on a loop), an ASGI application an `async def` one (on
the loop, or through the portal). Bodies stream both ways.

The prefix moves to SCRIPT_NAME / `root_path`. The lifespan of an ASGI mount runs inside the host application's.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from cello.errors import ConfigError
from cello.gateways.raw_path import raw_path_below
from cello.pipeline.lifecycle import Lifecycle

if TYPE_CHECKING:
    from cello.gateways.mount_asgi import AsgiMount
    from cello.gateways.mount_wsgi import WsgiMount

Interface = Literal["wsgi", "asgi"]


class Mount:
    """One foreign application and where it stands.

    Attributes:
        prefix: Its path, without a slash at the end.
        interface: How it is called.
        handler: `handler(request) -> Response`, `def` for WSGI and `async def` for ASGI; takes the body unread.
        app: The foreign application.
    """

    __slots__ = ("_hosted", "app", "handler", "interface", "prefix")

    def __init__(self, prefix: str, app: Any, interface: Interface | None = None) -> None:
        self.prefix = check_prefix(prefix)
        self.interface = interface or detect_interface(app)
        if self.interface not in ("wsgi", "asgi"):
            raise ConfigError(f'interface must be "wsgi" or "asgi", not {interface!r}')
        if not callable(app):
            raise ConfigError(f"only a WSGI or ASGI application can be mounted, not {app!r:.80}")
        self.app = app
        self._hosted = _host(self.prefix, app, self.interface)
        self.handler = self._hosted.handler

    def matches(self, raw_path: str) -> bool:
        """Whether a percent-encoded path is the prefix or below it."""
        if raw_path.startswith(self.prefix):
            rest = raw_path[len(self.prefix) :]
        elif "%" in raw_path and (below := raw_path_below(self.prefix.encode(), raw_path)) is not raw_path:
            rest = below
        else:
            return False
        return not rest or rest.startswith("/")

    def attach(self, lifecycle: Lifecycle) -> None:
        """Have the mount's own lifespan run with the application's."""
        lifespan = getattr(self._hosted, "lifespan", None)
        if lifespan is not None:
            lifecycle.lifespan(lifespan)


class MountTable(Iterable[Mount]):
    """The mounts of one application, the longest prefix first."""

    def __init__(self) -> None:
        self._mounts: list[Mount] = []

    def add(self, prefix: str, app: Any, interface: Interface | None = None) -> Mount:
        """Check a mount and add it; `Mount.attach` ties its lifespan to the host application's.

        Raises:
            ConfigError: The prefix or the application cannot work, or the prefix is taken.
        """
        mount = Mount(prefix, app, interface)
        for other in self._mounts:
            if other.prefix == mount.prefix:
                raise ConfigError(f"there is a mount at {mount.prefix!r} already: {other.app!r:.80}")
        self._mounts.append(mount)
        self._mounts.sort(key=lambda each: len(each.prefix), reverse=True)
        return mount

    def __iter__(self) -> Iterator[Mount]:
        return iter(self._mounts)

    def __len__(self) -> int:
        return len(self._mounts)


def _host(prefix: str, app: Any, interface: Interface) -> "WsgiMount | AsgiMount":
    """Return what calls `app`; each kind is loaded by the first application of that kind."""
    if interface == "wsgi":
        from cello.gateways.mount_wsgi import WsgiMount

        return WsgiMount(prefix, app)
    from cello.gateways.mount_asgi import AsgiMount

    return AsgiMount(prefix, app)


def check_prefix(prefix: object) -> str:
    """Return a mount's prefix without its trailing slash.

    Raises:
        ConfigError: It is no plain path, or the root, where nothing of the application itself would be reached.
    """
    if not isinstance(prefix, str) or not prefix.startswith("/"):
        raise ConfigError(f"a mount's prefix starts with a slash, unlike {prefix!r:.80}")
    path = prefix.rstrip("/")
    if not path:
        raise ConfigError('an application cannot be mounted at "/": none of the routes beside it would be reached')
    for character in "{}*%?#":
        if character in path:
            raise ConfigError(f"a mount's prefix is a plain path, without {character!r}: {prefix!r:.80}")
    if "//" in path or not path.isascii() or not path.isprintable() or " " in path:
        raise ConfigError(f"a mount's prefix is a plain ASCII path: {prefix!r:.80}")
    return path


def detect_interface(app: Any) -> Interface:
    """Return how an application is called, by looking at it.

    Raises:
        ConfigError: It cannot be told; say `interface=` then. Or it is ASGI 2, a class or factory.
    """
    target = app
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isclass(target):
        raise ConfigError(f"{app!r:.80} is a class: mount an application made of it")
    if not callable(target):
        raise ConfigError(f"only a WSGI or ASGI application can be mounted, not {app!r:.80}")
    call: Callable[..., Any] = target if inspect.isroutine(target) else target.__call__
    if inspect.iscoroutinefunction(call) or getattr(app, "_asgi_single_callable", False):
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    is_open = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    needed = sum(each.default is each.empty for each in positional)
    if not is_open and needed <= 2 <= len(positional):
        return "wsgi"
    if not is_open and needed <= 3 <= len(positional):
        return "asgi"
    raise ConfigError(f'{app!r:.80} may be WSGI or ASGI: say which, with interface="wsgi" or interface="asgi"')
