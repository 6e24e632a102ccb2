"""What leaves the process: over both protocols, by the environment's word, and when the collector is gone."""

import logging
import os
import socket
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import AggregationTemporality

from cello import App, ConfigError, OpenTelemetryConfig
from cello.features.telemetry.durations import Durations, attributes_of
from cello.features.telemetry.settings import Sampling, exporter_of, protocol_of, sampling_of
from cello.testing import TestClient
from tests.features.telemetry.receiver import values


def make_app(endpoint, **settings):
    app = App()
    app.enable_telemetry(OpenTelemetryConfig("shop", service_version="3", otlp_endpoint=endpoint, **settings))
    app.get("/users/{id}")(lambda request: request.params["id"])
    return app


def test_traces_and_metrics_arrive(each_collector, gateway, client):
    with client(make_app(each_collector.endpoint), gateway) as opened:
        for number in range(3):
            opened.get(f"/users/{number}")
        opened.get("/nowhere")
    assert len(each_collector.server_spans()) == 4
    points = {tuple(sorted(values(point.attributes).items())): point for point in each_collector.points(DURATION)}
    known = {"http.request.method": "GET", "url.scheme": "http"}
    users = points[tuple(sorted({**known, "http.route": "/users/{id}", "http.response.status_code": 200}.items()))]
    nowhere = points[tuple(sorted({**known, "http.response.status_code": 404}.items()))]
    assert (users.count, nowhere.count) == (3, 1)
    assert sum(users.bucket_counts) == 3
    assert 0 < users.min <= users.max <= users.sum
    [active] = each_collector.points("http.server.active_requests")
    assert active.as_int == 0
    assert each_collector.resources[0].items() >= {"service.name": "shop", "service.version": "3"}.items()


DURATION = "http.server.request.duration"


@pytest.mark.parametrize(("traces", "metrics"), [(True, False), (False, True), (False, False)])
def test_either_can_be_left_out(collector, traces, metrics):
    app = make_app(collector.endpoint, export_traces=traces, export_metrics=metrics)
    with TestClient(app) as client:
        client.get("/users/7")
    assert bool(collector.spans) == traces
    assert bool(collector.points(DURATION)) == metrics


def test_users_own_spans_follow_the_application_that_started_last(collector):
    tracer = trace.get_tracer("mine")
    for _ in range(2):
        with TestClient(make_app(collector.endpoint, export_metrics=False)), tracer.start_as_current_span("work"):
            pass
    with tracer.start_as_current_span("after the end"):
        pass
    assert [span.name for span in collector.spans] == ["work", "work"]


def test_a_collector_that_is_gone_costs_spans_and_they_are_counted(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        app = make_app(f"http://127.0.0.1:{silent.getsockname()[1]}", export_metrics=False)
        with caplog.at_level(logging.WARNING, "cello"), TestClient(app) as client:
            for number in range(30):
                assert client.get(f"/users/{number}").status == 200
            stats = app.feature("telemetry").stats()
            assert stats["exported"] == 0
            assert stats["waiting"] <= 8
            assert stats["waiting"] + stats["failed"] + stats["dropped"] == 30 - in_flight(stats)
    assert "of 30 spans were not exported" in caplog.text


def in_flight(stats):
    return 30 - stats["waiting"] - stats["failed"] - stats["dropped"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_exports_what_is_its_own(collector):
    app = make_app(collector.endpoint, export_metrics=False)
    child = os.fork()
    if child == 0:
        try:
            with TestClient(app) as client:
                client.get("/users/7")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [span.name for span in collector.server_spans()] == ["GET /users/{id}"]
    assert not [thread for thread in threading.enumerate() if "Otel" in thread.name]


# -- the environment --


def test_the_environment_names_collector_service_and_exporters(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "by-variable")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    app = App()
    app.enable_telemetry()
    app.get("/")(lambda: "fine")
    with TestClient(app) as client:
        client.get("/")
    assert len(collector.spans) == 1
    assert collector.metrics == []
    wanted = {"service.name": "by-variable", "deployment.environment.name": "test"}
    assert collector.resources[0].items() >= wanted.items()


def test_it_can_be_disabled(collector, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    app = make_app(collector.endpoint)
    with TestClient(app) as client:
        assert client.get("/users/7").text == "7"
    assert collector.spans == collector.metrics == []
    assert "ServerSpans" not in app.explain("/users/7")


SAMPLERS = {
    "nothing said": ({}, 1.0, Sampling(True, 1.0)),
    "the program": ({"OTEL_TRACES_SAMPLER": "always_on"}, 0.5, Sampling(True, 0.5)),
    "always_on": ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0, Sampling(False, 1.0)),
    "always_off": ({"OTEL_TRACES_SAMPLER": "always_off"}, 1.0, Sampling(False, 0.0)),
    "a ratio": ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 1.0, Sampling(False, 0.1)),
    "parents first": ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, 1.0, Sampling(True, 1.0)),
}


