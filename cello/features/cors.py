"""CORS: which pages of other origins may read answers (the CORS protocol of the Fetch standard).

Rule 1: a preflight (OPTIONS with Origin and Access-Control-Request-Method) is answered here for every path, before
guards and limits: browsers send it without credentials, and without an answer nobody could read even a 404.
Rule 2: every other answer, errors included, gets its fields; whether the page may read it is the browser's decision.
Rule 3: where answers depend on the origin, all of them say so (`Vary: Origin`), also those to requests without one.

SECURITY: `*` and the origin `null` (any sandboxed frame has it) cannot be combined with credentials.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from cello.errors import ConfigError
from cello.extension import Host
from cello.http.grammar import is_token, split_list
from cello.http.headers import make_field
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.faults import problem
from cello.pipeline.middleware import CORS, Middleware
from cello.review import Deployment, Finding
from cello.routing.route import check_methods

COMMON_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ANY = "*"
NULL = "null"

_STRANGERS = (b"https://stranger.invalid", b"https://example.com.stranger.invalid")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SUBDOMAINS = r"(?:[a-z0-9-]+\.)+"
_ALLOW_ORIGIN = "access-control-allow-origin"
_VARY_ORIGIN = make_field("Vary", "Origin")


class Cors(Middleware):
    """Answers preflights and marks all other answers. For what the arguments mean see `App.enable_cors`."""

    name = "cors"
    band = CORS

    def __init__(
        self,
        origins: str | re.Pattern[str] | Sequence[str | re.Pattern[str]] | None = None,
        *,
        methods: Collection[str] | None = None,
        headers: Collection[str] | None = None,
        expose_headers: Collection[str] = (),
        credentials: bool = False,
        max_age: int | None = 600,
        private_network: bool = False,
    ) -> None:
        self._origins = Origins(origins)
        if credentials and self._origins.any:
            raise ConfigError("enable_cors: credentials need a list of origins; browsers refuse them with '*'")
        if credentials and NULL.encode() in self._origins.exact:
            raise ConfigError("enable_cors: credentials for the origin 'null' would let any sandboxed frame in")
        if max_age is not None and (type(max_age) is not int or max_age < 0):
            raise ConfigError(f"enable_cors: max_age is a number of seconds, not {max_age!r:.80}")
        exposed = _names("expose_headers", expose_headers)
        if credentials and ANY in exposed:
            raise ConfigError("enable_cors: with credentials expose_headers must name each header; '*' means nothing")
        self._methods = None if methods is None else check_methods("enable_cors", methods)
        self._headers = None if headers is None else _names("headers", headers)
        self._echoes_headers = headers is None or ANY in _names("headers", headers)
        self._with_credentials = credentials
        self._max_age = None if max_age is None else make_field("Access-Control-Max-Age", str(max_age))
        self._private_network = private_network
        # What answers to an origin that is allowed have in common, ready to be sent.
        self._fields = []
        if credentials:
            self._fields.append(make_field("Access-Control-Allow-Credentials", "true"))
        if exposed:
            self._fields.append(make_field("Access-Control-Expose-Headers", ", ".join(exposed)))
        self._any_origin = make_field("Access-Control-Allow-Origin", ANY) if self._origins.any else None
        self._host: Host | None = None

    def install(self, host: Host) -> None:
        """Stand around every route, and around what has none."""
        self._host = host
        host.add_middleware(self)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find patterns that any page's origin matches, and lists that name none."""
        if self._origins.any:
            if deployment.is_production:
                yield Finding(
                    "note",
                    "cors-any-origin",
                    "enable_cors() lets pages of every origin read answers; list origins if not "
                    "everything here is public",
                )
            return
        lets_anybody_in = any(self._origins.allow(origin) for origin in _STRANGERS)
        if lets_anybody_in and self._with_credentials:
            yield Finding(
                "error",
                "cors-credentials",
                "enable_cors: a pattern in origins matches any origin, and credentials are "
                "allowed: every page can act as whoever is signed in here. Name the origins, or write the pattern to "
                r"its end, as in re.compile(r'https://[a-z]+\.example\.com')",
            )
        if deployment.is_production and not lets_anybody_in and self._origins.allow(b"http://localhost:3000"):
            yield Finding(
                "warning",
                "cors-localhost",
                "enable_cors allows pages of localhost in production: any program on a user's machine can serve one",
            )

    def before(self, request: Request) -> Response | None:
        """Answer a preflight."""
        if request.method != "OPTIONS":
            return None
        head = request._head
        origin = head.get(b"origin")
        if origin is None or head.get(b"access-control-request-method") is None:
            return None
        if not self._origins.allow(origin):
            return problem(403, "Pages of this origin may not call this application (CORS).")
        response = Response.no_content()
        headers = response.headers
        headers["Access-Control-Allow-Methods"] = self._allowed_methods()
        asked = request.get_header("access-control-request-headers")
        if self._echoes_headers:
            names = [name for name in split_list(asked or "") if is_token(name)]
            headers.add_vary("Access-Control-Request-Headers")
        else:
            names = list(self._headers or ())
        if names:
            headers["Access-Control-Allow-Headers"] = ", ".join(names)
        if self._max_age is not None:
            headers.put(*self._max_age)
        if self._private_network and head.get(b"access-control-request-private-network") == b"true":
            headers["Access-Control-Allow-Private-Network"] = "true"
        return response

    def after(self, request: Request, response: Response) -> None:
        """Say who may read the answer."""
        headers = response.headers
        if self._any_origin is not None:
            headers.put(*self._any_origin)
        else:
            if "vary" in headers:
                headers.add_vary("Origin")
            else:
                headers.put(*_VARY_ORIGIN)
            origin = request._head.get(b"origin")
            if origin is None or not self._origins.allow(origin):
                return
            headers.put(_ALLOW_ORIGIN, (b"Access-Control-Allow-Origin", origin))
        for key, field in self._fields:
            headers.put(key, field)

    def _allowed_methods(self) -> str:
        if self._methods is None:
            routes = () if self._host is None else self._host.routes()
            own = {method for route in routes for method in route.methods}
            self._methods = (*COMMON_METHODS, *sorted(own.difference(COMMON_METHODS)))
        return ", ".join(self._methods)


