"""Finding a route: `Router.find` over the tree of each build, and falcon's router where falcon is installed.

The application has `size` routes of three shapes: static paths, one parameter, four parameters. Budget of the compiled
build, in µs: 0.15 static, 0.35 with one parameter, 0.6 with four; the same with 200 and with 20,000 routes.
"""

import pytest

from cello.routing import router as router_module
from cello.routing.pattern import parse
from cello.routing.route import Route, RouteOptions
from cello.routing.router import Router
from cello.routing.tree import PureTree

SIZES = (200, 20_000)
PATHS = {
    "static": "/service{n}/users/list",
    "one-parameter": "/service{n}/users/7",
    "four-parameters": "/service{n}/orgs/cello/teams/core/users/7/notes/12",
    "miss": "/service{n}/users/7/nothing",
}


def handler(request):
    return request


def templates(size):
    for number in range(0, size, 4):
        yield "GET", f"/service{number}/users/list"
        yield "GET", f"/service{number}/users/{{id}}"
        yield "POST", f"/service{number}/users/{{id}}"
        yield "GET", f"/service{number}/orgs/{{org}}/teams/{{team}}/users/{{user}}/notes/{{note}}"


@pytest.fixture(params=SIZES, ids=[f"{size}-routes" for size in SIZES])
def size(request):
    return request.param


@pytest.fixture
def router(impl, size, monkeypatch):
    if impl == "py":
        monkeypatch.setattr(router_module, "Tree", PureTree)
    router = Router()
    for method, template in templates(size):
        router.add(Route((method,), parse(template), handler, RouteOptions(), "handler", "bench"))
    router.freeze()
    return router


@pytest.mark.parametrize("kind", PATHS)
def test_cello(benchmark, router, size, kind):
    benchmark.group = f"find {kind} among {size}"
    path = PATHS[kind].format(n=size // 8 * 4)
    assert (router.find("GET", path) is None) == (kind == "miss")
    benchmark(router.find, "GET", path)


@pytest.mark.parametrize("kind", PATHS)
def test_index(benchmark, size, kind):
    """What the fast lane asks before the tree; its own parameters dict is made in the test's call."""
    paths = pytest.importorskip("cello._speedups.paths")
    router = Router()
    for method, template in templates(size):
        router.add(Route((method,), parse(template), handler, RouteOptions(), "handler", "bench"))
    index = paths.PathIndex(router.tree, lambda value, path: value)
    benchmark.group = f"find {kind} among {size}"
    path = PATHS[kind].format(n=size // 8 * 4).encode()
    if kind == "static":
        assert benchmark(index.look_up_line, b"GET " + path) is not None
    else:
        assert (benchmark(index.look_up, b"GET", path) is None) == (kind == "miss")


@pytest.mark.parametrize("kind", PATHS)
def test_falcon(benchmark, size, kind):
    routing = pytest.importorskip("falcon.routing")
    benchmark.group = f"find {kind} among {size}"

    class Resource:
        def on_get(self, request, response, **params):
            """Answer nothing."""

    router = routing.CompiledRouter()
    for template in dict.fromkeys(template for _, template in templates(size)):
        router.add_route(template, Resource())
    path = PATHS[kind].format(n=size // 8 * 4)
    assert (router.find(path) is None) == (kind == "miss")
    benchmark(router.find, path)
