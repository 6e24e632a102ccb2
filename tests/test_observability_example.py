"""The example of observability: a real Prometheus scrapes it, and every query of the dashboard finds numbers."""

import contextlib
import importlib.util
import json
import math
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest

from tests.database.servers import missing
from tests.features.telemetry.receiver import http_receiver
from tests.integration.redis_server import running
from tests.serve.program import Program, free_port, get

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "observability"
PATIENCE_S = 90


def load_maker():
    spec = importlib.util.spec_from_file_location("dashboard_of_the_example", FOLDER / "dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}


def in_window(query):
    """Return a query with the dashboard's variables filled in."""
    return query.replace("$__rate_interval", "20s").replace("$job", "cello")


class Prometheus:
    """A Prometheus, asked by its API.

    Args:
        port: Where it listens.
        program: What started it.
    """

    def __init__(self, port, program):
        self._url = f"http://127.0.0.1:{port}"
        self._program = program

    def check_alive(self):
        assert self._program.process.poll() is None, "\n".join(self._program.lines[-20:])

    def ask(self, path, **parameters):
        with contextlib.suppress(OSError):
            status, body = get(self._url, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            if status == 200:
                return json.loads(body)["data"]
            assert status in (404, 503), body
        return None

    def values(self, query):
        """Return the numbers that a query finds, those left out that are none."""
        found = self.ask("query", query=query)
        values = [float(row["value"][1]) for row in found["result"]] if found else []
        return [value for value in values if math.isfinite(value)]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    if shutil.which("prometheus") is None:
        missing("prometheus is not installed")
    folder = tmp_path_factory.mktemp("observability")
    ports = free_port(), free_port()
    words = [f"{FOLDER}/run.py", "--port", ports[0], "--prometheus-port", ports[1], "--scrape", "1s"]
    with running(folder) as redis_url, http_receiver() as collector:
        environment = {
            "REDIS_URL": redis_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
        with Program(*map(str, words), folder=folder, environment=environment) as program:
            program.wait_for("Grafana")
            yield Prometheus(ports[1], program)
            program.process.send_signal(signal.SIGINT)
            assert program.process.wait(60) == 0


@pytest.mark.timeout(300)
def test_every_query_of_the_dashboard_finds_numbers(prometheus):
    missing_yet = dict(QUERIES)
    deadline = time.monotonic() + PATIENCE_S
    while missing_yet and time.monotonic() < deadline:
        prometheus.check_alive()
        missing_yet = {title: query for title, query in missing_yet.items() if not prometheus.values(in_window(query))}
        time.sleep(0.5)
    assert missing_yet == {}


@pytest.mark.timeout(300)
def test_the_choice_of_the_application_finds_it(prometheus):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := prometheus.ask("label/job/values", **{"match[]": "cello_workers"})):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert found == ["cello"]
    assert prometheus.values("sum(cello_workers)") == [2]


@pytest.mark.timeout(300)
def test_every_alert_is_evaluated_and_speaks_of_metrics_that_are_there(prometheus):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        groups = (prometheus.ask("rules") or {"groups": []})["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        if rules and all(rule["health"] == "ok" for rule in rules):
            break
        assert time.monotonic() < deadline, rules
        time.sleep(0.5)
    names = {name for rule in rules for name in re.findall(r"cello_\w+", rule["query"])}
    assert len(rules) == 6
    for name in names:
        assert prometheus.values(f"count({name})"), name


@pytest.mark.parametrize("words", [["config", "prometheus.yml"], ["rules", "alerts.yml"]])
def test_promtool_has_nothing_to_say(words):
    if shutil.which("promtool") is None:
        missing("promtool is not installed")
    found = subprocess.run(["promtool", "check", *words], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_dashboard_is_the_one_that_its_table_makes():
    assert load_maker().dashboard() == DASHBOARD


def test_panels_stand_beside_and_below_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
