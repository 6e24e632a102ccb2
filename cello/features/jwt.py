"""JSON Web Tokens: whoever carries one that was signed for us is who it says (RFC 7519, RFC 8725, RFC 6750).

Rule 1: only the algorithms that were configured are accepted, never `none`, and each only with keys of its kind; the
token's own word on that counts for nothing.
Rule 2: `exp` must be there (`require=[]` does without); `exp` and `nbf` are judged with `leeway`; `iss` and `aud` must
be as configured, and a token for an audience is for nobody else.
Rule 3: the claims are `request.context["jwt_claims"]` and, for guards, `request.context["user"]`.
"""

import asyncio
import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from cello.config import config, field
from cello.errors import ConfigError, HTTPError, MissingDependency, ServiceUnavailable, Unauthorized
from cello.extension import Host
from cello.features.identification import Identification, Outcome, sign_in
from cello.features.jwt_keys import FetchedKeys, KeySet, check_source, given_keys
from cello.features.open_paths import OpenPaths
from cello.features.signing import decode, encode, weakness_of
from cello.http import json_codec
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.pipeline.threads import is_on_loop
from cello.review import Deployment, Finding

logger = logging.getLogger("cello.jwt")

ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519", "Ed448",
)  # fmt: skip
MOST_BYTES = 16_384
MOST_KEYS = 8
"""How many keys a token without a key's name is tried with."""


@config
class JwtConfig:
    """Which tokens are believed.

    Attributes:
        secret: For HS…: the secret; for the others: the public key in PEM. A list accepts each, for rotation.
        algorithm: "HS256" and the like, or a list of them.
        header_name: Where the token is; in `Authorization` behind "Bearer".
        cookie_name: Where it may be too, when the header is not there.
        leeway: Seconds by which clocks may differ.
        issuer: What `iss` must be; None accepts any.
        audience: What `aud` must name, or a list of which it must name one; None: tokens must have no `aud`.
        jwks: A JSON Web Key Set instead of `secret`: its URL, or the path of a file.
        jwks_cache_secs: Seconds that a key set is good; then it is fetched again, in the background.
        jwks_timeout_secs: Seconds that fetching it may take.
        require: Claims that must be there.
    """

    secret: Any = None
    algorithm: Any = "HS256"
    header_name: str = "Authorization"
    cookie_name: str | None = None
    leeway: float = field(default=0, at_least=0)
    issuer: str | None = None
    audience: Any = None
    jwks: str | None = None
    jwks_cache_secs: float = field(default=300, above=0)
    jwks_timeout_secs: float = field(default=5, above=0)
    require: Any = ("exp",)


