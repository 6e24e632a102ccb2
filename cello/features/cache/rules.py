"""The rules of a shared cache (RFC 9111): what may be kept, for how long, and what may be given to whom.

Nothing here keeps or sends anything: the functions look at fields and times, and say what follows.

Rule 1: what an answer says of itself (`Cache-Control`, `Expires`) goes before what the application said beforehand; an
answer that says nothing lives as long as its route's `ttl`.
Rule 2: where directives contradict each other or cannot be read, the stricter reading holds (§4.2.1).
Rule 3: `no-cache` and `private` are taken as a whole, also where they name fields.
"""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from cello.features.cache.entry import Entry
from cello.http.grammar import parse_date, split_list
from cello.http.headers import ResponseHeaders
from cello.http.ports import HeadFields

MOST_SECONDS = 2**31
"""What does not fit is taken as this many seconds (§1.2.2)."""
BY_DEFAULT = frozenset({200, 203, 204, 300, 301, 308})
"""The statuses that live for the route's `ttl` where the answer says nothing; others must say so themselves."""
NEVER = frozenset({206, 304, 412, 416})
"""Answers to a condition or to a range: not what another client asks for."""
FAILED = frozenset({500, 502, 503, 504})
"""What a stale answer may stand in for (RFC 5861 §4)."""
_QUOTED = re.compile(r'^"(.*)"$')
_NOT_STORED = ("no-store", "private", "no-cache")


class Control(dict[str, str | None]):
    """The directives of a `Cache-Control`, names in lower case; the first of repeated ones, the smallest number."""

    def seconds(self, name: str) -> int | None:
        """Return a directive's number; 0 where it cannot be read, None where the directive is missing."""
        return delta_seconds(self[name]) if name in self else None


def parse_control(values: Iterable[str]) -> Control:
    """Return the directives of all `Cache-Control` fields (§5.2)."""
    control = Control()
    for value in values:
        for member in split_list(value):
            name, equals, argument = member.partition("=")
            given = _QUOTED.sub(r"\1", argument) if equals and not name.endswith((" ", "\t")) else None
            name = name.rstrip().lower()
            if name not in control or delta_seconds(given) < delta_seconds(control[name]):
                control[name] = given
    return control


def delta_seconds(text: str | None) -> int:
    """Return a number of seconds (§1.2.2); 0 where it is none."""
    if text is None or not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:12]), MOST_SECONDS)


class Wishes(NamedTuple):
    """What a request's `Cache-Control` asks (§5.2.1).

    Attributes:
        no_store: Do not keep the answer.
        anew: Do not answer from what is kept.
        max_age_s: Not what is older.
        min_fresh_s: Not what is stale that soon.
        max_stale_s: What has been stale no longer than this will do.
        only_if_cached: Answer from what is kept, or 504.
    """

    no_store: bool = False
    anew: bool = False
    max_age_s: int | None = None
    min_fresh_s: int = 0
    max_stale_s: int = 0
    only_if_cached: bool = False


NO_WISHES = Wishes()


def wishes_of(head: HeadFields) -> Wishes:
    """Return what a request asks of caches."""
    values = head.get_all(b"cache-control")
    if not values:
        pragma = head.get(b"pragma")
        is_anew = pragma is not None and "no-cache" in pragma.decode("latin-1").lower()
        return Wishes(anew=True) if is_anew else NO_WISHES
    control = parse_control(value.decode("latin-1") for value in values)
    max_stale = control.seconds("max-stale") or 0
    if "max-stale" in control and control["max-stale"] is None:
        max_stale = MOST_SECONDS
    return Wishes(
        "no-store" in control,
        "no-cache" in control,
        control.seconds("max-age"),
        control.seconds("min-fresh") or 0,
        max_stale,
        "only-if-cached" in control,
    )


class Times(NamedTuple):
    """How long an answer may be given out.

    Attributes:
        lifetime_s: Fresh for so long, from when it was made.
        age_s: How old it was when it came.
        stale_s: And so long after that, while it is made anew.
        error_s: Or so long, while that fails.
        may_be_stale: Whether a client may ask for it after its time.
        is_public: Whether it may answer requests with credentials.
    """

    lifetime_s: float
    age_s: float
    stale_s: float
    error_s: float
    may_be_stale: bool
    is_public: bool


