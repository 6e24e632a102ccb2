"""One sum for all workers: under the own server and gunicorn, with the client's own metrics, through kill -9."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.serve.program import Program, free_port, get, is_gone, until

APP = """
import os
from prometheus_client import Counter, Gauge
from cello import App

ORDERS = Counter("shop_orders", "Orders.", ["kind"])
OPEN = Gauge("shop_open", "Open now.", multiprocess_mode="livesum")
app = App()
app.enable_prometheus()


@app.on_event("startup")
def start():
    OPEN.set(1)


@app.get("/pid")
def pid():
    ORDERS.labels("book").inc()
    return {"pid": os.getpid()}
"""

CELLO = ["-m", "cello", "run", "shop:app", "--port", "{port}"]
GUNICORN = ["-m", "gunicorn", "shop:app", "-b", "127.0.0.1:{port}", "-w", "2"]
SERVERS = {
    "1 worker": (CELLO, 1),
    "4 workers": ([*CELLO, "--workers", "4"], 4),
    "gunicorn": (GUNICORN, 2),
    "gunicorn --preload": ([*GUNICORN, "--preload"], 2),
    "gunicorn with the own worker class": ([*GUNICORN, "-k", "cello.serve.gunicorn.CelloWorker"], 2),
}


@contextmanager
def serving(server, folder):
    (folder / "shop.py").write_text(APP)
    (folder / "numbers").mkdir()
    port = free_port()
    words, wanted = SERVERS[server]
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder / "numbers")} if "gunicorn" in server else {}
    with Program(*[word.format(port=port) for word in words], folder=folder, environment=environment) as program:
        program.wait_for(r"listening on|Listening at")
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url))
        yield url, wanted


def answers(url):
    try:
        return get(url, "/nothing")[0] == 404
    except OSError:
        return False


def count(url, many=30):
    """Send requests; return who answered how many."""
    seen = {}
    with ThreadPoolExecutor(6) as pool:
        for _, body in pool.map(lambda _: get(url, "/pid"), range(many)):
            pid = json.loads(body)["pid"]
            seen[pid] = seen.get(pid, 0) + 1
    return seen


def numbers(url):
    """Return what the endpoint says of /pid: by us, by the client's counter, and the client's gauge."""
    text = get(url, "/metrics")[1]
    samples = {
        (sample.name, sample.labels.get("route", "")): sample.value
        for family in parse(text)
        for sample in family.samples
    }
    ours = samples.get(("cello_http_requests_total", "/pid"), 0)
    assert samples.get(("cello_http_request_duration_seconds_count", "/pid"), 0) == ours
    return ours, samples.get(("shop_orders_total", ""), 0), samples.get(("shop_open", ""), 0)


@pytest.mark.parametrize("server", SERVERS)
def test_every_scrape_shows_the_sum_over_all_workers(server, tmp_path):
    with serving(server, tmp_path) as (url, wanted):
        seen = {}
        while len(seen) < wanted:
            for pid, many in count(url).items():
                seen[pid] = seen.get(pid, 0) + many
        total = sum(seen.values())
        # A worker counts a request when its answer is made, a moment after it has left for others to see.
        until(lambda: numbers(url)[0], total)
        assert {numbers(url) for _ in range(3 * wanted)} == {(total, total, wanted)}


@pytest.mark.skipif(sys.platform != "linux", reason="needs signals between processes")
@pytest.mark.parametrize("server", ["4 workers", "gunicorn"])
def test_what_a_killed_worker_counted_is_kept(server, tmp_path):
    with serving(server, tmp_path) as (url, wanted):
        total = 0
        for _ in range(3):
            seen = {}
            while len(seen) < wanted:
                seen |= (more := count(url))
                total += sum(more.values())
            until(lambda total=total: numbers(url)[:2], (total, total))
            victim = next(iter(seen))
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: is_gone(victim))
            assert numbers_quietly(url)[:2] == (total, total)


def numbers_quietly(url):
    """Return the numbers; a connection that waited in a killed worker's queue is lost with gunicorn, so try again."""
    found = []

    def look():
        try:
            found.append(numbers(url))
        except OSError:
            return False
        return True

    until(look)
    return found[-1]
