# ruff: noqa: E501  # a row of the table reads best on one line
"""What a shared cache does, row by row: RFC 9111, and the cases of the public conformance suite of HTTP caches.

A row is two requests (or more) to one URL and what becomes of the last: answered from the cache, or by the handler.
"""

from dataclasses import dataclass, field
from typing import Any

from cello.http.grammar import format_date

NOW_S = 1_800_000_000.0
MADE, KEPT = "made", "kept"


def at(offset_s: float) -> str:
    """Return an HTTP-date, relative to when the first request comes."""
    return format_date(NOW_S + offset_s)


@dataclass
class Answer:
    """What the handler answers."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    status: int = 200


@dataclass
class Ask:
    """One request.

    Attributes:
        after_s: How long after the one before it comes.
        expect: Where its answer comes from; None where that does not matter.
        status: What it must be answered with; None where that does not matter.
        has: Fields that its answer must have.
        lacks: Fields that its answer must not have.
    """

    send: list[tuple[str, str]] = field(default_factory=list)
    after_s: float = 0.0
    method: str = "GET"
    path: str = "/item"
    expect: str | None = None
    status: int | None = None
    has: dict[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()


@dataclass
class Row:
    """Several requests; the handler's answers come in order, the last one again and again."""

    id: str
    section: str
    answers: list[Answer]
    asks: list[Ask]
    ttl: float = 0
    options: dict[str, Any] = field(default_factory=dict)


def twice(
    id: str,
    section: str,
    expect: str,
    *fields: tuple[str, str],
    status: int = 200,
    first: Any = (),
    second: Any = (),
    after_s: float = 0.0,
    ttl: float = 0,
    **ask: Any,
) -> Row:
    """One answer, asked for twice."""
    return Row(
        id,
        section,
        [Answer(list(fields), status)],
        [Ask(list(first)), Ask(list(second), after_s, expect=expect, **ask)],
        ttl,
    )


def cc(value: str) -> tuple[str, str]:
    return ("Cache-Control", value)


FRESH = cc("max-age=3600")
VARY = ("Vary", "Foo")

