"""Security headers and the content security policy."""

import dataclasses
import re

import pytest

from cello import CSP, App, ConfigError, Response, SecurityHeadersConfig

DEFAULTS = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
}
OTHERS = (
    "strict-transport-security",
    "content-security-policy",
    "content-security-policy-report-only",
    "permissions-policy",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
)


def make_app(coloured, config=None):
    app = App()
    app.enable_security_headers(config)
    app.get("/")(coloured(lambda: "hello"))
    app.get("/nonce")(coloured(lambda request: request.context["csp_nonce"]))
    app.get("/own")(coloured(lambda: Response.text("x", headers={"X-Frame-Options": "SAMEORIGIN"})))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "never"))
    app.post("/small", max_body_size=3)(coloured(lambda: "never"))

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("secret")

    return app


PROXIES = ["127.0.0.1", "unix"]
HTTPS = {"X-Forwarded-Proto": "https"}
"""How every gateway is told of https, also where the test client has no TLS."""


def security_fields(answer):
    return {name: answer.headers[name] for name in (*DEFAULTS, *OTHERS) if name in answer.headers}


ANSWERS = {
    "a route": ("GET", "/", {}, 200),
    "no route": ("GET", "/nowhere", {}, 404),
    "another method": ("PUT", "/", {}, 405),
    "automatic options": ("OPTIONS", "/", {}, 204),
    "an exception": ("GET", "/broken", {}, 500),
    "an early answer": ("GET", "/guarded", {}, 403),
    "a refusal": ("POST", "/small", {"content": b"12345"}, 413),
}


