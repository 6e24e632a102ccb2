"""Sessions: the same for every store, everywhere, and nobody gets another one's."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from cello import App, ConfigError, SessionConfig
from cello.features import session_stores
from tests.integration.redis_server import running

KEYS = ["k" * 32, "o" * 32]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis")) as url:
        yield url


class OwnStore:
    """A store of somebody's own, of the async kind."""

    def __init__(self):
        self.kept = {}

    async def load(self, key):
        return self.kept.get(key)

    async def save(self, key, value, max_age_s, *, is_new):
        if not is_new and key not in self.kept:
            return False
        self.kept[key] = value
        return True

    async def delete(self, key):
        self.kept.pop(key, None)


STORES = ("cookie", "memory", "shared", "redis", "own")
on_servers = pytest.mark.parametrize("store", STORES[1:])  # a cookie cannot be taken back; the guide says so


@pytest.fixture(params=STORES)
def store(request):
    return request.param


@pytest.fixture
def config(store, request):
    """Make configurations with a cookie, and so with keys in Redis, that no other test has."""
    name = f"sid-{uuid4().hex[:8]}"

    def make(**fields):
        place = {"redis": "redis", "own": OwnStore()}.get(store, store)
        if place == "redis":
            place = request.getfixturevalue("redis_url")
        return SessionConfig(
            **{"store": place, "cookie_secure": False, "cookie_name": name, "auth_keys": KEYS, **fields}
        )

    return make


def make_app(coloured, config, **more):
    app = App()
    app.enable_session(config, **more)

    @app.get("/count")
    @coloured
    def count(request):
        request.session["n"] = request.session.get("n", 0) + 1
        return request.session["n"]

    @app.get("/look")
    @coloured
    def look(request):
        return dict(request.session)

    @app.get("/append")
    @coloured
    def append(request):
        request.session.setdefault("cart", []).append("apple")
        return request.session["cart"]

    @app.get("/sign-in")
    @coloured
    def sign_in(request):
        request.session.regenerate()
        request.session["user"] = "ann"
        return request.session.id

    @app.get("/sign-out")
    @coloured
    def sign_out(request):
        request.session.destroy()
        return "bye"

    @app.get("/id")
    @coloured
    def name(request):
        return request.session.id

    @app.get("/broken")
    @coloured
    def broken(request):
        request.session["tries"] = request.session.get("tries", 0) + 1
        raise ValueError("secret")

    @app.get("/refused", guards=[lambda request: request.session.get("user") == "ann"])
    @coloured
    def refused():
        return "never"

    app.get("/blind")(coloured(lambda: "blind"))
    app.exception_handler(404)(lambda request, error: (dict(request.session), 404))
    app.exception_handler(405)(lambda request, error: (dict(request.session), 405))
    return app


def test_a_session_lasts_from_request_to_request(serve, coloured, config):
    with serve(make_app(coloured, config())) as client:
        assert [client.get("/count").json() for _ in range(3)] == [1, 2, 3]
        assert client.get("/look").json() == {"n": 3}
        assert client.get("/append").json() == ["apple"]
        assert client.get("/append").json() == ["apple", "apple"]


def test_errors_and_unknown_paths_have_it_too(serve, coloured, config):
    with serve(make_app(coloured, config())) as client:
        assert client.get("/broken").status == 500
        assert client.get("/broken").status == 500
        assert client.get("/look").json() == {"tries": 2}
        assert (client.get("/nowhere").status, client.get("/nowhere").json()) == (404, {"tries": 2})
        assert (client.put("/look").status, client.put("/look").json()) == (405, {"tries": 2})
        assert client.get("/refused").status == 403
        client.get("/sign-in")
        assert client.get("/refused").text == "never"


def test_who_does_not_look_at_it_neither_sends_nor_gets_anything(serve, coloured, config):
    with serve(make_app(coloured, config())) as client:
        for path in ("/blind", "/look"):
            answer = client.get(path)
            assert "set-cookie" not in answer.headers
        assert "vary" not in client.get("/blind").headers
        assert client.get("/look").headers["vary"] == "Cookie"
        client.get("/count")
        assert "set-cookie" not in client.get("/look").headers


