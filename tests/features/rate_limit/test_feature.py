"""The switch: who is refused, what everybody is told, and which routes have limits of their own."""

import base64
import math
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cello import App, Authenticated, Blueprint, ConfigError, RateLimitConfig
from cello.features.rate_limit import feature as feature_module
from tests.features.rate_limit.test_algorithms import BucketModel, WindowModel

BEGIN_NS, BEGIN_S = 5_000 * 10**9, 1_800_000_000


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so: `clock(seconds)` sets how much has."""
    passed = [0.0]

    class Clock:
        monotonic_ns = staticmethod(lambda: BEGIN_NS + int(passed[0] * 10**9))
        time = staticmethod(lambda: BEGIN_S + passed[0])

    monkeypatch.setattr(feature_module, "time", Clock)
    return lambda seconds: passed.__setitem__(0, seconds)


def make_app(coloured, config, **options):
    app = App()
    app.enable_rate_limit(config, **options)
    app.get("/")(coloured(lambda: "hello"))
    return app


CONFIGS = {
    "token bucket": RateLimitConfig.token_bucket(3, 60),
    "sliding window": RateLimitConfig.sliding_window(3, 60),
    "adaptive": RateLimitConfig.adaptive(3, 60),
    "in short": "3/minute",
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_limit_is_the_same_everywhere(serve, coloured, clock, config):
    with serve(make_app(coloured, config)) as client:
        answers = [client.get("/") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        refused = answers[3]
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["status"] == 429
        wait = int(refused.headers["retry-after"])
        clock(wait - 1)
        assert client.get("/").status == 429
        clock(wait)
        assert client.get("/").status == 200


def test_everybody_is_told_what_is_left(serve, coloured, clock):
    with serve(make_app(coloured, RateLimitConfig.token_bucket(2, 10))) as client:
        first, second, third = (client.get("/") for _ in range(3))
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-policy", "ratelimit")
    policy = '"default";q=2;w=10'
    assert [first.headers[name] for name in names] == ["2", "1", str(BEGIN_S + 5), policy, '"default";r=1;t=5']
    assert [second.headers[name] for name in names] == ["2", "0", str(BEGIN_S + 10), policy, '"default";r=0;t=10']
    assert [third.headers[name] for name in names] == ["2", "0", str(BEGIN_S + 10), policy, '"default";r=0;t=10']
    assert ("retry-after" in second.headers, third.headers["retry-after"]) == (False, "5")
    assert third.json()["detail"] == "More than 2 requests; try again in 5 seconds."


def test_what_has_no_route_is_limited_too(serve, coloured, clock):
    app = make_app(coloured, "3/minute")

    @app.get("/fails")
    def fail():
        raise RuntimeError("no")

    with serve(app) as client:
        asked = [client.get("/nowhere"), client.put("/"), client.get("/fails"), client.get("/nowhere")]
        assert [answer.status for answer in asked] == [404, 405, 500, 429]
        assert all("ratelimit" in answer.headers for answer in asked)


def test_routes_may_have_limits_of_their_own(serve, coloured, clock):
    app = make_app(coloured, "2/minute")
    app.get("/one", rate_limit="1/minute")(coloured(lambda: "one"))
    app.get("/free", rate_limit=False)(coloured(lambda: "free"))
    pages = Blueprint("/pages")
    pages.get("/{x}", rate_limit=RateLimitConfig.sliding_window(1, 60))(coloured(lambda x: x))
    app.register_blueprint(pages)
    with serve(app) as client:
        assert [client.get("/one").status for _ in range(2)] == [200, 429]
        assert [client.get("/").status for _ in range(3)] == [200, 200, 429]
        assert [client.get(path).status for path in ("/pages/a", "/pages/b")] == [200, 429]
        free = [client.get("/free") for _ in range(5)]
        assert {answer.status for answer in free} == {200}
        assert "ratelimit" not in free[0].headers
        assert client.get("/one").headers["ratelimit-policy"] == '"GET /one";q=1;w=60'


def test_excluded_paths_and_built_in_endpoints_are_not_limited(serve, coloured, clock):
    app = make_app(coloured, "1/minute", exclude_paths=["/open"])
    app.get("/open/door")(coloured(lambda: "open"))
    app.enable_openapi()
    with serve(app) as client:
        assert [client.get("/open/door").status for _ in range(3)] == [200] * 3
        assert [client.get("/openapi.json").status for _ in range(3)] == [200] * 3


KEYS = {
    "a header": ("header:X-Api-Key", {"X-Api-Key": "a"}, {"X-Api-Key": "b"}),
    "no header: the address": ("header:X-Api-Key", {}, {"X-Forwarded-For": "203.0.113.9"}),
    "addresses": ("ip", {}, {"X-Forwarded-For": "203.0.113.9"}),
    "networks of ipv6": ("ip", {"X-Forwarded-For": "2001:db8:0:1::1"}, {"X-Forwarded-For": "2001:db8:0:2::1"}),
    "a function": (lambda request: request.headers.get("tenant"), {"tenant": "a"}, {"tenant": "b"}),
}


@pytest.mark.parametrize(("key_by", "one", "other"), KEYS.values(), ids=KEYS.keys())
def test_clients_are_told_apart(serve, coloured, clock, key_by, one, other):
    app = make_app(coloured, RateLimitConfig.token_bucket(1, 60, key_by=key_by))
    app.set_trusted_proxies(["127.0.0.1", "unix"])
    with serve(app) as client:
        assert [client.get("/", headers=one).status for _ in range(2)] == [200, 429]
        assert client.get("/", headers=other).status == 200


def test_addresses_of_one_ipv6_network_are_one_client(client, clock):
    app = make_app(lambda handler: handler, "1/minute")
    app.set_trusted_proxies(["127.0.0.1"])
    with client(app, "asgi") as opened:
        asked = [opened.get("/", headers={"X-Forwarded-For": f"2001:db8::{number}"}).status for number in (1, 2)]
    assert asked == [200, 429]


def test_a_request_without_key_is_not_limited(serve, coloured, clock):
    app = make_app(coloured, "1/minute", key_func=lambda request: request.headers.get("tenant"))
    with serve(app) as client:
        assert [client.get("/").status for _ in range(3)] == [200] * 3


def signed_in(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()}


def test_users_are_counted_behind_the_guards(serve, coloured, clock):
    app = App()
    app.enable_rate_limit(RateLimitConfig.token_bucket(1, 60, key_by="user"))
    app.enable_basic_auth({"ann": "secret", "bob": "secret"})
    app.get("/", guards=[Authenticated()])(coloured(lambda: "hello"))
    with serve(app) as client:
        assert [client.get("/", headers=signed_in("ann")).status for _ in range(2)] == [200, 429]
        assert client.get("/", headers=signed_in("bob")).status == 200
        assert client.get("/").status == 401


def test_handlers_can_see_their_limit(serve, coloured, clock):
    app = make_app(coloured, "5/minute")
    app.get("/left")(coloured(lambda request: {"left": request.context["rate_limit"].remaining}))
    with serve(app) as client:
        assert [client.get("/left").json()["left"] for _ in range(2)] == [4, 3]


def test_headers_may_be_left_out_but_never_when_to_come_back(serve, coloured, clock):
    with serve(make_app(coloured, "1/minute", headers=False)) as client:
        first, second = client.get("/"), client.get("/")
    assert "ratelimit" not in first.headers
    assert (second.status, second.headers["retry-after"], "ratelimit" in second.headers) == (429, "60", False)


def test_an_adaptive_limit_falls_with_errors(serve, coloured, clock):
    app = App()
    app.enable_rate_limit(RateLimitConfig.adaptive(30, 60, min_requests=3))

    @app.get("/")
    @coloured
    def fail():
        raise RuntimeError("no")

    with serve(app) as client:
        limits = []
        for second in range(1, 4):
            clock(second)
            limits += [int(client.get("/").headers["x-ratelimit-limit"]) for _ in range(6)]
    assert limits[0] == 30
    assert limits[-1] < 30


def test_refusals_are_a_metric(serve, coloured, clock):
    app = make_app(coloured, "1/minute")
    app.enable_prometheus()
    with serve(app) as client:
        for _ in range(3):
            client.get("/")
        assert 'rate_limit_refused_total{limit="default"} 2' in client.get("/metrics").text


MODELS = {
    "token bucket": (RateLimitConfig.token_bucket, lambda limit, span: BucketModel(limit, -(-span * 10**9 // limit))),
    "sliding window": (RateLimitConfig.sliding_window, lambda limit, span: WindowModel(limit, span * 10**9)),
}


@pytest.mark.parametrize(("make", "make_model"), MODELS.values(), ids=MODELS.keys())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 5),
    span=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 8).map(lambda pause: round(pause, 3)), min_size=1, max_size=25),
)
def test_what_everybody_is_told_is_exact(client, clock, make, make_model, limit, span, pauses):
    app = make_app(lambda handler: handler, make(limit, span))
    model, passed = make_model(limit, span), 0.0
    with client(app, "wsgi") as opened:
        for pause in pauses:
            passed += pause
            clock(passed)
            answer = opened.get("/")
            expected = model.take(BEGIN_NS + int(passed * 10**9))
            reset = math.ceil(expected.reset_ns / Fraction(10**9))
            told = {name: answer.headers.get(name) for name in ("retry-after", "x-ratelimit-reset", "ratelimit")}
            assert answer.status == (429 if expected.wait_ns else 200)
            assert told == {
                "retry-after": str(math.ceil(expected.wait_ns / Fraction(10**9))) if expected.wait_ns else None,
                "x-ratelimit-reset": str(int(BEGIN_S + passed) + reset),
                "ratelimit": f'"default";r={expected.remaining};t={reset}',
            }


def test_a_websocket_handshake_counts(client, clock):
    app = make_app(lambda handler: handler, "1/minute")
    app.websocket("/ws")(lambda ws: None)
    with client(app, "native") as opened:
        assert opened.get("/").status == 200
        assert opened.get("/").status == 429


REFUSED = {
    "a number": (lambda app: app.enable_rate_limit(100), "RateLimitConfig or text such as"),
    "text": (lambda app: app.enable_rate_limit("often"), "'100/minute', not 'often'"),
    "no requests": (lambda app: RateLimitConfig.token_bucket(0, 60), "max_requests must be a whole number"),
    "no time": (lambda app: RateLimitConfig.token_bucket(1, 0), "window_secs must be a number above 0"),
    "said twice": (lambda app: RateLimitConfig.token_bucket(1, capacity=1), "max_requests and capacity mean the same"),
    "two spans": (lambda app: RateLimitConfig.token_bucket(1, 60, refill_rate=1), "window_secs and refill_rate"),
    "a minimum above": (lambda app: RateLimitConfig.adaptive(5, min_requests=6), "at most 5, not 6"),
    "a key": (lambda app: app.enable_rate_limit(RateLimitConfig.token_bucket(key_by="host")), "key_by is 'ip', 'user'"),
    "a key function": (lambda app: app.enable_rate_limit("1/s", key_func="ip"), "key_func is a function"),
    "a failure": (lambda app: app.enable_rate_limit("1/s", on_redis_failure="x"), "'open' .* or 'closed'"),
    "a url": (lambda app: app.enable_rate_limit("1/s", redis="localhost"), "url must begin with redis://"),
    "a number for redis": (lambda app: app.enable_rate_limit("1/s", redis=6379), "a URL, a RedisConfig or True"),
    "memory": (lambda app: app.enable_rate_limit("1/s", memory_mb=0), "memory_mb is a whole number"),
    "a fast window": (lambda app: RateLimitConfig.sliding_window(2_000, 0.5), "at least one second"),
    "a field": (lambda app: RateLimitConfig(algorithm="leaky", capacity=1, refill_rate=1, window_secs=1), "algorithm"),
}


@pytest.mark.parametrize(("do", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(do, words):
    with pytest.raises(ConfigError, match=words):
        do(App())


def test_a_route_with_a_limit_needs_the_switch():
    app = App()
    app.get("/", rate_limit="1/s")(lambda: None)
    with pytest.raises(ConfigError, match=r"it says rate_limit=, but app.enable_rate_limit\(\) was not called"):
        app.freeze()
    other = App()
    other.enable_rate_limit(None)
    other.get("/x", rate_limit="often")(lambda: None)
    with pytest.raises(ConfigError, match=r"GET /x .*'100/minute', not 'often'"):
        other.freeze()


def test_the_factories_take_every_name():
    same = RateLimitConfig.token_bucket(100, 60)
    assert RateLimitConfig.token_bucket() == same
    assert RateLimitConfig.token_bucket(max_requests=100, window_secs=60) == same
    assert RateLimitConfig.token_bucket(requests=100, window=60) == same
    refilled = RateLimitConfig.token_bucket(capacity=10, refill_rate=2)
    assert (refilled.capacity, refilled.refill_rate, refilled.window_secs) == (10, 2, 5)
    adaptive = RateLimitConfig.adaptive(base_requests=50, min_capacity=5, error_threshold=0.2)
    assert (adaptive.algorithm, adaptive.capacity, adaptive.min_capacity) == ("adaptive", 50, 5)
    assert math.isclose(RateLimitConfig.sliding_window(10, 4).refill_rate, 2.5)
