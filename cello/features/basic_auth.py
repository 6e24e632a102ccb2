"""HTTP Basic: name and password in every request (RFC 7617).

SECURITY: a name that does not exist takes as long as one that does. Plain passwords are compared as digests under a
random key of the process. Argon2 hashes are verified on threads of their own, few at a time, because each takes a tenth
of a second and 64 MiB; what was verified is remembered for some minutes, as a digest, because browsers send it with
every request.
"""

import binascii
import hmac
import os
import re
import threading
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

from cello.errors import ConfigError, MissingDependency, Unauthorized
from cello.extension import Host
from cello.features.digests import Digests
from cello.features.identification import Identification, Outcome, sign_in
from cello.features.open_paths import OpenPaths
from cello.features.verdict import Check, checked
from cello.http.request import Request
from cello.pipeline.threads import WorkerThreads, is_on_loop
from cello.review import Deployment, Finding

Credentials = Mapping[str, str] | Callable[[str, str], Any]

REMEMBERED_S = 300.0
MOST_REMEMBERED = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HASH = "$argon2"


class BasicAuth:
    """Identifies users by name and password. For what the arguments mean see `App.enable_basic_auth`."""

    name: ClassVar[str] = "basic_auth"

    def __init__(
        self, credentials: Credentials, realm: str = "Restricted", *, skip_paths: Collection[str] | None = None
    ) -> None:
        if not _is_text(realm) or not realm.isascii():
            raise ConfigError(f"enable_basic_auth: realm is a line of ASCII text, not {realm!r:.80}")
        self.open_paths = OpenPaths("enable_basic_auth: skip_paths", skip_paths)
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        self.challenge = f'Basic realm="{quoted}", charset="UTF-8"'
        self.security_schemes = {"basicAuth": {"type": "http", "scheme": "basic"}}
        self._check: Check | None = None
        self._passwords = Passwords({})
        if callable(credentials):
            self._check = Check(credentials, "enable_basic_auth: credentials")
        else:
            self._passwords = Passwords(credentials)

    @property
    def is_async(self) -> bool:
        """Whether credentials are checked by a coroutine."""
        return self._check is not None and self._check.is_async

    def install(self, host: Host) -> None:
        """Stand around every route."""
        self._host = host
        host.on_stop(self._passwords.close)
        Identification.add(host, self)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find passwords that travel in the clear, or stand in the program."""
        if not deployment.is_production:
            return
        if not deployment.is_encrypted:
            yield Finding(
                "error",
                "basic-auth-http",
                "enable_basic_auth: every request carries the password, and nothing says that clients come by https: "
                "call set_tls(), or set_trusted_proxies() where a proxy ends TLS",
            )
        if plain := self._passwords.plain_names():
            yield Finding(
                "warning",
                "plain-password",
                f"enable_basic_auth: the password of {plain[0]!r:.40} stands in the program as it is; put its argon2 "
                "hash there (argon2.PasswordHasher().hash(…))",
            )

    def identify(self, request: Request) -> Outcome:
        """Look for a name and a password.

        Raises:
            Unauthorized: They are malformed, or not valid.
        """
        sent = request._head.get(b"authorization")
        if sent is None or sent[:6].lower() != b"basic ":
            return False
        pair = parse(sent[6:])
        if pair is None:
            raise self._refusal()
        check = self._check
        verdict = self._passwords.verify(*pair) if check is None else check.ask(self._host, *pair)
        if isinstance(verdict, Awaitable):
            return self._finish(request, pair[0], verdict)
        return self._accept(request, pair[0], verdict)

    async def _finish(self, request: Request, name: str, pending: Awaitable[Any]) -> bool:
        return self._accept(request, name, await pending)

    def _accept(self, request: Request, name: str, verdict: Any) -> bool:
        user = checked(verdict, {"name": name})
        if user is None:
            raise self._refusal()
        # SECURITY: browsers add what the user once typed to every request, whoever's page makes it.
        sign_in(request, user, by_header=False)
        return True

    def _refusal(self) -> Unauthorized:
        return Unauthorized("Name or password is wrong.", headers={"WWW-Authenticate": self.challenge})


def parse(encoded: bytes) -> tuple[str, str] | None:
    """Return name and password, None where there are none (RFC 7617 §2)."""
    try:
        text = b64decode(encoded.strip(b" "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon and not _CONTROL.search(text) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not _CONTROL.search(value)


class Passwords:
    """Users and their passwords, plain or as argon2 hashes.

    Args:
        credentials: Name → password or hash.

    Raises:
        ConfigError: A name or password cannot be one.
        MissingDependency: There are hashes, and argon2-cffi is not installed.
    """

    def __init__(self, credentials: Mapping[str, str]) -> None:
        if not isinstance(credentials, Mapping):
            raise ConfigError(
                "enable_basic_auth: credentials maps names to passwords or argon2 hashes, or is a function of both; it "
                f"is a {type(credentials).__name__}"
            )
        self._digests = Digests()
        self._plain: dict[str, bytes] = {}
        self._hashes: dict[str, str] = {}
        self._none = os.urandom(32)
        for name, password in credentials.items():
            if not _is_text(name) or ":" in name:
                raise ConfigError(f"enable_basic_auth: {name!r:.80} in credentials is no name: text without a colon")
            if not _is_text(password) or not password:
                raise ConfigError(f"enable_basic_auth: the password of {name!r:.80} in credentials must be text")
            if password.startswith(_HASH):
                self._hashes[name] = password
            else:
                self._plain[name] = self._digests.of(password.encode())
        self._verify_hash = _load_argon2(self._hashes) if self._hashes else None
        self._threads = WorkerThreads(max(1, min(4, os.cpu_count() or 1)))
        self._remembered: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def plain_names(self) -> list[str]:
        """Return whose passwords were given as they are."""
        return list(self._plain)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def verify(self, name: str, password: str) -> bool | Awaitable[bool]:
        """Return whether the password is right; where that takes long and there is a loop, what is to be awaited."""
        stored = self._plain.get(name)
        given = self._digests.of(password.encode())
        if self._verify_hash is None or stored is not None:
            return hmac.compare_digest(given, self._none if stored is None else stored) and stored is not None
        pair = self._digests.of(name.encode(), password.encode())
        due = self._remembered.get(pair)
        if due is not None and time.monotonic() < due:
            return True
        if is_on_loop():
            return self._verify_later(name, password, pair)
        return self._settle(self._threads.submit(self._verify, name, password).result(), pair)

    async def _verify_later(self, name: str, password: str, pair: bytes) -> bool:
        return self._settle(await self._threads.run(self._verify, name, password), pair)

    def _verify(self, name: str, password: str) -> bool:
        hashed = self._hashes.get(name)
        # SECURITY: for a name that does not exist another one's hash is computed, and the result thrown away.
        other = next(iter(self._hashes.values())) if hashed is None else hashed
        is_right = self._verify_hash is not None and self._verify_hash(other, password)
        return is_right and hashed is not None

    def _settle(self, is_right: bool, pair: bytes) -> bool:
        if is_right:
            now_s = time.monotonic()
            with self._lock:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered = {pair: due for pair, due in self._remembered.items() if due > now_s}
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[pair] = now_s + REMEMBERED_S
        return is_right


def _load_argon2(hashes: Mapping[str, str]) -> Callable[[str, str], bool]:
    """Return what verifies a hash.

    Raises:
        ConfigError: One of them is none.
        MissingDependency: argon2-cffi is not installed.
    """
    try:
        from argon2 import PasswordHasher, extract_parameters
        from argon2.exceptions import Argon2Error, InvalidHash
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "enable_basic_auth needs 'argon2-cffi' for hashed passwords: pip install 'cello[auth]'"
        ) from error
    for name, hashed in hashes.items():
        try:
            extract_parameters(hashed)
        except InvalidHash:
            raise ConfigError(
                f"enable_basic_auth: the argon2 hash of {name!r:.80} in credentials is malformed"
            ) from None
    hasher = PasswordHasher()

    def verify(hashed: str, password: str) -> bool:
        try:
            return hasher.verify(hashed, password)
        except Argon2Error:
            return False

    return verify