def times_of(
    status: int,
    headers: ResponseHeaders,
    *,
    now_s: float,
    ttl_s: float | None,
    stale_s: float = 0,
    error_s: float = 0,
    has_authorization: bool = False,
) -> Times | None:
    """Return how long an answer may be kept, or None where it may not be (§3).

    Args:
        status: Of the answer.
        headers: Of the answer.
        now_s: The time of day.
        ttl_s: How long it lives where it does not say; None for not at all.
        stale_s: The `stale-while-revalidate` of an answer that does not say.
        error_s: The `stale-if-error` of an answer that does not say.
        has_authorization: Whether the request had that field; then the answer must say that it is for all (§3.5).
    """
    if status in NEVER or status < 200 or "set-cookie" in headers:
        return None
    if "vary" in headers and "*" in split_list(headers["vary"]):
        return None
    control = parse_control(headers.get_all("cache-control"))
    if any(name in control for name in _NOT_STORED):
        return None
    is_strict = "must-revalidate" in control or "proxy-revalidate" in control
    is_public = "public" in control or "s-maxage" in control or "must-revalidate" in control
    if has_authorization and not is_public:
        return None
    lifetime_s = _lifetime(control, headers, now_s)
    if lifetime_s is None:
        if ttl_s is None or status not in BY_DEFAULT:
            return None
        lifetime_s = ttl_s
    age_s = float(delta_seconds(headers.get("age", "").split(",")[0].strip()))
    if is_strict:
        stale_s = error_s = 0
    else:
        stale_s = _or(control.seconds("stale-while-revalidate"), stale_s)
        error_s = _or(control.seconds("stale-if-error"), error_s)
    if age_s >= lifetime_s + max(stale_s, error_s):
        return None
    return Times(lifetime_s, age_s, stale_s, error_s, not (is_strict or "s-maxage" in control), is_public)


def _or(said_s: int | None, otherwise_s: float) -> float:
    return otherwise_s if said_s is None else said_s


def _lifetime(control: Control, headers: ResponseHeaders, now_s: float) -> float | None:
    """Return the freshness lifetime that the answer itself states (§4.2.1), or None."""
    for name in ("s-maxage", "max-age"):
        said_s = control.seconds(name)
        if said_s is not None:
            return said_s
    if "expires" not in headers:
        return None
    ends_s = parse_date(headers["expires"])
    began_s = parse_date(headers["date"]) if "date" in headers else None
    return 0.0 if ends_s is None else max(0.0, ends_s - (now_s if began_s is None else began_s))


class Verdict(IntEnum):
    """What a kept answer is good for."""

    EXPIRED = 0
    STALE = 1
    """It may be given out once more, and must be made anew meanwhile."""
    FRESH = 2


def judge(entry: Entry, now_s: float, wishes: Wishes = NO_WISHES) -> Verdict:
    """Return whether `entry` answers a request now (§4.2)."""
    age_s = entry.age_at(now_s)
    left_s = entry.lifetime_s - age_s
    if wishes is not NO_WISHES:
        if wishes.anew or (wishes.max_age_s is not None and age_s > wishes.max_age_s):
            return Verdict.EXPIRED
        if left_s > 0:
            return Verdict.FRESH if left_s >= wishes.min_fresh_s else Verdict.EXPIRED
        if wishes.max_stale_s and entry.may_be_stale and -left_s <= wishes.max_stale_s:
            return Verdict.FRESH
        if wishes.min_fresh_s:
            return Verdict.EXPIRED
    if left_s > 0:
        return Verdict.FRESH
    return Verdict.STALE if -left_s < entry.stale_s else Verdict.EXPIRED


def may_stand_in(entry: Entry, now_s: float) -> bool:
    """Return whether `entry` may be given out because making it anew failed (RFC 5861 §4)."""
    return entry.age_at(now_s) - entry.lifetime_s < entry.error_s


def vary_of(headers: ResponseHeaders) -> tuple[str, ...]:
    """Return the request fields that an answer depends on, in lower case and order."""
    if "vary" not in headers:
        return ()
    return tuple(sorted({name.lower() for name in split_list(headers["vary"])}))


def variant(names: Iterable[str], head: HeadFields) -> str:
    """Return what tells apart the requests that differ in the fields `names` (§4.1): white space does not."""
    parts = []
    for name in names:
        values = head.get_all(name.encode("latin-1"))
        members = [member for value in values for member in split_list(value.decode("latin-1"))]
        parts.append(f"{name}:{len(values) > 0:d}:{','.join(members)}")
    return "\n".join(parts)


def freshened(entry: Entry, fields: Mapping[str, str]) -> bool:
    """Return whether a 304 with these fields says that `entry` is still right (§4.3.3)."""
    etag = fields.get("etag")
    kept = entry.header("etag")
    return etag is not None and kept is not None and etag.removeprefix("W/") == kept.removeprefix("W/")
