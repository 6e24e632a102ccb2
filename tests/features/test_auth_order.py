"""Sessions, CSRF and the ways to sign in together: in any order one chain, each once, and beside the cache."""

import itertools

import pytest

from cello import App, ConfigError, JwtConfig, SessionConfig

SECRET = "s" * 32
SWITCHES = {
    "session": lambda app: app.enable_session(SessionConfig(auth_keys=SECRET, cookie_secure=False)),
    "csrf": lambda app: app.enable_csrf(SECRET, cookie_secure=False),
    "jwt": lambda app: app.enable_jwt(JwtConfig(secret=SECRET)),
    "basic_auth": lambda app: app.enable_basic_auth({"ann": "right"}),
    "api_key": lambda app: app.enable_api_key(["key"]),
    "cors": lambda app: app.enable_cors(["https://a.example"]),
    "security_headers": lambda app: app.enable_security_headers(),
    "request_id": lambda app: app.enable_request_id(),
}


def chain(order, path="/"):
    app = App()
    for name in order:
        SWITCHES[name](app)
    app.get("/")(lambda: "hello")
    return app.explain(path).split("\n", 1)[1].split("\n")


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_the_chain_does_not_depend_on_the_order_of_the_calls(path):
    expected = chain(SWITCHES, path)
    orders = itertools.islice(itertools.permutations(SWITCHES), 0, None, 797)
    assert {tuple(chain(order, path)) for order in orders} == {tuple(expected)}


def test_the_chain_is_the_one_that_the_bands_say():
    steps = [" ".join(line.split()) for line in chain(SWITCHES)[1:]]
    assert [step for step in steps if "before" in step] == [
        "10 before LogContext.before",
        "12 before RequestIds.before",
        "15 before Cors.before",
        "28 before Sessions.before",
        "30 before identification: api_key, basic_auth, jwt",
        "32 before Csrf.before",
    ]
    assert [step for step in steps if "after" in step] == [
        "32 after Csrf.after",
        "28 after Sessions.after",
        "17 after SecurityHeaders.after",
        "15 after Cors.after",
        "12 after RequestIds.after",
    ]


@pytest.mark.parametrize("name", ["session", "csrf", "jwt", "basic_auth", "api_key"])
def test_each_is_thrown_once_and_in_time(name):
    app = App()
    SWITCHES[name](app)
    with pytest.raises(ConfigError, match=rf"{name}\(\) was called already"):
        SWITCHES[name](app)
    late = App()
    late.freeze()
    with pytest.raises(ConfigError, match=rf"{name}\(\) comes too late"):
        SWITCHES[name](late)
    assert app.feature(name).name == name


def test_refusals_carry_what_every_answer_carries(serve, coloured):
    app = App()
    for switch in SWITCHES.values():
        switch(app)
    app.post("/")(coloured(lambda: "hello"))
    app.post("/small", max_body_size=3)(coloured(lambda: "never"))
    sent = {"Origin": "https://a.example", "X-Request-ID": "one"}
    asked = {
        "nobody": (client_post("/"), {}, 401),
        "somebody by a key": (client_post("/"), {"X-API-Key": "key"}, 200),
        "a forged form of somebody": (client_post("/"), {"Authorization": "Basic YW5uOnJpZ2h0"}, 403),
        "no route": (client_post("/nowhere"), {"X-API-Key": "key"}, 404),
        "a refusal of the server": (client_post("/small", content=b"12345"), {"X-API-Key": "key"}, 413),
    }
    with serve(app) as client:
        for ask, headers, status in asked.values():
            answer = ask(client, {**sent, **headers})
            assert answer.status == status
            assert answer.headers["x-request-id"] == "one"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["access-control-allow-origin"] == "https://a.example"


def client_post(path, **send):
    return lambda client, headers: client.post(path, headers=headers, **send)


def test_what_depends_on_a_session_or_a_user_is_not_cached_for_others(serve, coloured):
    app = App()
    app.enable_caching(ttl=60)
    SWITCHES["session"](app)
    SWITCHES["csrf"](app)
    app.enable_basic_auth({"ann": "a", "bob": "b"}, skip_paths=["/open"])
    calls = []

    @app.get("/open/mine")
    @coloured
    def mine(request):
        return request.session.get("name", "nobody")

    @app.get("/open/name/{name}")
    @coloured
    def name(request, name):
        request.session["name"] = name

    @app.get("/open/all")
    @coloured
    def everybody():
        calls.append(1)
        return "all"

    @app.get("/who")
    @coloured
    def who(request):
        return request.context["user"]["name"]

    with serve(app) as client:
        for person in ("ann", "bob"):
            client.cookies.clear()
            assert client.get("/open/mine").text == "nobody"
            client.get(f"/open/name/{person}")
            assert client.get("/open/mine").text == person
        for password, person in (("YW5uOmE=", "ann"), ("Ym9iOmI=", "bob")):
            assert client.get("/who", headers={"Authorization": f"Basic {password}"}).text == person
        for _ in range(3):
            assert client.get("/open/all").text == "all"
    assert len(calls) == 1
