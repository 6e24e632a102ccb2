"""Key sets: from a file and from a real server, with rotation, outages, and nonsense."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from cello import App, ConfigError, JwtConfig
from cello.features import jwt_keys
from cello.testing import TestClient

FIRST, SECOND = (ECKey.generate_key("P-256", {"kid": name, "use": "sig"}) for name in ("first", "second"))


def sign(key, **header):
    claims = {"sub": "ann", "exp": int(time.time()) + 600}
    return jwt.encode({"alg": "ES256", "kid": key.kid, **header}, claims, key)


def as_set(*keys):
    return json.dumps({"keys": [key if isinstance(key, dict) else key.as_dict(private=False) for key in keys]})


class KeyServer:
    """A real server on loopback: what it answers is up to the test."""

    def __init__(self):
        self.asked = 0
        self.status, self.body, self.location = 200, as_set(FIRST), None
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                outer.gate.wait(20)
                body = outer.body.encode()
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def keys():
    server = KeyServer()
    yield server
    server.close()


class Clock:
    def __init__(self):
        self.offset = 0.0

    def __call__(self):
        return time.monotonic() + self.offset


def make_app(jwks, coloured=lambda handler: handler, **fields):
    app = App()
    app.enable_jwt(JwtConfig(jwks=str(jwks), algorithm="ES256", **fields), skip_paths=["/open"])
    app.get("/")(coloured(lambda request: request.context["user"]["sub"]))
    app.get("/open")(coloured(lambda request: request.context.get("user") is not None))
    clock = Clock()
    app.feature("jwt")._fetched._clock = clock
    return app, clock


def ask(client, token, path="/"):
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def settle(app):
    """Wait until no fetch is under way."""
    running = app.feature("jwt")._fetched._running
    if running is not None:
        running.result(20)


def test_keys_come_from_a_server_once(serve, coloured, keys):
    app, _ = make_app(keys.url, coloured)
    with serve(app) as client:
        for _ in range(3):
            assert ask(client, sign(FIRST)).text == "ann"
    assert keys.asked == 1


def test_a_new_key_works_at_once_and_an_old_one_ends(serve, coloured, keys):
    app, clock = make_app(keys.url, coloured)
    with serve(app) as client:
        assert ask(client, sign(FIRST)).status == 200
        keys.body = as_set(SECOND)
        clock.offset += jwt_keys.COOLDOWN_S
        assert ask(client, sign(SECOND)).text == "ann"
        assert ask(client, sign(FIRST)).status == 401
    assert keys.asked == 2


def test_made_up_key_names_do_not_keep_the_server_busy(serve, coloured, keys):
    app, clock = make_app(keys.url, coloured)
    with serve(app) as client:
        clock.offset += jwt_keys.COOLDOWN_S
        for number in range(5):
            refused = ask(client, sign(FIRST, kid=f"made-up-{number}"))
            assert refused.status == 401
            assert "key is not known" in refused.json()["detail"]
    assert keys.asked == 2


def test_a_set_is_fetched_again_when_it_is_old(serve, coloured, keys):
    app, clock = make_app(keys.url, coloured, jwks_cache_secs=60)
    with serve(app) as client:
        assert ask(client, sign(FIRST)).status == 200
        keys.body = as_set(SECOND)
        clock.offset += 61
        assert ask(client, sign(FIRST)).status == 200  # nobody waits
        settle(app)
        assert ask(client, sign(FIRST)).status == 401
        assert ask(client, sign(SECOND)).status == 200


OUTAGES = {
    "an error": {"status": 500, "body": "no"},
    "nonsense": {"body": "<html>"},
    "no keys": {"body": '{"keys": []}'},
    "no list": {"body": "[]"},
    "a redirect": {"status": 302, "location": "http://127.0.0.1:9/"},
    "too much": {"body": " " * (jwt_keys.MOST_BYTES + 1)},
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_the_last_set_holds_through_an_outage_but_not_for_ever(client, keys, caplog, outage):
    app, clock = make_app(keys.url, jwks_cache_secs=60)
    opened = client(app)
    assert ask(opened, sign(FIRST)).status == 200
    vars(keys).update(outage)
    clock.offset += 61
    for _ in range(2):
        assert ask(opened, sign(FIRST)).status == 200
        settle(app)
        clock.offset += jwt_keys.COOLDOWN_S
    assert "cannot be fetched" in caplog.text
    clock.offset += jwt_keys.STALE_S
    assert ask(opened, sign(FIRST)).status == 503
    settle(app)
    vars(keys).update(status=200, body=as_set(FIRST), location=None)
    clock.offset += jwt_keys.COOLDOWN_S
    assert ask(opened, sign(FIRST)).status == 200


def test_without_keys_requests_are_503_until_there_are_some(serve, coloured, keys, caplog):
    keys.status = 500
    app, clock = make_app(keys.url, coloured)
    with serve(app) as client:
        refused = ask(client, sign(FIRST))
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert ask(client, sign(FIRST), "/open").json() is False
        assert client.get("/").status == 401
        keys.status = 200
        clock.offset += jwt_keys.COOLDOWN_S
        assert ask(client, sign(FIRST)).text == "ann"


@pytest.mark.parametrize("via", ["asgi", "native"])
async def test_nobody_else_waits_for_a_slow_key_server(via, keys):
    app, clock = make_app(keys.url)
    app.get("/open/quick")(lambda: "quick")
    async with TestClient(app, via) as client:
        keys.gate.clear()
        keys.body = as_set(SECOND)
        clock.offset += jwt_keys.COOLDOWN_S
        waiting = asyncio.create_task(client.get("/", headers={"Authorization": f"Bearer {sign(SECOND)}"}))
        while keys.asked < 2:
            await asyncio.sleep(0.005)
        assert (await client.get("/open/quick")).text == "quick"
        assert not waiting.done()
        keys.gate.set()
        assert (await waiting).status == 200


def test_keys_come_from_a_file_which_may_change(serve, coloured, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(as_set(FIRST))
    app, clock = make_app(path, coloured)
    with serve(app) as client:
        assert ask(client, sign(FIRST)).status == 200
        path.write_text(as_set(FIRST, SECOND))
        clock.offset += jwt_keys.COOLDOWN_S
        assert ask(client, sign(SECOND)).status == 200


USELESS = {
    "a secret": OctKey.generate_key(256, {"kid": "first"}).as_dict(),
    "an encryption key": {**FIRST.as_dict(private=False), "use": "enc"},
    "a key for other operations": {**FIRST.as_dict(private=False), "use": "sig", "key_ops": ["encrypt"]},
    "a short key": {"kty": "RSA", "kid": "first", "n": "AQAB" * 20, "e": "AQAB"},
    "an unknown type": {"kty": "XYZ", "kid": "first"},
    "a broken key": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "first"},
    "no object": [1],
}


@pytest.mark.parametrize("key", USELESS.values(), ids=USELESS.keys())
def test_keys_that_cannot_check_are_left_out(client, tmp_path, key):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key]}))
    with pytest.raises(ConfigError, match="none of its keys can check signatures"):
        make_app(path)
    path.write_text(json.dumps({"keys": [key, SECOND.as_dict(private=False)]}))
    app, _ = make_app(path)
    assert ask(client(app), sign(SECOND)).status == 200


def test_a_key_is_used_for_its_own_algorithm_only(client, tmp_path):
    rsa = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS512"})
    path = tmp_path / "keys.json"
    path.write_text(as_set(rsa))
    app = App()
    app.enable_jwt(JwtConfig(jwks=str(path), algorithm=["RS256", "RS512"]))
    app.get("/")(lambda request: "hello")
    opened = client(app)
    signer = RSAKey.import_key(rsa.as_pem(private=True))
    for algorithm, status in (("RS512", 200), ("RS256", 401)):
        claims = {"exp": int(time.time()) + 600}
        token = jwt.encode({"alg": algorithm, "kid": "rsa"}, claims, signer, [algorithm])
        assert ask(opened, token).status == status


def test_a_token_without_a_key_name_is_tried_with_each(client, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(as_set(FIRST, SECOND))
    app, _ = make_app(path)
    claims = {"sub": "ann", "exp": int(time.time()) + 600}
    token = jwt.encode({"alg": "ES256"}, claims, SECOND)
    assert ask(client(app), token).status == 200


def test_keys_over_the_open_net_are_warned_of(caplog):
    App().enable_jwt(JwtConfig(jwks="http://keys.example/jwks", algorithm="RS256"))
    assert "is fetched without TLS" in caplog.text