class Origins:
    """The origins that are allowed.

    Args:
        listed: Origins as browsers write them, "https://*.example.com" for all subdomains, "http://localhost:*" for
            all ports, patterns that the whole origin must match, "null", or "*". None is "*".

    Attributes:
        any: Whether every origin is.
        exact: Those named in full.

    Raises:
        ConfigError: Something listed is no origin.
    """

    def __init__(self, listed: str | re.Pattern[str] | Sequence[str | re.Pattern[str]] | None) -> None:
        if isinstance(listed, str | re.Pattern):
            listed = [listed]
        if listed is not None and (not listed or not isinstance(listed, list | tuple | set | frozenset)):
            raise ConfigError(f"enable_cors: origins is a list of origins, or None for all, not {listed!r:.80}")
        self.any = listed is None or ANY in listed
        self.exact: set[bytes] = set()
        self._patterns: list[re.Pattern[str]] = []
        for origin in listed or ():
            if isinstance(origin, re.Pattern):
                if not isinstance(origin.pattern, str):
                    raise ConfigError(f"enable_cors: {origin!r:.80} must be a pattern of text")
                self._patterns.append(origin)
            elif not isinstance(origin, str):
                raise ConfigError(f"enable_cors: an origin is a str, not {origin!r:.80}")
            elif origin == NULL:
                self.exact.add(NULL.encode())
            elif origin != ANY:
                self._add(origin)

    def _add(self, origin: str) -> None:
        scheme, slashes, authority = origin.lower().partition("://")
        any_port = authority.endswith(":*")
        subdomains = authority.startswith("*.")
        name = authority.removeprefix("*.").removesuffix(":*")
        try:
            parts = urlsplit(f"//{name}")
            host, port = parts.hostname or "", parts.port
            host = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
        except ValueError:  # UnicodeError is one too
            host, port = "", None
        if not slashes or not is_token(scheme) or not host or "*" in host or parts.netloc != name or "@" in name:
            raise ConfigError(
                f"enable_cors: {origin!r:.80} is not an origin: write scheme and host, as in 'https://example.com' or "
                "'http://localhost:5173', without a path or slash at the end"
            )
        # Browsers leave out the port that the scheme implies.
        suffix = "" if port is None or port == _DEFAULT_PORTS.get(scheme) else f":{port}"
        if not subdomains and not any_port:
            self.exact.add(f"{scheme}://{host}{suffix}".encode("ascii"))
            return
        hosts = (_SUBDOMAINS if subdomains else "") + re.escape(host)
        ports = "(?::[0-9]{1,5})?" if any_port else re.escape(suffix)
        self._patterns.append(re.compile(f"{re.escape(scheme)}://{hosts}{ports}"))

    def allow(self, origin: bytes) -> bool:
        """Whether pages of `origin`, as a browser sent it, may read answers."""
        if self.any or origin in self.exact:
            return True
        if not self._patterns:
            return False
        text = origin.decode("latin-1")
        return any(pattern.fullmatch(text) for pattern in self._patterns)


def _names(field: str, names: Collection[Any]) -> tuple[str, ...]:
    """Return header names as given.

    Raises:
        ConfigError: One of them cannot be one.
    """
    if isinstance(names, str):
        raise ConfigError(f"enable_cors: {field} is a list of header names, not {names!r:.80}")
    for name in names:
        if not isinstance(name, str) or not is_token(name):
            raise ConfigError(f"enable_cors: {name!r:.80} in {field} is not a header name")
    return tuple(dict.fromkeys(names))