def test_the_answer_that_sets_the_cookie_is_not_stored(serve, coloured, config):
    with serve(make_app(coloured, config())) as client:
        assert client.get("/count").headers["cache-control"] == "no-store"
        assert "cache-control" not in client.get("/look").headers


def test_the_cookie_is_as_configured(serve, coloured, config):
    made = config(
        cookie_path="/c", cookie_domain="a.example", cookie_same_site="Strict", cookie_secure=True, max_age=60,
        cookie_http_only=False,
    )  # fmt: skip
    with serve(make_app(coloured, made)) as client:
        line = client.get("/count").headers["set-cookie"]
    assert line.startswith(f"{made.cookie_name}=")
    assert line.endswith("; Max-Age=60; Domain=a.example; Path=/c; Secure; SameSite=Strict")
    with serve(make_app(coloured, config())) as client:
        assert client.get("/count").headers["set-cookie"].endswith("; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax")


def test_signing_in_changes_its_name_and_keeps_what_is_in_it(serve, coloured, config):
    made = config()
    with serve(make_app(coloured, made)) as client:
        client.get("/count")
        before, planted = client.get("/id").text, client.cookies[made.cookie_name]
        after = client.get("/sign-in").text
        assert after == client.get("/id").text != before
        assert client.get("/look").json() == {"n": 1, "user": "ann"}
        client.cookies[made.cookie_name] = planted  # whoever planted it is not signed in by it
        assert "user" not in client.get("/look").json()


@on_servers
def test_a_server_forgets_the_old_name(serve, coloured, config, store):
    made = config()
    with serve(make_app(coloured, made)) as client:
        client.get("/count")
        planted = client.cookies[made.cookie_name]
        client.get("/sign-in")
        client.cookies[made.cookie_name] = planted
        assert client.get("/look").json() == {}


def test_a_name_from_outside_is_never_taken_over(serve, coloured, config):
    made = config(auth_keys=None)
    with serve(make_app(coloured, made)) as client:
        for name in ("planted", "x" * 5000, "a.b", "%00"):
            headers = {"Cookie": f"{made.cookie_name}={name}"}
            assert client.get("/look", headers=headers).json() == {}
            assert client.get("/id", headers=headers).text != name


def test_signing_out_ends_it(serve, coloured, config, store):
    made = config()
    with serve(make_app(coloured, made)) as client:
        client.get("/sign-in")
        kept = client.cookies[made.cookie_name]
        answer = client.get("/sign-out")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert made.cookie_name not in client.cookies
        assert client.get("/look").json() == {}
        if store != "cookie":
            client.cookies[made.cookie_name] = kept
            assert client.get("/look").json() == {}


@on_servers
def test_a_request_under_way_does_not_bring_back_what_was_signed_out(serve, config, store):
    made = config()
    app = make_app(lambda handler: handler, made)
    has_looked, may_go_on = threading.Event(), threading.Event()

    @app.get("/slow", blocking=True)
    def slow(request):
        request.session["late"] = True
        has_looked.set()
        assert may_go_on.wait(20)

    with serve(app) as client:
        client.get("/sign-in")
        kept = client.cookies[made.cookie_name]
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(client.get, "/slow")
            assert has_looked.wait(20)
            client.get("/sign-out")
            may_go_on.set()
            assert late.result().status == 204
        client.cookies[made.cookie_name] = kept
        assert client.get("/look").json() == {}


def test_every_key_opens_and_the_first_one_signs(client, config, store):
    made = config()
    old = client(make_app(lambda handler: handler, config(auth_keys=KEYS[1], store=made.store)))
    old.get("/count")
    kept = old.cookies[made.cookie_name]
    new = client(make_app(lambda handler: handler, made))
    new.cookies[made.cookie_name] = kept
    if store not in ("memory", "shared"):  # which are others in another application
        assert new.get("/count").json() == 2
        stranger = client(make_app(lambda handler: handler, config(auth_keys="z" * 16, store=made.store)))
        stranger.cookies[made.cookie_name] = new.cookies[made.cookie_name]
        assert stranger.get("/look").json() == {}
    if store == "cookie":
        latest = client(make_app(lambda handler: handler, config(auth_keys=KEYS[0])))
        latest.cookies[made.cookie_name] = new.cookies[made.cookie_name]
        assert latest.get("/look").json() == {"n": 2}


