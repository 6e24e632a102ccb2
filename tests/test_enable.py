"""Features meet the application through their host, and nowhere else."""

import pytest

from cello import App, ConfigError, Middleware
from cello.pipeline.middleware import OBSERVE, PROTECT, SHAPE


class Endpoint:
    """A feature with an endpoint, a resource and a check."""

    name = "endpoint"

    def __init__(self, guards=None):
        self.guards = guards

    def install(self, host):
        host.add_route("/feature", lambda request: "here", guards=self.guards)
        host.provide("feature", self)
        host.add_check("feature", lambda: True, critical=False)


class Mark(Middleware):
    """Adds the name of its band to the answer."""

    def __init__(self, band):
        self.band = band

    def after(self, request, response):
        response.append_header("X-Band", str(self.band))


def test_an_endpoint_of_a_feature_is_neither_guarded_nor_limited_but_watched_and_shaped(serve):
    app = App()
    app.add_guard(lambda request: False)
    for band in (OBSERVE, PROTECT, SHAPE):
        app._host.add_middleware(Mark(band))
    app._host.install(Endpoint())
    with serve(app) as client:
        answer = client.get("/feature")
    assert (answer.status, answer.text) == (200, "here")
    assert answer.headers["X-Band"] == f"{SHAPE}, {OBSERVE}"


def test_an_endpoint_of_a_feature_asks_its_own_guards(serve):
    app = App()
    app._host.install(Endpoint(guards=[lambda request: False]))
    with serve(app) as client:
        assert client.get("/feature").status == 403


def test_what_a_feature_provides_is_a_dependency():
    app = App()
    app._host.install(feature := Endpoint())
    assert app.singletons["feature"] is app._host.resource("feature") is feature
    assert [check.name for check in app._host.checks()] == ["feature"]


def test_a_feature_is_installed_once():
    app = App()
    app._host.install(Endpoint())
    with pytest.raises(ConfigError, match=r"enable_endpoint\(\) was called already"):
        app._host.install(Endpoint())


def test_a_feature_comes_before_the_first_request():
    app = App()
    app.freeze()
    with pytest.raises(ConfigError, match="too late"):
        app._host.install(Endpoint())


def test_a_name_is_provided_once():
    app = App()
    app.register_singleton("feature", 1)
    with pytest.raises(ConfigError, match="'feature' already"):
        app._host.install(Endpoint())
