"""How the supervisor keeps its workers: hangs, wear, scale, pins, and what they print."""

import contextlib
import http.client
import os
import re
import signal
import socket
import sys
import threading

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port, get, is_gone, until
from tests.serve.test_workers import APP as WORKERS_APP
from tests.serve.test_workers import pids, start

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")

APP = (
    WORKERS_APP
    + """
import sys, time
held = []

@app.get("/hang", blocking=False)
def hang():
    print("hangs", flush=True)
    while True:
        time.sleep(1000)

@app.get("/wait")
async def wait():
    print("wait: begun", flush=True)
    await asyncio.Event().wait()

@app.get("/grow")
def grow():
    held.append(b"x" * 200_000_000)
    return os.getpid()

@app.get("/cpus")
def cpus(): return [os.getpid(), *os.sched_getaffinity(0)]

@app.get("/talk")
def talk():
    for number in range(200):
        sys.stdout.write(f"line {os.getpid()} {'x' * (20_000 if number % 10 == 0 else 2_000)} {number}\\n")
    return "said"
"""
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def leave_hanging(url):
    """Send a request that will never be answered; return its connection."""
    client = socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S)
    client.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def test_a_stuck_worker_shows_its_stacks_and_is_replaced(folder):
    with start(folder, "--workers", "2", "--worker-timeout", "1.5") as program:
        url = program.listening()
        before = pids(url, 2)
        with leave_hanging(url) as client:
            program.wait_for("hangs")
            victim = int(program.wait_for(r"worker \d \(process (\d+)\) is stuck: nothing heard of it for 1.5 s"))
            assert victim in before
            program.wait_for(r"in hang")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        after = pids(url, 2)
        assert victim not in after
        assert before & after


def test_a_worker_that_is_busy_with_quick_requests_is_not_stuck(folder):
    with start(folder, "--workers", "1", "--worker-timeout", "1.5") as program:
        url = program.listening()
        worker = pids(url, 1)
        get(url, "/slow")
        get(url, "/slow")
        assert pids(url, 1) == worker
        assert "stuck" not in program.output


def test_max_requests_has_a_successor_ready_before_the_worker_ends(folder):
    with start(folder, "--max-requests", "5", "--max-requests-jitter", "0") as program:
        url = program.listening()
        seen = [get(url, "/pid") for _ in range(6)]
        program.wait_for(r"worker 0 \(process \d+\) is replaced: \d+ requests \(max_requests\)")
        until(lambda: seen.append(get(url, "/pid")) or len({pid for _, pid in seen}) > 1)
        assert {status for status, _ in seen} == {200}
        until(lambda: is_gone(int(seen[0][1])))
        assert "died" not in program.output


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere only the peak is known")
def test_a_worker_that_has_grown_is_replaced(folder):
    with start(folder, "--max-rss-mb", "180") as program:
        url = program.listening()
        grown = int(get(url, "/grow")[1])
        program.wait_for(rf"process {grown}\) is replaced: \d+ MiB of memory \(max_rss_mb=180\)")
        until(lambda: is_gone(grown))
        assert int(get(url, "/pid")[1]) != grown


def test_the_number_of_workers_can_be_changed_while_they_serve(folder):
    failed, done = [], threading.Event()

    def load():
        while not done.is_set():
            try:
                assert get(url, "/pid")[0] == 200
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failed.append(repr(error))

    with start(folder, "--workers", "1", "--max-restarts", "5") as program:
        url = program.listening()
        first = pids(url, 1)
        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            program.signal(signal.SIGTTIN)
            program.wait_for("SIGTTIN: 2 workers")
            program.signal(signal.SIGTTIN)
            program.wait_for("SIGTTIN: 3 workers")
            three = pids(url, 3)
            assert first < three
            for left in (2, 1):
                program.signal(signal.SIGTTOU)
                program.wait_for(f"SIGTTOU: {left} workers")
            until(lambda: sum(not is_gone(pid) for pid in three), 1)
            program.signal(signal.SIGTTOU)
            program.wait_for("SIGTTOU: the last worker stays")
            program.signal(signal.SIGTTIN)
            program.wait_for("SIGTTIN: 2 workers")
            pids(url, 2)
        finally:
            done.set()
            for client in clients:
                client.join()
        assert failed == []
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no processes")
def test_pinned_workers_are_dealt_out_over_the_processors(folder):
    with start(folder, "--workers", "2", "--cpu-affinity") as program:
        url = program.listening()
        found = {}
        until(lambda: found.update([(lambda pid, *at: (pid, at))(*eval(get(url, "/cpus")[1]))]) or len(found), 2)
        allowed = len(os.sched_getaffinity(0))
        assert all(len(at) == 1 for at in found.values())
        assert len(set(found.values())) == min(2, allowed)