class Jwt:
    """Identifies users by their tokens. For what the arguments mean see `App.enable_jwt`."""

    name: ClassVar[str] = "jwt"
    challenge = "Bearer"
    is_async = False

    def __init__(self, config: JwtConfig, *, skip_paths: Collection[str] | None = None) -> None:
        if not isinstance(config, JwtConfig):
            raise ConfigError(f"enable_jwt takes a JwtConfig, not a {type(config).__name__}")
        self.config = config
        self.open_paths = OpenPaths("enable_jwt: skip_paths", skip_paths)
        self._models, self._unusable = _load_models(config)
        self._audiences = frozenset(_texts("audience", config.audience)) if config.audience is not None else None
        self._required = tuple(_texts("require", config.require)) if config.require else ()
        if not is_token(config.header_name):
            raise ConfigError(f"JwtConfig.header_name {config.header_name!r:.80} is not a header name")
        if config.cookie_name is not None and not is_token(config.cookie_name):
            raise ConfigError(f"JwtConfig.cookie_name {config.cookie_name!r:.80} is not a cookie name")
        self._header = config.header_name.lower().encode("ascii")
        self._is_bearer = self._header == b"authorization"
        self._given: KeySet | None = None
        self._fetched: FetchedKeys | None = None
        if config.jwks is None:
            self._given = given_keys(_secrets(config), list(self._models))
        elif config.secret is not None:
            raise ConfigError("JwtConfig.secret and JwtConfig.jwks exclude each other")
        else:
            if any(name.startswith("HS") for name in self._models):
                raise ConfigError(
                    "JwtConfig.algorithm must name what the keys of jwks sign with, such as 'RS256'; HS… needs a secret"
                )
            check_source(config.jwks)
            self._fetched = FetchedKeys(config.jwks, config.jwks_cache_secs, config.jwks_timeout_secs)
        self.security_schemes = _describe(config, is_bearer=self._is_bearer)

    def install(self, host: Host) -> None:
        """Stand around every route."""
        if self._fetched is not None:
            host.on_start(self._start)
            host.on_stop(self._fetched.close)
        Identification.add(host, self)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find secrets that can be guessed: whoever does makes tokens for anybody."""
        level = "error" if deployment.is_production else "warning"
        secret = self.config.secret
        given = secret if isinstance(secret, list | tuple) else [secret]
        shared = [name for name in self._models if name.startswith("HS")]
        for number, secret in enumerate(given if shared else (), start=1):
            weak = weakness_of(secret)
            if weak is None and len(secret) < (least := max(int(name[2:]) // 8 for name in shared)):
                weak = f"it is shorter than the {least} bytes that {max(shared)} asks for (RFC 7518 §3.2)"
            if weak:
                yield Finding(
                    level,
                    "weak-secret",
                    f"JwtConfig.secret: number {number} can be guessed: {weak}. Use secrets.token_urlsafe(48)",
                )
        if "exp" not in self._required and deployment.is_production:
            yield Finding(
                "warning",
                "jwt-expiry",
                "JwtConfig.require does not name 'exp': a token that is stolen is good for ever",
            )

    async def _start(self) -> None:
        """Fetch the keys before the first request; without them requests are 503 until they can be had."""
        if self._fetched is not None:
            await asyncio.wrap_future(self._fetched.fetch())

    def identify(self, request: Request) -> Outcome:
        """Look for a token.

        Raises:
            Unauthorized: It is not to be believed.
            ServiceUnavailable: The keys to check it cannot be had.
        """
        token, by_header = self._token_of(request)
        if token is None:
            return False
        header, signed, signature, payload = _take_apart(token)
        algorithm = header.get("alg")
        model = self._models.get(algorithm) if isinstance(algorithm, str) else None
        if model is None:
            raise _refusal("The token is signed in a way that is not accepted.")
        name = header.get("kid")
        if "crit" in header or not (name is None or isinstance(name, str)):
            raise _refusal("The token's header asks for what is not understood.")
        proof = (signed, signature)
        if self._given is not None:
            keys = self._given.fitting(None, model.name, model)
            return self._believe(request, keys, model, proof, payload, by_header=by_header)
        fetched = self._fetched
        if fetched is None:  # one of the two is there: see __init__
            raise ServiceUnavailable("Tokens cannot be checked right now.")
        found = fetched.current()
        keys = [] if found is None else found.fitting(name, model.name, model)
        if keys or not fetched.may_fetch():
            self._check_known(found, keys)
            return self._believe(request, keys, model, proof, payload, by_header=by_header)
        pending = fetched.fetch()

        def go_on() -> bool:
            found = fetched.current()
            keys = [] if found is None else found.fitting(name, model.name, model)
            self._check_known(found, keys)
            return self._believe(request, keys, model, proof, payload, by_header=by_header)

        if is_on_loop():
            return _after(pending, go_on)
        pending.result()
        return go_on()

    def issue(self, claims: Mapping[str, Any], expires_in: float = 3600) -> str:
        """Return a token of our own, for configurations with a secret (HS…).

        Args:
            claims: What it says; `exp`, `iat` and, where configured, `iss` and `aud` are added.
            expires_in: Seconds until it expires.

        Raises:
            ConfigError: There is no secret to sign with.
        """
        name, model = next(iter(self._models.items()))
        if self._given is None or not name.startswith("HS"):
            raise ConfigError("issue() signs with a secret: JwtConfig(secret=…, algorithm='HS256')")
        now_s = int(time.time())
        added: dict[str, Any] = {"iat": now_s, "exp": now_s + math.ceil(expires_in)}
        if self.config.issuer is not None:
            added["iss"] = self.config.issuer
        if self._audiences is not None:
            added["aud"] = sorted(self._audiences)
        parts = (json_codec.encode({"alg": name, "typ": "JWT"}), json_codec.encode({**added, **claims}))
        signed = b".".join(encode(part) for part in parts)
        return (signed + b"." + encode(model.sign(signed, self._given.keys[0].key))).decode()

    def _token_of(self, request: Request) -> tuple[bytes | None, bool]:
        """Return the token, and whether it came in a header that browsers do not add on their own."""
        sent = request._head.get(self._header)
        if sent is not None:
            if sent[:7].lower() == b"bearer ":
                return sent[7:].strip(b" "), True
            if not self._is_bearer:
                return sent, True
        if self.config.cookie_name is not None and request._head.get(b"cookie") is not None:
            kept = request.cookies.get(self.config.cookie_name)
            if kept:
                return kept.encode(), False
        return None, False

    def _check_known(self, found: KeySet | None, keys: Sequence[Any]) -> None:
        if found is None:
            raise ServiceUnavailable("Tokens cannot be checked right now.", headers={"Retry-After": "10"})
        if not keys:
            raise _refusal("The token's key is not known.")

    def _believe(
        self, request: Request, keys: Sequence[Any], model: Any, proof: tuple[bytes, bytes], payload: bytes, *,
        by_header: bool,
    ) -> bool:  # fmt: skip
        signed, signature = proof
        if not any(self._is_signed(model, signed, signature, key) for key in keys[:MOST_KEYS]):
            raise _refusal("The token's signature is not valid.")
        claims = _object(payload)
        self._judge(claims)
        request.context["jwt_claims"] = claims
        sign_in(request, claims, by_header=by_header)
        return True

    def _is_signed(self, model: Any, signed: bytes, signature: bytes, key: Any) -> bool:
        try:
            return bool(model.verify(signed, signature, key))
        except self._unusable:  # a signature of a form that cannot be one
            return False

    def _judge(self, claims: Mapping[str, Any]) -> None:
        """Judge what a token with a good signature says.

        Raises:
            Unauthorized: It is not for us, or not for now.
        """
        now_s, leeway_s = time.time(), self.config.leeway
        for name in self._required:
            if claims.get(name) is None:
                raise _refusal(f"The token lacks the claim {name}.")
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise _refusal(f"The token's claim {name} is no time.")
        if "exp" in claims and claims["exp"] is not None and now_s >= claims["exp"] + leeway_s:
            raise _refusal("The token has expired.")
        if claims.get("nbf") is not None and now_s < claims["nbf"] - leeway_s:
            raise _refusal("The token is not valid yet.")
        if self.config.issuer is not None and claims.get("iss") != self.config.issuer:
            raise _refusal("The token is from another issuer.")
        named = claims.get("aud")
        if named is None and self._audiences is None:
            return
        audiences = named if isinstance(named, list) else [named]
        # RFC 7519 §4.1.3: who does not find itself in it must refuse, also who has no name.
        if self._audiences is None or not any(isinstance(each, str) and each in self._audiences for each in audiences):
            raise _refusal("The token is for another audience.")


async def _after(pending: Any, go_on: Any) -> bool:
    await asyncio.shield(asyncio.wrap_future(pending))
    return bool(go_on())


def _take_apart(token: bytes) -> tuple[dict[str, Any], bytes, bytes, bytes]:
    """Return header, what is signed, signature and payload of a token (RFC 7515 §7.1).

    Raises:
        Unauthorized: It is none.
    """
    parts = token.split(b".")
    if len(token) > MOST_BYTES or len(parts) != 3:
        raise _refusal("The token is malformed.")
    decoded = [decode(part) for part in parts]
    header, payload, signature = decoded
    if header is None or payload is None or signature is None:
        raise _refusal("The token is malformed.")
    return _object(header), parts[0] + b"." + parts[1], signature, payload


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json_codec.decode(text)
    except HTTPError:
        value = None
    if not isinstance(value, dict):
        raise _refusal("The token is malformed.")
    return value


def _refusal(detail: str) -> Unauthorized:
    """Return the 401 of RFC 6750 §3.1."""
    challenge = f'Bearer error="invalid_token", error_description="{detail}"'
    return Unauthorized(detail, headers={"WWW-Authenticate": challenge})


def _load_models(config: JwtConfig) -> tuple[dict[str, Any], tuple[type[Exception], ...]]:
    """Return the accepted algorithms by name, and what they raise about signatures that cannot be one.

    Raises:
        ConfigError: One is not known; `none` is none.
        MissingDependency: joserfc is not installed.
    """
    names = _texts("algorithm", config.algorithm)
    for name in names:
        if name not in ALGORITHMS:
            raise ConfigError(f"JwtConfig.algorithm must be of {', '.join(ALGORITHMS)}, not {name!r:.80}")
    if not names:
        raise ConfigError("JwtConfig.algorithm names none")
    try:
        from joserfc.errors import JoseError
        from joserfc.jws import JWSRegistry
    except ModuleNotFoundError as error:
        raise MissingDependency("enable_jwt needs 'joserfc': pip install 'cello[auth]'") from error
    return {name: JWSRegistry.algorithms[name] for name in names}, (ValueError, TypeError, JoseError)


def _secrets(config: JwtConfig) -> list[str | bytes]:
    secrets = config.secret if isinstance(config.secret, list | tuple) else [config.secret]
    for secret in secrets:
        if not isinstance(secret, str | bytes) or not secret:
            raise ConfigError("JwtConfig.secret must be text or bytes, or a list of them; or name jwks")
    if not secrets:
        raise ConfigError("JwtConfig.secret is an empty list")
    names = _texts("algorithm", config.algorithm)
    least = max((int(name[2:]) // 8 for name in names if name.startswith("HS")), default=0)
    shortest = min(len(secret.encode() if isinstance(secret, str) else secret) for secret in secrets)
    if shortest < least:
        # SECURITY: whoever has one token can try secrets at leisure (RFC 7518 §3.2, RFC 8725 §3.5).
        logger.warning("JwtConfig.secret has %d bytes, and %s wants %d: it can be guessed", shortest, names[0], least)
    return list(secrets)


def _texts(name: str, value: Any) -> list[str]:
    """Return one text or several as a list.

    Raises:
        ConfigError: It is neither.
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple | set | frozenset) or not all(isinstance(each, str) for each in listed):
        raise ConfigError(f"JwtConfig.{name} must be text, or a list of texts, not {value!r:.80}")
    return list(listed)


def _describe(config: JwtConfig, *, is_bearer: bool) -> dict[str, dict[str, Any]]:
    """Return what OpenAPI says."""
    header = {"type": "apiKey", "in": "header", "name": config.header_name}
    schemes = {"jwtAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"} if is_bearer else header}
    if config.cookie_name is not None:
        schemes["jwtCookie"] = {"type": "apiKey", "in": "cookie", "name": config.cookie_name}
    return schemes
