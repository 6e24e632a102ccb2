"""Who asks, and what browsers may do with the answer: sessions, CSRF, tokens, passwords, keys, headers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cello.enable.base import Base

if TYPE_CHECKING:
    from cello.features.jwt import JwtConfig
    from cello.features.security_headers import SecurityHeadersConfig
    from cello.features.sessions import SessionConfig


class Security(Base):
    """Who asks, and what browsers may do with the answer: sessions, CSRF, tokens, passwords, keys, headers."""

    def enable_session(
        self, config: "SessionConfig | None" = None, *, exclude_paths: Collection[str] | None = None
    ) -> None:
        """Remember browsers: `request.session`, a dictionary that is still there in their next request.

        Args:
            config: Where sessions are kept, for how long, and what their cookie is like.
            exclude_paths: Where requests have no session, and below.

        Raises:
            ConfigError: Settings contradict each other.
            MissingDependency: The store needs a package that is not installed.
        """
        from cello.features.sessions import Sessions

        self._host.install(Sessions(config, exclude_paths=exclude_paths))

    def enable_csrf(
        self,
        secret: "str | bytes | Sequence[str | bytes] | None" = None,
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
        """Refuse requests that a page of another site had a browser make; `csrf_token(request)` is what own pages send.

        Args:
            secret: Signs tokens, of 16 bytes or more; a list for rotation, the first signs. None: one that ends with
                the process.
            cookie_name: Where the browser keeps its token; scripts of pages may read it.
            header: Where scripts send it.
            field: Where forms send it.
            trusted_origins: Other origins whose pages may make requests, such as "https://admin.example.com".
            exempt_paths: Where nothing is checked, and below, such as the webhooks of others.
            cookie_path: Below which path browsers send the cookie.
            cookie_domain: For which domain and its subdomains; None: this host alone.
            cookie_secure: Over https only (and to localhost).
            cookie_same_site: "Lax", "Strict" or "None".

        Raises:
            ConfigError: An argument is of the wrong kind.
        """
        from cello.features.csrf import Csrf

        self._host.install(
            Csrf(
                secret,
                cookie_name=cookie_name,
                header=header,
                field=field,
                trusted_origins=trusted_origins,
                exempt_paths=exempt_paths,
                cookie_path=cookie_path,
                cookie_domain=cookie_domain,
                cookie_secure=cookie_secure,
                cookie_same_site=cookie_same_site,
            )
        )

    def enable_jwt(self, config: "JwtConfig", skip_paths: Collection[str] | None = None) -> None:
        """Have users sign in by a JSON Web Token; others are 401. Its claims are the user that guards see.

        Args:
            config: Which tokens are believed.
            skip_paths: Where nobody has to sign in this way, and below; "/" is the root alone.

        Raises:
            ConfigError: Settings contradict each other, or a key is none for its algorithm.
            MissingDependency: joserfc is not installed.
        """
        from cello.features.jwt import Jwt

        self._host.install(Jwt(config, skip_paths=skip_paths))

    def enable_basic_auth(
        self,
        credentials: Mapping[str, str] | Callable[[str, str], Any],
        realm: str = "Restricted",
        *,
        skip_paths: Collection[str] | None = None,
    ) -> None:
        """Have users sign in by name and password (HTTP Basic); others are 401. Use it over https only.

        Args:
            credentials: Name → password or argon2 hash; or a function of name and password, `def` or `async def`, that
                returns the user, True, or None.
            realm: What the browser shows beside its question.
            skip_paths: Where nobody has to sign in this way, and below; "/" is the root alone.

        Raises:
            ConfigError: An argument is of the wrong kind.
            MissingDependency: There are hashes, and argon2-cffi is not installed.
        """
        from cello.features.basic_auth import BasicAuth

        self._host.install(BasicAuth(credentials, realm, skip_paths=skip_paths))

    def enable_api_key(
        self,
        keys: Collection[str] | Mapping[str, Any] | Callable[[str], Any],
        header: str = "X-API-Key",
        *,
        skip_paths: Collection[str] | None = None,
    ) -> None:
        """Have programs sign in by a key in a header; others are 401.

        Args:
            keys: The keys; or key → user, or the user's name; or a function of a key, `def` or `async def`, that
                returns the user, True, or None.
            header: Where the key is.
            skip_paths: Where nobody has to sign in this way, and below; "/" is the root alone.

        Raises:
            ConfigError: An argument is of the wrong kind.
        """
        from cello.features.api_key import ApiKey

        self._host.install(ApiKey(keys, header, skip_paths=skip_paths))

    def enable_security_headers(self, config: "SecurityHeadersConfig | None" = None) -> None:
        """Send the headers that keep browsers from doing harm; handlers may set their own instead.

        Args:
            config: Which ones; `SecurityHeadersConfig.secure()` for all of them, strictly.

        Raises:
            ConfigError: Two settings contradict each other.
        """
        from cello.features.security_headers import SecurityHeaders

        self._host.install(SecurityHeaders(config))