def test_sigusr1_tells_the_state_and_stacks_of_every_process(folder):
    with start(folder, "--workers", "2") as program, contextlib.ExitStack() as clients:
        url = program.listening()
        pids(url, 2)
        client = clients.enter_context(socket.create_connection(url.removeprefix("http://").split(":")))
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        program.wait_for("wait: begun")
        program.signal(signal.SIGUSR1)
        program.wait_for(r"supervisor \(process \d+\): 2 workers wanted")
        program.wait_for(r"zygote \(process \d+\): serving, 2 workers")
        text = ""
        while not re.search(r"in wait", text) or len(re.findall(r"worker \d \(process \d+\): \d+ requests", text)) < 2:
            program.wait_for(r"requests|in wait")
            text = program.output
        assert "most recent call first" in text
        assert get(url, "/pid")[0] == 200


def test_one_process_tells_its_state_too(folder):
    with start(folder, "--workers", "1") as program:
        url = program.listening()
        assert get(url, "/pid")[0] == 200
        program.signal(signal.SIGUSR1)
        program.wait_for(r"server \(process \d+\): \d+ requests, \d+ connections")
        assert get(url, "/pid")[0] == 200


def test_lines_of_several_workers_do_not_mix(folder):
    for buffered in ({}, {"PYTHONUNBUFFERED": ""}):
        with start(folder, "--workers", "3", environment=buffered) as program:
            url = program.listening()
            pids(url, 3)
            clients = [threading.Thread(target=get, args=(url, "/talk")) for _ in range(12)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        lines = [line for line in program.lines if "line" in line or "xx" in line]
        assert len(lines) == 12 * 200
        assert all(re.fullmatch(r"line \d+ (x{2000}|x{20000}) \d+", line) for line in lines)


def test_the_pid_file_names_the_supervisor_and_is_removed(folder):
    for workers in ("1", "2"):
        with start(folder, "--workers", workers, "--pid-file", "server.pid") as program:
            program.listening()
            assert int((folder / "server.pid").read_text()) == program.process.pid
            with start(folder, "--workers", workers, "--pid-file", "server.pid") as second:
                assert second.wait() == 1
            assert (
                f"the pid file 'server.pid' is held by another server (process {program.process.pid})" in second.output
            )
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        assert not (folder / "server.pid").exists()


def test_a_pid_file_left_behind_is_taken_over(folder):
    (folder / "server.pid").write_text(f"{os.getpid()}\n")
    with start(folder, "--pid-file", "server.pid") as program:
        program.listening()
        assert int((folder / "server.pid").read_text()) == program.process.pid


def test_a_worker_that_keeps_dying_ends_the_service_with_exit_1(folder):
    with start(folder, "--workers", "1", "--max-restarts", "2") as program:
        url = program.listening()
        for _ in range(3):
            until(lambda: suppressed(get, url, "/exit"))
        assert program.wait() == 1
        assert "worker 0 died 3 times in a row (exit code 7); the service ends" in program.output


def suppressed(question, *args):
    """Whether asking failed, as it does when the one who is asked dies of it."""
    try:
        question(*args)
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return False


def test_what_is_not_graceful_drops_open_requests(folder):
    with start(folder, "--workers", "2", "--no-graceful-shutdown") as program:
        url = program.listening()
        with socket.create_connection(url.removeprefix("http://").split(":"), timeout=PATIENCE_S) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            program.wait_for("slow: begun")
            program.signal(signal.SIGTERM)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert program.wait() == 0


def test_a_cluster_config_in_the_program_is_obeyed(folder):
    config = "ClusterConfig(workers=2, cpu_affinity=True, shutdown_timeout=3)"
    addition = (
        f"\nfrom cello import ClusterConfig\napp.set_cluster({config})\nif __name__ == '__main__':\n    app.run()\n"
    )
    (folder / "app.py").write_text(APP + addition)
    with Program("app.py", "--port", str(free_port()), "--no-logs", folder=folder) as program:
        url = program.listening()
        assert len(pids(url, 2)) == 2
        assert len(eval(get(url, "/cpus")[1])) == 2
