"""When the page is there, and what it answers.

Rule 1: in debug mode only. Elsewhere the route does not exist and nothing is watched.
Rule 2: who may not see it is told what everybody is told of a path that does not exist.
"""

import logging
from collections.abc import Collection

from cello.errors import ConfigError, NotFound, RouteError
from cello.extension import Host
from cello.features.health_checks import Examination
from cello.features.inspector.access import Access
from cello.features.inspector.facts import RecentErrors, gather
from cello.features.inspector.page import render
from cello.features.runtime import Runtime
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.debug_page import prefers_html

logger = logging.getLogger("cello")

PATH = "/_cello"
CHECK_TIMEOUT_S = 3.0


class Inspector:
    """The page. For what the arguments mean see `App.enable_inspector`."""

    name = "inspector"

    def __init__(self, path: str = PATH, allowed_hosts: Collection[str] = ()) -> None:
        if not path.startswith("/") or path.endswith("/") or "{" in path or "*" in path:
            raise ConfigError(f"enable_inspector: path is a plain path such as {PATH!r}, not {path!r:.80}")
        self._path = path
        self._access = Access(allowed_hosts)
        self._errors = RecentErrors()
        self._host: Host

    def install(self, host: Host) -> None:
        """Wait for what the server says: whether this is debug mode is known when the application freezes."""
        self._host = host

    def show(self, features: list[str]) -> None:
        """Serve the page; for an application in debug mode, before it freezes.

        Args:
            features: The names of those that are switched on.
        """
        self._features = features
        host = self._host
        try:
            host.add_route(self._path, self._answer, name="cello_inspector")
        except RouteError as error:
            logger.warning("the page about this application is not shown: %s", error)
            return
        Runtime.install_once(host)
        self._examination = Examination(host.checks, timeout_s=CHECK_TIMEOUT_S, cache_s=1.0)

    def note(self, request: Request, error: BaseException) -> None:
        """Keep an error."""
        self._errors.note(request, error)

    async def _answer(self, request: Request) -> Response:
        if not self._access.allows(request):
            raise NotFound(f"There is nothing at {request.path:.200}.")
        facts = gather(self._host, await self._examination.outcomes(), self._errors, self._features)
        response = render(facts) if prefers_html(request.headers.get("accept") or "") else Response.json(facts)
        response.set_header("Cache-Control", "no-store")
        response.set_header("Cross-Origin-Resource-Policy", "same-origin")
        response.set_header("Referrer-Policy", "no-referrer")
        response.set_header("Vary", "Accept")
        response.set_header("X-Content-Type-Options", "nosniff")
        return response
