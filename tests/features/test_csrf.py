"""CSRF: what a page of another site has a browser do is refused, what our own pages do is not."""

import re

import pytest

from cello import App, ConfigError, JwtConfig, Response, SessionConfig, csrf_token
from cello.features.csrf import TOKEN_BYTES, _unmasked
from cello.features.signing import decode

SECRET = "s" * 32
HOST = {"Host": "shop.example"}
HERE = {**HOST, "Origin": "http://shop.example"}


def make_app(coloured=lambda handler: handler, *, session=None, **more):
    app = App()
    if session is not None:
        app.enable_session(SessionConfig(store=session, cookie_secure=False, auth_keys=SECRET))
    app.enable_csrf(**{"secret": SECRET, "cookie_secure": False, **more})

    @app.get("/form")
    @coloured
    def form(request):
        return Response.html(f'<input type="hidden" name="csrf_token" value="{csrf_token(request)}">')

    @app.get("/page")
    @coloured
    def page():
        return Response.html("<p>hello")

    @app.get("/data")
    @coloured
    def data():
        return {"a": 1}

    @app.get("/sign-in-by-link")
    @coloured
    def by_link(request):
        request.session.regenerate()
        request.session["user"] = "ann"
        return Response.html("<p>in")

    @app.post("/sign-in")
    @coloured
    def sign_in(request):
        request.session.regenerate()
        request.session["user"] = "ann"

    app.route("/change", methods=["POST", "PUT", "PATCH", "DELETE", "QUERY"])(coloured(lambda: "changed"))
    app.post("/upload", stream=True)(coloured(lambda request: "streamed"))
    app.post("/hook/github")(coloured(lambda: "hooked"))
    return app


def token_in(answer):
    return re.search(r'value="([^"]+)"', answer.text).group(1)


def test_a_form_of_our_own_is_taken(serve, coloured):
    with serve(make_app(coloured)) as client:
        token = token_in(client.get("/form", headers=HOST))
        assert client.post("/change", data={"csrf_token": token}, headers=HERE).text == "changed"
        files = {"file": ("a.txt", b"x")}
        assert client.post("/change", data={"csrf_token": token}, files=files, headers=HERE).text == "changed"
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": token}).text == "changed"
        assert client.post("/upload", headers={**HERE, "X-CSRF-Token": token}, content="x").text == "streamed"


def test_a_script_sends_what_is_in_the_cookie(serve, coloured):
    with serve(make_app(coloured)) as client:
        line = client.get("/page", headers=HOST).headers["set-cookie"]
        assert line.endswith("; Path=/; SameSite=Lax")  # not HttpOnly: the script reads it
        token = client.cookies["csrf_token"]
        for method in ("POST", "PUT", "PATCH", "DELETE", "QUERY"):
            assert client.request(method, "/change", headers={**HERE, "X-CSRF-Token": token}).status == 200


