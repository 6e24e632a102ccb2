"""What signing in, sessions and CSRF add to a request: a hundred requests through the pipeline, beside none of it.

`python -m pytest bench/micro/test_auth.py`: what is beyond "nothing", divided by a hundred, is what a request pays.
"""

import asyncio
import time

import pytest

from cello import App, JwtConfig, Request, Response, SessionConfig, csrf_token
from cello.features.session import Kept
from cello.features.signing import Signer, encode
from cello.http.head import FieldList
from cello.http.peer import Peer

PEER = Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))
COMMON = [(b"Host", b"localhost:8000"), (b"User-Agent", b"bench/1"), (b"Accept", b"*/*")]


def greet():
    return Response.text("hello")


SECRET = "a secret of at least 32 bytes, as HS256 wants it"


def with_token(app):
    app.enable_jwt(JwtConfig(secret=SECRET))
    return bearer(app.feature("jwt").issue({"sub": "ann"}, expires_in=86_400))


def with_public_key(app):
    joserfc_jwk = pytest.importorskip("joserfc.jwk")
    from joserfc import jwt

    key = joserfc_jwk.ECKey.generate_key("P-256")
    app.enable_jwt(JwtConfig(secret=key.as_pem(private=False), algorithm="ES256"))
    return bearer(jwt.encode({"alg": "ES256"}, {"sub": "ann", "exp": int(time.time()) + 86_400}, key))


def with_csrf(app):
    app.enable_csrf(secret="k" * 32)
    return [(b"Cookie", b"csrf_token=" + encode(app.feature("csrf")._make(b"")))]


def with_csrf_token(app):
    cookie = with_csrf(app)
    token = cookie[0][1].removeprefix(b"csrf_token=")
    return [*cookie, (b"X-CSRF-Token", token), (b"Origin", b"http://localhost:8000"), (b":method", b"POST")]


def bearer(token):
    return [(b"Authorization", b"Bearer " + token.encode())]


def look(request):
    return Response.text(request.session["user"])


def change(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return Response.text("hello")


def with_session(store):
    """Switch sessions on, and return the cookie of one."""

    def prepare(app):
        app.enable_session(SessionConfig(store=store, auth_keys="k" * 32))
        keeper = app.feature("session")._keeper
        data = b'{"user":"ann","cart":["apple","pear"]}'
        packed = Kept("n" * 43, int(time.time()), int(time.time()), data).pack()
        value = keeper.write("n" * 43, packed, 1000, is_new=True, old=None)
        return [(b"Cookie", b"theme=dark; session_id=" + value.encode())]

    return prepare


CASES = {
    "nothing": (lambda app: [], greet),
    "basic, a plain password": (
        lambda app: app.enable_basic_auth({"ann": "right"}) or [(b"Authorization", b"Basic YW5uOnJpZ2h0")],
        greet,
    ),
    "an api key of a thousand": (
        lambda app: app.enable_api_key([f"key-{n}" for n in range(1000)]) or [(b"X-Api-Key", b"key-500")],
        greet,
    ),
    "jwt, HS256": (with_token, greet),
    "jwt, ES256": (with_public_key, greet),
    "csrf, a request that changes nothing": (with_csrf, greet),
    "csrf, a form's token": (with_csrf, lambda request: Response.text(csrf_token(request))),
    "csrf, a request that changes": (with_csrf_token, greet),
    "a session nobody looks at": (with_session("cookie"), greet),
    "a session in a cookie, read": (with_session("cookie"), look),
    "a session in a cookie, changed": (with_session("cookie"), change),
    "a session in shared memory, read": (with_session("shared"), look),
    "a session in shared memory, changed": (with_session("shared"), change),
    "a session in memory, read": (with_session("memory"), look),
    "a session in memory, changed": (with_session("memory"), change),
}


@pytest.mark.benchmark(group="a hundred requests")
@pytest.mark.parametrize("name", CASES)
def test_a_switch(benchmark, name):
    app = App()
    prepare, handler = CASES[name]
    fields = dict(prepare(app))
    method = fields.pop(b":method", b"GET").decode()
    head = FieldList([*COMMON, *fields.items()])
    app.route("/", methods=[method])(handler)
    asyncio.run(app.lifecycle.startup())
    dispatcher = app.freeze()

    def answer():
        for _ in range(100):
            request = Request.incoming(method, "/", "", head, PEER)
            response = dispatcher.answer(dispatcher.plan_for(request), request)
        return response

    try:
        assert benchmark(answer).status == 200
    finally:
        asyncio.run(app.lifecycle.shutdown())


MESSAGE = b'{"user":"ann","cart":["apple","pear"]}'


@pytest.mark.benchmark(group="sign and open")
@pytest.mark.parametrize("way", ["ours", "itsdangerous"])
def test_signing(benchmark, way):
    if way == "ours":
        signer = Signer([b"k" * 32], "session")
        assert benchmark(lambda: signer.open(signer.sign(MESSAGE))) == MESSAGE
    else:
        itsdangerous = pytest.importorskip("itsdangerous")
        rival = itsdangerous.TimestampSigner(b"k" * 32, key_derivation="hmac")
        assert benchmark(lambda: rival.unsign(rival.sign(MESSAGE), max_age=60)) == MESSAGE


@pytest.mark.benchmark(group="believe a token")
@pytest.mark.parametrize("way", ["ours", "joserfc"])
def test_believing(benchmark, way):
    app = App()
    app.enable_jwt(JwtConfig(secret=SECRET))
    feature = app.feature("jwt")
    token = feature.issue({"sub": "ann"}, expires_in=86_400)
    if way == "ours":
        head = FieldList(bearer(token))
        assert benchmark(lambda: feature.identify(Request.incoming("GET", "/", "", head, PEER)))
    else:
        from joserfc import jwt
        from joserfc.jwk import OctKey

        key, registry = OctKey.import_key(SECRET), jwt.JWTClaimsRegistry(exp={"essential": True})
        benchmark(lambda: registry.validate(jwt.decode(token, key, ["HS256"]).claims))
