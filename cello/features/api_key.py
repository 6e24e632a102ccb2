"""API keys: a header with a secret that a program was given.

SECURITY: keys are looked up by a digest under a random key of the process, so neither the time of an answer nor a
memory dump of the table tells anything about them.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

from cello.errors import ConfigError, Unauthorized
from cello.extension import Host
from cello.features.digests import Digests
from cello.features.identification import Identification, Outcome, sign_in
from cello.features.open_paths import OpenPaths
from cello.features.signing import weakness_of
from cello.features.verdict import Check, checked
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.review import Deployment, Finding

Keys = Collection[str] | Mapping[str, Any] | Callable[[str], Any]


class ApiKey:
    """Identifies programs by their keys. For what the arguments mean see `App.enable_api_key`."""

    name: ClassVar[str] = "api_key"

    def __init__(self, keys: Keys, header: str = "X-API-Key", *, skip_paths: Collection[str] | None = None) -> None:
        if not _is_name(header):
            raise ConfigError(f"enable_api_key: header {header!r:.80} is not a header name")
        self.open_paths = OpenPaths("enable_api_key: skip_paths", skip_paths)
        self.challenge = f'ApiKey header="{header}"'
        self.security_schemes = {"apiKeyAuth": {"type": "apiKey", "in": "header", "name": header}}
        self._header = header.lower().encode("ascii")
        self._digests = Digests()
        self._users: dict[bytes, Any] = {}
        self._weak: list[str] = []
        self._check: Check | None = None
        if callable(keys):
            self._check = Check(keys, "enable_api_key: keys")
        else:
            self._read(keys)

    def _read(self, keys: object) -> None:
        if isinstance(keys, str | bytes) or not isinstance(keys, Collection) or not keys:
            # SECURITY: the message names no key.
            raise ConfigError(
                "enable_api_key: keys is a list of keys, a mapping of keys to users, or a function of a key; it is "
                f"{'empty' if isinstance(keys, Collection) and not keys else f'a {type(keys).__name__}'}"
            )
        for number, key in enumerate(keys, start=1):
            if not isinstance(key, str) or not key.strip():
                raise ConfigError(f"enable_api_key: key {number} of keys is {'empty' if key == '' else 'no text'}")
            if weak := weakness_of(key):
                self._weak.append(f"key {number} can be guessed: {weak}")
            user = keys[key] if isinstance(keys, Mapping) else f"key-{number}"
            self._users[self._digests.of(key.encode())] = {"name": user} if isinstance(user, str) else user

    @property
    def is_async(self) -> bool:
        """Whether credentials are checked by a coroutine."""
        return self._check is not None and self._check.is_async

    def install(self, host: Host) -> None:
        """Stand around every route."""
        self._host = host
        Identification.add(host, self)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find keys that can be guessed."""
        for weak in self._weak:
            yield Finding(
                "error" if deployment.is_production else "warning",
                "weak-secret",
                f"enable_api_key: {weak}. Use secrets.token_urlsafe(32)",
            )

    def identify(self, request: Request) -> Outcome:
        """Look for a key.

        Raises:
            Unauthorized: It is not one of those that are known.
        """
        sent = request._head.get(self._header)
        if sent is None:
            return False
        if self._check is not None:
            key = sent.decode("latin-1")
            verdict = self._check.ask(self._host, key)
            if isinstance(verdict, Awaitable):
                return self._finish(request, verdict)
            return self._accept(request, verdict)
        return self._accept(request, self._users.get(self._digests.of(sent)))

    async def _finish(self, request: Request, pending: Awaitable[Any]) -> bool:
        return self._accept(request, await pending)

    def _accept(self, request: Request, verdict: Any) -> bool:
        user = checked(verdict, {"name": "api-key"})
        if user is None:
            raise Unauthorized("This API key is not valid.", headers={"WWW-Authenticate": self.challenge})
        sign_in(request, user, by_header=True)
        return True


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_token(value)
