"""Security headers: what browsers are told not to do with our answers (the OWASP secure headers project's list).

Rule 1: every answer has them, errors and refusals included; a header that a handler set is left as it is.
Rule 2: Strict-Transport-Security goes out over https only (RFC 6797 §7.2).
Rule 3: where the policy has a nonce, every request has a new one, unguessable, in `request.context["csp_nonce"]`.
"""

import os
from base64 import b64encode

from cello.config import config, field
from cello.errors import ConfigError
from cello.extension import Host
from cello.features.csp import CSP, NONCE_PLACE
from cello.http.headers import make_field
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import HARDEN, Middleware

ONE_YEAR_S = 31_536_000
NONCE_BYTES = 16


@config
class SecurityHeadersConfig:
    """Which headers are sent; None (or False) leaves one out.

    Attributes:
        x_frame_options: Who may show pages in a frame: "DENY" or "SAMEORIGIN".
        x_content_type_options: `nosniff`: a file is what its Content-Type says.
        x_xss_protection: For browsers of long ago; "0" is the advice of today.
        referrer_policy: What other sites learn about where their visitors come from.
        hsts_max_age: Seconds that a browser uses only https for this host; sent over https only.
        hsts_include_subdomains: For its subdomains too.
        hsts_preload: Ask to be in the list that browsers ship; needs a year at least, and subdomains.
        csp: The content security policy: a `CSP`, or its text.
        csp_report_only: Report what the policy forbids, and allow it.
        permissions_policy: Which of a browser's powers pages may use, such as "camera=(), geolocation=(self)".
        coep: Cross-Origin-Embedder-Policy.
        coop: Cross-Origin-Opener-Policy.
        corp: Cross-Origin-Resource-Policy.
    """

    x_frame_options: str | None = field(default="DENY", one_of=("DENY", "SAMEORIGIN"))
    x_content_type_options: bool = True
    x_xss_protection: str | None = "1; mode=block"
    referrer_policy: str | None = "strict-origin-when-cross-origin"
    hsts_max_age: int | None = field(default=None, at_least=0)
    hsts_include_subdomains: bool = False
    hsts_preload: bool = False
    csp: str | CSP | None = None
    csp_report_only: bool = False
    permissions_policy: str | None = None
    coep: str | None = field(default=None, one_of=("unsafe-none", "require-corp", "credentialless"))
    coop: str | None = field(
        default=None, one_of=("unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups")
    )
    corp: str | None = field(default=None, one_of=("same-site", "same-origin", "cross-origin"))

    @classmethod
    def secure(cls) -> "SecurityHeadersConfig":
        """Return the strictest that a site which loads only its own files can have."""
        own = CSP().default_src(["self"]).object_src([]).base_uri(["self"]).form_action(["self"]).frame_ancestors([])
        return cls(
            x_xss_protection="0",
            referrer_policy="no-referrer",
            hsts_max_age=2 * ONE_YEAR_S,
            hsts_include_subdomains=True,
            csp=own,
            permissions_policy="camera=(), microphone=(), geolocation=(), payment=(), usb=()",
            coep="require-corp",
            coop="same-origin",
            corp="same-origin",
        )


class SecurityHeaders(Middleware):
    """Adds the headers. For what they are see `SecurityHeadersConfig`."""

    name = "security_headers"
    band = HARDEN

    def __init__(self, settings: SecurityHeadersConfig | None = None) -> None:
        settings = SecurityHeadersConfig() if settings is None else settings
        if not isinstance(settings, SecurityHeadersConfig):
            raise ConfigError(f"enable_security_headers() takes a SecurityHeadersConfig, not {settings!r:.80}")
        name, policy = _policy_of(settings)
        self._policy_key = name.lower()
        self._policy_name = name.encode("ascii")
        self._policy = policy.encode("ascii").split(NONCE_PLACE.encode()) if NONCE_PLACE in policy else None
        fields = {
            "X-Frame-Options": settings.x_frame_options,
            "X-Content-Type-Options": "nosniff" if settings.x_content_type_options else None,
            "X-XSS-Protection": settings.x_xss_protection,
            "Referrer-Policy": settings.referrer_policy,
            name: policy if self._policy is None else None,
            "Permissions-Policy": settings.permissions_policy,
            "Cross-Origin-Embedder-Policy": settings.coep,
            "Cross-Origin-Opener-Policy": settings.coop,
            "Cross-Origin-Resource-Policy": settings.corp,
        }
        try:
            self._fields = [make_field(name, value) for name, value in fields.items() if value]
        except ValueError as error:
            raise ConfigError(f"enable_security_headers: {error}") from None
        transport = _transport_of(settings)
        self._secure_fields = self._fields if transport is None else [*self._fields, transport]

    def install(self, host: Host) -> None:
        """Stand around everything."""
        host.add_middleware(self if self._policy is None else WithNonce(self))

    def after(self, request: Request, response: Response) -> None:
        """Add what the handler has not set."""
        response.headers.put_missing(self._secure_fields if request.scheme == "https" else self._fields)

    def policy_for(self, nonce: str) -> tuple[str, tuple[bytes, bytes]]:
        """Return the field of the policy, with the nonce in it."""
        return self._policy_key, (self._policy_name, nonce.encode("ascii").join(self._policy or ()))


class WithNonce(Middleware):
    """The same, for a policy with a nonce; only that needs a hook on the way in."""

    band = HARDEN
    title = "SecurityHeaders with a nonce"

    def __init__(self, headers: SecurityHeaders) -> None:
        self._headers = headers

    def before(self, request: Request) -> None:
        """Make the nonce."""
        request.context["csp_nonce"] = b64encode(os.urandom(NONCE_BYTES)).decode("ascii")

    def after(self, request: Request, response: Response) -> None:
        """Add what the handler has not set."""
        nonce = request.context.get("csp_nonce", "")
        response.headers.put_missing([self._headers.policy_for(nonce)])
        self._headers.after(request, response)


def _policy_of(settings: SecurityHeadersConfig) -> tuple[str, str]:
    """Return the name and the value of the policy's header; the value is "" where there is none."""
    csp = settings.csp
    name = "Content-Security-Policy-Report-Only" if settings.csp_report_only else "Content-Security-Policy"
    if csp is None:
        return name, ""
    policy = csp.build() if isinstance(csp, CSP) else csp
    if type(policy) is not str or not policy.isascii() or not policy:
        raise ConfigError(f"SecurityHeadersConfig.csp must be a CSP or its text in ASCII, not {csp!r:.80}")
    return name, policy


def _transport_of(settings: SecurityHeadersConfig) -> tuple[str, tuple[bytes, bytes]] | None:
    age = settings.hsts_max_age
    if settings.hsts_preload and (age is None or age < ONE_YEAR_S or not settings.hsts_include_subdomains):
        raise ConfigError(
            f"SecurityHeadersConfig.hsts_preload needs hsts_max_age of at least {ONE_YEAR_S} and "
            "hsts_include_subdomains: browsers' lists take nothing less"
        )
    if age is None:
        if settings.hsts_include_subdomains:
            raise ConfigError("SecurityHeadersConfig.hsts_include_subdomains needs hsts_max_age")
        return None
    parts = [f"max-age={age}"]
    if settings.hsts_include_subdomains:
        parts.append("includeSubDomains")
    if settings.hsts_preload:
        parts.append("preload")
    return make_field("Strict-Transport-Security", "; ".join(parts))
