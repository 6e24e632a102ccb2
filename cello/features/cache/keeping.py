"""What is kept of an answer, and under which key."""

from hashlib import blake2b

from cello.features.cache import rules
from cello.features.cache.entry import Entry, Varied
from cello.features.cache.passage import OWN_ETAG, Passage
from cello.features.cache.store import Course, Store
from cello.http.grammar import format_date
from cello.http.headers import make_field
from cello.http.request import Request
from cello.http.response import Response

NAMES_KEPT_S = 86_400
_NOT_KEPT = frozenset({
    "age", "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade", "x-cache",
})  # fmt: skip


def entry_of(request: Request, response: Response, passage: Passage, *, now_s: float, most_bytes: int) -> Entry | None:
    """Return what is to be kept of an answer, or None where nothing may be; the answer is given an ETag on the way.

    Args:
        request: What was answered.
        response: The answer.
        passage: What was noted of the request.
        now_s: The time of day, in seconds.
        most_bytes: What a larger one is not kept for.
    """
    body, policy, headers = response.payload, passage.policy, response.headers
    if passage.stamps is None or passage.wishes.no_store or not isinstance(body, bytes):
        return None
    if not policy.shared and passage.is_personal(request, headers):
        return None
    stale = passage.stale
    status = response.status
    is_confirmed = status == 304 and stale is not None and rules.freshened(stale, headers)
    if is_confirmed and stale is not None:
        status, body = stale.status, stale.body
    times = rules.times_of(
        status,
        headers,
        now_s=now_s,
        ttl_s=policy.ttl_s,
        stale_s=policy.stale_s,
        error_s=policy.error_s,
        has_authorization=not policy.shared and request._head.get(b"authorization") is not None,
    )
    if times is None:
        return None
    if not is_confirmed and status == 200 and "etag" not in headers:
        headers["ETag"] = f'{OWN_ETAG}{blake2b(body, digest_size=12).hexdigest()}"'
    fields = [field for field in headers.keyed_fields() if field[0] not in _NOT_KEPT]
    if is_confirmed and stale is not None:
        said = {name for name, _ in fields}
        fields = [field for field in stale.fields if field[0] not in said] + fields
    if not any(name == "date" for name, _ in fields):
        fields.append(make_field("Date", format_date(now_s)))
    entry = Entry(status, tuple(fields), body, stored_s=now_s, **times._asdict(), stamps=passage.stamps)
    return None if entry.size_bytes > most_bytes else entry


def keep(store: Store, request: Request, response: Response, passage: Passage, entry: Entry) -> Course[None]:
    """Put an entry where requests like this one will look for it."""
    base = f"HEAD {passage.url}" if request.method == "HEAD" else passage.url
    names = tuple(sorted({*passage.names, *rules.vary_of(response.headers)}))
    key = base
    if names:
        if names != passage.names:
            yield from store.keep(base, Varied(names), NAMES_KEPT_S)
        key = f"{base}\n{rules.variant(names, request._head)}"
    yield from store.keep(key, entry, entry.useful_s())
