"""How soon new code answers, how soon a killed worker is replaced, and how evenly connections are spread.

    python -m bench.recovery [ROUNDS]

Prints medians, and the worst round. Measured from outside: from the write of the file, or the kill, to the first answer
of the new process.
"""

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APP = "import os\nfrom cello import App\napp = App()\n@app.get('/')\ndef index(): return [{version}, os.getpid()]\n"
HIDE_WATCHFILES = (
    "import sys\nfrom importlib.machinery import PathFinder\nfind = PathFinder.find_spec\n"
    "PathFinder.find_spec = classmethod(lambda cls, name, *a: None if name == 'watchfiles' else find(name, *a))\n"
)


def ask(port: int) -> tuple[int, int] | None:
    """Return version and process id of who answers, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        version, pid = json.loads(connection.getresponse().read())
    except OSError:
        return None
    finally:
        connection.close()
    return version, pid


class Server:
    """`cello run` in a folder of its own."""

    def __init__(self, folder: str, *words: str, path: str = "") -> None:
        self.file = Path(folder, "app.py")
        self.file.write_text(APP.format(version=0))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-m", "cello", "run", "app:app", "--port", "0", "--no-logs", *words]
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"listening on \S+:(\d+)", line):
                self.port = int(found[1])
                return
        raise RuntimeError("the server did not start")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        self.process.communicate()

    def until(self, changed: object) -> float:
        """Ask until `changed(version, pid)`; return when it did."""
        while True:
            found = ask(self.port)
            if found is not None and changed(*found):  # type: ignore[operator]
                return time.perf_counter()


def reloads(rounds: int, *, poll: bool) -> list[float]:
    """Return the seconds from a changed file to the first answer of its code."""
    times = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as hide:
        if poll:
            Path(hide, "sitecustomize.py").write_text(HIDE_WATCHFILES)
        with Server(folder, "--reload", path=hide if poll else "") as server:
            for number in range(1, rounds + 1):
                time.sleep(1.0 + 0.07 * number)  # the generation before has ended; another moment of a poll each time
                began = time.perf_counter()
                server.file.write_text(APP.format(version=number))
                times.append(server.until(lambda version, pid, wanted=number: version == wanted) - began)
    return times


def respawns(rounds: int) -> list[float]:
    """Return the seconds from SIGKILL of the one worker to the first answer of its successor."""
    times = []
    with tempfile.TemporaryDirectory() as folder, Server(folder, "--max-restarts", "1000") as server:
        for _ in range(rounds):
            time.sleep(10.5)  # long enough to count as healthy: else the pauses grow
            found = ask(server.port)
            assert found is not None
            began = time.perf_counter()
            os.kill(found[1], signal.SIGKILL)
            times.append(server.until(lambda version, pid, victim=found[1]: pid != victim) - began)
    return times


def balance(connections: int = 2000) -> list[int]:
    """Return how many connections each of four workers got."""
    with tempfile.TemporaryDirectory() as folder, Server(folder, "--workers", "4") as server:
        time.sleep(1)
        found = (ask(server.port) for _ in range(connections))
        return sorted(Counter(answer[1] for answer in found if answer is not None).values())


def say(what: str, times: list[float]) -> None:
    """Print one line."""
    median, worst = statistics.median(times) * 1000, max(times) * 1000
    print(f"{what}: median {median:.0f} ms, worst {worst:.0f} ms of {len(times)}", flush=True)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    say("new code answers, watchfiles", reloads(count, poll=False))
    say("new code answers, polling", reloads(count, poll=True))
    say("a killed worker is replaced", respawns(min(count, 5)))
    print(f"connections of four workers: {balance()}")
