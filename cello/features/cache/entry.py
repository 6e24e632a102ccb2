"""One kept answer, and how it is written down for other processes."""

import json
from typing import Any, Self

Field = tuple[bytes, bytes]
KeyedField = tuple[str, Field]

OVERHEAD_BYTES = 600
"""What an entry weighs beyond its text: objects, the look-up, the queue of the least recently used."""


class Varied:
    """Stands where an answer would: which request fields tell several of them apart.

    Attributes:
        names: The fields of all answers' `Vary`, in lower case.
    """

    __slots__ = ("names",)

    size_bytes = OVERHEAD_BYTES

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names


class Entry:
    """An answer as it was made.

    Attributes:
        status: The status code.
        fields: Behind their lower-case names, to be sent as they stand.
        body: The body, whole.
        stored_s: When it was made, as a POSIX timestamp.
        age_s: How old it was then.
        lifetime_s: The age up to which it is fresh.
        stale_s: Seconds beyond, in which it serves while it is made anew.
        error_s: Seconds beyond, in which it serves when that fails.
        may_be_stale: Whether clients may ask for it after its time.
        is_public: Whether it may answer requests with credentials.
        stamps: The generations of what it depends on, as they were before it was made.
    """

    __slots__ = (
        "age_s",
        "body",
        "error_s",
        "fields",
        "is_public",
        "lifetime_s",
        "may_be_stale",
        "stale_s",
        "stamps",
        "status",
        "stored_s",
    )

    def __init__(
        self,
        status: int,
        fields: tuple[KeyedField, ...],
        body: bytes,
        *,
        stored_s: float,
        age_s: float,
        lifetime_s: float,
        stale_s: float,
        error_s: float,
        may_be_stale: bool,
        is_public: bool,
        stamps: tuple[int, ...],
    ) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.stored_s = stored_s
        self.age_s = age_s
        self.lifetime_s = lifetime_s
        self.stale_s = stale_s
        self.error_s = error_s
        self.may_be_stale = may_be_stale
        self.is_public = is_public
        self.stamps = stamps

    def age_at(self, now_s: float) -> float:
        """Return how old it is now, in seconds."""
        return self.age_s + max(0.0, now_s - self.stored_s)

    def useful_s(self) -> float:
        """Return for how long after it was stored anybody may want it."""
        return max(0.0, self.lifetime_s - self.age_s + max(self.stale_s, self.error_s))

    def header(self, name: str) -> str | None:
        """Return the first field of a lower-case name."""
        for key, (_, value) in self.fields:
            if key == name:
                return value.decode("latin-1")
        return None

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, about."""
        return OVERHEAD_BYTES + len(self.body) + sum(len(name) + len(value) + 150 for _, (name, value) in self.fields)

    def dump(self) -> bytes:
        """Return it as bytes: a line of JSON, then the body.

        SECURITY: reading it back runs nothing, as reading a pickle would.
        """
        about = {
            "status": self.status,
            "fields": [[name.decode("latin-1"), value.decode("latin-1")] for _, (name, value) in self.fields],
            "times": [self.stored_s, self.age_s, self.lifetime_s, self.stale_s, self.error_s],
            "flags": [self.may_be_stale, self.is_public],
            "stamps": self.stamps,
        }
        return json.dumps(about, separators=(",", ":")).encode() + b"\n" + self.body

    @classmethod
    def load(cls, raw: bytes) -> "Self | Varied | None":
        """Return what `dump` or `dump_names` wrote; None where it cannot be read."""
        head, _, body = raw.partition(b"\n")
        try:
            about: dict[str, Any] = json.loads(head)
            if "names" in about:
                return Varied(tuple(about["names"]))
            stored_s, age_s, lifetime_s, stale_s, error_s = about["times"]
            may_be_stale, is_public = about["flags"]
            fields = tuple(
                (name.lower(), (name.encode("latin-1"), value.encode("latin-1"))) for name, value in about["fields"]
            )
            return cls(
                about["status"],
                fields,
                body,
                stored_s=stored_s,
                age_s=age_s,
                lifetime_s=lifetime_s,
                stale_s=stale_s,
                error_s=error_s,
                may_be_stale=may_be_stale,
                is_public=is_public,
                stamps=tuple(about["stamps"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def dump_names(varied: Varied) -> bytes:
    """Return a `Varied` as bytes that `Entry.load` reads."""
    return json.dumps({"names": varied.names}).encode() + b"\n"