def test_a_changed_cookie_is_worth_nothing(client, config):
    made = config()
    opened = client(make_app(lambda handler: handler, made))
    opened.get("/count")
    good = opened.cookies[made.cookie_name]
    for position in range(0, len(good), 7):
        changed = good[:position] + ("A" if good[position] != "A" else "B") + good[position + 1 :]
        answer = opened.get("/look", headers={"Cookie": f"{made.cookie_name}={changed}"})
        assert answer.json() == {}


class Clock:
    """The time as sessions see it."""

    def __init__(self, monkeypatch):
        self._offset = 0.0
        real, steady = time.time, time.monotonic
        monkeypatch.setattr("cello.features.sessions.time.time", lambda: real() + self._offset)
        monkeypatch.setattr(session_stores.MemoryStore.__init__, "__defaults__", (lambda: steady() + self._offset,))

    def forward(self, seconds):
        self._offset += seconds


def test_it_slides_and_ends_after_its_age(client, config, monkeypatch, store):
    clock = Clock(monkeypatch)
    opened = client(make_app(lambda handler: handler, config(max_age=1000)))
    opened.get("/count")
    clock.forward(50)
    assert "set-cookie" not in opened.get("/look").headers  # a tenth has not passed
    for _ in range(4):
        clock.forward(800)
        answer = opened.get("/look")
        assert answer.json() == {"n": 1}
        assert "Max-Age=1000" in answer.headers["set-cookie"]
    clock.forward(1001)
    assert opened.get("/look").json() == {}


def test_it_may_have_an_end_that_does_not_slide(client, config, monkeypatch):
    clock = Clock(monkeypatch)
    opened = client(make_app(lambda handler: handler, config(max_age=1000, absolute_max_age=2000)))
    opened.get("/count")
    for _ in range(2):
        clock.forward(900)
        assert opened.get("/look").json() == {"n": 1}
    clock.forward(300)
    assert opened.get("/look").json() == {}
    opened.get("/count")
    assert opened.get("/look").json() == {"n": 1}


def test_what_is_too_large_is_told_and_not_kept(serve, config, store):
    app = make_app(lambda handler: handler, config(max_session_size=1000))

    @app.get("/large")
    def large(request):
        request.session["text"] = "x" * 1000

    with serve(app) as client:
        client.get("/count")
        assert client.get("/large").status == 500
        assert client.get("/look").json() == {"n": 1}


def test_what_json_cannot_say_is_told(serve, config, caplog):
    app = make_app(lambda handler: handler, config())

    @app.get("/odd")
    def odd(request):
        request.session["object"] = object()

    @app.get("/number")
    def number(request):
        request.session[1] = "one"

    with serve(app) as client:
        assert client.get("/odd").status == 500
        assert "request.session can hold only what JSON can say" in caplog.text
        assert client.get("/number").status == 500
        assert "a key of request.session must be text, not 1" in caplog.text


def test_excluded_paths_have_none(serve, coloured, config, caplog):
    with serve(make_app(coloured, config(), exclude_paths=["/look"])) as client:
        assert client.get("/count").json() == 1
        assert client.get("/look").status == 500
        assert "request.session needs app.enable_session(...)" in caplog.text


@pytest.mark.parametrize("via", ["asgi", "native"])
def test_a_websocket_reads_it(client, config, via):
    app = make_app(lambda handler: handler, config())

    @app.websocket("/ws")
    def chat(ws):
        ws.send_text(str(ws.request.session["n"]))

    opened = client(app, via)
    opened.get("/count")
    with opened.websocket_connect("/ws") as socket:
        assert socket.receive_text() == "1"


@pytest.mark.parametrize("store", ["memory", "redis"])  # the others count nothing, or roughly
def test_the_oldest_go_when_there_are_too_many(client, config, store):
    made = config(max_sessions=3)
    app = make_app(lambda handler: handler, made)
    opened = client(app)
    kept = []
    for _ in range(5):
        opened.cookies.clear()
        opened.get("/count")
        kept.append(opened.cookies[made.cookie_name])
    found = [opened.get("/look", headers={"Cookie": f"{made.cookie_name}={value}"}).json() for value in kept]
    assert sorted(map(len, found)) == [0, 0, 1, 1, 1]
    assert found[-1] == {"n": 1}


