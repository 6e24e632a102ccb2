"""What is counted, everywhere, and how it is shown; a real parser and promtool read it."""

import asyncio
import shutil
import subprocess
import sys
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from cello import App, ConfigError, Request, Response
from cello.features.prometheus import exposition, foreign
from cello.features.prometheus.feature import BUCKETS_BYTES, BUCKETS_S
from cello.shared.meter import Family
from tests.missing import missing

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}


def values_of(text, name, parse=parse_text):
    """Return the samples of a name: their labels without the names → value."""
    samples = [sample for family in parse(text) for sample in family.samples if sample.name == name]
    return {tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in samples}


def requests_of(client):
    """Return how often each (method, route, status) was counted, but for the endpoint itself."""
    counted = values_of(client.get("/metrics").text, "cello_http_requests_total")
    return {key: int(value) for key, value in counted.items() if key[1] != "/metrics"}


def make_app(coloured=lambda handler: handler, **options):
    app = App()
    app.enable_prometheus(**options)
    app.get("/users/{id}")(coloured(lambda id: {"id": id}))
    app.post("/users")(coloured(lambda request: Response(request.body(), 201)))

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("secret")

    @app.get("/stream")
    @coloured
    def stream():
        yield b"some"
        yield b" pieces"

    return app


def test_requests_are_counted_by_method_route_and_status(serve, coloured):
    with serve(make_app(coloured)) as client:
        client.get("/users/1")
        client.get("/users/2")
        client.head("/users/2")
        client.post("/users", content=b"x" * 500)
        client.get("/broken")
        client.get("/stream")
        client.get("/nothing")
        client.put("/users")
        client.options("/users")
        client.request("BREW", "/users")
        text = client.get("/metrics").text
        counted = values_of(text, "cello_http_requests_total")
    assert {key: int(value) for key, value in counted.items()} == {
        ("GET", "/users/{id}", "200"): 2,
        ("HEAD", "/users/{id}", "200"): 1,
        ("POST", "/users", "201"): 1,
        ("GET", "/broken", "500"): 1,
        ("GET", "/stream", "200"): 1,
        ("GET", "<unmatched>", "404"): 1,
        ("PUT", "<unmatched>", "405"): 1,
        ("OPTIONS", "<unmatched>", "204"): 1,
        ("_OTHER", "<unmatched>", "405"): 1,
    }
    sent = values_of(text, "cello_http_response_size_bytes_sum")
    assert sent["GET", "/users/{id}", "200"] == 2 * len('{"id":"1"}')
    assert sent["HEAD", "/users/{id}", "200"] == 0
    assert sent["GET", "/stream", "200"] == len("some pieces")
    received = values_of(text, "cello_http_request_size_bytes_sum")
    assert received["POST", "/users", "201"] == 500
    in_progress = values_of(text, "cello_http_requests_in_progress")
    assert {key: value for key, value in in_progress.items() if value} == {("GET", "/metrics"): 1}
    took = values_of(text, "cello_http_request_duration_seconds_count")
    assert {key: int(value) for key, value in took.items()} == {key: int(value) for key, value in counted.items()}


def test_a_conditional_answer_is_counted_by_the_status_that_leaves(serve, coloured):
    app = make_app()
    app.get("/tagged")(coloured(lambda: Response("x", headers={"ETag": '"a"'})))
    with serve(app) as client:
        assert client.get("/tagged", headers={"If-None-Match": '"a"'}).status == 304
        assert requests_of(client) == {("GET", "/tagged", "304"): 1}


def test_an_early_answer_and_a_refusing_guard_are_counted(serve, coloured):
    app = make_app()
    app.before_request(lambda request: "early" if request.path == "/early" else None)
    app.get("/early")(coloured(lambda: "late"))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "x"))
    with serve(app) as client:
        client.get("/early")
        client.get("/guarded")
        assert requests_of(client) == {("GET", "/early", "200"): 1, ("GET", "/guarded", "403"): 1}


