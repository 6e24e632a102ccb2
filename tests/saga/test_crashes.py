"""Workers that die, stand still and compete, as real processes: every execution ends as its log says it must."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cello.saga import Saga, SagaConfig, SagaOrchestrator, SagaStep
from tests.integration.hosts import ROOT

pytestmark = [pytest.mark.timeout(180), pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")]
STEPS = ("reserve", "charge", "ship")
MOST_TRIES = 2


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def owed(log: dict[str, Any] | None, *, fails: bool) -> list[str]:
    """Return what has to be done still, by what the log says alone."""
    if log is None or log["status"] in ("completed", "failed"):
        return []
    steps = {step["name"]: step for step in log["steps"]}
    owed, undone_from = [], []
    if log["status"] == "running":
        for name in STEPS:
            step = steps[name]
            tries = 1
            if name == "ship" and fails:
                tries = MOST_TRIES - max(0, step.get("attempts", 0) - (step["status"] == "running"))
            if step["status"] != "completed":
                owed += [name] * tries
        if not fails:
            return owed
        undone_from = [name for name in STEPS if name != "ship" or steps[name]["status"] == "running"]
    else:
        undone_from = [name for name in STEPS if steps[name]["status"] in ("completed", "compensating")]
        undone_from += ["ship"] if steps["ship"].get("is_doubtful") else []
    return owed + [f"-{name}" for name in reversed(undone_from)]


def test_killed_anywhere_an_execution_ends_as_the_log_says(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "effects"
    folder.mkdir()
    matrix = start("tests.saga.crashes", url, str(folder))
    out, errors = matrix.communicate(timeout=170)
    assert matrix.returncode == 0, errors[-3000:]
    made = json.loads(out)
    assert made["resumed"] == 0, errors[-3000:]
    cells = made["cells"]
    assert len(cells) > 40
    assert [cell["key"] for cell in cells if cell["code"] == 0] == ["good-17", "failing-29"], "all others were killed"
    assert {cell["code"] for cell in cells} == {0, -signal.SIGKILL}
    for cell in cells:
        effects = [line.split() for line in cell["effects"]]
        by_second = [what for who, what, _ in effects if who == "second"]
        assert by_second == owed(cell["log"], fails=cell["fails"]), cell
        if cell["end"] is None:
            assert (cell["point"], effects) == (1, []), "killed before the log knew of it"
            continue
        assert cell["end"]["status"] == ("failed" if cell["fails"] else "completed"), cell
        trail = cell["end"]["context"]["trail"]
        done = list(STEPS) if not cell["fails"] else [*STEPS[:2], "-charge", "-reserve"]
        assert [what for what in trail if what != "-ship"] == done, "what a step leaves in the context is there once"
        keys = {(what, key) for _, what, key in effects}
        assert len(keys) == len({what for what, _ in keys}), "and it is called with one key, however often"


FROZEN = """
import asyncio, os, sys
from cello.saga import Saga, SagaConfig, SagaOrchestrator, SagaStep

async def act(context, run):
    with open(context["file"], "a") as file:
        file.write(sys.argv[1] + "\\n")
    if sys.argv[1] == "first":
        print(run.execution_id, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    context["by"] = sys.argv[1]

async def main():
    sagas = SagaOrchestrator(SagaConfig(store=sys.argv[2], lease_secs=1, poll_interval_ms=50))
    saga = Saga(sys.argv[4])
    saga.add_step(SagaStep("act", act))
    sagas.register(saga)
    async with sagas:
        if sys.argv[1] == "first":
            begun = await sagas.start(saga.name, {"file": sys.argv[3]})
            try:
                ended = await sagas.wait(begun.id)
                print(ended.status, ended.context["by"], flush=True)
            except Exception as error:
                print(type(error).__name__, error, flush=True)
        else:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


def test_a_worker_that_stood_still_cannot_write_over_who_took_over(url: str, tmp_path: Path) -> None:
    program, file = tmp_path / "frozen.py", tmp_path / "effects"
    program.write_text(FROZEN)
    arguments = [url, str(file), f"frozen {tmp_path}"[-150:]]

    def run(who: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, str(program), who, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    first = run("first")
    second = None
    try:
        assert first.stdout is not None
        assert first.stdin is not None
        execution_id = first.stdout.readline().strip()
        os.kill(first.pid, signal.SIGSTOP)
        second = run("second")
        assert second.stdout is not None
        assert second.stdin is not None
        assert second.stdout.readline() == "ready\n"
        found = asyncio.run(_ended(url, execution_id))
        assert (found.status, found.context["by"]) == ("completed", "second")
        os.kill(first.pid, signal.SIGCONT)
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.stdout.readline() == "completed second\n"
        assert asyncio.run(_ended(url, execution_id)).context["by"] == "second"
        assert file.read_text().split() == ["first", "second"]
        second.stdin.write("\n")
        second.stdin.flush()
        assert (first.wait(30), second.wait(30)) == (0, 0)
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()


async def _ended(url: str, execution_id: str) -> Any:
    sagas = SagaOrchestrator(SagaConfig(store=url))
    deadline = time.monotonic() + 60
    while True:
        found = await sagas.get_execution(execution_id)
        assert found is not None
        if not found.is_open:
            await sagas.close()
            return found
        assert time.monotonic() < deadline, found.get_status()
        await asyncio.sleep(0.05)


WORKER = """
import asyncio, sys
from cello.saga import Saga, SagaConfig, SagaOrchestrator, SagaStep, Sleep

async def act(context, run):
    with open(context["file"], "a") as file:
        file.write(run.key + "\\n")
    await asyncio.sleep(0.005)

async def main():
    sagas = SagaOrchestrator(SagaConfig(store=sys.argv[1], poll_interval_ms=20))
    saga = Saga(sys.argv[2])
    saga.add_step(Sleep(0.01))
    saga.add_step(SagaStep("a", act))
    saga.add_step(SagaStep("b", act))
    sagas.register(saga)
    async with sagas:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def test_of_many_workers_one_runs_each_execution(url: str, tmp_path: Path) -> None:
    from cello.saga import Sleep

    program, file, name = tmp_path / "worker.py", tmp_path / "effects", f"many {tmp_path}"[-150:]
    program.write_text(WORKER)
    saga = Saga(name)
    saga.add_step(Sleep(0.01))
    for step in ("a", "b"):
        saga.add_step(SagaStep(step, print))
    sagas = SagaOrchestrator(SagaConfig(store=url))
    sagas.register(saga)
    ids = [(await sagas.execute(name, {"file": str(file)})).id for _ in range(40)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen(
            [sys.executable, str(program), url, name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
        )
        for _ in range(4)
    ]
    try:
        deadline = time.monotonic() + 90
        while len(await sagas.list_executions(name, "completed", limit=100)) < len(ids):
            assert time.monotonic() < deadline, [each.get_status() for each in await sagas.list_executions(name)][:3]
            await asyncio.sleep(0.1)
    finally:
        for worker in workers:
            worker.communicate(b"\n", timeout=30)
        await sagas.close()
    assert {worker.returncode for worker in workers} == {0}
    lines = file.read_text().split()
    assert sorted(lines) == sorted(f"{each}:1:{step}" for each in ids for step in ("a", "b"))
