"""A session: what an application remembers of one browser, as a dictionary.

It is opened at the first look, so a handler that does not ask pays nothing. What is in it has a JSON form; whether it
changed is seen by comparing that form, so a list that was appended to deep inside counts.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

from cello.errors import HTTPError
from cello.http import json_codec


class Kept(NamedTuple):
    """A session as it is kept.

    Attributes:
        id: Its name, which nobody can guess.
        created_s: When it began, or was regenerated, in Unix seconds.
        renewed_s: When it was last written.
        data: What is in it, as JSON.
    """

    id: str
    created_s: int
    renewed_s: int
    data: bytes

    def pack(self) -> bytes:
        """Return all of it as bytes."""
        return b"%b.%d.%d.%b" % (self.id.encode(), self.created_s, self.renewed_s, self.data)

    @classmethod
    def unpack(cls, packed: bytes) -> "Kept | None":
        """Return what `pack` made, None for anything else."""
        parts = packed.split(b".", 3)
        if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(parts[0].decode("ascii", "replace"), int(parts[1]), int(parts[2]), parts[3])


def make_id() -> str:
    """Return a name of 256 random bits."""
    return urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


class Session(MutableMapping[str, Any]):
    """`request.session`. Keys are text, values what JSON can say.

    Args:
        find: Returns the session as it was kept, or None; called at the first look.
        failure: What a look raises instead, when it could not be fetched.

    Attributes:
        kept: As it was found, or None. Only after the first look.
        accessed: Whether somebody looked, so that the answer depends on who asks.
    """

    __slots__ = ("_data", "_find", "_id", "accessed", "failure", "kept")

    def __init__(self, find: Callable[[], Kept | None], failure: HTTPError | None = None) -> None:
        self._find = find
        self._id = ""
        self._data: dict[str, Any] = {}
        self.kept: Kept | None = None
        self.failure = failure
        self.accessed = False

    def _open(self) -> dict[str, Any]:
        if not self.accessed:
            if self.failure is not None:
                raise self.failure
            kept = self.kept = self._find()
            if kept is not None:
                self._id = kept.id
                self._data = json_codec.decode(kept.data)
            self.accessed = True
        return self._data

    @property
    def id(self) -> str:
        """Its name: new with the session, and after `regenerate`. It is a secret."""
        self._open()
        if not self._id:
            self._id = make_id()
        return self._id

    @property
    def is_new(self) -> bool:
        """Whether the browser came without one."""
        self._open()
        return self.kept is None

    def regenerate(self) -> None:
        """Go on under another name; the old one ends. Call it whenever somebody signs in or gets more rights.

        SECURITY: who planted a session in somebody's browser (fixation) is left with one that is worth nothing.
        """
        self._open()
        self._id = make_id()

    def destroy(self) -> None:
        """End it: what is in it is gone, here and where it was kept, and the browser drops its cookie."""
        self._open()
        self._data.clear()
        self._id = make_id()

    def __getitem__(self, key: str) -> Any:
        return self._open()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a key of request.session must be text, not {key!r:.80}")
        self._open()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._open()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open())

    def __len__(self) -> int:
        return len(self._open())

    def __repr__(self) -> str:
        state = f"{len(self._data)} entries" if self.accessed else "not looked at"
        return f"<Session: {state}>"  # neither its name nor its content: it may end up in a log

    def encoded(self) -> bytes:
        """Return what is in it as JSON.

        Raises:
            TypeError: Something in it has no JSON form.
        """
        try:
            return json_codec.encode(self._data)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"request.session can hold only what JSON can say: {error}") from error
