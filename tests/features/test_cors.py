# ruff: noqa: E501  # a row of the table reads best on one line
"""The CORS protocol of the Fetch standard, row by row, everywhere."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from cello import App, ConfigError, NotFound, Response
from cello.features.cors import Origins

SITE = "https://example.com"
OTHER = "https://other.example"
ORIGIN = "access-control-allow-origin"
CREDENTIALS = "access-control-allow-credentials"
METHODS = "access-control-allow-methods"
HEADERS = "access-control-allow-headers"
EXPOSED = "access-control-expose-headers"
MAX_AGE = "access-control-max-age"
PRIVATE = "access-control-allow-private-network"
EVERY_FIELD = (ORIGIN, CREDENTIALS, METHODS, HEADERS, EXPOSED, MAX_AGE, PRIVATE)
COMMON = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE"


def make_app(coloured: Any, **options: Any) -> App:
    app = App()
    app.enable_cors(**options)
    app.get("/item")(coloured(lambda: {"id": 1}))
    app.put("/item")(coloured(lambda: None))
    app.route("/item", methods=["PURGE"])(coloured(lambda: None))
    app.post("/only-post")(coloured(lambda: None))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "secret"))
    app.options("/own-options")(coloured(lambda: "mine"))
    app.get("/varied")(coloured(lambda: Response.text("x", headers={"Vary": "Accept"})))
    app.get("/own")(coloured(lambda: Response.text("x", headers={"Access-Control-Allow-Origin": "https://wrong"})))

    @app.get("/missing")
    @coloured
    def missing() -> None:
        raise NotFound("not here")

    @app.get("/broken")
    @coloured
    def broken() -> None:
        raise ValueError("secret")

    return app


@dataclass
class Row:
    """One request and the fields of its answer; fields of the protocol that are not named must not be there."""

    id: str
    request: str
    send: dict[str, str]
    status: int
    fields: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def preflight(origin: str = SITE, method: str = "PUT", headers: str | None = None, **more: str) -> dict[str, str]:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers is not None:
        sent["Access-Control-Request-Headers"] = headers
    return sent | {name.replace("_", "-"): value for name, value in more.items()}


LISTED = {"origins": [SITE, "https://app.example.com"]}
WITH_CREDENTIALS = {**LISTED, "credentials": True, "expose_headers": ["X-Total", "X-Page"]}
PREFLIGHT_ANY = {ORIGIN: "*", METHODS: COMMON, MAX_AGE: "600"}
PREFLIGHT_SITE = {ORIGIN: SITE, METHODS: COMMON, MAX_AGE: "600"}

ROWS = [
    # Any origin.
    Row("a simple request", "GET /item", {"Origin": SITE}, 200, {ORIGIN: "*", "vary": None}),
    Row("no origin gets the same answer", "GET /item", {}, 200, {ORIGIN: "*", "vary": None}),
    Row("the null origin", "GET /item", {"Origin": "null"}, 200, {ORIGIN: "*"}),
    Row("a 404 of no route", "GET /nowhere", {"Origin": SITE}, 404, {ORIGIN: "*"}),
    Row("a 405", "GET /only-post", {"Origin": SITE}, 405, {ORIGIN: "*", "allow": "OPTIONS, POST"}),
    Row("an http error", "GET /missing", {"Origin": SITE}, 404, {ORIGIN: "*"}),
    Row("an exception", "GET /broken", {"Origin": SITE}, 500, {ORIGIN: "*"}),
    Row("an answer of a guard", "GET /guarded", {"Origin": SITE}, 403, {ORIGIN: "*"}),
    Row("an undecodable path", "GET /%FF", {"Origin": SITE}, 400, {ORIGIN: "*"}),
    Row("head", "HEAD /item", {"Origin": SITE}, 200, {ORIGIN: "*"}),
    Row("an own field is corrected", "GET /own", {"Origin": SITE}, 200, {ORIGIN: "*"}),
    # Preflights.
    Row("a preflight", "OPTIONS /item", preflight(), 204, PREFLIGHT_ANY),
    Row("a preflight of another method than there is", "OPTIONS /only-post", preflight(), 204, PREFLIGHT_ANY),
    Row("a preflight of no route", "OPTIONS /nowhere", preflight(), 204, PREFLIGHT_ANY),
    Row("a preflight of a guarded route", "OPTIONS /guarded", preflight(method="GET"), 204, PREFLIGHT_ANY),
    Row("a preflight wins over an own options", "OPTIONS /own-options", preflight(), 204, PREFLIGHT_ANY),
    Row("options that are no preflight, for want of a method", "OPTIONS /own-options", {"Origin": SITE}, 200, {ORIGIN: "*"}),
    Row("options that are no preflight, for want of an origin", "OPTIONS /item", {"Access-Control-Request-Method": "PUT"}, 204, {ORIGIN: "*", "allow": "GET, HEAD, OPTIONS, PURGE, PUT"}),
    Row("a get with the fields of a preflight", "GET /item", preflight(), 200, {ORIGIN: "*"}),
    Row("the headers asked for are allowed", "OPTIONS /item", preflight(headers="content-type,x-token"), 204,
        {**PREFLIGHT_ANY, HEADERS: "content-type, x-token", "vary": "Access-Control-Request-Headers"}),
    Row("no header names are not echoed", "OPTIONS /item", preflight(headers="x-a, b c, ;"), 204, {**PREFLIGHT_ANY, HEADERS: "x-a"}),
    Row("listed headers are allowed", "OPTIONS /item", preflight(headers="x-other"), 204, {**PREFLIGHT_ANY, HEADERS: "X-Token, Content-Type", "vary": None},
        {"headers": ["X-Token", "Content-Type"]}),
    Row("listed methods are allowed", "OPTIONS /item", preflight(), 204, {ORIGIN: "*", METHODS: "GET, PUT", MAX_AGE: "600"}, {"methods": ["get", "PUT"]}),
    Row("how long it may be remembered", "OPTIONS /item", preflight(), 204, {**PREFLIGHT_ANY, MAX_AGE: "3"}, {"max_age": 3}),
    Row("how long is left to the browser", "OPTIONS /item", preflight(), 204, {ORIGIN: "*", METHODS: COMMON}, {"max_age": None}),
    Row("a private network is refused by silence", "OPTIONS /item", preflight(Access_Control_Request_Private_Network="true"), 204, PREFLIGHT_ANY),
    Row("a private network is allowed", "OPTIONS /item", preflight(Access_Control_Request_Private_Network="true"), 204, {**PREFLIGHT_ANY, PRIVATE: "true"}, {"private_network": True}),
    Row("a private network nobody asks for", "OPTIONS /item", preflight(), 204, PREFLIGHT_ANY, {"private_network": True}),
    # Listed origins.
    Row("a listed origin", "GET /item", {"Origin": SITE}, 200, {ORIGIN: SITE, "vary": "Origin"}, LISTED),
    Row("another listed origin", "GET /item", {"Origin": "https://app.example.com"}, 200, {ORIGIN: "https://app.example.com"}, LISTED),
    Row("an origin that is not listed", "GET /item", {"Origin": OTHER}, 200, {"vary": "Origin"}, LISTED),
    Row("no origin, and caches are told", "GET /item", {}, 200, {"vary": "Origin"}, LISTED),
    Row("a vary of the handler's own is kept", "GET /varied", {"Origin": SITE}, 200, {ORIGIN: SITE, "vary": "Accept, Origin"}, LISTED),
    Row("an error for a listed origin", "GET /broken", {"Origin": SITE}, 500, {ORIGIN: SITE, "vary": "Origin"}, LISTED),
    Row("an error for another origin", "GET /broken", {"Origin": OTHER}, 500, {"vary": "Origin"}, LISTED),
    Row("a preflight of a listed origin", "OPTIONS /item", preflight(), 204, PREFLIGHT_SITE, LISTED),
    Row("a preflight of another origin", "OPTIONS /item", preflight(OTHER), 403, {"vary": "Origin"}, LISTED),
    Row("null is not listed", "GET /item", {"Origin": "null"}, 200, {}, LISTED),
    Row("null is listed", "GET /item", {"Origin": "null"}, 200, {ORIGIN: "null"}, {"origins": ["null"]}),
    Row("an origin sent twice is none", "GET /item", {"Origin": f"{SITE}, {SITE}"}, 200, {}, LISTED),
    # Credentials and exposed headers.
    Row("credentials", "GET /item", {"Origin": SITE}, 200, {ORIGIN: SITE, CREDENTIALS: "true", EXPOSED: "X-Total, X-Page"}, WITH_CREDENTIALS),
    Row("credentials of another origin", "GET /item", {"Origin": OTHER}, 200, {}, WITH_CREDENTIALS),
    Row("a preflight with credentials", "OPTIONS /item", preflight(headers="authorization"), 204,
        {**PREFLIGHT_SITE, CREDENTIALS: "true", EXPOSED: "X-Total, X-Page", HEADERS: "authorization"}, WITH_CREDENTIALS),
    Row("exposed to every origin", "GET /item", {"Origin": SITE}, 200, {ORIGIN: "*", EXPOSED: "X-Total"}, {"expose_headers": ["X-Total"]}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_answer_says_who_may_read_it(row, serve, coloured):
    method, path = row.request.split()
    with serve(make_app(coloured, **row.options)) as client:
        answer = client.request(method, path, headers=row.send)
    assert answer.status == row.status
    for name in EVERY_FIELD:
        assert answer.headers.get(name) == row.fields.get(name), name
    for name in row.fields.keys() - set(EVERY_FIELD):
        assert answer.headers.get(name) == row.fields[name], name


MATCHES = {
    "an exact origin": ("https://example.com", "https://example.com", True),
    "another scheme": ("https://example.com", "http://example.com", False),
    "another port": ("https://example.com", "https://example.com:8443", False),
    "a longer name": ("https://example.com", "https://example.com.evil.example", False),
    "a prefixed name": ("https://example.com", "https://notexample.com", False),
    "written in capitals": ("HTTPS://Example.COM", "https://example.com", True),
    "a default port is left out": ("https://example.com:443", "https://example.com", True),
    "a port": ("http://localhost:5173", "http://localhost:5173", True),
    "an address": ("http://[::1]:8000", "http://[::1]:8000", True),
    "an international name": ("https://müller.example", "https://xn--mller-kva.example", True),
    "an app's own scheme": ("capacitor://localhost", "capacitor://localhost", True),
    "a subdomain": ("https://*.example.com", "https://a.example.com", True),
    "a deeper subdomain": ("https://*.example.com", "https://a.b.example.com", True),
    "not the domain itself": ("https://*.example.com", "https://example.com", False),
    "not a name that ends alike": ("https://*.example.com", "https://evilexample.com", False),
    "not a subdomain elsewhere": ("https://*.example.com", "https://a.example.com.evil.example", False),
    "not a subdomain in a user": ("https://*.example.com", "https://evil.example/a.example.com", False),
    "subdomains at a port": ("https://*.example.com:8443", "https://a.example.com:8443", True),
    "every port": ("http://localhost:*", "http://localhost:3000", True),
    "every port, the default one": ("http://localhost:*", "http://localhost", True),
    "every port, of that host": ("http://localhost:*", "http://localhost.evil.example:80", False),
    "a pattern": (re.compile(r"https://pr-\d+\.example\.com"), "https://pr-12.example.com", True),
    "a pattern must match all of it": (re.compile(r"https://pr-\d+"), "https://pr-12.evil.example", False),
    "a lone pattern": (re.compile(r".*"), "null", True),
}


@pytest.mark.parametrize(("listed", "origin", "allowed"), MATCHES.values(), ids=MATCHES.keys())
def test_an_origin_is_allowed_or_not(listed, origin, allowed):
    assert Origins([listed]).allow(origin.encode()) is allowed
    assert Origins(listed).allow(origin.encode()) is allowed


REFUSED = {
    "credentials for all": ({"credentials": True}, r"credentials need a list of origins"),
    "credentials for a star": ({"origins": ["*"], "credentials": True}, "credentials need a list"),
    "credentials for null": ({"origins": ["null"], "credentials": True}, "sandboxed frame"),
    "no origin at all": ({"origins": []}, "not \\[\\]"),
    "a slash at the end": ({"origins": ["https://example.com/"]}, "without a path or slash"),
    "a path": ({"origins": ["https://example.com/app"]}, "without a path"),
    "no scheme": ({"origins": ["example.com"]}, "write scheme and host"),
    "a user": ({"origins": ["https://me@example.com"]}, "is not an origin"),
    "a star inside": ({"origins": ["https://a.*.com"]}, "is not an origin"),
    "a bad port": ({"origins": ["https://a:x"]}, "is not an origin"),
    "a pattern of bytes": ({"origins": [re.compile(b"x")]}, "pattern of text"),
    "a number": ({"origins": [7]}, "an origin is a str"),
    "a mapping": ({"origins": {"a": 1}}, "origins is a list"),
    "no method": ({"methods": ["GET PUT"]}, "not an HTTP method"),
    "no header": ({"headers": ["a b"]}, "not a header name"),
    "a str of headers": ({"expose_headers": "X-Total"}, "list of header names"),
    "a star of exposed headers with credentials": (
        {"origins": [SITE], "credentials": True, "expose_headers": ["*"]},
        "must name",
    ),
    "a negative age": ({"max_age": -1}, "number of seconds"),
    "an age in words": ({"max_age": "1h"}, "number of seconds"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_cors(**options)


def test_a_refusal_of_the_server_can_be_read(serve, gateway):
    app = App()
    app.enable_cors(origins=[SITE])
    app.post("/small", max_body_size=3)(lambda: "ok")
    with serve(app) as client:
        answer = client.post("/small", content=b"12345", headers={"Origin": SITE})
    assert (answer.status, answer.headers[ORIGIN]) == (413, SITE)


def test_a_mounted_application_is_covered(serve):
    def other(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"mounted"]

    app = App()
    app.enable_cors(origins=[SITE])
    app.mount("/old", other, interface="wsgi")
    with serve(app) as client:
        assert client.get("/old/x", headers={"Origin": SITE}).headers[ORIGIN] == SITE
        assert client.options("/old/x", headers=preflight()).status == 204
