"""A real Prometheus scrapes an application of four workers, and promtool checks what it shows."""

import json
import os
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import pytest

from tests.missing import missing
from tests.serve.program import PATIENCE_S, Program, free_port, get, until

APP = """
from cello import App, cache

app = App()
app.enable_prometheus()
app.enable_caching()


@app.get("/users/{id}")
@cache(ttl=60)
def user(id: int):
    return {"id": id}
"""

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: cello
  static_configs: [{targets: ['%s']}]
"""


@pytest.fixture
def prometheus():
    """The command, or a reason to skip."""
    found = shutil.which("prometheus")
    if found is None:
        missing("prometheus (Debian package of that name) is not installed")
    return found


def ask(port, query):
    """Return what Prometheus knows, by labels; nothing while it does not answer."""
    try:
        status, body = get(f"http://127.0.0.1:{port}", f"/api/v1/query?query={urllib.parse.quote(query)}")
    except OSError:
        return {}
    if status != 200:  # it says so while it starts
        return {}
    found = json.loads(body)["data"]["result"]
    return {(each["metric"].get("route"), each["metric"].get("status")): float(each["value"][1]) for each in found}


def test_prometheus_scrapes_the_sum_of_four_workers(prometheus, tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    port, own = free_port(), free_port()
    with Program("-m", "cello", "run", "shop:app", "--port", str(port), "--workers", "4", folder=tmp_path) as program:
        url = program.listening()
        for number in range(20):
            get(url, f"/users/{number % 3}")
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=get(url, "/metrics")[1].encode(), capture_output=True, timeout=60
        )
        assert (checked.returncode, checked.stderr) == (0, b"")
        (tmp_path / "prometheus.yml").write_text(CONFIG % f"127.0.0.1:{port}")
        command = [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ]
        with Path(tmp_path / "log").open("wb") as log:
            scraper = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"})
        try:
            key = ("/users/{id}", "200")
            until(lambda: ask(own, "cello_http_requests_total").get(key), 20.0)
            assert ask(own, "cello_http_request_duration_seconds_count")[key] == 20.0
            assert sum(ask(own, 'cello_cache_requests_total{result="hit"}').values()) == 17.0
            assert ask(own, "up") == {(None, None): 1.0}
        finally:
            scraper.terminate()
            scraper.wait(PATIENCE_S)
