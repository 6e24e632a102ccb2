"""What the switch, the mark and the route option do, everywhere."""

import gzip as gzip_module

import pytest

from cello import App, ConfigError, Response, SessionConfig, cache
from cello.features.cache.feature import Caching
from tests.features.cache.test_rules import Clock


def counted(app, path="/item", **options):
    """Add a route that answers how often it was called."""
    calls = []

    def item():
        calls.append(1)
        return {"calls": len(calls)}

    app.get(path, **options)(item)
    return calls


def labels(client, path="/item", times=2, **options):
    return [client.get(path, **options).headers.get("x-cache") for _ in range(times)]


def test_the_switch_alone_keeps_every_plain_answer(serve, coloured):
    app = App()
    app.enable_caching()
    app.get("/users/{id}")(coloured(lambda id: {"id": id}))
    with serve(app) as client:
        assert labels(client, "/users/1") == ["MISS", "HIT"]
        assert labels(client, "/users/2") == ["MISS", "HIT"]
        assert client.get("/users/2").json() == {"id": "2"}
        assert client.get("/users/2").headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [404, 405])
def test_what_has_no_route_is_not_cached(serve, status):
    app = App()
    app.enable_caching()
    app.post("/item")(lambda: None)
    with serve(app) as client:
        for _ in range(2):
            answer = client.get("/item" if status == 405 else "/nothing")
            assert answer.status == status
            assert "x-cache" not in answer.headers


def test_an_error_is_not_cached(serve, coloured):
    app = App()
    app.enable_caching()
    fails = [True]

    @coloured
    def item():
        if fails:
            raise ValueError("not now")
        return "well"

    app.get("/item")(item)
    with serve(app) as client:
        assert client.get("/item").status == 500
        fails.clear()
        assert client.get("/item").text == "well"
        assert labels(client, times=1) == ["HIT"]


GUARDED = {
    "a guard of the route": lambda app: counted(app, guards=[lambda request: True]),
    "a guard of the application": lambda app: (app.add_guard(lambda request: True), counted(app)),
}


@pytest.mark.parametrize("declare", GUARDED.values(), ids=GUARDED)
def test_answers_of_guarded_routes_are_not_kept(serve, declare):
    app = App()
    app.enable_caching()
    declare(app)
    with serve(app) as client:
        assert labels(client) == [None, None]
        assert client.get("/item").json() == {"calls": 3}


def test_answers_of_a_guarded_route_are_kept_where_it_says_that_they_are_the_same_for_all(serve):
    app = App()
    app.enable_caching()
    allowed = [True]
    counted(app, guards=[lambda request: bool(allowed)], cache=cache(shared=True))
    with serve(app) as client:
        assert labels(client) == ["MISS", "HIT"]
        allowed.clear()
        assert client.get("/item").status == 403, "the guard is asked before the cache"


@pytest.mark.parametrize("looks", [True, False])
def test_an_answer_whose_handler_looked_at_cookies_is_not_kept(serve, coloured, looks):
    app = App()
    app.enable_caching()
    app.get("/item")(coloured(lambda request: {"who": request.cookies.get("who") if looks else None}))
    with serve(app) as client:
        assert labels(client, headers={"Cookie": "who=me"}) == (["MISS", "MISS"] if looks else ["MISS", "HIT"])


def test_cookies_that_others_looked_at_do_not_count(serve, coloured):
    app = App()
    app.enable_caching()
    app._host.add_middleware(Before(lambda request: request.cookies))
    app.get("/item")(coloured(lambda: "the same for all"))
    app.get("/own")(coloured(lambda request: request.cookies["who"]))
    with serve(app) as client:
        assert labels(client, headers={"Cookie": "who=me"}) == ["MISS", "HIT"]
        assert client.get("/own", headers={"Cookie": "who=me"}).text == "me"


class Before:
    """A middleware that stands where sessions and tokens are looked up."""

    band = 30

    def __init__(self, before):
        self.before = lambda request: before(request) and None


class Session:
    """What a session tells the cache: whether the handler looked at it."""

    def __init__(self):
        self.accessed = False

    def get(self, name):
        self.accessed = True
        return name


@pytest.mark.parametrize("looks", [True, False])
def test_an_answer_whose_handler_looked_at_the_session_is_not_kept(serve, coloured, looks):
    app = App()
    app.enable_caching()
    app._host.add_middleware(Before(lambda request: setattr(request, "session", Session())))
    app.get("/item")(coloured(lambda request: {"who": request.session.get("who") if looks else None}))
    with serve(app) as client:
        assert labels(client) == (["MISS", "MISS"] if looks else ["MISS", "HIT"])