@pytest.mark.parametrize(("environ", "rate", "sampling"), SAMPLERS.values(), ids=SAMPLERS.keys())
def test_the_environment_s_sampler(environ, rate, sampling):
    assert sampling_of(OpenTelemetryConfig("shop", sampling_rate=rate), environ) == sampling


WRONG = {
    "a sampler": lambda: sampling_of(OpenTelemetryConfig("shop"), {"OTEL_TRACES_SAMPLER": "sometimes"}),
    "a share": lambda: sampling_of(
        OpenTelemetryConfig("shop"), {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}
    ),
    "an exporter": lambda: exporter_of("traces", {"OTEL_TRACES_EXPORTER": "zipkin"}),
    "a protocol": lambda: protocol_of(None, "traces", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}),
    "no name": lambda: OpenTelemetryConfig(""),
    "no url": lambda: OpenTelemetryConfig("shop", otlp_endpoint="localhost:4317"),
    "no rate": lambda: OpenTelemetryConfig("shop", sampling_rate=2),
}


@pytest.mark.parametrize("ask", WRONG.values(), ids=WRONG.keys())
def test_what_is_impossible_is_refused(ask):
    with pytest.raises(ConfigError):
        ask()


PROTOCOLS = {
    "nothing said": (None, {}, "grpc"),
    "4317": ("http://collector:4317", {}, "grpc"),
    "4318": ("http://collector:4318", {}, "http/protobuf"),
    "a path": ("https://collector.example/otlp", {}, "http/protobuf"),
    "a variable": ("http://collector:4317", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http/protobuf"),
    "the signal's own": (
        None,
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        "http/protobuf",
    ),
    "the variable's port": (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "http/protobuf"),
}


@pytest.mark.parametrize(("endpoint", "environ", "protocol"), PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_how_the_collector_is_spoken_to(endpoint, environ, protocol):
    assert protocol_of(endpoint, "traces", environ) == protocol


# -- the histogram --


def test_durations_fall_into_their_buckets():
    durations = Durations(wall_ns=iter(range(100)).__next__)
    for seconds in (0.001, 0.005, 0.006, 20):
        durations.record(("GET", "http", None, 200, None), seconds)
    [point] = durations.collect(AggregationTemporality.CUMULATIVE).data.data_points
    assert point.bucket_counts == (2, 1, *[0] * 12, 1)
    assert (point.count, point.min, point.max) == (4, 0.001, 20)


@pytest.mark.parametrize(
    ("temporality", "counts"),
    [(AggregationTemporality.CUMULATIVE, [1, 2]), (AggregationTemporality.DELTA, [1, 1])],
    ids=["cumulative", "delta"],
)
def test_each_export_holds_what_its_temporality_says(temporality, counts):
    durations, seen = Durations(), []
    for _ in range(2):
        durations.record(("GET", "http", None, 200, None), 1)
        seen.append(durations.collect(temporality).data.data_points[0].count)
    assert seen == counts


def test_methods_that_clients_make_up_share_a_series():
    durations = Durations()
    for number in range(50):
        durations.record((f"BREW{number}", "http", None, 405, None), 1)
    [point] = durations.collect(AggregationTemporality.CUMULATIVE).data.data_points
    assert (point.count, point.attributes["http.request.method"]) == (50, "_OTHER")


def test_threads_count_together():
    durations = Durations()

    def work():
        for _ in range(2_000):
            durations.record(("GET", "http", None, 200, "x"), 0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [point] = durations.collect(AggregationTemporality.CUMULATIVE).data.data_points
    assert point.count == 8_000
    assert attributes_of(("GET", "http", None, 0, "x"))["error.type"] == "x"
