"""CSRF: a page of another site must not act in the name of whoever looks at it.

Rule 1: a request that changes something (any method but GET, HEAD, OPTIONS, TRACE) must come from a page of this site
or a trusted one, as the browser says (`Sec-Fetch-Site`, `Origin`, `Referer`), *and* carry the token that only such a
page can know: in a header, or in a form's field.
Rule 2: the token is a signed double submit: a random number in a cookie, with an HMAC of it and of the session's name.
So what another host of the domain plants in the browser, or what belonged to another session, is worth nothing.
Rule 3: a page gets the token under a new mask each time, so that compressed answers do not give it away (BREACH).
Rule 4: who signed in by a header that browsers do not add on their own (a token, a key) was not tricked, and passes.
"""

import hmac
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cello.errors import ConfigError, Forbidden
from cello.extension import Host
from cello.features.identification import PROVEN
from cello.features.open_paths import OpenPaths
from cello.features.signing import Signer, decode, encode, read_keys, weakness_of
from cello.http.cookies import render_cookie
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import FORGERY, Middleware
from cello.review import Deployment, Finding
from cello.routing.route import Route

logger = logging.getLogger("cello.csrf")

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
NONCE_BYTES = 16
TOKEN_BYTES = NONCE_BYTES + 32
ELSEWHERE = "This request does not come from a page of this site (CSRF)."
MISSING = "The CSRF token is missing."
INVALID = "The CSRF token is not valid; load the page again."

