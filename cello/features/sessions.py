"""Sessions: `request.session`, kept in a signed cookie or by the server under a name that the cookie holds.

Rule 1: nothing is sent or written for who has nothing in a session, nor for who did not look at it.
Rule 2: a name that we do not know is never taken over: what comes under it begins under a new one (fixation).
Rule 3: an answer that depends on a session says `Vary: Cookie`, and one that sets its cookie `Cache-Control: no-store`
unless the handler said something itself.
Rule 4: a session ends `max_age` seconds after it was last looked at. To spare writes that is noted once a tenth of
that time has passed, so it may end a tenth early, never late.
"""

import inspect
import logging
import os
import time
from collections.abc import Awaitable, Collection, Iterator
from functools import partial
from typing import Any, ClassVar

from cello.config import config, field
from cello.errors import ConfigError, HTTPError
from cello.extension import Host
from cello.features.open_paths import OpenPaths
from cello.features.session import Kept, Session
from cello.features.session_keepers import CookieKeeper, Keeper, StoreKeeper
from cello.features.session_stores import MemoryStore, SessionStore
from cello.features.signing import Signer, read_keys, weakness_of
from cello.http.cookies import parse_cookies, render_cookie
from cello.http.ports import HeadFields
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.colour import must_be_awaited
from cello.pipeline.middleware import SESSION, Middleware
from cello.review import Deployment, Finding
from cello.routing.route import Route

logger = logging.getLogger("cello.session")

RENEWALS = 10
"""How many times in `max_age` a session that is looked at is written anew."""


@config
class SessionConfig:
    """How browsers are remembered.

    Attributes:
        cookie_name: The cookie's name; one with the prefix `__Host-` cannot be set by other hosts.
        cookie_path: Below which path browsers send it.
        cookie_domain: For which domain and its subdomains; None: this host alone.
        cookie_secure: Browsers send it over https only (and to localhost).
        cookie_http_only: Scripts of pages cannot read it.
        cookie_same_site: "Lax", "Strict" or "None": whether pages of other sites have it sent.
        max_age: Seconds after the last look at which a session ends.
        max_sessions: How many the server keeps at most; beyond, the oldest are dropped. None are kept with the store
            "cookie".
        max_session_size: Bytes of one session; beyond, the request is 500. A cookie holds some 2,900 at most.
        auth_keys: Secrets that sign the cookie, of 16 bytes or more; the first signs, all of them are accepted. None:
            one that ends with the process.
        store: "cookie", "memory" (one process), "shared" (all workers of this machine), a Redis URL ("redis://…",
            "rediss://…", "unix://…"), or an object that is a `SessionStore`.
        shared_memory: Bytes that all sessions have together with the store "shared"; beyond, the oldest are dropped.
        absolute_max_age: Seconds after which a session ends however busy it is; None: never.
    """

    cookie_name: str = "session_id"
    cookie_path: str = "/"
    cookie_domain: str | None = None
    cookie_secure: bool = True
    cookie_http_only: bool = True
    cookie_same_site: str = field(default="Lax", one_of=("Lax", "Strict", "None", "lax", "strict", "none"))
    max_age: int = field(default=86_400, at_least=1)
    max_sessions: int = field(default=100_000, at_least=1)
    max_session_size: int = field(default=65_536, at_least=1)
    auth_keys: Any = None
    store: Any = "cookie"
    shared_memory: int = field(default=33_554_432, at_least=1_048_576)
    absolute_max_age: int | None = field(default=None, at_least=1)