@pytest.mark.parametrize(("method", "path", "send", "status"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_has_them(serve, coloured, method, path, send, status):
    with serve(make_app(coloured)) as client:
        answer = client.request(method, path, **send)
    assert answer.status == status
    assert security_fields(answer) == DEFAULTS


def test_what_a_handler_sets_stays(serve, coloured):
    with serve(make_app(coloured)) as client:
        assert security_fields(client.get("/own")) == {**DEFAULTS, "x-frame-options": "SAMEORIGIN"}


def test_each_can_be_left_out(serve):
    config = SecurityHeadersConfig(
        x_frame_options=None, x_content_type_options=False, x_xss_protection=None, referrer_policy=None
    )
    with serve(make_app(lambda handler: handler, config)) as client:
        assert security_fields(client.get("/")) == {}


def test_the_strict_preset_has_all_of_them(serve):
    app = make_app(lambda handler: handler, SecurityHeadersConfig.secure())
    app.set_trusted_proxies(PROXIES)
    with serve(app) as client:
        answer = client.get("/", headers=HTTPS)
    assert security_fields(answer) == {
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "x-xss-protection": "0",
        "referrer-policy": "no-referrer",
        "strict-transport-security": "max-age=63072000; includeSubDomains",
        "content-security-policy": (
            "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
        ),
        "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }


@pytest.mark.parametrize(
    ("headers", "value"), [({}, None), (HTTPS, "max-age=60; includeSubDomains")], ids=["http", "https"]
)
def test_transport_security_is_said_over_https_only(serve, headers, value):
    app = make_app(lambda handler: handler, SecurityHeadersConfig(hsts_max_age=60, hsts_include_subdomains=True))
    app.set_trusted_proxies(PROXIES)
    with serve(app) as client:
        assert client.get("/", headers=headers).headers.get("strict-transport-security") == value


@pytest.mark.parametrize("via", ["wsgi", "asgi"])
def test_https_of_the_connection_itself_counts(client, via):
    app = make_app(lambda handler: handler, SecurityHeadersConfig(hsts_max_age=60))
    with client(app, via, base_url="https://testserver") as opened:
        assert opened.get("/").headers["strict-transport-security"] == "max-age=60"


def test_preload_is_said_with_all_it_needs(serve):
    config = SecurityHeadersConfig(hsts_max_age=31_536_000, hsts_include_subdomains=True, hsts_preload=True)
    app = make_app(lambda handler: handler, config)
    app.set_trusted_proxies(PROXIES)
    with serve(app) as client:
        value = client.get("/", headers=HTTPS).headers["strict-transport-security"]
    assert value == "max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize(
    "policy", [CSP().script_src(["self", CSP.NONCE]), "script-src 'self' 'nonce-{nonce}'"], ids=["built", "text"]
)
def test_every_request_has_a_nonce_of_its_own(serve, coloured, policy):
    with serve(make_app(coloured, SecurityHeadersConfig(csp=policy))) as client:
        answers = [client.get("/nonce") for _ in range(3)]
        missing = client.get("/nowhere")
    for answer in answers:
        assert re.fullmatch(r"[A-Za-z0-9+/]{22}==", answer.text)
        assert answer.headers["content-security-policy"] == f"script-src 'self' 'nonce-{answer.text}'"
        assert answer.headers["x-frame-options"] == "DENY"
    assert len({answer.text for answer in answers}) == 3
    assert "'nonce-" in missing.headers["content-security-policy"]


def test_a_policy_may_only_report(serve):
    config = SecurityHeadersConfig(csp=CSP().default_src(["self"]), csp_report_only=True)
    with serve(make_app(lambda handler: handler, config)) as client:
        answer = client.get("/")
    assert answer.headers["content-security-policy-report-only"] == "default-src 'self'"
    assert "content-security-policy" not in answer.headers


POLICIES = {
    "keywords are quoted": (CSP().default_src(["self"]), "default-src 'self'"),
    "what is quoted stays": (CSP().default_src(["'self'", "https:"]), "default-src 'self' https:"),
    "hashes are quoted": (CSP().script_src(["sha256-abc="]), "script-src 'sha256-abc='"),
    "an empty list is none": (CSP().object_src([]), "object-src 'none'"),
    "words in one string": (CSP().img_src("self data:"), "img-src 'self' data:"),
    "repetitions go": (CSP().img_src(["self", "'self'"]), "img-src 'self'"),
    "a second time replaces the first": (CSP().img_src(["self"]).img_src(["data:"]), "img-src data:"),
    "directives stand in order": (
        CSP().default_src([]).connect_src(["self", "wss://a.example"]).upgrade_insecure_requests(),
        "default-src 'none'; connect-src 'self' wss://a.example; upgrade-insecure-requests",
    ),
    "a sandbox": (CSP().sandbox(["allow-forms"]), "sandbox allow-forms"),
    "a bare sandbox": (CSP().sandbox(), "sandbox"),
    "trusted types": (
        CSP().require_trusted_types_for(["script"]).trusted_types(["default", "allow-duplicates"]),
        "require-trusted-types-for 'script'; trusted-types default 'allow-duplicates'",
    ),
    "reports": (CSP().report_to("main").report_uri("/csp"), "report-to main; report-uri /csp"),
}


@pytest.mark.parametrize(("policy", "text"), POLICIES.values(), ids=POLICIES.keys())
def test_a_policy_is_built_directive_by_directive(policy, text):
    assert policy.build() == str(policy) == text


@pytest.mark.parametrize(
    "method",
    [
        name
        for name in dir(CSP)
        if name.endswith(("_src", "_elem", "_attr", "_uri", "_action", "_ancestors")) and name != "report_uri"
    ],
)
def test_each_directive_is_named_after_its_method(method):
    assert getattr(CSP(), method)(["self"]).build() == f"{method.replace('_', '-')} 'self'"


def test_a_policy_is_a_value():
    base = CSP().default_src(["self"])
    longer = base.img_src(["data:"])
    assert base.build() == "default-src 'self'"
    assert base == CSP().default_src(["'self'"]) != longer
    assert hash(base) == hash(CSP().default_src(["self"]))
    assert repr(longer) == "<CSP default-src; img-src>"
    assert dataclasses.replace(SecurityHeadersConfig(csp=base), csp=longer).csp is longer


BAD_POLICIES = {
    "a semicolon": lambda: CSP().img_src(["self; script-src *"]),
    "a comma": lambda: CSP().img_src(["a,b"]),
    "a line break": lambda: CSP().img_src(["a\r\nb"]),
    "not ascii": lambda: CSP().img_src(["https://müller.example"]),
    "none and another": lambda: CSP().img_src(["none", "self"]),
    "a number": lambda: CSP().img_src([1]),
    "nothing at all": lambda: CSP().build(),
}


@pytest.mark.parametrize("make", BAD_POLICIES.values(), ids=BAD_POLICIES.keys())
def test_a_policy_that_browsers_would_misread_is_refused(make):
    with pytest.raises(ConfigError, match="CSP: "):
        make()


REFUSED = {
    "preload without a year": (
        {"hsts_preload": True, "hsts_max_age": 60, "hsts_include_subdomains": True},
        "hsts_preload needs",
    ),
    "preload without subdomains": ({"hsts_preload": True, "hsts_max_age": 31_536_000}, "hsts_preload needs"),
    "subdomains of nothing": ({"hsts_include_subdomains": True}, "needs hsts_max_age"),
    "an unknown frame option": ({"x_frame_options": "ALLOW-FROM x"}, "x_frame_options must be one of"),
    "an unknown opener policy": ({"coop": "none"}, "coop must be one of"),
    "a policy that is no text": ({"csp": 7}, "must be a CSP or its text"),
    "a policy with a line break": ({"csp": "default-src 'self'\r\nX: y"}, "cannot be sent"),
    "a referrer policy with a line break": ({"referrer_policy": "a\nb"}, "cannot be sent"),
    "an unknown field": ({"x_frame": "DENY"}, "did you mean 'x_frame_options'"),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_settings_that_contradict_each_other_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_security_headers(SecurityHeadersConfig(**fields))


def test_only_its_own_config_is_taken():
    with pytest.raises(ConfigError, match="takes a SecurityHeadersConfig"):
        App().enable_security_headers({"csp": "x"})
