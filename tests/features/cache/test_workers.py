"""One cache for all workers of a machine: under the own server, and under gunicorn with and without --preload."""

import http.client
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port, get, until

APP = """
import os, threading, time
from pathlib import Path
from cello import App, cache

app = App()
app.enable_caching()
CALLS = Path("calls")


def note():
    with CALLS.open("a") as file:
        file.write(f"{os.getpid()}\\n")


@app.get("/item")
@cache(tags=["item"])
def item():
    note()
    return {"pid": os.getpid(), "price": Path("price").read_text()}


@app.get("/slow")
@cache(tags=["slow"])
async def slow():
    import asyncio
    note()
    while not Path("open").exists():
        await asyncio.sleep(0.01)
    return {"pid": os.getpid()}


@app.post("/drop")
def drop():
    app.invalidate_cache(["item"])


@app.get("/pid", cache=False)
def pid():
    return {"pid": os.getpid()}
"""

CELLO = ["-m", "cello", "run", "shop:app", "--port", "{port}"]
GUNICORN = ["-m", "gunicorn", "shop:app", "-b", "127.0.0.1:{port}", "-w", "2", "-k", "gthread", "--threads", "8"]
SERVERS = {
    "1 worker": CELLO,
    "4 workers": [*CELLO, "--workers", "4"],
    "gunicorn": GUNICORN,
    "gunicorn --preload": [*GUNICORN, "--preload"],
}


@contextmanager
def serving(server, folder):
    (folder / "shop.py").write_text(APP)
    (folder / "price").write_text("1")
    port = free_port()
    words = [word.format(port=port) for word in SERVERS[server]]
    with Program(*words, folder=folder) as program:
        program.wait_for(r"listening on|Listening at")
        url = f"http://127.0.0.1:{port}"
        until(lambda: get_quietly(url, "/pid"))
        wanted = {"1 worker": 1, "4 workers": 4}.get(server, 2)
        until(lambda: len(workers(url)) == wanted)
        yield program, url


def get_quietly(url, path):
    try:
        return get(url, path)[0] == 200
    except OSError:
        return False


def workers(url, many=40):
    """Return the process ids that answer; connections spread over all workers."""
    with ThreadPoolExecutor(8) as pool:
        return {json.loads(body)["pid"] for _, body in pool.map(lambda _: get(url, "/pid"), range(many))}


def ask(url, path="/item", method="GET"):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    with closing(connection):
        connection.request(method, path, headers={"Connection": "close", "Host": "shop.example"})
        response = connection.getresponse()
        return response.getheader("x-cache"), response.read().decode()


@pytest.mark.parametrize("server", SERVERS)
def test_every_worker_has_what_one_made_and_sees_at_once_that_it_is_dropped(server, tmp_path):
    with serving(server, tmp_path) as (_, url):
        assert ask(url)[0] == "MISS"
        answers = [ask(url) for _ in range(24)]
        assert {label for label, _ in answers} == {"HIT"}
        assert len({body for _, body in answers}) == 1
        for price in ("2", "3"):
            (tmp_path / "price").write_text(price)
            ask(url, "/drop", "POST")
            seen = [ask(url) for _ in range(24)]
            assert [label for label, _ in seen] == ["MISS"] + ["HIT"] * 23
            assert {json.loads(body)["price"] for _, body in seen} == {price}
        assert len((tmp_path / "calls").read_text().split()) == 3


@pytest.mark.parametrize("server", SERVERS)
def test_of_all_workers_one_makes_an_answer_and_the_others_wait(server, tmp_path):
    with serving(server, tmp_path) as (_, url), ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, url, "/slow") for _ in range(16)]
        until(lambda: (tmp_path / "calls").exists())
        (tmp_path / "open").touch()
        found = [answer.result(PATIENCE_S) for answer in answers]
    assert len((tmp_path / "calls").read_text().split()) == 1
    assert sorted(label for label, _ in found) == ["HIT"] * 15 + ["MISS"]
    assert len({body for _, body in found}) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs signals between processes")
def test_a_worker_that_is_killed_while_it_makes_an_answer_holds_nobody_up(tmp_path):
    with serving("4 workers", tmp_path) as (_, url), ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(ask, url, "/slow") for _ in range(12)]
        until(lambda: (tmp_path / "calls").exists() and (tmp_path / "calls").read_text().endswith("\n"))
        os.kill(int((tmp_path / "calls").read_text()), signal.SIGKILL)
        began = time.monotonic()
        until(lambda: len((tmp_path / "calls").read_text().split()) >= 2)
        (tmp_path / "open").touch()
        outcomes = [answer.exception(PATIENCE_S) for answer in answers]
        assert any(outcome is None for outcome in outcomes), "those on other workers were answered"
        assert time.monotonic() - began < PATIENCE_S
        assert ask(url, "/slow")[0] == "HIT"
