"""Signed text: what a client keeps for us and must not change.

HMAC-SHA256 over the encoded message, with a key for each purpose derived from the application's, so that what was
signed as a session is never taken for a CSRF token. Several keys are for rotation: the first signs, all of them verify.
Signed is not encrypted: the client can read it.

PERF: half of what itsdangerous takes (6 µs to sign and open a small message); bench/micro/test_auth.py.
"""

import binascii
import hmac
import math
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from cello.errors import ConfigError

LEAST_KEY_BYTES = 16
MAC_CHARACTERS = 43


class Signer:
    """Signs for one purpose.

    Args:
        keys: The application's secrets, the one to sign with first.
        purpose: What it signs.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        self._keys = [hmac.digest(key, f"cello {purpose}".encode(), "sha256") for key in keys]

    def mac(self, message: bytes) -> bytes:
        """Return 32 bytes that only this application can make of `message`."""
        return hmac.digest(self._keys[0], message, "sha256")

    def holds(self, message: bytes, mac: bytes) -> bool:
        """Return whether `mac` is that of `message`, under any of the keys."""
        return any(hmac.compare_digest(hmac.digest(key, message, "sha256"), mac) for key in self._keys)

    def sign(self, message: bytes) -> str:
        """Return `message` with its signature, in characters that a cookie may have."""
        encoded = encode(message)
        return f"{encoded.decode()}.{encode(self.mac(encoded)).decode()}"

    def open(self, text: str) -> bytes | None:
        """Return the message in a signed text, None when it is not one of ours."""
        encoded, dot, mac = text.rpartition(".")
        if not dot or len(mac) != MAC_CHARACTERS or not text.isascii():
            return None
        message = encoded.encode()
        given = decode(mac.encode())
        if given is None or not self.holds(message, given):
            return None
        return decode(message)


def encode(data: bytes) -> bytes:
    """Return `data` in base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def decode(text: bytes) -> bytes | None:
    """Return what base64url without padding says, None when it is none."""
    try:
        return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None


_GUESSED_FIRST = (
    "secret",
    "password",
    "passw0rd",
    "change",
    "example",
    "default",
    "insecure",
    "qwerty",
    "12345",
    "abcde",
)
_STRONG_BITS = 64


def weakness_of(secret: str | bytes) -> str | None:
    """Return what makes a secret easy to guess, in words that do not show it; None if nothing can be seen."""
    text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
    if "-----BEGIN" in text:
        return None
    word = next((word for word in _GUESSED_FIRST if word in text.lower()), None)
    if word is not None:
        return f"it contains {word!r}, as what is tried first does"
    if len(text) < LEAST_KEY_BYTES:
        return f"it has {len(text)} characters"
    if len(text) * _bits_per_character(text) < _STRONG_BITS:
        return "it repeats few characters"
    return None


def _bits_per_character(text: str) -> float:
    """Return the entropy of the characters of a text, each by itself (Shannon)."""
    return -sum(part * math.log2(part) for part in (text.count(one) / len(text) for one in set(text)))


def read_keys(owner: str, given: object) -> list[bytes]:
    """Return secrets as bytes; a new one where none is given.

    Args:
        owner: The setting, for messages.
        given: One secret, several, or None.

    Raises:
        ConfigError: One of them is none, or too short to be secret.
    """
    if given is None:
        return [os.urandom(32)]
    listed = given if isinstance(given, list | tuple) else [given]
    if not listed:
        raise ConfigError(f"{owner} is an empty list; leave it out, or name a secret")
    keys = []
    for number, key in enumerate(listed, start=1):
        raw = key.encode() if isinstance(key, str) else key
        if not isinstance(raw, bytes):
            raise ConfigError(f"{owner}: secret {number} must be text or bytes, not a {type(key).__name__}")
        if len(raw) < LEAST_KEY_BYTES:
            # SECURITY: the message shows no secret.
            raise ConfigError(
                f"{owner}: secret {number} has {len(raw)} bytes, which can be guessed; use {LEAST_KEY_BYTES} or more, "
                "such as secrets.token_urlsafe(32)"
            )
        keys.append(raw)
    return keys
