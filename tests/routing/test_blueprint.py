"""The route decorators and blueprints: positions, options, nesting, and what is refused."""

import functools
import inspect
import re
from pathlib import Path

import pytest

from cello.errors import ConfigError, RouteError
from cello.routing.blueprint import Blueprint, RouteDecorators
from cello.routing.route import RouteOptions
from cello.routing.router import Router


class Application(RouteDecorators):
    """As much of an App as routing needs."""

    def __init__(self):
        self.router = Router()

    def _add(self, route):
        self.router.add(route)

    @property
    def paths(self):
        return [f"{'|'.join(route.methods)} {route.pattern.path}" for route in self.router.routes]


@pytest.fixture
def app():
    return Application()


def handler(request):
    return request


def guard(request):
    return True


def other_guard(request):
    return True


def next_line():
    """Return the line after the caller's, as places are shown."""
    frame = inspect.currentframe().f_back
    return f"{Path(__file__).relative_to(Path.cwd())}:{frame.f_lineno + 1}"


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_the_documented_options_go_by_position(app, method):
    assert getattr(app, method)("/x", ["t"], "Summary", "Description", [guard])(handler) is handler
    (route,) = app.router.routes
    assert route.methods == (method.upper(),)
    assert route.handler is handler
    assert route.options == RouteOptions(tags=("t",), summary="Summary", description="Description", guards=(guard,))
    assert route.name == "handler"


@pytest.mark.parametrize("method", ["options", "head"])
def test_options_and_head_take_guards_second(app, method):
    assert getattr(app, method)("/x", [guard], tags=["t"])(handler) is handler
    (route,) = app.router.routes
    assert route.methods == (method.upper(),)
    assert route.options == RouteOptions(guards=(guard,), tags=("t",))


def test_route_takes_methods_second_and_get_by_default(app):
    app.route("/a", ["GET", "PURGE"])(handler)
    app.route("/b", methods=["POST"], tags=["t"])(handler)
    app.route("/c")(handler)
    assert app.paths == ["GET|PURGE /a", "POST /b", "GET /c"]


def test_add_route_returns_the_handler(app):
    assert app.add_route("/a", handler, methods=["PUT", "DELETE"], name="a") is handler
    assert app.paths == ["PUT|DELETE /a"]
    assert app.router.url_for("a") == "/a"


FURTHER = {
    "name": "n",
    "stream": True,
    "max_body_size": 0,
    "timeout": 1.5,
    "blocking": False,
    "body": dict,
    "responses": {404: "gone"},
    "deprecated": True,
    "cancel_on_disconnect": True,
}


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options", "head", "route"])
def test_every_decorator_takes_every_further_option(app, method):
    getattr(app, method)("/x", **FURTHER)(handler)
    assert app.router.routes[0].options == RouteOptions(**FURTHER)


