"""One request's way through the cache, and what about a request or an answer makes it somebody's."""

from cello.features.cache.entry import Entry
from cello.features.cache.flights import Flight
from cello.features.cache.policy import Policy
from cello.features.cache.rules import NO_WISHES, Wishes
from cello.features.cache.store import Stamps
from cello.http.head import FieldList
from cello.http.headers import ResponseHeaders
from cello.http.ports import HeadFields
from cello.http.request import Request

PASSAGE = "cache"
"""Where a request remembers its passage."""
OWN_ETAG = '"c-'
"""What the ETags begin with that the cache gives to answers without one; handlers know nothing of those."""
_COOKIES = "cookies"
_CONDITIONS = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since")


class Passage:
    """One request's way through the cache.

    Attributes:
        policy: What holds for its route.
        url: What it asks for.
        slots: The counters that its answer depends on.
        wishes: What its client asks of caches.
        is_write: Whether its success makes what is kept of `url` worthless.
        key: Under which its answer would be kept.
        names: The request fields that are known to tell answers of `url` apart.
        label: What `X-Cache` says.
        is_served: Whether the answer came out of the cache.
        stamps: The numbers of those counters before its handler runs; None keeps nothing.
        stale: What is kept, past its time.
        flight: The one that this request leads.
        cookies: What was decoded before the handler could look.
        head: The request's own fields, while it has one more.
    """

    __slots__ = (
        "cookies",
        "flight",
        "head",
        "is_served",
        "is_write",
        "key",
        "label",
        "names",
        "policy",
        "slots",
        "stale",
        "stamps",
        "url",
        "wishes",
    )

    def __init__(
        self,
        policy: Policy,
        url: str,
        slots: tuple[int, ...],
        *,
        is_head: bool = False,
        wishes: Wishes = NO_WISHES,
        is_write: bool = False,
    ) -> None:
        self.policy = policy
        self.url = url
        self.slots = slots
        self.wishes = wishes
        self.is_write = is_write
        self.key = f"HEAD {url}" if is_head else url
        self.names: tuple[str, ...] = ()
        self.label = "MISS"
        self.is_served = False
        self.stamps: Stamps | None = None
        self.stale: Entry | None = None
        self.flight: Flight | None = None
        self.cookies: object = None
        self.head: HeadFields | None = None

    def watch(self, request: Request) -> None:
        """Forget decoded cookies, so that it shows whether the handler looks at them."""
        memo = request._memo
        if memo is not None and _COOKIES in memo:
            self.cookies = memo.pop(_COOKIES)

    def ask_whether_changed(self, request: Request) -> None:
        """Show the handler the ETag that it gave what is kept, past its time: a 304 spares it the rest (§4.3.1)."""
        etag = None if self.stale is None else self.stale.header("etag")
        head = request._head
        if etag is None or etag.startswith(OWN_ETAG) or any(head.get(name) is not None for name in _CONDITIONS):
            return
        self.head = head
        request._head = FieldList([*head.raw(), (b"If-None-Match", etag.encode("latin-1"))])
        request._headers = None

    def forget_asking(self, request: Request) -> None:
        """Give the request its own fields back: the client asked for no 304."""
        if self.head is not None:
            request._head, self.head = self.head, None
            request._headers = None

    def is_personal(self, request: Request, headers: ResponseHeaders) -> bool:
        """Return whether the handler knew whom it answered."""
        memo = request._memo or {}
        looked_at_cookies = _COOKIES in memo
        if self.cookies is not None:
            memo.setdefault(_COOKIES, self.cookies)
        if has_user(request):
            return True
        if looked_at_cookies and "cookie" not in headers.get("vary", "").lower():
            return True
        session = memo.get("session")
        return session is not None and bool(getattr(session, "accessed", True))


def has_user(request: Request) -> bool:
    """Return whether somebody was identified: a token, a key, a password."""
    context = request._context
    return context is not None and context.get("user") is not None


def is_identified(request: Request) -> bool:
    """Return whether the request comes with credentials, checked or not."""
    return request._head.get(b"authorization") is not None or has_user(request)
