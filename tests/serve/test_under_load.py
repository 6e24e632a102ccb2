"""Rolls, and the death of a worker, while clients ask: nothing is lost that need not be."""

import asyncio
import os
import re
import signal
import socket

import pytest

from tests.serve.load import Load, reach
from tests.serve.program import PATIENCE_S, Program, free_port, get, until

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked"), pytest.mark.asyncio]

APP = """
import os, time
from cello import App
app = App()

@app.get("/")
def index(): return os.getpid()

@app.get("/hold", blocking=False)
def hold():
    print("holds", os.getpid(), flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def start(folder, *words):
    port = free_port()
    return port, Program("-m", "cello", "run", "--port", str(port), "--no-logs", *words, folder=folder)


async def said(program, pattern):
    return await asyncio.to_thread(program.wait_for, pattern)


async def test_rolls_under_load_lose_no_request(folder):
    port, program = start(folder, "--workers", "2")
    with program:
        await said(program, "listening on")
        async with Load(port, clients=16) as tally:
            for _ in range(3):
                await reach(tally, 300)
                program.signal(signal.SIGHUP)
                await said(program, "the new code is serving")
            await reach(tally, 300)
        assert tally.lost == []
        assert tally.refused == []
        assert len(tally.bodies) >= 4  # workers of several generations have answered
        program.signal(signal.SIGTERM)
        assert await asyncio.to_thread(program.wait) == 0
        assert "dropped" not in program.output
        assert "killed" not in program.output


async def test_the_replacement_of_spent_workers_loses_no_request(folder):
    port, program = start(folder, "--workers", "2", "--max-requests", "300")
    with program:
        await said(program, "listening on")
        async with Load(port, clients=16) as tally:
            for _ in range(3):
                await said(program, r"is replaced: \d+ requests")
            await reach(tally, 500)
        assert tally.lost == []
        assert tally.refused == []
        assert len(tally.bodies) >= 4


async def test_a_killed_worker_loses_only_what_it_had_in_hand(folder):
    clients = 16
    port, program = start(folder, "--workers", "2")
    with program:
        await said(program, "listening on")
        killed: set[int] = set()
        async with Load(port, clients=clients) as tally:
            for _ in range(3):
                await reach(tally, 300)
                victim = max({int(body) for body in tally.bodies} - killed)
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
                await said(program, rf"process {victim}\) died: killed by SIGKILL")
                await reach(tally, 300)
        assert len(tally.lost) <= 3 * clients  # at most one request on each connection of each victim
        assert tally.refused == []  # the listener never closes
        assert all("IncompleteRead" in lost or "Reset" in lost or "Broken" in lost for lost in tally.lost)


async def test_connections_queued_at_a_killed_worker_are_served_by_its_successor(folder):
    port, program = start(folder, "--workers", "1", "--max-restarts", "5")
    with program:
        await said(program, "listening on")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as holder:
            holder.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            victim = int(await said(program, r"holds (\d+)"))
            queued = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) for _ in range(20)]
            for client in queued:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            os.kill(victim, signal.SIGKILL)
            for client in queued:
                answer = await asyncio.to_thread(lambda client=client: client.makefile("rb").read())
                client.close()
                assert answer.startswith(b"HTTP/1.1 200")
                assert int(re.search(rb"\r\n\r\n(\d+)", answer)[1]) != victim


async def test_connections_are_spread_evenly_over_the_workers(folder):
    port, program = start(folder, "--workers", "4")
    with program:
        url = await said(program, r"listening on (\S+)")
        seen = set()
        await asyncio.to_thread(until, lambda: seen.add(get(url)[1]) or len(seen), 4)
        async with Load(port, clients=16, per_connection=1) as tally:
            await reach(tally, 1500)
        assert len(tally.bodies) == 4
        assert max(tally.bodies.values()) <= 2 * min(tally.bodies.values())