@pytest.mark.parametrize("option", [*FURTHER, "tags", "summary", "description", "guards"])
def test_none_means_the_default(app, option):
    app.get("/x", **{option: None})(handler)
    assert app.router.routes[0].options == RouteOptions()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tag": ["x"]}, "get('/x'): unknown option 'tag'; did you mean 'tags'?"),
        ({"zzz": 1}, "unknown option 'zzz'; there are: tags, summary"),
        ({"rate_limits": 1}, "unknown option 'rate_limits'"),
        ({"tags": "x"}, "tags must be a list of strings, not 'x'"),
        ({"tags": [1]}, "tags must be a list of strings"),
        ({"guards": guard}, "guards must be a list"),
        ({"guards": [7]}, "a guard must be callable, not 7"),
        ({"guards": [Application]}, "the guard Application is a class; write Application(...)"),
        ({"summary": 1}, "summary must be a string, not 1"),
        ({"description": b""}, "description must be a string"),
        ({"name": ""}, "name must not be empty"),
        ({"name": 1}, "name must be a string"),
        ({"stream": 1}, "stream must be True or False, not 1"),
        ({"max_body_size": -1}, "max_body_size must be at least 0, not -1"),
        ({"max_body_size": True}, "max_body_size must be a whole number of bytes"),
        ({"max_body_size": "1M"}, "max_body_size must be a whole number of bytes, not '1M'"),
        ({"timeout": 0}, "timeout must be above 0 seconds, not 0"),
        ({"timeout": float("nan")}, "timeout must be above 0 seconds"),
        ({"timeout": "5"}, "timeout must be a number of seconds"),
        ({"blocking": "yes"}, "blocking must be True, False or None"),
        ({"responses": [404]}, "responses must be a dict"),
        ({"deprecated": "yes"}, "deprecated must be True or False"),
        ({"cancel_on_disconnect": 0}, "cancel_on_disconnect must be True or False"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_refused_by_name(app, options, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        app.get("/x", **options)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("GET", "methods must be a list such as ['GET', 'POST'], not 'GET'"),
        (7, "methods must be a list"),
        ([], "must name at least one method"),
        ([""], "'' is not an HTTP method"),
        (["GET "], "'GET ' is not an HTTP method"),
        (["GET\n"], "is not an HTTP method"),
        ([b"GET"], "is not an HTTP method"),
    ],
)
def test_wrong_methods_are_refused(app, methods, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        app.route("/x", methods=methods)


def test_standard_methods_may_be_written_in_any_case_and_others_stay_as_they_are(app):
    app.route("/x", methods=["get", "Post", "GET", "purge", "M-SEARCH"])(handler)
    assert app.router.routes[0].methods == ("GET", "POST", "purge", "M-SEARCH")


@pytest.mark.parametrize("thing", [None, 7, "handler", {}], ids=repr)
def test_a_handler_that_cannot_be_called_is_refused(app, thing):
    with pytest.raises(ConfigError, match=re.escape(f"post('/x'): the handler must be a function, not {thing!r}")):
        app.post("/x")(thing)
    with pytest.raises(ConfigError, match="the handler must be a function"):
        app.add_route("/x", thing)
    assert app.paths == []


def test_a_decorator_without_its_parentheses_is_refused(app):
    with pytest.raises(ConfigError, match=re.escape("get needs a path first, as in get('/users')")):
        app.get(handler)
    with pytest.raises(ConfigError, match="needs a path first"):
        Blueprint("/x").get(handler)


def test_a_malformed_path_is_refused_before_the_function_is_seen(app):
    with pytest.raises(RouteError, match="must start with '/'"):
        app.get("users")


def test_a_handlers_name_is_found_through_partials_and_objects(app):
    class Callable:
        def __call__(self, request):
            return request

    app.get("/a")(functools.partial(handler))
    app.get("/b")(Callable())
    app.get("/c")(Callable().__call__)
    assert [route.name for route in app.router.routes] == ["handler", "Callable", "__call__"]


def test_a_route_knows_the_line_it_was_declared_on(app):
    place = next_line()
    app.get("/a")(handler)
    assert app.router.routes[0].place == place
    assert str(app.router.routes[0]) == f"GET /a ({place})"


def test_a_duplicate_names_both_lines(app):
    first = next_line()
    app.get("/a")(handler)
    second = next_line()
    again = app.get("/a")
    with pytest.raises(RouteError) as caught:
        again(handler)
    assert str(caught.value) == f"GET /a ({second}) is registered already: {first}"


def test_a_blueprint_puts_its_prefix_guards_tags_and_name_before_those_of_its_routes(app):
    users = Blueprint("/users/", "users", [guard], ["people"])

    @users.get("/{id}", tags=["one", "people"], guards=[other_guard])
    def show(request):
        return request

    app.register_blueprint(users)
    (route,) = app.router.routes
    assert route.pattern.path == "/users/{id}"
    assert route.options.guards == (guard, other_guard)
    assert route.options.tags == ("people", "one")
    assert route.name == "users.show"
    assert app.router.url_for("users.show", id=3) == "/users/3"
    assert users.routes == (route,)


def test_nested_blueprints_accumulate_outside_in(app):
    outer = Blueprint("/api", name="api", guards=[guard], tags=["api"])
    middle = Blueprint("/v1")
    inner = Blueprint("/users", name="users", guards=[other_guard], tags=["users"])
    inner.post("/{id}", name="save", tags=["write"])(handler)
    middle.register(inner)
    outer.register_blueprint(middle)
    app.register_blueprint(outer)
    (route,) = app.router.routes
    assert route.pattern.path == "/api/v1/users/{id}"
    assert route.options.guards == (guard, other_guard)
    assert route.options.tags == ("api", "users", "write")
    assert route.name == "api.users.save"


@pytest.mark.parametrize(
    ("prefix", "path", "full"),
    [
        ("/api", "/users", "/api/users"),
        ("/api/", "/users", "/api/users"),
        ("/api", "/", "/api/"),
        ("/api", "", "/api"),
        ("/api/", "", "/api"),
        ("", "/users", "/users"),
        ("/", "/users", "/users"),
        ("", "", "/"),
        ("/orgs/{org}", "/users/{id}", "/orgs/{org}/users/{id}"),
    ],
)
def test_prefix_and_path_are_joined(app, prefix, path, full):
    blueprint = Blueprint(prefix)
    blueprint.get(path)(handler)
    app.register_blueprint(blueprint)
    assert app.paths == [f"GET {full}"]


def test_routes_may_be_added_after_registration_until_freeze(app):
    outer, inner = Blueprint("/o"), Blueprint("/i")
    app.register_blueprint(outer)
    outer.register(inner)
    inner.get("/late")(handler)
    assert app.paths == ["GET /o/i/late"]
    app.router.freeze()
    with pytest.raises(RouteError, match="comes too late"):
        inner.get("/later")(handler)
    assert [route.pattern.path for route in inner.routes] == ["/i/late"]


def test_one_blueprint_may_stand_in_several_places(app):
    shared = Blueprint("/s")
    shared.get("/x")(handler)
    for prefix in ("/a", "/b"):
        outer = Blueprint(prefix)
        outer.register(shared)
        app.register_blueprint(outer)
    assert app.paths == ["GET /a/s/x", "GET /b/s/x"]


def test_a_blueprint_cannot_contain_itself():
    a, b, c = Blueprint("/a"), Blueprint("/b"), Blueprint("/c")
    a.register(b)
    b.register(c)
    for outer, inner in ((a, a), (b, a), (c, a)):
        with pytest.raises(RouteError, match="it would contain itself"):
            outer.register(inner)


def test_a_blueprint_is_registered_once_in_a_place(app):
    blueprint = Blueprint("/a", name="a")
    app.register_blueprint(blueprint)
    with pytest.raises(RouteError, match=re.escape("Blueprint('/a', name='a') is registered with")):
        app.register_blueprint(blueprint)


def test_a_conflict_between_blueprints_names_the_lines_of_the_routes(app):
    a, b = Blueprint("/x"), Blueprint("/x")
    first = next_line()
    a.get("/y")(handler)
    second = next_line()
    b.get("/y")(handler)
    app.register_blueprint(a)
    with pytest.raises(RouteError) as caught:
        app.register_blueprint(b)
    assert str(caught.value) == f"GET /x/y ({second}) is registered already: {first}"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("api",), RouteError, "must start with '/'; write '/api'"),
        (("/{x",), RouteError, "unbalanced braces"),
        ((None,), ConfigError, "must be a string"),
        (("/x", ""), ConfigError, "name must not be empty"),
        (("/x", 7), ConfigError, "name must be a string"),
        (("/x", None, guard), ConfigError, "guards must be a list"),
        (("/x", None, None, "tag"), ConfigError, "tags must be a list of strings"),
    ],
    ids=["no-slash", "braces", "no-string", "empty-name", "odd-name", "bare-guard", "bare-tag"],
)
def test_a_blueprint_that_cannot_be_is_refused(arguments, error, words):
    with pytest.raises(error, match=re.escape(words)):
        Blueprint(*arguments)


def test_paths_in_a_blueprint_start_with_a_slash_too():
    with pytest.raises(RouteError, match="route 'users': a path must start with '/'"):
        Blueprint("/api").get("users")


def test_a_wildcard_prefix_is_refused_where_something_follows():
    blueprint = Blueprint("/files/*rest")
    blueprint.get("")(handler)
    with pytest.raises(RouteError, match="must come last"):
        blueprint.get("/x")


def test_only_blueprints_are_registered(app):
    with pytest.raises(ConfigError, match="takes a Blueprint"):
        app.register_blueprint(handler)


def test_a_place_outside_the_working_directory_is_shown_in_full(app, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    app.get("/a")(handler)
    assert app.router.routes[0].place.startswith(f"{__file__}:")