def test_neither_the_store_nor_a_log_shows_its_name(client, config, store):
    made = config()
    shown = []
    app = make_app(lambda handler: handler, made)
    app.get("/show")(lambda request: shown.append(repr(request.session)))
    opened = client(app)
    name = opened.get("/sign-in").text
    opened.get("/show")
    assert name not in shown[0]
    if store == "own":
        assert name not in made.store.kept
    if store == "memory":
        assert name not in app.feature("session").store._entries


def test_what_is_said_at_the_start_of_a_worker(client, caplog):
    app = App()
    app.enable_session()
    app.env = "production"
    client(app)
    assert "SessionConfig.auth_keys is not set" in caplog.text


def test_a_secure_cookie_over_http_is_told_once(client, caplog):
    app = App()
    app.enable_session(SessionConfig(auth_keys=KEYS))

    @app.get("/")
    def index(request):
        request.session["a"] = 1

    opened = client(app)
    opened.get("/")
    opened.get("/")
    assert caplog.text.count("browsers drop it, except on localhost") == 1


REFUSED = {
    "no config": ("cookie", "takes a SessionConfig"),
    "an unknown field": (lambda: SessionConfig(cookie="a"), "no field 'cookie'"),
    "no name": (lambda: SessionConfig(cookie_name=""), "SessionConfig.cookie_name"),
    "a name of two words": (lambda: SessionConfig(cookie_name="a b"), "SessionConfig.cookie_name"),
    "a path": (lambda: SessionConfig(cookie_path="a"), "SessionConfig.cookie_path"),
    "a domain": (lambda: SessionConfig(cookie_domain="a;b"), "SessionConfig.cookie_domain"),
    "same site": (lambda: SessionConfig(cookie_same_site="no"), "SessionConfig.cookie_same_site"),
    "none without secure": (lambda: SessionConfig(cookie_same_site="None", cookie_secure=False), "cookie_same_site"),
    "a prefix without secure": (lambda: SessionConfig(cookie_name="__Host-a", cookie_secure=False), "cookie_name"),
    "secure that is none": (lambda: SessionConfig(cookie_secure="yes"), "SessionConfig.cookie_secure"),
    "http only that is none": (lambda: SessionConfig(cookie_http_only=1), "SessionConfig.cookie_http_only"),
    "no time": (lambda: SessionConfig(max_age=0), "SessionConfig.max_age"),
    "half a second": (lambda: SessionConfig(max_age=0.5), "SessionConfig.max_age"),
    "no sessions": (lambda: SessionConfig(max_sessions=0), "SessionConfig.max_sessions"),
    "no size": (lambda: SessionConfig(max_session_size=0), "SessionConfig.max_session_size"),
    "no end": (lambda: SessionConfig(absolute_max_age=0), "SessionConfig.absolute_max_age"),
    "a short key": (lambda: SessionConfig(auth_keys=["k" * 32, "short"]), "auth_keys: secret 2 has 5 bytes"),
    "no keys": (lambda: SessionConfig(auth_keys=[]), "SessionConfig.auth_keys is an empty list"),
    "a number as key": (lambda: SessionConfig(auth_keys=5), "SessionConfig.auth_keys: secret 1"),
    "an unknown store": (lambda: SessionConfig(store="disk"), "SessionConfig.store is 'cookie', .* not 'disk'"),
    "a class as store": (lambda: SessionConfig(store=OwnStore), "SessionConfig.store"),
    "no store": (lambda: SessionConfig(store=object()), "SessionConfig.store"),
}


@pytest.mark.parametrize(("config", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(config, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_session(config() if callable(config) else config)


def test_no_message_shows_a_secret():
    with pytest.raises(ConfigError) as refused:
        App().enable_session(SessionConfig(auth_keys="hunter2"))
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        App().enable_session(SessionConfig(store="mysql://me:hunter2@host"))
    assert "hunter2" not in str(refused.value)
