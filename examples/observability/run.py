"""Run the example: the application on two workers, a Prometheus that scrapes it, and traffic to look at.

    python examples/observability/run.py

    http://127.0.0.1:8000          the application        /metrics, /health, and /_cello with --debug
    http://127.0.0.1:9090          Prometheus             Debian: apt-get install prometheus
    dashboard.json                 for Grafana: Dashboards, New, Import; its data source is that Prometheus

Ctrl+C ends all of it.
"""

import argparse
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
GRAPHQL = json.dumps({"query": "{ orders }"})
ASKS = [
    *[("GET", "/api/notes?q=milk", None)] * 5,
    ("POST", "/api/notes", json.dumps({"title": "milk", "text": "two litres"})),
    ("GET", "/api/notes/1", None),
    ("GET", "/numbers.csv", None),
    ("GET", "/together", None),
    ("GET", "/blocking", None),
    *[("GET", "/prices", None)] * 4,
    *[("POST", "/orders", None)] * 2,
    ("GET", "/orders/count", None),
    ("POST", "/graphql", GRAPHQL),
    ("GET", "/limited", None),
    ("GET", "/fail", None),
    ("GET", "/nowhere", None),
]


def main() -> int:
    """Start everything and wait for Ctrl+C, or for one of the programs to end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="of the application")
    parser.add_argument("--prometheus-port", type=int, default=9090)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--scrape", default="5s", help="how often Prometheus asks")
    parser.add_argument("--debug", action="store_true", help="with the page /_cello")
    parser.add_argument("--no-traffic", action="store_true", help="leave the application alone")
    asked = parser.parse_args()
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        print("There is no prometheus: apt-get install prometheus, or https://prometheus.io/download/", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cello-observability-") as folder:
        return run(asked, prometheus, Path(folder))


def run(asked: argparse.Namespace, prometheus: str, folder: Path) -> int:
    """Run it with its data in a folder."""
    config = (HERE / "prometheus.yml").read_text(encoding="utf-8")
    config = config.replace("127.0.0.1:8000", f"127.0.0.1:{asked.port}").replace("5s", asked.scrape)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    shutil.copy(HERE / "alerts.yml", folder)
    cello = [sys.executable, "-m", "cello", "run", f"{HERE}/app.py", "--port", str(asked.port), "--no-logs"]
    commands = [
        [*cello, "--workers", asked.workers, *(["--debug"] if asked.debug else [])],
        [
            *(prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
            *(f"--web.listen-address=127.0.0.1:{asked.prometheus_port}", "--log.level=warn"),
        ],
    ]
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    programs = [subprocess.Popen(command) for command in commands]
    traffic = [threading.Thread(target=ask, args=(asked.port, stopped)) for _ in range(0 if asked.no_traffic else 4)]
    for thread in traffic:
        thread.start()
    print(f"application  http://127.0.0.1:{asked.port}")
    print(f"Prometheus   http://127.0.0.1:{asked.prometheus_port}/graph?g0.expr=rate(cello_http_requests_total[1m])")
    print(f"Grafana      import {HERE / 'dashboard.json'}", flush=True)
    while not stopped.wait(0.2) and all(program.poll() is None for program in programs):
        pass
    failed = [program for program in programs if program.poll() not in (None, 0)]
    stopped.set()
    for program in programs:
        program.terminate()
    for waited in (*traffic, *programs):
        waited.join() if isinstance(waited, threading.Thread) else waited.wait()
    return 1 if failed else 0


def ask(port: int, stopped: threading.Event) -> None:
    """Ask one thing after the other, some a second, on one connection, until told to stop."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while not stopped.is_set():
        for method, path, body in ASKS:
            if stopped.wait(0.05):
                return
            try:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):  # not there yet, or replaced by a successor
                connection.close()
                time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
