"""Secrets to compare with, kept as digests under a key of the process, so that comparing tells nothing about them.

SECURITY: comparing secrets as they are takes longer the more of them is right, and tells their length. Digests under a
random key have one length, and an attacker cannot aim at one digest that is nearly another.
"""

import hmac
import os


class Digests:
    """Makes digests that mean nothing outside of this object."""

    __slots__ = ("_key",)

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def of(self, *parts: bytes) -> bytes:
        """Return the digest of some bytes; parts do not run into each other."""
        joined = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._key, joined, "sha256")