ROWS = [
    # Freshness (§4.2), cc-freshness of the suite
    twice("nothing said is made anew without a ttl", "4.2.2", MADE),
    twice("nothing said lives for the ttl", "4.2.2", KEPT, ttl=60, after_s=59),
    twice("nothing said dies with the ttl", "4.2.2", MADE, ttl=60, after_s=61),
    twice("max-age", "5.2.2.1", KEPT, FRESH, after_s=3599),
    twice("max-age that is over", "5.2.2.1", MADE, FRESH, after_s=3600),
    twice("max-age goes before the ttl, shorter", "5.2.2.1", MADE, cc("max-age=1"), ttl=300, after_s=2),
    twice("max-age goes before the ttl, longer", "5.2.2.1", KEPT, FRESH, ttl=1, after_s=20),
    twice("a quoted max-age", "5.2", KEPT, cc('max-age="3600"')),
    twice("a single-quoted max-age", "5.2", MADE, cc("max-age='3600'")),
    twice("max-age within a quoted string", "5.2", MADE, cc('extension="max-age=100", max-age=1'), after_s=3),
    twice("max-age within a quoted string after the real one", "5.2", MADE, cc('max-age=1, extension="max-age=100"'), after_s=3),
    twice("a space before the equals sign", "5.2", MADE, cc("max-age =100")),
    twice("a space after the equals sign", "5.2", MADE, cc("max-age= 100")),
    twice("max-age of zero", "5.2.2.1", MADE, cc("max-age=0")),
    twice("max-age with a letter before", "1.2.2", MADE, cc("max-age=a100")),
    twice("max-age with a letter after", "1.2.2", MADE, cc("max-age=100a")),
    twice("a negative max-age", "1.2.2", MADE, cc("max-age=-100")),
    twice("a decimal max-age", "1.2.2", MADE, cc("max-age=3600.5")),
    twice("max-age without a number", "5.2.2.1", MADE, cc("max-age")),
    twice("an empty max-age", "5.2.2.1", MADE, cc("max-age=")),
    twice("max-age of 2147483648", "1.2.2", KEPT, cc("max-age=2147483648")),
    twice("max-age of 99999999999", "1.2.2", KEPT, cc("max-age=99999999999")),
    twice("max-age in mixed case", "5.2", KEPT, cc("MaX-aGe=3600")),
    twice("an extension beside max-age", "5.2.3", KEPT, cc("foobar, max-age=3600")),
    twice("two max-ages, the smaller holds", "4.2.1", MADE, cc("max-age=3600, max-age=1"), after_s=2),
    twice("two max-ages in two fields, the smaller holds", "4.2.1", MADE, cc("max-age=1"), cc("max-age=3600"), after_s=2),
    twice("max-age beside an Expires in the past", "5.3", KEPT, FRESH, ("Expires", at(-10000)), ("Date", at(0))),
    twice("max-age beside an invalid Expires", "5.3", KEPT, FRESH, ("Expires", "0"), ("Date", at(0))),
    twice("max-age of zero beside an Expires to come", "5.3", MADE, ("Expires", at(10000)), cc("max-age=0"), ("Date", at(0))),
    twice("s-maxage", "5.2.2.10", KEPT, cc("s-maxage=3600")),
    twice("s-maxage goes before a longer max-age", "5.2.2.10", MADE, cc("max-age=3600, s-maxage=1"), after_s=2),
    twice("s-maxage goes before a longer max-age, reversed", "5.2.2.10", MADE, cc("s-maxage=1, max-age=3600"), after_s=2),
    twice("s-maxage goes before a longer max-age in a field of its own", "5.2.2.10", MADE, cc("max-age=3600"), cc("s-maxage=1"), after_s=2),
    twice("s-maxage goes before a shorter max-age", "5.2.2.10", KEPT, cc("max-age=1, s-maxage=3600"), after_s=2),
    # Expires (§5.3), expires-freshness and expires-parse of the suite
    twice("an Expires to come", "5.3", KEPT, ("Expires", at(30 * 86400))),
    twice("an Expires to come and a Date", "5.3", KEPT, ("Expires", at(3600)), ("Date", at(0)), after_s=3599),
    twice("an Expires that has come", "5.3", MADE, ("Expires", at(3600)), after_s=3600),
    twice("an Expires in the past", "5.3", MADE, ("Expires", at(-30 * 86400))),
    twice("an Expires of now", "5.3", MADE, ("Expires", at(0))),
    twice("an Expires and a later Date", "5.3", MADE, ("Expires", at(10)), ("Date", at(20))),
    twice("an Expires of 0", "5.3", MADE, ("Expires", "0")),
    twice("an Expires of 0 goes before the ttl", "5.3", MADE, ("Expires", "0"), ttl=300),
    twice("an Expires that is no date", "5.3", MADE, ("Expires", "Thu, 18 Aug 2050 02:01:18")),
    twice("an Expires in another time zone", "5.3", MADE, ("Expires", "Thu, 18 Aug 2050 02:01:18 AEST")),
    twice("an Expires of RFC 850", "5.3", KEPT, ("Expires", "Thursday, 18-Aug-50 02:01:18 GMT")),
    twice("an Expires of asctime", "5.3", KEPT, ("Expires", "Thu Aug  8 02:01:18 2050")),
    # Age (§5.1), age-parse of the suite
    twice("an Age beyond max-age", "4.2.3", MADE, cc("max-age=10"), ("Age", "15")),
    twice("an Age that uses up max-age", "4.2.3", MADE, FRESH, ("Age", "3000"), after_s=700),
    twice("an Age within max-age is told on", "5.1", KEPT, FRESH, ("Age", "100"), after_s=7, has={"age": "107"}),
    twice("an Age that is no number counts as none", "5.1", KEPT, FRESH, ("Age", "abc")),
    twice("a kept answer says how old it is", "5.1", KEPT, FRESH, after_s=42, has={"age": "42"}),
    twice("a kept answer says when it was made", "RFC 9110 6.6.1", KEPT, FRESH, after_s=42, has={"date": at(0)}),
    twice("a kept answer has the Date it was given", "RFC 9110 6.6.1", KEPT, FRESH, ("Date", at(-5)), has={"date": at(-5)}),
    # What may be kept (§3), cc-response and other of the suite
    twice("no-store", "5.2.2.5", MADE, cc("no-store")),
    twice("no-store in mixed case", "5.2.2.5", MADE, cc("No-StOrE")),
    twice("no-store beside max-age and Expires", "5.2.2.5", MADE, cc("max-age=10000, no-store"), ("Expires", at(10000))),
    twice("no-store in a field of its own", "5.2.2.5", MADE, cc("max-age=10000"), cc("no-store")),
    twice("no-store goes before the ttl", "5.2.2.5", MADE, cc("no-store"), ttl=300),
    twice("private", "5.2.2.7", MADE, cc("private, max-age=3600")),
    twice("private of one field", "5.2.2.7", MADE, cc('private="set-cookie", max-age=3600')),
    twice("no-cache", "5.2.2.4", MADE, cc("max-age=10000, no-cache")),
    twice("no-cache in mixed case", "5.2.2.4", MADE, cc("max-age=10000, No-CaChE")),
    twice("no-cache of one field", "5.2.2.4", MADE, cc('no-cache="a"'), cc("max-age=3600")),
    twice("must-revalidate while fresh", "5.2.2.2", KEPT, cc("max-age=10000, must-revalidate")),
    twice("must-revalidate once stale", "5.2.2.2", MADE, cc("max-age=2, must-revalidate, stale-while-revalidate=100"), after_s=3),
    twice("proxy-revalidate once stale", "5.2.2.8", MADE, cc("max-age=2, proxy-revalidate, stale-while-revalidate=100"), after_s=3),
    twice("Set-Cookie", "7.3", MADE, FRESH, ("Set-Cookie", "a=1")),
    twice("Set-Cookie goes before the ttl", "7.3", MADE, ("Set-Cookie", "a=1"), ttl=300),
    # Authorization (§3.5), authorization of the suite
    twice("a request with credentials", "3.5", MADE, FRESH, first=[("Authorization", "FOO")]),
    twice("a request with credentials, by the ttl", "3.5", MADE, first=[("Authorization", "FOO")], ttl=300),
    twice("a request with credentials and a public answer", "3.5", KEPT, cc("max-age=3600, public"), first=[("Authorization", "FOO")], second=[("Authorization", "BAR")]),
    twice("a request with credentials and must-revalidate", "3.5", KEPT, cc("max-age=3600, must-revalidate"), first=[("Authorization", "FOO")], second=[("Authorization", "FOO")]),
    twice("a request with credentials and s-maxage", "3.5", KEPT, cc("s-maxage=3600"), first=[("Authorization", "FOO")], second=[("Authorization", "FOO")]),
    twice("a kept answer is nothing for a request with credentials", "3.5", MADE, FRESH, second=[("Authorization", "FOO")], has={"x-cache": "BYPASS"}),
    # Statuses, status of the suite
    *[twice(f"a {status} that says how long it lives", "4.2.2", KEPT, FRESH, status=status) for status in (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 499, 500, 501, 502, 503, 504, 599)],
    *[twice(f"a {status} lives for the ttl", "4.2.2", KEPT, status=status, ttl=300) for status in (200, 203, 204, 300, 301, 308)],
    *[twice(f"a {status} does not live for the ttl", "4.2.2", MADE, status=status, ttl=300) for status in (201, 202, 302, 303, 307, 400, 401, 403, 404, 410, 429, 500, 503)],
    twice("a part of something", "3.3", MADE, FRESH, ("Content-Range", "bytes 0-1/5"), status=206),
    # Vary (§4.1), vary and vary-parse of the suite
    twice("the same field", "4.1", KEPT, FRESH, VARY, first=[("Foo", "1")], second=[("Foo", "1")]),
    twice("another field", "4.1", MADE, FRESH, VARY, first=[("Foo", "1")], second=[("Foo", "2")]),
    twice("a field that is missing the second time", "4.1", MADE, FRESH, VARY, first=[("Foo", "1")]),
    twice("a field that is missing the first time", "4.1", MADE, FRESH, VARY, second=[("Foo", "1")]),
    twice("an empty field is not a missing one", "4.1", MADE, FRESH, VARY, second=[("Foo", "")]),
    twice("a field that does not matter", "4.1", KEPT, FRESH, VARY, first=[("Foo", "1"), ("Other", "2")], second=[("Foo", "1"), ("Other", "3")]),
    twice("two fields, both the same", "4.1", KEPT, FRESH, ("Vary", "Foo, Bar"), first=[("Foo", "1"), ("Bar", "abc")], second=[("Foo", "1"), ("Bar", "abc")]),
    twice("two fields, one is another", "4.1", MADE, FRESH, ("Vary", "Foo, Bar"), first=[("Foo", "1"), ("Bar", "abc")], second=[("Foo", "2"), ("Bar", "abc")]),
    twice("two fields, one is missing", "4.1", MADE, FRESH, ("Vary", "Foo, Bar"), first=[("Foo", "1"), ("Bar", "abc")], second=[("Foo", "1")]),
    twice("three fields, one of them missing both times", "4.1", KEPT, FRESH, ("Vary", "Foo, Bar, Baz"), first=[("Foo", "1"), ("Baz", "7")], second=[("Foo", "1"), ("Baz", "7")]),
    twice("fields in another order", "4.1", KEPT, FRESH, ("Vary", "Foo, Bar"), first=[("Foo", "1"), ("Bar", "2")], second=[("Bar", "2"), ("Foo", "1")]),
    twice("white space in a field", "4.1", KEPT, FRESH, VARY, first=[("Foo", "1,2")], second=[("Foo", " 1, 2 ")]),
    twice("one field in two lines", "4.1", KEPT, FRESH, VARY, first=[("Foo", "1, 2")], second=[("Foo", "1"), ("Foo", "2")]),
    twice("a field name in another case", "4.1", KEPT, FRESH, ("Vary", "FOO"), first=[("foo", "1")], second=[("Foo", "1")]),
    twice("values do not run into each other", "4.1", MADE, FRESH, ("Vary", "Foo, Bar"), first=[("Foo", "1"), ("Bar", "23")], second=[("Foo", "12"), ("Bar", "3")]),
    twice("Vary in two lines", "4.1", MADE, FRESH, VARY, ("Vary", "Bar"), first=[("Foo", "1"), ("Bar", "2")], second=[("Foo", "1"), ("Bar", "3")]),
    twice("Vary of a star", "4.1", MADE, FRESH, ("Vary", "*")),
    twice("Vary of a star among others", "4.1", MADE, FRESH, ("Vary", "Foo, *"), first=[("Foo", "1")], second=[("Foo", "1")]),
    twice("Vary of a star in a line of its own", "4.1", MADE, FRESH, ("Vary", ""), ("Vary", "*")),
    Row("one variant does not push out another", "4.1", [Answer([FRESH, VARY])], [Ask([("Foo", "1")]), Ask([("Foo", "2")], expect=MADE), Ask([("Foo", "1")], expect=KEPT), Ask([("Foo", "2")], expect=KEPT)]),
    Row("an answer that varies more than those before", "4.1", [Answer([FRESH, VARY]), Answer([FRESH, ("Vary", "Foo, Bar")])],
        [Ask([("Foo", "1")]), Ask([("Foo", "2"), ("Bar", "1")], expect=MADE), Ask([("Foo", "2"), ("Bar", "2")], expect=MADE), Ask([("Foo", "2"), ("Bar", "1")], expect=KEPT)]),
    # Requests (§5.2.1), cc-request and pragma of the suite
    twice("a request for max-age=0", "5.2.1.1", MADE, FRESH, second=[cc("max-age=0")], after_s=1),
    twice("a request for a max-age that is reached", "5.2.1.1", MADE, FRESH, second=[cc("max-age=1")], after_s=2),
    twice("a request for a max-age that is not reached", "5.2.1.1", KEPT, FRESH, second=[cc("max-age=5")], after_s=2),
    twice("a request for a max-age below the Age", "5.2.1.1", MADE, FRESH, ("Age", "1800"), second=[cc("max-age=600")]),
    twice("a request for max-stale", "5.2.1.2", KEPT, cc("max-age=1, stale-if-error=5000"), second=[cc("max-stale=1000")], after_s=3),
    twice("a request for any max-stale", "5.2.1.2", KEPT, cc("max-age=1, stale-if-error=5000"), second=[cc("max-stale")], after_s=3),
    twice("a request for a max-stale that is over", "5.2.1.2", MADE, cc("max-age=1, stale-if-error=5000"), second=[cc("max-stale=10")], after_s=30),
    twice("max-stale does not move must-revalidate", "5.2.1.2", MADE, cc("max-age=1, must-revalidate"), second=[cc("max-stale=1000")], after_s=3),
    twice("max-stale does not move s-maxage", "5.2.2.10", MADE, cc("s-maxage=1"), second=[cc("max-stale=1000")], after_s=3),
    twice("a request for a min-fresh that is met", "5.2.1.3", KEPT, cc("max-age=1500"), second=[cc("min-fresh=1000")]),
    twice("a request for a min-fresh that is not met", "5.2.1.3", MADE, cc("max-age=1500"), second=[cc("min-fresh=2000")]),
    twice("a request for a min-fresh that the Age spoils", "5.2.1.3", MADE, cc("max-age=1500"), ("Age", "1000"), second=[cc("min-fresh=1000")]),
    twice("a request for no-cache", "5.2.1.4", MADE, FRESH, second=[cc("no-cache")], has={"x-cache": "BYPASS"}),
    twice("Pragma: no-cache", "5.4", MADE, FRESH, second=[("Pragma", "no-cache")]),
    twice("Pragma: no-cache beside Cache-Control", "5.4", KEPT, FRESH, second=[("Pragma", "no-cache"), cc("max-age=100")]),
    twice("a request that wants nothing stored", "5.2.1.5", MADE, FRESH, first=[cc("no-store")]),
    Row("a request for no-cache renews what is kept", "5.2.1.4", [Answer([FRESH])], [Ask(), Ask([cc("no-cache")], expect=MADE), Ask(expect=KEPT)]),
    Row("a request for what is kept, and nothing is", "5.2.1.7", [Answer([FRESH])], [Ask([cc("only-if-cached")], status=504)]),
    twice("a request for what is kept, and it is", "5.2.1.7", KEPT, FRESH, second=[cc("only-if-cached")]),
    # Ranges (§3.3), partial of the suite
    twice("a request for a range is the handler's", "3.3", MADE, FRESH, second=[("Range", "bytes=0-1")], has={"x-cache": "BYPASS"}),
    twice("an answer to a request for a range is not kept", "3.3", MADE, FRESH, first=[("Range", "bytes=0-1")]),
    # Conditions (§4.3), conditional-etag of the suite
    twice("If-None-Match of what is kept", "4.3.2", KEPT, FRESH, ("ETag", '"abc"'), second=[("If-None-Match", '"abc"')], status=200, has={}),
    Row("a matching If-None-Match is 304", "4.3.2", [Answer([FRESH, ("ETag", '"abc"')])], [Ask(), Ask([("If-None-Match", '"abc"')], expect=KEPT, status=304)]),
    Row("a weakly matching If-None-Match is 304", "4.3.2", [Answer([FRESH, ("ETag", 'W/"abc"')])], [Ask(), Ask([("If-None-Match", '"abc"')], expect=KEPT, status=304)]),
    Row("one of several If-None-Match is 304", "4.3.2", [Answer([FRESH, ("ETag", '"abc"')])], [Ask(), Ask([("If-None-Match", '"a", "abc", "b"')], expect=KEPT, status=304)]),
    Row("another If-None-Match is the whole", "4.3.2", [Answer([FRESH, ("ETag", '"abc"')])], [Ask(), Ask([("If-None-Match", '"xyz"')], expect=KEPT, status=200)]),
    Row("If-Modified-Since is 304", "4.3.2", [Answer([FRESH, ("Last-Modified", at(-100))])], [Ask(), Ask([("If-Modified-Since", at(-50))], expect=KEPT, status=304)]),
    Row("an older If-Modified-Since is the whole", "4.3.2", [Answer([FRESH, ("Last-Modified", at(-100))])], [Ask(), Ask([("If-Modified-Since", at(-150))], expect=KEPT, status=200)]),
    Row("a 304 to one client is a whole answer to the next", "4.3.2", [Answer([FRESH, ("ETag", '"abc"')])], [Ask([("If-None-Match", '"abc"')], status=304), Ask(expect=KEPT, status=200)]),
    # HEAD (§4.3.5, RFC 9110 9.3.2)
    Row("HEAD is answered with what GET left", "RFC 9110 9.3.2", [Answer([FRESH])], [Ask(), Ask(method="HEAD", expect=KEPT)]),
    Row("HEAD leaves nothing for GET", "RFC 9110 9.3.2", [Answer([FRESH])], [Ask(method="HEAD"), Ask(expect=MADE)]),
    Row("HEAD leaves something for HEAD", "RFC 9110 9.3.2", [Answer([FRESH])], [Ask(method="HEAD"), Ask(method="HEAD", expect=KEPT)]),
    # Writes (§4.4), invalidation of the suite
    *[Row(f"a successful {method} makes what is kept worthless", "4.4", [Answer([FRESH])], [Ask(), Ask(method=method), Ask(expect=MADE)]) for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH")],
    *[Row(f"a {status} to POST leaves what is kept alone", "4.4", [Answer([FRESH]), Answer([], status), Answer([FRESH])], [Ask(), Ask(method="POST"), Ask(expect=KEPT)]) for status in (400, 404, 500, 503)],
    Row("a redirecting POST makes what is kept worthless", "4.4", [Answer([FRESH]), Answer([("Location", "/")], 303), Answer([FRESH])], [Ask(), Ask(method="POST"), Ask(expect=MADE)]),
    Row("OPTIONS leaves what is kept alone", "4.4", [Answer([FRESH])], [Ask(), Ask(method="OPTIONS"), Ask(expect=KEPT)]),
    # Keys
    Row("another query is another answer", "2", [Answer([FRESH])], [Ask(path="/item?a=1"), Ask(path="/item?a=2", expect=MADE), Ask(path="/item?a=1", expect=KEPT)]),
    Row("another host is another answer", "2", [Answer([FRESH])], [Ask([("Host", "a.example")]), Ask([("Host", "b.example")], expect=MADE), Ask([("Host", "a.example")], expect=KEPT)]),
    # Fields (§3.1), headers of the suite
    twice("fields of the connection are not kept", "3.1", KEPT, FRESH, ("Keep-Alive", "5"), ("Proxy-Authenticate", "Basic"), lacks=("keep-alive", "proxy-authenticate")),
    twice("a field that comes twice is kept twice", "3.1", KEPT, FRESH, ("Link", "</a>"), ("Link", "</b>"), has={"link": "</a>, </b>"}),
    twice("fields nobody knows are kept", "3.1", KEPT, FRESH, ("X-Own", "yes"), has={"x-own": "yes"}),
    # Staleness (RFC 5861), stale of the suite
    twice("stale-while-revalidate", "RFC 5861 3", KEPT, cc("max-age=1, stale-while-revalidate=100"), after_s=10, has={"x-cache": "STALE", "age": "10"}),
    twice("stale-while-revalidate that is over", "RFC 5861 3", MADE, cc("max-age=1, stale-while-revalidate=100"), after_s=102),
    *[Row(f"stale-if-error stands in for {status}", "RFC 5861 4", [Answer([cc("max-age=1, stale-if-error=100")]), Answer([], status)], [Ask(), Ask([], 10, expect=KEPT, status=200, has={"x-cache": "STALE"})]) for status in (500, 502, 503, 504)],
    Row("stale-if-error does not stand in for 404", "RFC 5861 4", [Answer([cc("max-age=1, stale-if-error=100")]), Answer([], 404)], [Ask(), Ask([], 10, expect=MADE, status=404)]),
    Row("stale-if-error that is over", "RFC 5861 4", [Answer([cc("max-age=1, stale-if-error=100")]), Answer([], 500)], [Ask(), Ask([], 102, expect=MADE, status=500)]),
    Row("must-revalidate lets an error through", "5.2.2.2", [Answer([cc("max-age=1, stale-if-error=100, must-revalidate")]), Answer([], 500)], [Ask(), Ask([], 10, expect=MADE, status=500)]),
    # Revalidation (§4.3.3, §4.3.4), update304 of the suite
    Row("a 304 of the handler renews what is kept", "4.3.4", [Answer([cc("max-age=1, stale-if-error=9"), ("ETag", '"abc"'), ("X-Own", "1")]), Answer([cc("max-age=50"), ("ETag", '"abc"'), ("X-Own", "2")], 304)],
        [Ask(), Ask([], 5, expect=KEPT, status=200, has={"x-own": "2"}), Ask([], 40, expect=KEPT, status=200, has={"x-own": "2", "age": "40"})]),
]  # fmt: skip
