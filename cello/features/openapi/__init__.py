"""OpenAPI: the application's description of itself (`/openapi.json`), and two pages that show it (`/docs`, `/redoc`).

The document is made when it is first asked for, from what routes and signatures say, and kept. Files:

    schemas     annotations → JSON Schema          naming      what models are called
    parameters  what handlers take                 responses   what they answer
    security    guards → security requirements     document    all of it together
    pages       Swagger UI and ReDoc               assets/     their code, shipped with the package
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.openapi.document import About, Source, make_document
from cello.features.openapi.pages import OWN, REDOC, SWAGGER
from cello.http import json_codec, media
from cello.http.request import Request
from cello.http.response import Response
from cello.pages.assets import Assets
from cello.pages.page import Page, relative, render
from cello.pipeline.guarding import Guard
from cello.review import Deployment, Finding

__all__ = ["About", "OpenApi"]

_MOST_PREFIXES = 8


class OpenApi:
    """Describes the application. For what the arguments mean see `App.enable_openapi`."""

    name = "openapi"

    def __init__(
        self,
        about: About,
        *,
        path: str = "/openapi.json",
        docs_path: str | None = "/docs",
        redoc_path: str | None = "/redoc",
        guards: Sequence[Guard] | None = None,
    ) -> None:
        for name, value in (("title", about.title), ("version", about.version)):
            if not (value and isinstance(value, str)):
                raise ConfigError(f"enable_openapi: {name} must be a string, not {value!r:.80}")
        self.about = about
        self._path = path
        self._pages = {place: page for place, page in ((docs_path, SWAGGER), (redoc_path, REDOC)) if place is not None}
        self._guards = guards
        self._making = threading.Lock()
        self._documents: dict[str, tuple[bytes, str]] = {}

    def install(self, host: Host) -> None:
        """Add the document, and the pages with their assets."""

        def answer_document(request: Request) -> Response:
            content, tag = self._encoded(host, request.root_path)
            response = Response(content, 200, None, media.JSON)
            response.set_header("ETag", tag)
            response.set_header("Cache-Control", "no-cache")
            return response

        host.add_route(self._path, answer_document, guards=self._guards)
        if not self._pages:
            return
        assets = Assets(__package__, OWN)
        for place, page in self._pages.items():
            folder = f"{place.rstrip('/')}/assets"
            host.add_route(place, self._page_answer(place, page, folder, assets), guards=self._guards)

            def answer_asset(request: Request, name: str) -> Response:
                return assets.answer(request, name)

            host.add_route(f"{folder}/{{name}}", answer_asset, guards=self._guards)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find descriptions that everybody can read."""
        if deployment.is_production and not self._guards:
            yield Finding(
                "note",
                "openapi-public",
                f"enable_openapi shows every route to everybody, at {', '.join([self._path, *self._pages])}; "
                "guards=[…] keeps it to some",
            )

    def document(self, host: Host, prefix: str = "") -> dict[str, Any]:
        """Return the document.

        Args:
            host: The application; it is frozen by this.
            prefix: Where the application is mounted.

        Raises:
            ConfigError: A model cannot be described.
        """
        about = self.about
        if prefix and not about.servers:
            about = about._replace(servers=[prefix])
        source = Source(
            routes=host.routes(),
            bindings=host.dispatcher.bindings,
            guards=host.guards(),
            security_schemes=host.security_schemes(),
            mounts=host.mounts(),
            wanted_schemes=host.wanted_schemes,
        )
        return make_document(about, source)

    def _encoded(self, host: Host, prefix: str) -> tuple[bytes, str]:
        """Return the document's text and tag, made at the first request."""
        found = self._documents.get(prefix)
        if found is None:
            with self._making:
                found = self._documents.get(prefix)
                if found is None:
                    content = json_codec.encode(self.document(host, prefix))
                    found = content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                    if len(self._documents) < _MOST_PREFIXES:
                        self._documents[prefix] = found
        return found

    def _page_answer(self, place: str, page: Page, folder: str, assets: Assets) -> Any:
        title = self.about.title
        document = relative(self._path, place)
        urls = [f"{relative(folder, place)}/{assets.url(name)}" for name in (*page.styles, *page.scripts)]
        servers = [_url_of(server) for server in self.about.servers]

        def answer_page() -> Response:
            return render(page, title=title, document=document, assets=urls, servers=servers)

        return answer_page


def _url_of(server: str | Mapping[str, Any]) -> str:
    return server if isinstance(server, str) else str(server.get("url", ""))
