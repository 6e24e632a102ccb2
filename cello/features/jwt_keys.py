"""The keys that tokens are checked with: given, or a JSON Web Key Set from a file or a URL.

Rule 1: a key is used only with an algorithm that fits it (RFC 8725 §3.1): a public key is never taken for a secret.
Rule 2: a set is fetched anew when it is older than `cache_secs`, in the background, and when a token names a key that
is not in it, at most once in `COOLDOWN_S`: so a new key works at once, and made-up names cost nothing.
Rule 3: while a set cannot be fetched the last one holds, for a day at most. A key that a new set lacks is gone.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError as UrlError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cello.errors import ConfigError
from cello.http import json_codec
from cello.pipeline.threads import WorkerThreads

logger = logging.getLogger("cello.jwt")

COOLDOWN_S = 10.0
STALE_S = 86_400.0
MOST_BYTES = 1_048_576
LEAST_RSA_BITS = 2048
KEY_TYPES = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
"""By the first two letters of an algorithm."""


class Key(NamedTuple):
    """A key and what it is for.

    Attributes:
        id: Its name, or None.
        algorithm: The only one it may be used with, or None.
        key: As joserfc has it.
    """

    id: str | None
    algorithm: str | None
    key: Any


class KeySet:
    """Keys by name."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    def fitting(self, name: str | None, algorithm: str, model: Any) -> list[Any]:
        """Return the keys that may have signed a token.

        Args:
            name: The key that the token names, or None.
            algorithm: The token's.
            model: That algorithm, as joserfc has it.
        """
        found = []
        for key in self.keys:
            if name is not None and key.id is not None and key.id != name:
                continue
            if key.algorithm in (None, algorithm) and _fits(model, key.key):
                found.append(key.key)
        return found


def _fits(model: Any, key: Any) -> bool:
    from joserfc.errors import JoseError

    try:
        model.check_key(key)
    except JoseError:
        return False
    return True


def given_keys(secrets: Sequence[str | bytes], algorithms: Sequence[str]) -> KeySet:
    """Return keys that the configuration holds: secrets, or public keys in PEM.

    Raises:
        ConfigError: One of them is no key for the algorithms.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

    kinds: Mapping[str, Any] = {"oct": OctKey, "RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    keys = []
    for number, secret in enumerate(secrets, start=1):
        raw = secret.encode() if isinstance(secret, str) else secret
        for wanted in dict.fromkeys(KEY_TYPES[algorithm[:2]] for algorithm in algorithms):
            try:
                if wanted != "oct" and b"-----BEGIN" not in raw:
                    raise ValueError("it is no PEM")
                # A private key in PEM serves as well; only its public half is used here.
                keys.append(Key(None, None, kinds[wanted].import_key(raw)))
            except (ValueError, TypeError, JoseError) as error:
                # SECURITY: the message shows no secret.
                kind = "a secret" if wanted == "oct" else f"a public key of type {wanted} in PEM"
                hint = "; what is public signs nothing" if wanted == "oct" and b"-----BEGIN" in raw else ""
                raise ConfigError(
                    f"JwtConfig.secret: number {number} is not {kind}, which {', '.join(algorithms)} needs{hint}"
                ) from error
    return KeySet(keys)


def parse_key_set(text: bytes) -> KeySet:
    """Return the keys of a JSON Web Key Set that can check signatures; others are left out.

    Raises:
        ValueError: It is no key set, or none of its keys is of use.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    document = json_codec.decode(text)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it has no list of keys")
    keys = []
    for data in listed:
        if not isinstance(data, dict) or not _is_for_signatures(data):
            continue
        try:
            key = JWKRegistry.import_key({name: data[name] for name in data if name != "key_ops"})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            logger.warning("a key of a key set cannot be used: %s", error)
            continue
        keys.append(Key(data.get("kid"), data.get("alg"), key))
    if not keys:
        raise ValueError("none of its keys can check signatures")
    return KeySet(keys)


def _is_for_signatures(data: Mapping[str, Any]) -> bool:
    # SECURITY: a secret in a set that others can read is none, and short RSA keys can be factored.
    if data.get("kty") not in ("RSA", "EC", "OKP") or data.get("use") not in (None, "sig"):
        return False
    operations = data.get("key_ops")
    if operations is not None and "verify" not in operations:
        return False
    modulus = data.get("n")
    return modulus is None or (isinstance(modulus, str) and len(modulus) * 6 >= LEAST_RSA_BITS)


class FetchedKeys:
    """A key set from elsewhere, kept fresh. Safe to use from any number of threads.

    Args:
        source: A URL, or the path of a file.
        cache_s: How long a set is good.
        timeout_s: How long fetching one may take.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, source: str, cache_s: float, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._is_url = "://" in source
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._threads = WorkerThreads(1)
        self._running: Future[None] | None = None
        self._keys: KeySet | None = None
        self._fetched_s = 0.0
        self._tried_s: float | None = None

    def current(self) -> KeySet | None:
        """Return the set in use, None where there is none; has a new one fetched when it is time."""
        keys = self._keys
        if keys is None:
            return None
        age_s = self._clock() - self._fetched_s
        if age_s >= self._cache_s and self.may_fetch():
            self.fetch()
        return keys if age_s < self._cache_s + STALE_S else None

    def may_fetch(self) -> bool:
        """Return whether the last attempt is long enough ago, or one is under way."""
        return self._running is not None or self._tried_s is None or self._clock() - self._tried_s >= COOLDOWN_S

    def fetch(self) -> "Future[None]":
        """Have the set fetched by a thread; whoever asks meanwhile shares it. It never raises."""
        with self._lock:
            if self._running is None:
                self._tried_s = self._clock()
                self._running = self._threads.submit(self._fetch)
            return self._running

    def close(self) -> None:
        """End the thread."""
        self._threads.shutdown()

    def _fetch(self) -> None:
        try:
            keys = parse_key_set(self._read())
        except (OSError, ValueError) as error:
            logger.warning("the key set %s cannot be fetched: %s", self._source, error)
        else:
            self._keys = keys
            self._fetched_s = self._clock()
        finally:
            self._running = None

    def _read(self) -> bytes:
        if not self._is_url:
            return Path(self._source).read_bytes()
        asked = Request(self._source, headers={"Accept": "application/jwk-set+json, application/json"})
        with _OPENER.open(asked, timeout=self._timeout_s) as answer:
            text: bytes = answer.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("it is larger than 1 MiB")
        return text


class _NoRedirects(HTTPRedirectHandler):
    """SECURITY: keys come from where they were said to be, not from wherever that points."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Refuse."""
        raise UrlError(req.full_url, code, f"it redirects to {newurl:.200}", headers, fp)


_OPENER = build_opener(_NoRedirects)


def check_source(source: str) -> None:
    """Check where a key set is said to be.

    Raises:
        ConfigError: It is neither an http(s) URL nor a file that holds one.
    """
    if "://" in source:
        parts = urlsplit(source)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"JwtConfig.jwks must be a URL with http(s), or a path, not {source!r:.80}")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            logger.warning("JwtConfig.jwks is fetched without TLS: who stands between can exchange the keys")
        return
    try:
        parse_key_set(Path(source).read_bytes())
    except OSError as error:
        raise ConfigError(f"JwtConfig.jwks: {source!r:.80} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"JwtConfig.jwks: {source!r:.80} is no key set: {error}") from error