def test_an_answer_that_cannot_be_sent_is_counted_as_the_error_it_becomes(serve, coloured):
    app = make_app()
    app.get("/odd")(coloured(lambda: Response.stream([b"x"], headers={"Content-Length": "many"})))
    with serve(app) as client:
        assert client.get("/odd").status == 500
        assert requests_of(client) == {("GET", "/odd", "500"): 1}


def test_a_request_whose_client_left_is_not_in_progress_any_more():
    async def play():
        app = make_app()
        started = asyncio.Event()

        @app.get("/slow")
        async def slow():
            started.set()
            await asyncio.Event().wait()

        dispatcher = app.freeze()
        request = app.request_class("GET", "/slow")
        task = asyncio.create_task(dispatcher.answer_async(dispatcher.plan_for(request), request))
        await started.wait()
        text = app.feature("prometheus").expose()
        assert values_of(text, "cello_http_requests_in_progress")["GET", "/slow"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return app.feature("prometheus").expose()

    text = asyncio.run(play())
    assert values_of(text, "cello_http_requests_in_progress")["GET", "/slow"] == 0
    assert values_of(text, "cello_http_requests_total")["GET", "/slow", "499"] == 1


@pytest.mark.parametrize("impl", ["py", "c"], indirect=True)
def test_threads_lose_no_count(impl):
    from cello.features.prometheus import recorder

    kind = recorder.PureRecorder if impl == "py" else recorder.Recorder
    counting = kind(
        (BUCKETS_S, BUCKETS_BYTES), lambda method, route: 0, lambda method, route, status: (1, 20, 40), print
    )
    cells = memoryview(bytearray(8 * 64)).cast("d")
    counting.restart(cells)

    def count():
        for _ in range(5_000):
            request = Request("POST", "/", body=b"abc")
            counting.begin(request)
            counting.leave(request, Response(b"x" * 1_500))

    sys_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(sys_interval)
    assert cells[0] == 0
    assert sum(cells[1 : 1 + len(BUCKETS_S) + 1]) == 20_000
    assert (cells[20], cells[20 + len(BUCKETS_BYTES) + 1]) == (20_000, 60_000)
    assert (cells[40 + 2], cells[40 + len(BUCKETS_BYTES) + 1]) == (20_000, 20_000 * 1_500)


def test_both_formats_are_read_by_the_clients_own_parsers(serve):
    with serve(make_app()) as client:
        client.get("/users/1")
        text, openmetrics = client.get("/metrics"), client.get("/metrics", headers=OPENMETRICS)
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics.text.endswith("\n# EOF\n")
    key = ("GET", "/users/{id}", "200")
    assert values_of(text.text, "cello_http_requests_total")[key] == 1
    assert values_of(openmetrics.text, "cello_http_requests_total", parse_openmetrics)[key] == 1
    assert values_of(openmetrics.text, "cello_http_request_duration_seconds_count", parse_openmetrics)[key] == 1


ACCEPTED = {
    "nothing": (None, False),
    "anything": ("*/*", False),
    "text": ("text/plain", False),
    "OpenMetrics": ("application/openmetrics-text", True),
    "Prometheus's own header": (OPENMETRICS["Accept"], True),
    "text preferred": ("text/plain;q=1,application/openmetrics-text;q=0.5", False),
    "a browser": ("text/html,application/xml;q=0.9,*/*;q=0.8", False),
}


@pytest.mark.parametrize(("accept", "wanted"), ACCEPTED.values(), ids=ACCEPTED)
def test_the_format_is_the_one_asked_for(accept, wanted):
    assert exposition.wants_openmetrics(accept) is wanted


def test_promtool_has_nothing_to_say(client):
    if shutil.which("promtool") is None:
        missing("promtool (Debian package prometheus) is not installed")
    app = make_app()
    app.enable_caching()
    opened = client(app)
    for path in ("/users/1", "/nothing", "/stream"):
        opened.get(path)
    text = opened.get("/metrics").content
    found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_names_follow_namespace_and_subsystem(client):
    opened = client(make_app(namespace="shop", subsystem="web", endpoint="/numbers"))
    opened.get("/users/1")
    text = opened.get("/numbers").text
    titles = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {title for title in titles if title.startswith("shop_web_")} == {
        "shop_web_requests_total",
        "shop_web_request_duration_seconds",
        "shop_web_requests_in_progress",
        "shop_web_request_size_bytes",
        "shop_web_response_size_bytes",
    }


def test_what_features_count_is_shown_with_the_namespace(serve):
    app = make_app()
    app.enable_caching()
    with serve(app) as client:
        for _ in range(3):
            client.get("/users/1")
        counted = values_of(client.get("/metrics").text, "cello_cache_requests_total")
    assert counted == {("hit",): 2, ("miss",): 1, ("stale",): 0, ("bypass",): 0}


def test_excluded_paths_are_not_counted(serve):
    with serve(make_app(exclude_paths=["/users", "/metrics"])) as client:
        client.get("/users/1")
        client.get("/nothing")
        assert requests_of(client) == {("GET", "<unmatched>", "404"): 1}
        assert "/metrics" not in client.get("/metrics").text


def test_guards_of_the_endpoint_are_asked_and_the_applications_are_not(serve):
    app = make_app(guards=[lambda request: request.get_header("x-key") == "secret"])
    app.add_guard(lambda request: False)
    with serve(app) as client:
        assert client.get("/metrics").status == 403
        assert client.get("/metrics", headers={"X-Key": "secret"}).status == 200


def test_buckets_are_the_ones_given(client):
    opened = client(make_app(buckets=[0.5, 1, 2]))
    opened.get("/users/1")
    text = opened.get("/metrics").text
    bounds = {labels[0] for labels in values_of(text, "cello_http_request_duration_seconds_bucket")}
    assert bounds == {"0.5", "1.0", "2.0", "+Inf"}


def test_values_of_labels_and_texts_are_escaped():
    family = Family("gauge", "g", "a \\ and\na line", ("name",))
    rows = {('a "quoted\\ \n name',): [1.5]}
    written = "\n".join(exposition.lines("g", family, rows, openmetrics=False)) + "\n"
    (read,) = parse_text(written)
    assert read.documentation == "a \\ and\na line"
    assert read.samples[0].labels == {"name": 'a "quoted\\ \n name'}


BAD = {
    "a namespace with a dash": ({"namespace": "my-app"}, "namespace is of letters"),
    "buckets that fall": ({"buckets": [1, 0.5]}, "buckets must rise"),
    "no buckets": ({"buckets": []}, "buckets is a list"),
    "paths as text": ({"exclude_paths": "/health"}, "exclude_paths is a list"),
}


@pytest.mark.parametrize(("options", "words"), BAD.values(), ids=BAD)
def test_an_option_out_of_range_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_prometheus(**options)


@pytest.fixture
def own_registry(monkeypatch):
    """A registry of prometheus-client's for one test."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    return registry


def test_metrics_of_the_client_are_shown_in_both_formats(serve, own_registry):
    from prometheus_client import Counter

    Counter("shop_orders", "Orders.", registry=own_registry).inc(3)
    with serve(make_app()) as client:
        assert values_of(client.get("/metrics").text, "shop_orders_total") == {(): 3}
        openmetrics = client.get("/metrics", headers=OPENMETRICS).text
        assert values_of(openmetrics, "shop_orders_total", parse_openmetrics) == {(): 3}


def test_a_metric_of_the_client_with_one_of_our_names_is_left_out_and_said_so(client, own_registry, caplog):
    from prometheus_client import Counter

    Counter("cello_http_requests", "Mine.", registry=own_registry).inc(3)
    opened = client(make_app())
    opened.get("/users/1")
    text = opened.get("/metrics").text
    assert "Mine." not in text
    assert values_of(text, "cello_http_requests_total")["GET", "/users/{id}", "200"] == 1
    assert "cello_http_requests of prometheus-client has a name of cello's own" in caplog.text


@pytest.mark.parametrize(
    ("has_others", "folder", "warns"), [(True, "", True), (True, "/tmp", False), (False, "", False)]
)
def test_workers_whose_client_metrics_stand_apart_say_so(monkeypatch, caplog, has_others, folder, warns):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", folder)
    foreign.warn_where_apart(has_other_workers=has_others)
    assert ("are not summed over the workers" in caplog.text) is warns
