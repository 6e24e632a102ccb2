"""Templates: pages by Jinja2, with the request at hand.

Two environments, which share loaders, globals and filters: a plain one, and one for templates that await something. A
template compiled for the one runs in it only.

What every template can use beside `globals` and its own context:

    request      the request that is being answered; undefined outside of one
    url_for      `url_for(name, **params)`, below where the application is mounted
    csp_nonce    the nonce of `enable_security_headers`, "" without one
    csrf_token   `csrf_token()`, the token of `enable_csrf`

Output of templates that escape is `Markup`, a kind of `str` that says it is HTML: handlers that return it answer so.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cello.errors import ConfigError, MissingDependency
from cello.extension import Host
from cello.http.request import Request
from cello.pipeline.middleware import NAME, Middleware

if TYPE_CHECKING:
    from jinja2 import Environment, Template

CSRF_TOKEN = "csrf_token"
"""The name of what gives a request's token, a function of the request: whoever protects from CSRF provides it."""

_PLAIN = (".txt", ".txt.j2", ".txt.jinja", ".txt.jinja2")
_Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None

_current: ContextVar[Request | None] = ContextVar("cello_templates_request", default=None)


class Templates(Middleware):
    """Renders templates. For what the arguments mean see `App.enable_templates`.

    Attributes:
        environment: Of Jinja2; for extensions, tests and what else it can do.
    """

    name = "templates"
    band = NAME

    def __init__(
        self,
        template_dir: _Folders = "templates",
        auto_escape: bool = True,
        globals: Mapping[str, Any] | None = None,
        *,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        strict: bool = False,
    ) -> None:
        for argument, flag in (("auto_escape", auto_escape), ("strict", strict)):
            if not isinstance(flag, bool):
                raise ConfigError(f"enable_templates: {argument} is True or False, not {flag!r:.80}")
        for argument, mapping in (("globals", globals), ("filters", filters)):
            if mapping is not None and not isinstance(mapping, Mapping):
                raise ConfigError(f"enable_templates: {argument} is a dict, not {mapping!r:.80}")
        self._auto_escape = auto_escape
        self.environment = self._make_environment(_checked_folders(template_dir), strict=strict)
        self.environment.globals.update(globals or {})
        self.environment.filters.update(filters or {})
        self._asynchronous = self.environment.overlay(enable_async=True)
        self._host: Host | None = None

    def _make_environment(self, folders: Sequence[str], *, strict: bool) -> "Environment":
        try:
            import jinja2
        except ImportError:
            raise MissingDependency("enable_templates needs 'jinja2': pip install 'cello[templates]'") from None
        return jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=self._escapes,
            undefined=jinja2.StrictUndefined if strict else jinja2.Undefined,
            auto_reload=False,
        )

    def _escapes(self, template_name: str | None) -> bool:
        return self._auto_escape and not (template_name or "").endswith(_PLAIN)

    def install(self, host: Host) -> None:
        """Note requests as they come, and read changed templates again in debug mode."""
        self._host = host
        host.add_middleware(self)
        host.on_start(self._start, band=0)

    def _start(self) -> None:
        assert self._host is not None  # it is installed
        self.environment.auto_reload = self._asynchronous.auto_reload = self._host.app.debug

    def before(self, request: Request) -> None:
        """Note the request."""
        _current.set(request)

    def render(self, name: str, context: Mapping[str, Any] | None) -> str:
        """Return a template, filled in."""
        return self._finished(template := self.environment.get_template(name), template.render(self._with(context)))

    def render_string(self, source: str, context: Mapping[str, Any] | None) -> str:
        """Return a template given as text, filled in."""
        template = self.environment.from_string(source)
        return self._finished(template, template.render(self._with(context)))

    async def render_async(self, name: str, context: Mapping[str, Any] | None) -> str:
        """Return a template, filled in; what it calls may be coroutines."""
        template = self._asynchronous.get_template(name)
        return self._finished(template, await template.render_async(self._with(context)))

    async def render_string_async(self, source: str, context: Mapping[str, Any] | None) -> str:
        """Return a template given as text, filled in; what it calls may be coroutines."""
        template = self._asynchronous.from_string(source)
        return self._finished(template, await template.render_async(self._with(context)))

    def _finished(self, template: "Template", text: str) -> str:
        from markupsafe import Markup  # comes with Jinja2

        return Markup(text) if self._escapes(template.name) else text

    def _with(self, context: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a context with what every template can use; what the caller gives goes before it."""
        assert self._host is not None  # it is installed
        request = _current.get()
        app, host = self._host.app, self._host

        def csrf_token() -> str:
            make: Callable[[Request], str] | None = host.resource(CSRF_TOKEN)
            if make is None or request is None:
                raise ConfigError("csrf_token() in a template needs app.enable_csrf() and a request")
            return make(request)

        if request is None:
            own = {"url_for": app.url_for, "csp_nonce": "", "csrf_token": csrf_token}
        else:
            nonce = "" if request._context is None else request._context.get("csp_nonce", "")
            own = {"request": request, "url_for": request.url_for, "csp_nonce": nonce, "csrf_token": csrf_token}
        return own if context is None else {**own, **context}


def _checked_folders(given: _Folders) -> list[str]:
    """Return where templates are, wherever the program goes later.

    Raises:
        ConfigError: There is no such folder.
    """
    if given is None:
        return []
    folders = list(given) if isinstance(given, list | tuple) else [given]
    paths = []
    for folder in folders:
        if not isinstance(folder, str | os.PathLike):
            raise ConfigError(f"enable_templates: template_dir is the path of a folder, not {folder!r:.80}")
        path = os.path.abspath(os.fspath(folder))
        if not os.path.isdir(path):
            raise ConfigError(f"enable_templates: there is no folder {path!r:.200}")
        paths.append(path)
    return paths
