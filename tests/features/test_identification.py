"""Signing in: one valid way is enough, and strangers learn nothing; the same for every way, everywhere."""

from base64 import b64encode

import pytest

from cello import App, Authenticated, JwtConfig
from cello.features.jwt import Jwt
from cello.testing.websocket import WebSocketDenied

SECRET = "a secret of at least 32 bytes, as HS256 wants it"
TOKEN = Jwt(JwtConfig(secret=SECRET)).issue({"name": "ann"}, expires_in=86_400)


def basic(name, password):
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


WAYS = {
    "basic": (
        lambda app, **more: app.enable_basic_auth({"ann": "right"}, **more),
        {"Authorization": basic("ann", "right")},
        {"Authorization": basic("ann", "wrong")},
        'Basic realm="Restricted", charset="UTF-8"',
    ),
    "api key": (
        lambda app, **more: app.enable_api_key({"right": "ann"}, **more),
        {"X-API-Key": "right"},
        {"X-API-Key": "wrong"},
        'ApiKey header="X-API-Key"',
    ),
    "jwt": (
        lambda app, **more: app.enable_jwt(JwtConfig(secret=SECRET), **more),
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-4]}AAAA"},
        "Bearer",
    ),
    "jwt in a cookie": (
        lambda app, **more: app.enable_jwt(JwtConfig(secret=SECRET, cookie_name="token", header_name="X-T"), **more),
        {"Cookie": f"token={TOKEN}"},
        {"X-T": "rubbish"},
        "Bearer",
    ),
}
every_way = pytest.mark.parametrize(("enable", "good", "bad", "challenge"), WAYS.values(), ids=WAYS.keys())


def make_app(coloured, enable, **more):
    app = App()
    enable(app, **more)
    app.get("/who")(coloured(lambda request: request.get_context("user") or "nobody"))
    app.get("/open/{page}")(coloured(lambda request: request.get_context("user") or "nobody"))
    app.get("/guarded", guards=[Authenticated()])(coloured(lambda: "guarded"))
    app.get("/refusing", guards=[lambda request: False])(coloured(lambda: "never"))

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("secret")

    return app


ANSWERS = {
    "a route": ("GET", "/who", 200),
    "a guarded route": ("GET", "/guarded", 200),
    "an early answer": ("GET", "/refusing", 403),
    "an exception": ("GET", "/broken", 500),
    "no route": ("GET", "/nowhere", 404),
    "another method": ("PUT", "/who", 405),
    "automatic options": ("OPTIONS", "/who", 204),
}


@every_way
@pytest.mark.parametrize(("method", "path", "status"), ANSWERS.values(), ids=ANSWERS.keys())
def test_only_who_signs_in_is_answered(serve, coloured, enable, good, bad, challenge, method, path, status):
    with serve(make_app(coloured, enable)) as client:
        assert client.request(method, path, headers=good).status == status
        for headers in ({}, bad):
            refused = client.request(method, path, headers=headers)
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith(challenge.split()[0])


@every_way
def test_a_stranger_is_told_how_to_sign_in(serve, coloured, enable, good, bad, challenge):
    with serve(make_app(coloured, enable)) as client:
        refused = client.get("/who")
    assert refused.headers["www-authenticate"] == challenge
    assert refused.headers["content-type"] == "application/problem+json"


@every_way
def test_guards_see_the_user(serve, coloured, enable, good, bad, challenge):
    with serve(make_app(coloured, enable)) as client:
        assert client.get("/who", headers=good).json()["name"] == "ann"


@every_way
def test_on_skipped_paths_signing_in_is_free(serve, coloured, enable, good, bad, challenge):
    with serve(make_app(coloured, enable, skip_paths=["/open", "/"])) as client:
        assert client.get("/open/a").text == "nobody"
        assert client.get("/open/a", headers=bad).text == "nobody"
        assert client.get("/open/a", headers=good).json()["name"] == "ann"
        assert client.get("/open/a/b").status == 404
        assert client.get("/opened").status == 401
        assert client.get("/who").status == 401  # "/" is the root alone


@every_way
def test_endpoints_of_features_ask_their_own_guards(serve, coloured, enable, good, bad, challenge):
    app = make_app(coloured, enable)
    app.enable_openapi()
    with serve(app) as client:
        assert client.get("/openapi.json").status == 200
        assert client.get("/openapi.json", headers=bad).status == 200


def test_one_of_several_ways_is_enough(serve, coloured):
    app = make_app(coloured, lambda app: (app.enable_api_key(["k"]), app.enable_basic_auth({"ann": "right"})))
    good, bad = {"Authorization": basic("ann", "right")}, {"Authorization": basic("ann", "wrong")}
    with serve(app) as client:
        assert client.get("/who", headers=good).json() == {"name": "ann"}
        assert client.get("/who", headers={**bad, "X-API-Key": "k"}).json() == {"name": "key-1"}
        assert client.get("/who", headers={**good, "X-API-Key": "no"}).json() == {"name": "ann"}
        assert client.get("/who", headers={**bad, "X-API-Key": "no"}).status == 401
        refused = client.get("/who")
        assert refused.headers["www-authenticate"] == 'ApiKey header="X-API-Key", ' + WAYS["basic"][3]


def test_a_way_that_skips_a_path_leaves_the_others_demanded_there(client):
    app = make_app(
        lambda handler: handler,
        lambda app: (app.enable_api_key(["k"]), app.enable_basic_auth({"ann": "right"}, skip_paths=["/open"])),
    )
    opened = client(app)
    assert opened.get("/open/a").status == 401
    assert opened.get("/open/a", headers={"X-API-Key": "k"}).status == 200


def test_the_order_of_the_switches_does_not_matter():
    apps = [App(), App()]
    apps[0].enable_api_key(["k"])
    for app in apps:
        app.enable_basic_auth({"ann": "right"})
    apps[1].enable_api_key(["k"])
    assert apps[0].explain("/") == apps[1].explain("/")
    assert "identification: api_key, basic_auth" in apps[0].explain("/")


def test_a_page_of_another_origin_reads_the_refusal_and_its_preflight_is_answered(serve, coloured):
    app = make_app(coloured, WAYS["api key"][0])
    app.enable_cors(["https://a.example"])
    sent = {"Origin": "https://a.example"}
    with serve(app) as client:
        refused = client.get("/who", headers=sent)
        asked = client.options("/who", headers={**sent, "Access-Control-Request-Method": "GET"})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://a.example"
    assert asked.status == 204


@every_way
@pytest.mark.parametrize("via", ["asgi", "native"])
def test_a_websocket_opens_only_for_who_signs_in(client, via, enable, good, bad, challenge):
    app = App()
    enable(app)

    @app.websocket("/ws")
    def chat(ws):
        ws.send_text(ws.request.context["user"]["name"])

    opened = client(app, via)
    with opened.websocket_connect("/ws", headers=good) as socket:
        assert socket.receive_text() == "ann"
    for headers in ({}, bad):
        with pytest.raises(WebSocketDenied, match="401"):
            opened.websocket_connect("/ws", headers=headers).__enter__()


@every_way
def test_openapi_says_where_to_sign_in(enable, good, bad, challenge):
    app = make_app(lambda handler: handler, enable, skip_paths=["/open"])
    document = app.openapi()
    names = list(document["components"]["securitySchemes"])
    for path in ("/who", "/guarded"):
        assert document["paths"][path]["get"]["security"] == [{name: []} for name in names]
    assert "401" in document["paths"]["/who"]["get"]["responses"]
    assert "security" not in document["paths"]["/open/{page}"]["get"]
