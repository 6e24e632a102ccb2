"""Where a session is between two requests: in its cookie, or in a store under a name that is in its cookie.

`fetch` takes a cookie's value and gives the packed session; `write` keeps one and gives the cookie's value; `end`
forgets one. Each gives its result, or an awaitable of it.
"""

import inspect
from hashlib import sha256
from typing import Any, Protocol

from cello.features.session_stores import Maybe, SessionStore
from cello.features.signing import Signer

LONGEST_NAME = 256


class Keeper(Protocol):
    """One of the two.

    Attributes:
        is_quick: Whether `fetch` gives its result at once, so that it can wait until somebody looks.
    """

    is_quick: bool

    def fetch(self, value: str) -> Maybe[bytes | None]:
        """Return the packed session that belongs to a cookie, or None."""

    def write(self, name: str, packed: bytes, max_age_s: int, *, is_new: bool, old: str | None) -> Maybe[str | None]:
        """Keep a session; return the value of its cookie, or None where it has ended meanwhile.

        Args:
            old: The name that it had before, which ends.
        """

    def end(self, name: str) -> Maybe[None]:
        """Forget a session."""


class CookieKeeper:
    """Keeps sessions in their cookies, signed. The browser can read them, and replay old ones until they expire."""

    is_quick = True

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def fetch(self, value: str) -> bytes | None:
        """Return what the cookie holds, if we signed it."""
        return self._signer.open(value)

    def write(self, name: str, packed: bytes, max_age_s: int, *, is_new: bool, old: str | None) -> str:
        """Return the session itself, signed."""
        return self._signer.sign(packed)

    def end(self, name: str) -> None:
        """Do nothing: the browser is told to drop the cookie, and that is all that can be done."""


class StoreKeeper:
    """Keeps sessions in a store, under digests of their names.

    Args:
        store: Where.
        signer: Signs names, so that made-up ones end here; or None.
    """

    def __init__(self, store: SessionStore, signer: Signer | None) -> None:
        self._store = store
        self._signer = signer
        self.is_quick = bool(getattr(store, "is_quick", False))

    def fetch(self, value: str) -> Maybe[bytes | None]:
        """Return what the store has under the cookie's name."""
        name = self._name_in(value)
        return None if name is None else self._store.load(_key(name))

    def write(self, name: str, packed: bytes, max_age_s: int, *, is_new: bool, old: str | None) -> Maybe[str | None]:
        """Put the session into the store."""
        saved = self._store.save(_key(name), packed, max_age_s, is_new=is_new)
        gone = None if old is None else self._store.delete(_key(old))
        if inspect.isawaitable(saved) or inspect.isawaitable(gone):
            return self._write_later(name, saved, gone)
        return self._value_of(name) if saved else None

    def end(self, name: str) -> Maybe[None]:
        """Take the session out of the store."""
        return self._store.delete(_key(name))

    async def _write_later(self, name: str, saved: Any, gone: Any) -> str | None:
        try:
            is_saved = await saved if inspect.isawaitable(saved) else saved
        finally:
            if inspect.isawaitable(gone):
                await gone
        return self._value_of(name) if is_saved else None

    def _name_in(self, value: str) -> str | None:
        if self._signer is None:
            return value if len(value) <= LONGEST_NAME else None
        message = self._signer.open(value)
        return None if message is None else message.decode("latin-1")

    def _value_of(self, name: str) -> str:
        return name if self._signer is None else self._signer.sign(name.encode())


def _key(name: str) -> str:
    """Return what a session is called in a store. SECURITY: a copy of the store gives nobody a cookie."""
    return sha256(name.encode("utf-8", "replace")).hexdigest()