_ASKED = "csrf token"
_REFUSED = "csrf refused"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Csrf(Middleware):
    """Refuses forged requests. For what the arguments mean see `App.enable_csrf`."""

    name: ClassVar[str] = "csrf"
    band = FORGERY

    def __init__(
        self,
        secret: Any = None,
        *,
        cookie_name: str = "csrf_token",
        header: str = "X-CSRF-Token",
        field: str = "csrf_token",
        trusted_origins: Collection[str] = (),
        exempt_paths: Collection[str] | None = None,
        cookie_path: str = "/",
        cookie_domain: str | None = None,
        cookie_secure: bool = True,
        cookie_same_site: str = "Lax",
    ) -> None:
        self._signer = Signer(read_keys("enable_csrf: secret", secret), "csrf")
        self._has_secret = secret is not None
        self._weak = next((weak for key in _listed(secret) if (weak := weakness_of(key))), None)
        if not _is_text(header) or not is_token(header):
            raise ConfigError(f"enable_csrf: header {header!r:.80} is not a header name")
        if not _is_text(field) or not field:
            raise ConfigError(f"enable_csrf: field {field!r:.80} is not the name of a form's field")
        self._cookie_name = cookie_name
        self._cookie: dict[str, Any] = {
            "path": cookie_path,
            "domain": cookie_domain,
            "secure": cookie_secure,
            "samesite": cookie_same_site,
        }
        try:
            render_cookie(cookie_name, "", **self._cookie)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"enable_csrf: cookie_…: {error}") from None
        self._in_cookies = cookie_name.encode()
        self._header = header.lower().encode("ascii")
        self._field = field
        self._trusted = _origins(trusted_origins)
        self._exempt = OpenPaths("enable_csrf: exempt_paths", exempt_paths)

    def install(self, host: Host) -> None:
        """Stand around every route, inside of sessions and identification."""
        host.provide("csrf_token", csrf_token)  # for templates
        self._app = host.app
        host.add_middleware(self)
        host.on_start(self._warn)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find secrets that do not last or can be guessed, and a cookie that travels in the clear."""
        if not deployment.is_production:
            return
        if not self._has_secret:
            yield Finding(
                "error",
                "csrf-secret",
                "enable_csrf(secret=…) is not set: a restart, and each machine, has another one, "
                "and forms that are open are refused. Make one by secrets.token_urlsafe(32)",
            )
        if self._weak:
            yield Finding(
                "error",
                "weak-secret",
                f"enable_csrf: the secret can be guessed: {self._weak}. Use secrets.token_urlsafe(32)",
            )
        if not self._cookie["secure"]:
            yield Finding("error", "csrf-cookie", "enable_csrf(cookie_secure=False) in production: leave it True")

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what has no handler to trick; WebSockets look at the Origin themselves."""
        return route is not None and route.socket is None

    def before(self, request: Request) -> None:
        """Refuse what is forged.

        Raises:
            Forbidden: It comes from elsewhere, or without the token.
        """
        if request.method in SAFE or self._exempt.covers(request.route) or not request._peer.speaks_http:
            return
        memo = request._remember()
        if PROVEN in memo:
            return
        problem = self._problem(request)
        if problem is not None:
            memo[_REFUSED] = True
            raise Forbidden(problem)

    def after(self, request: Request, response: Response) -> None:
        """Give the browser the cookie that belongs to its session."""
        memo = request._remember()
        asked: bytes | None = memo.get(_ASKED)
        headers = response.headers
        session = memo.get("session")
        if getattr(session, "failure", None) is not None:
            return
        if asked is None:
            has_cookie = self._in_cookies in (request._head.get(b"cookie") or b"")
            may_be_stale = has_cookie and (_REFUSED in memo or getattr(session, "accessed", False))
            is_page = not has_cookie and response.status != 304 and _is_page(response)
            if not may_be_stale and not is_page:
                return
        else:
            headers.add_vary("Cookie")
        name = _session_of(request)
        kept = self._kept(request, name)
        if asked is not None and asked != kept and self._is_ours(asked, name):
            kept = asked
        elif kept is not None:
            if asked is not None:
                _not_stored(response)
            return
        token = kept or self._make(name)
        response.set_cookie(self._cookie_name, encode(token).decode(), **self._cookie)
        _not_stored(response)

    def token(self, request: Request) -> str:
        """Return what a form or a script of the page must send along; another text each time."""
        memo = request._remember()
        name = _session_of(request)
        asked: bytes | None = memo.get(_ASKED)
        if asked is None or not self._is_ours(asked, name):
            asked = memo[_ASKED] = self._kept(request, name) or self._make(name)
        mask = os.urandom(TOKEN_BYTES)
        return encode(mask + _xor(mask, asked)).decode()

    def _problem(self, request: Request) -> str | None:
        """Return what is wrong with a request, None where nothing is."""
        if not self._is_from_here(request):
            return ELSEWHERE
        kept = self._kept(request, _session_of(request))
        sent = request._head.get(self._header)
        if sent is None:
            sent = self._in_form(request)
        if sent is None:
            return MISSING
        given = _unmasked(sent)
        if kept is None or given is None or not hmac.compare_digest(given, kept):
            return INVALID
        return None

    def _in_form(self, request: Request) -> bytes | None:
        if request._source is not None or not (request.is_form() or request.is_multipart()):
            return None
        value = request.form().get(self._field)
        return value.encode("utf-8", "replace") if isinstance(value, str) else None

    def _is_from_here(self, request: Request) -> bool:
        """Return whether the browser says that a page of this site, or a trusted one, made the request."""
        head = request._head
        site = head.get(b"sec-fetch-site")
        if site == b"same-origin":
            return True
        sent = head.get(b"origin")
        if sent is None and site is None:
            sent = head.get(b"referer")
        if sent is None:
            return site is None or site == b"none"
        parts = urlsplit(sent.decode("latin-1"))
        try:
            origin = parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # a port that is none
            return False
        if origin in self._trusted:
            return True
        # SECURITY: a page that came by http may have been written by whoever stands between.
        if parts.scheme not in _DEFAULT_PORTS or (parts.scheme == "http" and request.is_secure()):
            return False
        own = urlsplit(f"{parts.scheme}://{request.host}")
        try:
            return origin[1:] == (own.hostname, own.port or _DEFAULT_PORTS[parts.scheme])
        except ValueError:
            return False

    def _kept(self, request: Request, name: bytes) -> bytes | None:
        """Return the token in the request's cookie, if we made it for this session."""
        text = request.cookies.get(self._cookie_name)
        token = None if text is None else decode(text.encode("utf-8", "replace"))
        return token if token is not None and self._is_ours(token, name) else None

    def _is_ours(self, token: bytes, name: bytes) -> bool:
        nonce = token[:NONCE_BYTES]
        return len(token) == TOKEN_BYTES and self._signer.holds(nonce + name, token[NONCE_BYTES:])

    def _make(self, name: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._signer.mac(nonce + name)

    def _warn(self) -> None:
        if not self._has_secret:
            level = logging.WARNING if getattr(self._app, "env", "") == "production" else logging.INFO
            logger.log(level, "CSRF tokens end with this process: enable_csrf(secret=…) is not set")


def _listed(secret: Any) -> Sequence[str | bytes]:
    return () if secret is None else secret if isinstance(secret, list | tuple) else (secret,)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def csrf_token(request: Request) -> str:
    """Return what a form of the page must send along, as the hidden field `csrf_token` or the header `X-CSRF-Token`.

    Raises:
        ConfigError: CSRF protection is not switched on.
    """
    feature = None if request.app is None else request.app.feature(Csrf.name)
    if not isinstance(feature, Csrf):
        raise ConfigError("csrf_token(request) needs app.enable_csrf(...)")
    return feature.token(request)


def _session_of(request: Request) -> bytes:
    """Return the name of the session that there will be after this request, b"" for none."""
    session = request._remember().get("session")
    return session.id.encode() if session else b""


def _unmasked(sent: bytes) -> bytes | None:
    """Return the token in what was sent: as the cookie holds it, or under a mask."""
    data = decode(sent)
    if data is None or len(data) not in (TOKEN_BYTES, 2 * TOKEN_BYTES):
        return None
    return data if len(data) == TOKEN_BYTES else _xor(data[:TOKEN_BYTES], data[TOKEN_BYTES:])


def _xor(mask: bytes, data: bytes) -> bytes:
    return (int.from_bytes(mask) ^ int.from_bytes(data)).to_bytes(TOKEN_BYTES)


def _is_page(response: Response) -> bool:
    """Return whether an answer is a page for one person: HTML about whose storing nothing was said."""
    if "cache-control" in response.headers:
        return False
    return (response.content_type() or "").startswith("text/html")


def _not_stored(response: Response) -> None:
    if "cache-control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"


def _origins(listed: Collection[str]) -> frozenset[tuple[str, str | None, int | None]]:
    """Return origins in parts.

    Raises:
        ConfigError: Something is none.
    """
    if isinstance(listed, str):
        raise ConfigError(f"enable_csrf: trusted_origins is a list of origins, not {listed!r:.80}")
    found = set()
    for origin in listed:
        try:
            parts = urlsplit(str(origin))
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
            raise ConfigError(
                f"enable_csrf: {origin!r:.80} in trusted_origins is not an origin, such as 'https://example.com'"
            )
        found.add((parts.scheme, parts.hostname, port))
    return frozenset(found)