@pytest.mark.parametrize("looks", [True, False])
def test_the_sessions_of_the_application_are_told_from_what_is_the_same_for_all(serve, coloured, looks):
    app = App()
    app.enable_caching()
    app.enable_session(SessionConfig(cookie_secure=False, auth_keys=["a" * 32]))
    app.get("/item")(coloured(lambda request: {"who": request.session.get("who") if looks else None}))

    @app.post("/who/{name}")
    @coloured
    def who(request, name):
        request.session["who"] = name

    with serve(app) as client:
        client.post("/who/me")
        assert labels(client) == (["MISS", "MISS"] if looks else ["MISS", "HIT"])
        assert client.get("/item").json() == {"who": "me" if looks else None}
        client.post("/who/another")
        assert client.get("/item").json() == {"who": "another" if looks else None}


def test_an_identified_user_neither_leaves_nor_gets_an_answer(serve, coloured):
    app = App()
    app.enable_caching()
    user = {"name": "me"}
    app._host.add_middleware(Before(lambda request: request.set_context("user", dict(user))))
    app.get("/item")(coloured(lambda request: request.context["user"]))
    with serve(app) as client:
        assert labels(client) == ["BYPASS", "BYPASS"]


def test_excluded_paths_are_left_alone_with_what_is_below_them(serve):
    app = App()
    app.enable_caching(exclude_paths=["/live", "/users/7"])
    for path in ("/live", "/live/now", "/lively", "/users/{id}"):
        counted(app, path)
    with serve(app) as client:
        assert labels(client, "/live") == labels(client, "/live/now") == labels(client, "/users/7") == [None, None]
        assert labels(client, "/lively") == labels(client, "/users/77") == ["MISS", "HIT"]


def test_only_the_methods_that_are_named_are_cached(serve):
    app = App()
    app.enable_caching(methods=["GET"])
    counted(app)
    with serve(app) as client:
        assert labels(client) == ["MISS", "HIT"]
        assert "x-cache" not in client.head("/item").headers


def test_an_own_endpoint_of_a_feature_is_not_cached(serve):
    app = App()
    app.enable_caching()
    app.enable_openapi()
    with serve(app) as client:
        assert labels(client, "/openapi.json") == [None, None]


OPTIONS = {
    "the option False": ({"cache": False}, [None, None]),
    "the option 0": ({"cache": 0}, [None, None]),
    "the option True": ({"cache": True}, ["MISS", "HIT"]),
    "seconds": ({"cache": 30}, ["MISS", "HIT"]),
    "a mark": ({"cache": cache(30, ["a"])}, ["MISS", "HIT"]),
    "a mark of nothing": ({"cache": cache(0)}, [None, None]),
}


