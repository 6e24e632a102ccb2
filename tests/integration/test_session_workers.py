"""Sessions over several workers: who comes to another one is still known there, or is not signed in there either."""

import http.client
import json
import os
from importlib.util import find_spec

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port, until

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked"),
]

APP = """
import os
from cello import App, SessionConfig

app = App()
app.enable_session(SessionConfig(cookie_secure=False, {fields}))

@app.get("/")
def count(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return [os.getpid(), request.session["n"]]

@app.get("/end")
def end(request):
    request.session.destroy()
"""
OWN = ("-m", "cello", "run", "app:app", "--workers", "2", "--no-logs", "--port", "{port}")
GUNICORN = ("-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "app:app")
PLACES = {
    "own server, cookies, a key of the process": (OWN, ""),
    "own server, shared memory": (OWN, "store='shared'"),
    "gunicorn, cookies": (GUNICORN, "auth_keys='a secret of the application'"),
    "gunicorn, shared memory": (GUNICORN, "store='shared', auth_keys='a secret of the application'"),
}


class Browser:
    """Asks on a new connection each time, so that any worker may answer, and keeps the cookie."""

    def __init__(self, port):
        self._port = port
        self.cookie = None

    def get(self, path="/"):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        sent = response.getheader("set-cookie")
        if sent is not None:
            self.cookie = sent.partition(";")[0]
        return json.loads(body) if body else None


def is_up(port):
    try:
        Browser(port).get("/nowhere")
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("words", "fields"), PLACES.values(), ids=PLACES.keys())
def test_a_session_is_known_to_every_worker(tmp_path, words, fields):
    if find_spec(words[1]) is None:
        pytest.skip(f"{words[1]} is not installed")
    (tmp_path / "app.py").write_text(APP.format(fields=fields))
    port = free_port()
    with Program(*(word.format(port=port) for word in words), folder=tmp_path):
        until(lambda: is_up(port))
        browser, seen, turns = Browser(port), set(), 0

        def ask():
            nonlocal turns
            pid, n = browser.get()
            turns += 1
            assert n == turns
            seen.add(pid)
            return len(seen)

        until(ask, 2)
        kept = browser.cookie
        browser.get("/end")
        if "shared" in fields:
            for _ in range(10):
                browser.cookie = kept
                assert browser.get()[1] == 1