REFUSED = {
    "no token": {},
    "an empty token": {"X-CSRF-Token": ""},
    "rubbish": {"X-CSRF-Token": "rubbish"},
    "zeroes": {"X-CSRF-Token": "A" * 64},
    "masked zeroes": {"X-CSRF-Token": "A" * 128},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_without_the_token_it_is_refused(serve, coloured, headers):
    with serve(make_app(coloured)) as client:
        client.get("/page", headers=HOST)
        for method in ("POST", "PUT", "DELETE"):
            refused = client.request(method, "/change", headers={**HERE, **headers})
            assert refused.status == 403
            assert "CSRF" in refused.json()["detail"]
        assert client.get("/data", headers=headers).status == 200


def test_the_token_is_worth_nothing_without_its_cookie(serve, coloured):
    with serve(make_app(coloured)) as client:
        token = token_in(client.get("/form", headers=HOST))
        client.cookies.clear()
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": token}).status == 403
        client.get("/form", headers=HOST)
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": token}).status == 403


def test_a_cookie_that_somebody_planted_is_worth_nothing(client):
    opened = client(make_app())
    planted = "B" * 64
    headers = {**HERE, "X-CSRF-Token": planted, "Cookie": f"csrf_token={planted}"}
    assert opened.post("/change", headers=headers).status == 403


FROM = {
    "our own page": ({"Origin": "http://shop.example"}, True),
    "our own page, another port said": ({"Origin": "http://shop.example:80"}, True),
    "our own page behind a proxy that ends tls": ({"Origin": "https://shop.example"}, True),
    "another site": ({"Origin": "https://evil.example"}, False),
    "another port": ({"Origin": "http://shop.example:8080"}, False),
    "a port that is none": ({"Origin": "http://shop.example:99999"}, False),
    "a longer name": ({"Origin": "http://shop.example.evil.example"}, False),
    "a sandboxed frame": ({"Origin": "null"}, False),
    "another scheme": ({"Origin": "file://shop.example"}, False),
    "a trusted site": ({"Origin": "https://admin.example"}, True),
    "a trusted site, as the browser sees it": (
        {"Origin": "https://admin.example", "Sec-Fetch-Site": "cross-site"},
        True,
    ),
    "same origin": ({"Sec-Fetch-Site": "same-origin"}, True),
    "same origin behind a proxy that changes Host": (
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://other.example"},
        True,
    ),
    "the user": ({"Sec-Fetch-Site": "none"}, True),
    "same site": ({"Sec-Fetch-Site": "same-site"}, False),
    "same site with its origin": ({"Sec-Fetch-Site": "same-site", "Origin": "http://a.shop.example"}, False),
    "cross site": ({"Sec-Fetch-Site": "cross-site"}, False),
    "cross site with our origin": ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
    "our own referer": ({"Referer": "http://shop.example/form?a=b"}, True),
    "another referer": ({"Referer": "http://evil.example/shop.example"}, False),
    "nothing said": ({}, True),
}


@pytest.mark.parametrize(("headers", "taken"), FROM.values(), ids=FROM.keys())
def test_where_a_request_comes_from_counts_as_well(client, headers, taken):
    opened = client(make_app(trusted_origins=["https://admin.example"]))
    token = token_in(opened.get("/form", headers=HOST))
    answer = opened.post("/change", headers={**HOST, "X-CSRF-Token": token, **headers})
    assert (answer.status == 200) is taken


def test_a_page_that_came_by_http_does_not_act_over_https(client):
    app = make_app()
    app.set_trusted_proxies(["127.0.0.1"])
    opened = client(app)
    secure = {**HOST, "X-Forwarded-Proto": "https"}
    token = token_in(opened.get("/form", headers=secure))
    for origin, status in (("http://shop.example", 403), ("https://shop.example", 200)):
        headers = {**secure, "X-CSRF-Token": token, "Origin": origin}
        assert opened.post("/change", headers=headers).status == status


@pytest.mark.parametrize("session", ["cookie", "memory"])
def test_a_token_belongs_to_its_session(serve, coloured, session):
    with serve(make_app(coloured, session=session)) as client:
        before = token_in(client.get("/form", headers=HOST))
        assert client.post("/sign-in", headers={**HERE, "X-CSRF-Token": before}).status == 204
        fresh = client.cookies["csrf_token"]  # came with the answer that began the session
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": before}).status == 403
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": fresh}).status == 200
        client.get("/sign-in-by-link", headers=HOST)
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": fresh}).status == 403


def test_a_stale_cookie_is_replaced_with_the_refusal(serve, coloured):
    with serve(make_app(coloured, session="memory")) as client:
        client.get("/page", headers=HOST)
        client.get("/sign-in-by-link", headers=HOST)
        client.cookies["csrf_token"] = "A" * 64
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": "A" * 64}).status == 403
        token = client.cookies["csrf_token"]
        assert client.post("/change", headers={**HERE, "X-CSRF-Token": token}).status == 200


def test_every_form_has_a_mask_of_its_own_around_one_token(client):
    opened = client(make_app())
    tokens = [token_in(opened.get("/form", headers=HOST)) for _ in range(3)]
    assert len(set(tokens)) == 3
    unmasked = {_unmasked(token.encode()) for token in tokens}
    assert unmasked == {decode(opened.cookies["csrf_token"].encode())}
    assert {len(token) for token in unmasked} == {TOKEN_BYTES}


def test_only_pages_and_who_asks_get_a_cookie_and_those_are_not_stored(serve, coloured):
    with serve(make_app(coloured)) as client:
        assert "set-cookie" not in client.get("/data").headers
        assert client.get("/page").headers["cache-control"] == "no-store"
        assert "set-cookie" not in client.get("/page").headers
        form = client.get("/form")
        assert (form.headers["cache-control"], form.headers["vary"]) == ("no-store", "Cookie")
        assert "set-cookie" not in form.headers


def test_who_signs_in_by_a_header_is_not_asked(serve, coloured):
    app = make_app(coloured)
    app.enable_jwt(JwtConfig(secret=SECRET, cookie_name="jwt"))
    app.enable_basic_auth({"ann": "right"})
    token = app.feature("jwt").issue({"sub": "ann"})
    with serve(app) as client:
        assert client.post("/change", headers={"Authorization": f"Bearer {token}"}).status == 200
        assert client.post("/change", headers={"Cookie": f"jwt={token}"}).status == 403
        assert client.post("/change", headers={"Authorization": "Basic YW5uOnJpZ2h0"}).status == 403


def test_what_has_no_route_is_not_hidden_behind_it(serve, coloured):
    with serve(make_app(coloured)) as client:
        assert client.post("/nowhere").status == 404
        assert client.post("/data").status == 405


def test_exempt_paths_take_anything(serve, coloured):
    with serve(make_app(coloured, exempt_paths=["/hook"])) as client:
        assert client.post("/hook/github", headers={"Origin": "https://evil.example"}).text == "hooked"
        assert client.post("/change").status == 403


def test_names_may_be_others(client):
    opened = client(make_app(cookie_name="xsrf", header="X-XSRF", field="_token", cookie_path="/", cookie_domain=None))
    token = token_in(opened.get("/form", headers=HOST))
    assert "xsrf" in opened.cookies
    assert opened.post("/change", headers={**HERE, "X-XSRF": token}).status == 200
    assert opened.post("/change", headers=HERE, data={"_token": token}).status == 200
    assert opened.post("/change", headers={**HERE, "X-CSRF-Token": token}).status == 403


def test_secrets_can_be_rotated(client):
    old = client(make_app(secret="o" * 32))
    token = token_in(old.get("/form", headers=HOST))
    for secret, status in ((["n" * 32, "o" * 32], 200), ("n" * 32, 403)):
        new = client(make_app(secret=secret))
        new.cookies["csrf_token"] = old.cookies["csrf_token"]
        assert new.post("/change", headers={**HERE, "X-CSRF-Token": token}).status == status


def test_a_cross_origin_preflight_is_answered_and_the_refusal_is_readable(serve, coloured):
    app = make_app(coloured)
    app.enable_cors(["https://a.example"], credentials=True)
    sent = {"Origin": "https://a.example"}
    with serve(app) as client:
        assert client.options("/change", headers={**sent, "Access-Control-Request-Method": "POST"}).status == 204
        refused = client.post("/change", headers=sent)
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (403, "https://a.example")


def test_a_token_needs_the_switch(client):
    app = App()
    app.get("/")(lambda request: csrf_token(request))
    assert client(app, raise_server_exceptions=False).get("/").status == 500
    from cello import Request

    with pytest.raises(ConfigError, match=r"needs app.enable_csrf"):
        csrf_token(Request("GET", "/"))


WRONG = {
    "a short secret": ({"secret": "short"}, "secret: secret 1 has 5 bytes"),
    "no header": ({"header": "a b"}, "header 'a b'"),
    "no field": ({"field": ""}, "field ''"),
    "no cookie": ({"cookie_name": "a b"}, "cookie_"),
    "a path that is none": ({"cookie_path": "a"}, "cookie_"),
    "none without secure": ({"cookie_same_site": "None", "cookie_secure": False}, "cookie_"),
    "an origin with a path": ({"trusted_origins": ["https://a.example/"]}, "in trusted_origins is not an origin"),
    "a host": ({"trusted_origins": ["a.example"]}, "in trusted_origins is not an origin"),
    "one origin": ({"trusted_origins": "https://a.example"}, "trusted_origins is a list"),
    "a path": ({"exempt_paths": "/a"}, "exempt_paths is a list of paths"),
}


@pytest.mark.parametrize(("options", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_refused_at_start_up(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_csrf(**options)