class Sessions(Middleware):
    """Gives requests their session. For what the arguments mean see `App.enable_session`."""

    name: ClassVar[str] = "session"
    band = SESSION
    may_wait = True

    def __init__(self, config: SessionConfig | None = None, *, exclude_paths: Collection[str] | None = None) -> None:
        self.config = config = SessionConfig() if config is None else config
        if not isinstance(config, SessionConfig):
            raise ConfigError(f"enable_session takes a SessionConfig, not {config!r:.80}")
        self._excluded = OpenPaths("enable_session: exclude_paths", exclude_paths)
        self._cookie: dict[str, Any] = {
            "path": config.cookie_path,
            "domain": config.cookie_domain,
            "secure": config.cookie_secure,
            "httponly": config.cookie_http_only,
            "samesite": config.cookie_same_site,
        }
        _check_cookie(config)
        keys = read_keys("SessionConfig.auth_keys", config.auth_keys)
        self.store = make_store(config)
        self._keeper: Keeper
        if self.store is None:
            self._keeper = CookieKeeper(Signer(keys, "session"))
        else:
            # A name of 256 random bits needs no signature; with keys, made-up ones do not reach the store.
            signer = None if config.auth_keys is None else Signer(keys, "session name")
            self._keeper = StoreKeeper(self.store, signer)
        if self.store is not None and must_be_awaited(self.store.load):
            self.before = self._before_async  # type: ignore[method-assign]  # of the other colour
        if self.store is not None and must_be_awaited(self.store.save):
            self.after = self._after_async  # type: ignore[method-assign]  # of the other colour
        self._name = config.cookie_name.encode()
        self._renew_after_s = config.max_age // RENEWALS
        self._pid = os.getpid()
        self._has_warned = False

    def install(self, host: Host) -> None:
        """Stand around every route, and around what has none."""
        self._app = host.app
        host.add_middleware(self)
        host.on_start(self._warn)
        claim = getattr(self.store, "install", None)
        if callable(claim):
            claim(host)
        for register, name in ((host.on_start, "start"), (host.on_stop, "stop")):
            hook = getattr(self.store, name, None)
            if callable(hook):
                register(hook)
        check = getattr(self.store, "check", None)
        if callable(check):
            host.add_check("sessions", check)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find cookies that travel in the clear, sessions that other workers do not have, and secrets to guess."""
        config = self.config
        if deployment.is_production and not config.cookie_secure:
            yield Finding(
                "error",
                "session-cookie",
                "SessionConfig.cookie_secure is False in production: browsers send the session "
                "over http too, where it can be read and used. Leave it True",
            )
        if config.cookie_same_site.lower() == "none" and self._app.feature("csrf") is None:
            yield Finding(
                "error",
                "session-csrf",
                "SessionConfig.cookie_same_site is 'None' and enable_csrf() is not called: every "
                "page can make requests as whoever is signed in here",
            )
        processes = deployment.workers * deployment.machines
        if config.store == "memory" and processes > 1:
            yield Finding(
                "error",
                "session-store",
                f"SessionConfig.store is 'memory', and there are {processes} processes: each has "
                "sessions of its own. Use 'cookie', 'shared' (one machine) or a Redis URL",
            )
        elif config.store == "shared" and deployment.machines > 1:
            yield Finding(
                "error",
                "session-store",
                f"SessionConfig.store is 'shared', and there are {deployment.machines} machines: "
                "each has sessions of its own. Use 'cookie' or a Redis URL",
            )
        if config.auth_keys is None and config.store == "cookie" and deployment.is_production:
            yield Finding(
                "error",
                "session-keys",
                "SessionConfig.auth_keys is not set: a restart, and each machine, has another "
                "secret, and signs everybody out. Make one by secrets.token_urlsafe(32) and read it from the "
                "environment",
            )
        listed = config.auth_keys if isinstance(config.auth_keys, list | tuple) else [config.auth_keys]
        for number, key in enumerate(listed, start=1):
            if key is not None and (weak := weakness_of(key)):
                yield Finding(
                    "error" if deployment.is_production else "warning",
                    "weak-secret",
                    f"SessionConfig.auth_keys: secret {number} can be guessed: {weak}. Use secrets.token_urlsafe(32)",
                )

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, at no cost to it."""
        return not self._excluded.covers(route)

    def before(self, request: Request) -> Awaitable[None] | None:
        """Put a session into the request; nothing is read before somebody looks, unless reading may take waiting."""
        head = request._head
        sent = head.get(b"cookie")
        if sent is None or self._name not in sent:
            request.session = Session(_nothing)
            return None
        keeper = self._keeper
        if keeper.is_quick:
            # PERF: cookies are parsed for who looks, and the request is not held by what it holds.
            request.session = Session(partial(self._find, head))
            return None
        value = request.cookies.get(self.config.cookie_name, "")
        try:
            packed = keeper.fetch(value)
        except HTTPError as error:
            request.session = Session(_nothing, error)
            return None
        if inspect.isawaitable(packed):
            return self._fetch(request, packed)
        request.session = Session(lambda: self._valid(packed))
        return None

    async def _before_async(self, request: Request) -> None:
        pending = Sessions.before(self, request)
        if pending is not None:
            await pending

    async def _after_async(self, request: Request, response: Response) -> None:
        pending = Sessions.after(self, request, response)
        if pending is not None:
            await pending

    async def _fetch(self, request: Request, pending: Awaitable[bytes | None]) -> None:
        try:
            packed = await pending
        except HTTPError as error:
            # Only who looks at a session has to do without: the rest of the application goes on.
            request.session = Session(_nothing, error)
        else:
            request.session = Session(lambda: self._valid(packed))

    def _find(self, head: HeadFields) -> Kept | None:
        value = parse_cookies(head.get_all(b"cookie")).get(self.config.cookie_name)
        return self._valid(self._keeper.fetch(value)) if value else None

    def _valid(self, packed: Any) -> Kept | None:
        """Return a session that has not ended."""
        kept = None if packed is None else Kept.unpack(packed)
        if kept is None:
            return None
        now_s = time.time()
        longest_s = self.config.absolute_max_age
        if now_s >= kept.renewed_s + self.config.max_age or (
            longest_s is not None and now_s >= kept.created_s + longest_s
        ):
            return None
        return kept

    def after(self, request: Request, response: Response) -> Awaitable[None] | None:
        """Keep what the session has become, and tell the browser.

        Raises:
            ValueError: It has become too large.
            TypeError: Something in it has no JSON form.
        """
        session = request._remember().get("session")
        if not isinstance(session, Session) or not session.accessed:
            return None
        response.headers.add_vary("Cookie")
        kept = session.kept
        if not session:
            if kept is None:
                return None
            self._set_cookie(request, response, "", 0)
            ended = self._keeper.end(kept.id)
            return ended if inspect.isawaitable(ended) else None
        now_s = int(time.time())
        data = session.encoded()
        is_same = kept is not None and kept.id == session.id
        if kept is not None and is_same and data == kept.data and now_s < kept.renewed_s + self._renew_after_s:
            return None
        created_s = kept.created_s if kept is not None and is_same else now_s
        packed = Kept(session.id, created_s, now_s, data).pack()
        if len(packed) > self.config.max_session_size:
            raise ValueError(
                f"request.session has {len(packed)} bytes, more than the {self.config.max_session_size} of "
                "SessionConfig.max_session_size: keep less in it"
            )
        old = None if kept is None or is_same else kept.id
        value = self._keeper.write(session.id, packed, self.config.max_age, is_new=not is_same, old=old)
        if inspect.isawaitable(value):
            return self._finish(request, response, value)
        self._tell(request, response, value)
        return None

    async def _finish(self, request: Request, response: Response, pending: Awaitable[str | None]) -> None:
        self._tell(request, response, await pending)

    def _tell(self, request: Request, response: Response, value: Any) -> None:
        if value is None:
            logger.info("a session ended while a request of its browser was answered: its changes are dropped")
            return
        try:
            self._set_cookie(request, response, value, self.config.max_age)
        except ValueError as error:
            raise ValueError(
                f"request.session does not fit into its cookie: keep less in it, or choose another SessionConfig.store "
                f"({error})"
            ) from None

    def _set_cookie(self, request: Request, response: Response, value: str, max_age_s: int) -> None:
        config = self.config
        response.set_cookie(config.cookie_name, value, max_age=max_age_s, **self._cookie)
        if "cache-control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        if config.cookie_secure and not self._has_warned and not request.is_secure():
            self._has_warned = True
            logger.warning(
                "the session cookie is for https, and %s came by http: browsers drop it, except on localhost. Behind a "
                "proxy that ends TLS call set_trusted_proxies(); to develop without https, cookie_secure=False",
                request.host or "a request",
            )

    def _warn(self) -> None:
        """Say at the start of a worker what may surprise later."""
        config = self.config
        level = logging.WARNING if getattr(self._app, "env", "") == "production" else logging.INFO
        if self.store is None and config.auth_keys is None:
            logger.log(level, "sessions end with this process: SessionConfig.auth_keys is not set")
        if isinstance(self.store, MemoryStore) and os.getpid() != self._pid:
            logger.warning("sessions are in the memory of one worker, which others do not see: choose another store")