@pytest.mark.parametrize(("option", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_the_route_option(client, option, expected):
    app = App()
    app.enable_caching()
    counted(app, **option)
    assert labels(client(app)) == expected


def test_a_mark_says_how_long_answers_live(client):
    clock = Clock()
    app = App()
    app._host.install(Caching(300, clock=clock))
    app.get("/item")(cache(ttl=10)(lambda: "x"))
    opened = client(app)
    assert labels(opened) == ["MISS", "HIT"]
    clock.now_s += 11
    assert labels(opened) == ["MISS", "HIT"]


def test_a_mark_without_parentheses_is_a_mark(client):
    app = App()
    app.enable_caching()

    @app.get("/item")
    @cache
    def item():
        return "x"

    assert labels(client(app)) == ["MISS", "HIT"]
    assert item() == "x"


def test_tags_drop_what_has_one_of_them(serve, coloured):
    app = App()
    app.enable_caching()
    app.get("/users")(cache(tags=["users"])(coloured(lambda: "all")))
    app.get("/users/{id}")(cache(tags=["users", "user:{id}"])(coloured(lambda id: id)))
    app.get("/posts")(cache(tags=["posts"])(coloured(lambda: "posts")))

    @app.post("/drop/{tag}")
    @coloured
    def drop(tag):
        app.invalidate_cache([tag])

    paths = ["/users", "/users/1", "/users/2", "/posts"]
    with serve(app) as client:

        def kept():
            return [path for path in paths if client.get(path).headers["x-cache"] == "HIT"]

        assert (kept(), kept()) == ([], paths)
        client.post("/drop/user:1")
        assert (kept(), kept()) == (["/users", "/users/2", "/posts"], paths)
        client.post("/drop/users")
        assert (kept(), kept()) == (["/posts"], paths)
        client.post("/drop/unknown")
        assert kept() == paths


def test_an_invalidation_while_the_handler_runs_makes_its_answer_worthless(serve, coloured):
    app = App()
    app.enable_caching()
    calls = []

    @coloured
    def item():
        calls.append(1)
        if len(calls) == 1:
            app.invalidate_cache(["item"])
        return {"calls": len(calls)}

    app.get("/item")(cache(tags=["item"])(item))
    with serve(app) as client:
        assert labels(client, times=3) == ["MISS", "MISS", "HIT"]


def test_invalidating_without_a_cache_does_nothing(serve, coloured):
    app = App()
    app.post("/item")(coloured(lambda: app.invalidate_cache(["users"])))
    with serve(app) as client:
        assert client.post("/item").status == 204


def test_streams_and_files_are_not_kept(serve, coloured, tmp_path):
    app = App()
    app.enable_caching()
    (tmp_path / "page.txt").write_text("a page")
    app.get("/file")(coloured(lambda: Response.sendfile(tmp_path / "page.txt")))
    app.get("/stream")(coloured(lambda: Response.stream([b"a", b"b"])))
    with serve(app) as client:
        assert labels(client, "/file") == labels(client, "/stream") == ["MISS", "MISS"]
        assert (client.get("/file").text, client.get("/stream").text) == ("a page", "ab")


def test_compressed_answers_are_kept_by_what_the_client_reads(serve, coloured):
    app = App()
    app.enable_caching()
    app.enable_compression(encodings=["gzip"])
    text = "all the same " * 500
    app.get("/item")(coloured(lambda: text))
    gzip, plain = {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}
    with serve(app) as client:
        assert labels(client, headers=gzip) == ["MISS", "HIT"]
        assert labels(client, headers=plain) == ["MISS", "HIT"]
        for wanted in (gzip, plain):
            answer = client.get("/item", headers=wanted)
            body = gzip_module.decompress(answer.content) if wanted is gzip else answer.content
            assert (body.decode(), answer.headers["vary"]) == (text, "Accept-Encoding")
            assert answer.headers.get("content-encoding") == ("gzip" if wanted is gzip else None)


def test_what_stands_further_out_is_not_kept(serve, coloured):
    app = App()
    app.enable_caching()
    app.enable_cors(["https://a.example", "https://b.example"])
    app.enable_request_id()
    app.get("/item")(coloured(lambda: "x"))
    with serve(app) as client:
        first, second = (client.get("/item", headers={"Origin": f"https://{name}.example"}) for name in "ab")
    assert second.headers["x-cache"] == "HIT"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert second.headers["access-control-allow-origin"] == "https://b.example"


def test_handlers_cannot_change_what_is_kept(serve):
    app = App()
    app.enable_caching()
    app.use(Adds())
    app.get("/item")(lambda: "x")
    with serve(app) as client:
        assert [client.get("/item").headers["x-added"] for _ in range(3)] == ["1", "1", "1"]


class Adds:
    def after(self, request, response):
        response.append_header("X-Added", "1")


def test_an_answer_without_an_etag_gets_one(serve, coloured):
    app = App()
    app.enable_caching()
    app.get("/item")(coloured(lambda: "x"))
    with serve(app) as client:
        tag = client.get("/item").headers["etag"]
        again = client.get("/item", headers={"If-None-Match": tag})
        assert (again.status, again.content, again.headers["etag"]) == (304, b"", tag)


BAD = {
    "a ttl below 0": ({"ttl": -1}, "ttl is a number of seconds"),
    "a ttl of text": ({"ttl": "5m"}, "ttl is a number of seconds"),
    "POST": ({"methods": ["POST"]}, "answers to 'POST' are not cached"),
    "methods as text": ({"methods": "GET"}, "methods is a list"),
    "a relative path": ({"exclude_paths": ["live"]}, "exclude_paths is a list such as"),
    "no room": ({"max_bytes": 0}, "max_bytes is a number of bytes"),
    "an unknown store": ({"store": "disk"}, "store is"),
    "an unknown failure": ({"fail": "maybe"}, "fail is 'open' or 'closed'"),
}


@pytest.mark.parametrize(("options", "words"), BAD.values(), ids=BAD)
def test_an_option_out_of_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_caching(**options)


BAD_MARKS = {
    "a ttl below 0": ({"ttl": -1}, "ttl is a number of seconds"),
    "tags as text": ({"tags": "users"}, "tags must be a list of strings"),
    "shared by a number": ({"shared": 1}, "shared must be True or False"),
    "stale by text": ({"stale_if_error": "1"}, "stale_if_error is a number of seconds"),
}


@pytest.mark.parametrize(("options", "words"), BAD_MARKS.values(), ids=BAD_MARKS)
def test_a_mark_out_of_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        cache(**options)


@pytest.mark.parametrize("option", ["yes", -1, [1]])
def test_a_route_option_out_of_range_is_refused(option):
    with pytest.raises(ConfigError, match="cache must be"):
        App().get("/item", cache=option)


def test_a_tag_that_names_no_path_parameter_is_refused_at_the_start():
    app = App()
    app.enable_caching()
    app.get("/users/{id}")(cache(tags=["user:{name}"])(lambda id: id))
    with pytest.raises(ConfigError, match=r"'user:\{name\}' names 'name', which is no path parameter"):
        app.freeze()


def test_a_mark_without_the_switch_is_refused_at_the_start():
    app = App()
    app.get("/users")(cache(ttl=5)(lambda: "x"))
    with pytest.raises(ConfigError, match=r"app.enable_caching\(\) was not called"):
        app.freeze()


def test_invalidating_by_a_bare_string_is_refused():
    app = App()
    app.enable_caching()
    with pytest.raises(ConfigError, match="invalidate_cache: tags must be a list of strings"):
        app.invalidate_cache("users")
