"""The router: raw paths, HEAD, conflicts with both places, names, freezing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import BadRequest, RouteError
from cello.routing.pattern import parse
from cello.routing.route import Route, RouteOptions
from cello.routing.router import Router


def handler(request):
    return request


def route(path, *methods, name=None, place="app.py:1"):
    return Route(methods or ("GET",), parse(path), handler, RouteOptions(name=name), name or "handler", place)


def router_of(*routes):
    router = Router()
    for each in routes:
        router.add(each)
    return router


@pytest.mark.parametrize(
    ("path", "raw_path", "params"),
    [
        pytest.param("/", "/", {}, id="root"),
        pytest.param("/users", "/users", {}, id="static"),
        pytest.param("/users", "/%75sers", {}, id="static in another spelling"),
        pytest.param("/café", "/caf%C3%A9", {}, id="static beyond ASCII"),
        pytest.param("/café", "/caf%c3%a9", {}, id="lower-case escapes"),
        pytest.param("/a b", "/a%20b", {}, id="space"),
        pytest.param("/u/{id}", "/u/7", {"id": "7"}, id="parameter"),
        pytest.param("/u/{id}", "/u/a%2Fb", {"id": "a/b"}, id="encoded slash stays in its segment"),
        pytest.param("/u/{id}", "/u/%25", {"id": "%"}, id="encoded percent sign"),
        pytest.param("/u/{id}", "/u/a+b", {"id": "a+b"}, id="plus is a plus"),
        pytest.param("/u/{id}", "/u/%2525", {"id": "%25"}, id="decoded once"),
        pytest.param("/u/{id}", "/u/..", {"id": ".."}, id="dot segments are literal"),
        pytest.param("/f/*rest", "/f/a%2Fb/c%20d", {"rest": "a/b/c d"}, id="wildcard decoded"),
        pytest.param("/f/*rest", "/f/", {"rest": ""}, id="wildcard empty"),
    ],
)
def test_a_raw_path_is_decoded_and_found(path, raw_path, params):
    only = route(path)
    assert router_of(only).find("GET", raw_path) == (only, params)
    assert router_of(only).allowed(raw_path) == ["GET", "HEAD"]


@pytest.mark.parametrize(
    "raw_path", ["*", "", "users", "http://host/users", "/Users", "/users/", "//users", "/users%2F"]
)
def test_what_is_not_the_path_leads_nowhere(raw_path):
    router = router_of(route("/"), route("/users"))
    assert router.find("GET", raw_path) is None
    assert router.allowed(raw_path) == []


@pytest.mark.parametrize(
    ("raw_path", "words"),
    [
        pytest.param("/u/%", "malformed percent-escape", id="lone percent sign"),
        pytest.param("/u/%4", "malformed percent-escape", id="one digit"),
        pytest.param("/u/%zz", "malformed percent-escape", id="not hexadecimal"),
        pytest.param("/u/%u0041", "malformed percent-escape", id="a spelling of old browsers"),
        pytest.param("/u/%FF", "not UTF-8", id="not UTF-8"),
        pytest.param("/u/%C0%AF", "not UTF-8", id="overlong slash"),
        pytest.param("/u/%ED%A0%80", "not UTF-8", id="surrogate"),
        pytest.param("/u/%C3/%A9", "not UTF-8", id="character split over segments"),
    ],
)
def test_an_undecodable_path_is_a_bad_request(raw_path, words):
    router = router_of(route("/u/{id}"), route("/u/{id}/{more}"))
    with pytest.raises(BadRequest, match=words):
        router.find("GET", raw_path)
    with pytest.raises(BadRequest, match=words):
        router.allowed(raw_path)


def test_head_is_implied_by_get():
    get = route("/a")
    assert router_of(get).find("HEAD", "/a") == (get, {})
    assert router_of(route("/a", "POST")).find("HEAD", "/a") is None


@pytest.mark.parametrize("path", ["/a", "/{x}"], ids=["static", "parameter"])
@pytest.mark.parametrize("order", [1, -1], ids=["after GET", "before GET"])
def test_an_explicit_head_wins_at_its_pattern(path, order):
    routes = [route(path), route(path, "HEAD")][::order]
    router = router_of(*routes)
    assert router.find("HEAD", "/a")[0].methods == ("HEAD",)
    assert router.find("GET", "/a")[0].methods == ("GET",)


def test_an_implied_head_at_a_better_pattern_wins_over_an_explicit_one_elsewhere():
    router = router_of(route("/{x}", "HEAD"), route("/a"))
    assert router.find("HEAD", "/a")[0].pattern.path == "/a"


def test_the_search_goes_on_over_the_method():
    router = router_of(route("/users/me"), route("/users/{id}", "POST"))
    assert router.find("POST", "/users/me") == (router.routes[1], {"id": "me"})
    assert router.allowed("/users/me") == ["GET", "HEAD", "POST"]
    assert router.find("PURGE", "/users/me") is None


def test_params_are_a_dict_of_the_request_alone():
    router = router_of(route("/a"))
    router.find("GET", "/a")[1]["mine"] = "yes"
    assert router.find("GET", "/a")[1] == {}


def test_binding_replaces_what_is_found_for_every_method_of_the_route():
    static, plain, head = route("/a", "GET", "PUT"), route("/{x}"), route("/a", "HEAD")
    router = router_of(static, plain, head)
    router.freeze()
    router.bind(static, "S")
    router.bind(plain, "P")
    found = {(m, p): router.find(m, p)[0] for m in ("GET", "HEAD", "PUT") for p in ("/a", "/b") if router.find(m, p)}
    assert found == {
        ("GET", "/a"): "S",
        ("PUT", "/a"): "S",
        ("HEAD", "/a"): head,
        ("GET", "/b"): "P",
        ("HEAD", "/b"): "P",
    }


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        pytest.param("/a", "/a", "GET /a (app.py:2) is registered already: app.py:1", id="same path"),
        pytest.param("/{x}", "/{x}", "GET /{x} (app.py:2) is registered already: app.py:1", id="same pattern"),
        pytest.param("/{x}", "/{y}", "GET /{y} (app.py:2) contradicts /{x} (app.py:1)", id="other name"),
        pytest.param(
            "/*r", "/{r:path}", "GET /{r:path} (app.py:2) is the same path as /*r (app.py:1)", id="other spelling"
        ),
        pytest.param("/{x}.json", "/{y}.json", "GET /{y}.json (app.py:2) contradicts", id="mixed"),
        pytest.param("/{x:int}/b", "/{y:int}/b", "GET /{y:int}/b (app.py:2) contradicts", id="converter"),
    ],
)
def test_a_conflict_names_both_places(first, second, words):
    router = router_of(route(first, place="app.py:1"))
    with pytest.raises(RouteError, match=re.escape(words)):
        router.add(route(second, "POST", "GET", place="app.py:2"))
    assert len(router.routes) == 1
    assert router.allowed("/anything") == router_of(route(first)).allowed("/anything"), "nothing of it was registered"


def test_other_names_and_converters_are_no_conflict():
    router = router_of(
        route("/{x}"),
        route("/{y}", "POST"),
        route("/{x:int}"),
        route("/{x:float}"),
        route("/{x:regex(a)}"),
        route("/{x}/"),
    )
    assert len(router.routes) == 6


def test_after_freeze_registering_raises():
    router = router_of(route("/a"))
    router.freeze()
    with pytest.raises(RouteError, match=re.escape("GET /b (late.py:9) comes too late")):
        router.add(route("/b", place="late.py:9"))


def test_url_for_builds_and_encodes():
    router = router_of(route("/users/{id}", name="user"))
    assert router.url_for("user", id="a b") == "/users/a%20b"


def test_url_for_takes_a_parameter_called_name():
    assert router_of(route("/{name}", name="x")).url_for("x", name="y") == "/y"


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("usr", {"id": 1}, "no route is named 'usr'; did you mean 'user'?"),
        ("zzz", {}, "no route is named 'zzz'"),
        ("user", {}, "'/users/{id}': it is missing 'id'"),
        ("user", {"id": 1, "page": 2}, "has no parameter 'page'"),
    ],
)
def test_url_for_says_what_is_wrong(name, params, words):
    with pytest.raises(RouteError, match=re.escape(words)):
        router_of(route("/users/{id}", name="user")).url_for(name, **params)


def test_a_name_may_stand_for_several_methods_of_one_path():
    router = router_of(route("/a", name="a"), route("/a", "POST", name="a"))
    assert router.url_for("a") == "/a"


def test_two_paths_with_one_explicit_name_are_refused():
    router = router_of(route("/a", name="x", place="app.py:1"))
    with pytest.raises(
        RouteError, match=re.escape("two routes have the name 'x': GET /a (app.py:1) and GET /b (app.py:2)")
    ):
        router.add(route("/b", name="x", place="app.py:2"))
    assert router.find("GET", "/b") is None


def test_an_explicit_name_wins_over_a_handler_of_that_name():
    router = router_of(route("/a"), route("/b", name="handler"))
    assert router.url_for("handler") == "/b"


def test_handlers_of_one_name_are_only_an_error_when_asked_for():
    router = router_of(route("/a", place="app.py:1"), route("/b", place="app.py:2"))
    with pytest.raises(RouteError, match=re.escape("'handler' could be any of GET /a (app.py:1), GET /b (app.py:2)")):
        router.url_for("handler")


def test_routes_are_found_among_twenty_thousand():
    router = Router()
    for number in range(10_000):
        router.add(route(f"/static/{number}").changed(name=f"s{number}"))
        router.add(route(f"/items{number}/{{id}}/x").changed(name=f"p{number}"))
    assert router.find("GET", "/static/9999")[0].pattern.path == "/static/9999"
    assert router.find("GET", "/items5000/7/x")[1] == {"id": "7"}
    assert router.find("GET", "/items5000/7/y") is None


@given(value=st.text(min_size=1), rest=st.text())
def test_what_url_for_builds_is_found_again(value, rest):
    router = router_of(route("/u/{value}/f/*rest", name="x"))
    try:
        url = router.url_for("x", value=value, rest=rest)
    except (RouteError, UnicodeEncodeError):  # dot segments and lone surrogates have no URL
        return
    assert url.isascii()
    assert router.find("GET", url)[1] == {"value": value, "rest": rest}


@given(st.text(alphabet="/%aA0cC3.é", max_size=20))
def test_any_path_is_found_or_not_or_a_bad_request(raw_path):
    router = router_of(route("/a/{x}"), route("/a/*rest", "POST"), route("/é"))
    try:
        found = router.find("GET", raw_path)
        allowed = router.allowed(raw_path)
    except BadRequest:
        assert "%" in raw_path
    else:
        assert (found is not None) == ("GET" in allowed)
