"""Trusted hosts: requests for a name that is not ours are refused, and plain http is sent on to https.

SECURITY: the Host header is whatever a client writes. An application that builds links, reset mails or redirects from
it can be made to point anywhere, and a page on the internet can reach a server inside by a name that resolves to it
(DNS rebinding). Both end where unknown names are refused. Behind a proxy that is trusted to say so
(`set_trusted_proxies`), the name it reports is the one that is checked.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from cello.errors import BadRequest, ConfigError
from cello.extension import Host
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import HOSTS, Middleware
from cello.routing.route import Route

_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_ADDRESS = re.compile(r"\[[0-9a-f:.]+\]")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::([0-9]{1,5}))?")


class TrustedHosts(Middleware):
    """Refuses unknown hosts. For what the arguments mean see `App.enable_trusted_hosts`."""

    name = "trusted_hosts"
    band = HOSTS

    def __init__(
        self,
        hosts: Collection[str],
        *,
        https_redirect: bool = False,
        https_port: int | None = None,
        exclude_paths: Collection[str] = (),
    ) -> None:
        if isinstance(hosts, str) or not hosts:
            raise ConfigError(f"enable_trusted_hosts: hosts is a list of names, not {hosts!r:.80}")
        if https_port is not None and (type(https_port) is not int or not 1 <= https_port <= 65_535):
            raise ConfigError(f"enable_trusted_hosts: https_port is a port, not {https_port!r:.80}")
        if isinstance(exclude_paths, str):
            raise ConfigError(f"enable_trusted_hosts: exclude_paths is a list of paths, not {exclude_paths!r:.80}")
        patterns = [_normal(name) for name in hosts]
        self._exact = frozenset(name for name in patterns if not name.startswith("*."))
        self._suffixes = tuple(name.removeprefix("*") for name in patterns if name.startswith("*."))
        self._redirects = https_redirect
        self._port = "" if https_port in (None, 443) else f":{https_port}"
        self._excluded = tuple(path.rstrip("/") for path in exclude_paths)
        # PERF: clients of one application send few different hosts; a look-up costs 0.1 µs.
        self._name_of = lru_cache(maxsize=256)(self._parse)

    def install(self, host: Host) -> None:
        """Stand around every route, endpoints of features and mounts included, and around what has no route."""
        host.add_middleware(self)

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, such as probes that ask by address."""
        if route is None or not self._excluded:
            return True
        template = route.template
        return not any(template == path or template.startswith(f"{path}/") for path in self._excluded)

    def before(self, request: Request) -> Response | None:
        """Refuse an unknown host; redirect to https.

        Raises:
            BadRequest: The host is not one of ours.
        """
        if not request._peer.speaks_http:
            return None
        name = self._name_of(str(request.host))
        if name is None:
            raise BadRequest("This host is not served here.")
        if self._redirects and not request.is_secure():
            query = f"?{request.query_string}" if request.query_string else ""
            path = f"{request.root_path}{request.raw_path}"
            return Response.redirect(f"https://{name}{self._port}{path}{query}", 308)
        return None

    def _parse(self, host: str) -> str | None:
        """Return the name in a Host without its port, None where it is not trusted."""
        found = _HOST.fullmatch(host.lower())
        if found is None:
            return None
        name = found.group(1)
        return name if name in self._exact or name.endswith(self._suffixes) else None


def _normal(name: object) -> str:
    """Return a name or pattern in lower case, an international name in its ASCII form.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(name, str):
        text = name.lower().rstrip(".")
        try:
            text = text if text.isascii() else text.encode("idna").decode("ascii")
        except UnicodeError:
            text = ""
        if _PATTERN.fullmatch(text) or _ADDRESS.fullmatch(text):
            return text
    raise ConfigError(
        f"enable_trusted_hosts: {name!r:.80} is not a host: write 'example.com', '*.example.com' for every subdomain, "
        "'127.0.0.1' or '[::1]', without scheme, port or path"
    )