def _check_cookie(config: SessionConfig) -> None:
    """Check that browsers will keep the cookie.

    Raises:
        ConfigError: They would not; names the field.
    """
    steps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("cookie_name", {"secure": config.cookie_secure, "domain": config.cookie_domain, "path": config.cookie_path}),
        ("cookie_same_site", {"secure": config.cookie_secure, "samesite": config.cookie_same_site}),
        ("cookie_path", {"path": config.cookie_path}),
        ("cookie_domain", {"domain": config.cookie_domain}),
    )
    # The last ones first: what is wrong by itself is named before what is wrong in company.
    for name, attributes in reversed(steps):
        try:
            render_cookie(config.cookie_name if name == "cookie_name" else "name", "", **attributes)
        except ValueError as error:
            raise ConfigError(f"SessionConfig.{name}: {error}") from None


def _nothing() -> None:
    return None


def make_store(config: SessionConfig) -> SessionStore | None:
    """Return where sessions are kept, None for their cookies.

    Raises:
        ConfigError: It cannot be one.
        MissingDependency: It needs a package that is not installed.
    """
    store = config.store
    if store == "cookie":
        return None
    if store == "memory":
        return MemoryStore(config.max_sessions)
    if store == "shared":
        from cello.features.session_shared import SharedStore

        return SharedStore(config.max_sessions, config.shared_memory, config.cookie_name)
    if isinstance(store, str) and store.partition("://")[0] in ("redis", "rediss", "unix"):
        from cello.features.session_redis import RedisStore

        return RedisStore(store, config.max_sessions, config.cookie_name)
    if isinstance(store, SessionStore) and not isinstance(store, type):
        return store
    raise ConfigError(
        "SessionConfig.store is 'cookie', 'memory', 'shared', a URL such as 'redis://127.0.0.1:6379', or an object "
        f"with load, save and delete, not {_shown(store)}"
    )


def _shown(store: object) -> str:
    """Return a wrong store for a message. SECURITY: a URL may hold a password."""
    if not isinstance(store, str):
        return f"a {type(store).__name__}"
    scheme, slashes, _ = store.partition("://")
    return repr(f"{scheme}://…" if slashes else store)[:40]
