"""Several processes: supervisor, zygote, workers."""

import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.serve.program import ROOT, Program, free_port, get, is_gone, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")

APP = """
import asyncio, os
from cello import App
app = App()
VERSION = 1

@app.get("/pid")
def pid(): return os.getpid()

@app.get("/family")
def family(): return [os.getpid(), os.getppid()]

@app.get("/version")
def version(): return VERSION

@app.get("/exit")
def leave(): os._exit(7)

@app.get("/slow")
async def slow():
    print("slow: begun", flush=True)
    await asyncio.sleep(1)
    return VERSION
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def start(folder, *words, run="run", environment=None):
    command = ["-m", "cello", "run", "app:app"] if run == "run" else ["app.py"]
    port = ["--port", str(free_port())]
    return Program(*command, *port, "--no-logs", *words, folder=folder, environment=environment)


def pids(url, count):
    """Return the ids of `count` different workers."""
    seen = set()
    until(lambda: seen.add(int(get(url, "/pid")[1])) or len(seen), count)
    return seen


@pytest.mark.parametrize("way", ["command", "program"])
def test_several_workers_answer_and_all_end_on_a_signal(folder, way):
    if way == "program":
        (folder / "app.py").write_text(APP + "\nif __name__ == '__main__':\n    app.run(workers=3)\n")
    words = ["--workers", "3"] if way == "command" else []
    with start(folder, *words, run="run" if way == "command" else "program") as program:
        url = program.listening()
        workers = pids(url, 3)
        zygote = eval(get(url, "/family")[1])[1]
        assert program.process.pid not in (workers | {zygote})
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert all(is_gone(pid) for pid in (*workers, zygote))


def test_a_killed_worker_is_replaced(folder):
    with start(folder, "--workers", "2") as program:
        url = program.listening()
        before = pids(url, 2)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        program.wait_for(rf"worker \d \(process {victim}\) died: killed by SIGKILL; a new one starts in 0 s")
        after = pids(url, 2)
        assert victim not in after
        assert before & after


def test_a_worker_that_exits_by_itself_is_replaced(folder):
    with start(folder, "--workers", "2") as program:
        url = program.listening()
        pids(url, 2)
        with pytest.raises(OSError):
            get(url, "/exit")
        program.wait_for(r"died: exit code 7")
        pids(url, 2)


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ('@app.on_event("startup")\ndef fail(): raise OSError("no cellar")', "did not start: OSError: no cellar"),
        ('@app.on_event("startup")\ndef fail(): os._exit(3)', "did not start; the service ends"),
    ],
    ids=["failing hook", "exit in hook"],
)
def test_workers_that_cannot_start_end_the_service(folder, addition, words):
    (folder / "app.py").write_text(APP + addition)
    with start(folder, "--workers", "2") as program:
        assert program.wait() == 1
    assert words in program.output
    assert "listening" not in program.output


def test_a_port_in_use_is_found_before_anything_starts(folder):
    with start(folder, "--workers", "2") as first:
        port = first.listening().rpartition(":")[2]
        words = ["-m", "cello", "run", "--port", port, "--workers", "2"]
        with Program(*words, folder=folder) as second:
            assert second.wait() == 1
        assert second.lines == [
            f"error: 127.0.0.1:{port} is in use by another program; stop it or choose another --port"
        ]


def test_sighup_rolls_to_the_new_code_and_answers_what_the_old_began(folder):
    with start(folder, "--workers", "2") as program, ExitStack() as clients:
        url = program.listening()
        old = pids(url, 2)
        client = clients.enter_context(ThreadPoolExecutor(1))
        pending = client.submit(get, url, "/slow")
        program.wait_for("slow: begun")
        (folder / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
        program.signal(signal.SIGHUP)
        program.wait_for("the new code is serving")
        until(lambda: get(url, "/version")[1], "2")
        assert pending.result() == (200, "1")
        until(lambda: all(is_gone(pid) for pid in old))
        assert get(url, "/version") == (200, "2")


@pytest.mark.parametrize("watch", ["by the system", "by polling"])
def test_reload_loads_changed_code_and_survives_a_syntax_error(folder, watch, tmp_path_factory):
    environment = None
    if watch == "by polling":
        hide = tmp_path_factory.mktemp("hide")
        (hide / "sitecustomize.py").write_text(
            "import sys\nfrom importlib.machinery import PathFinder\n"
            "find = PathFinder.find_spec\n"
            "PathFinder.find_spec = classmethod(\n"
            "    lambda cls, name, *rest: None if name == 'watchfiles' else find(name, *rest))\n"
        )
        environment = {"PYTHONPATH": f"{hide}{os.pathsep}{ROOT}"}
    else:
        pytest.importorskip("watchfiles")
    with start(folder, "--reload", environment=environment) as program:
        url = program.listening()
        assert get(url, "/version") == (200, "1")
        (folder / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = = 2"))
        program.wait_for("app.py changed")
        program.wait_for("SyntaxError")
        program.wait_for("the old code goes on serving")
        assert get(url, "/version") == (200, "1")
        (folder / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 3"))
        program.wait_for("the new code is serving")
        until(lambda: get(url, "/version")[1], "3")
        program.signal(signal.SIGINT)
        assert program.wait() == 0


def test_a_worker_is_replaced_after_max_requests(folder):
    with start(folder, "--max-requests", "3") as program:
        url = program.listening()
        first = get(url, "/pid")[1]
        for _ in range(3):
            get(url, "/pid")
        until(lambda: get(url, "/pid")[1] != first)
        assert "died" not in program.output


def test_nothing_is_left_behind_by_a_killed_supervisor(folder):
    with start(folder, "--workers", "2") as program:
        url = program.listening()
        family = {*pids(url, 2), eval(get(url, "/family")[1])[1]}
        program.signal(signal.SIGKILL)
        until(lambda: all(is_gone(pid) for pid in family))


def test_a_killed_zygote_is_replaced(folder):
    with start(folder, "--workers", "2") as program:
        url = program.listening()
        worker, zygote = eval(get(url, "/family")[1])
        os.kill(zygote, signal.SIGKILL)
        program.wait_for("the zygote was killed by SIGKILL; a new one starts")
        until(lambda: is_gone(worker))
        assert eval(get(url, "/family")[1])[1] != zygote


def test_all_slots_share_a_unix_socket(folder):
    with tempfile.TemporaryDirectory(prefix="c") as short:
        words = ["-m", "cello", "run", "--uds", f"{short}/s", "--workers", "2", "--no-logs"]
        with Program(*words, folder=folder) as program:
            url = program.listening()
            assert get(url, "/version") == (200, "1")
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        assert not os.path.exists(f"{short}/s")


def test_ctrl_c_in_a_terminal_reaches_every_process_and_still_drains(folder):
    with start(folder, "--workers", "2") as program:
        url = program.listening()
        pids(url, 2)
        with ThreadPoolExecutor(1) as client:
            answer = client.submit(get, url, "/slow")
            program.wait_for("slow: begun")
            os.killpg(program.process.pid, signal.SIGINT)
            assert answer.result() == (200, "1")
        assert program.wait() == 0
    assert "Traceback" not in program.output
    assert "dropped" not in program.output
