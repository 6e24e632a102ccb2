"""The crash matrix, as a program: `python -m tests.saga.crashes URL FOLDER` writes what came of it as JSON.

A saga has points at which its process may die: before and after every change of the log, and within every action,
before and after its effect. For each point a process is forked that runs the saga and kills itself there, by SIGKILL.
What the log says then is noted. At last one more process takes up all that is left.

An effect is a line in a file: who, step, idempotency key.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from cello.saga import Saga, SagaConfig, SagaError, SagaOrchestrator, SagaStep, StepRun
from cello.saga.log import SagaLog

LEASE_S = 0.4
MOST_POINTS = 60


class Points:
    """Counts the points that a process passes, and ends it at one of them."""

    def __init__(self) -> None:
        self.passed = 0
        self.deadly = 0

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


point = Points()
WHO = ["first"]


class DeadlyLog(SagaLog):
    """A log whose every change is between two points."""

    async def create(self, record: Any) -> Any:
        point()
        made = await super().create(record)
        point()
        return made

    async def save(self, record: Any, *, due_ms: int | None = None) -> None:
        point()
        await super().save(record, due_ms=due_ms)
        point()


def effect(what: str, *, fails: bool = False) -> Any:
    """Return an action with a line as its effect."""

    async def act(context: dict[str, Any], run: StepRun) -> str:
        point()
        with open(context["file"], "a") as file:
            file.write(f"{WHO[0]} {what} {run.key}\n")
        point()
        if fails and context["fails"]:
            raise OSError("no parcels today")
        context.setdefault("trail", []).append(what)
        return what

    return act


class Order(Saga):
    """Three steps; the last one fails where the context says so."""

    steps = (
        SagaStep("reserve", effect("reserve"), effect("-reserve")),
        SagaStep("charge", effect("charge"), effect("-charge")),
        SagaStep("ship", effect("ship", fails=True), effect("-ship")),
    )


def name() -> str:
    """Return what this run of the matrix calls its saga, so that others do not take its executions."""
    return f"Order {sys.argv[2][-150:]}"


def orchestrator(url: str) -> SagaOrchestrator:
    made = SagaOrchestrator(
        SagaConfig(
            store=url,
            max_retries=1,
            retry_delay_ms=1,
            lease_secs=LEASE_S,
            poll_interval_ms=50,
            timeout_ms=600_000,
            enable_logging=False,
        )
    )
    made.register(Order(name()))
    return made


def begin(url: str, file: Path, *, fails: bool) -> None:
    """Run the saga once, and be killed within."""

    async def run() -> None:
        sagas = orchestrator(url)
        await sagas._ready()  # the tables are no matter here
        try:
            await sagas.execute(name(), {"file": str(file), "fails": fails}, key=file.name)
        except SagaError:
            assert fails

    asyncio.run(run())


def in_child(work: Any) -> int:
    """Do it in a forked process; return how that ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def states(url: str) -> dict[str, Any]:
    """Return what the log says: key → status, steps."""

    async def look() -> dict[str, Any]:
        sagas = orchestrator(url)
        found = await sagas.list_executions(name(), limit=1000)
        await sagas.close()
        return {str(each.key): {"status": each.status, "steps": each.steps, "context": each.context} for each in found}

    return asyncio.run(look())


def resume(url: str) -> None:
    """Take up all that is left, as a restarted worker does."""

    async def run() -> None:
        WHO[0] = "second"
        sagas = orchestrator(url)
        for _ in range(300):
            await sagas.resume()
            if not any(each.is_open for each in await sagas.list_executions(name(), limit=1000)):
                break
            await asyncio.sleep(0.1)
        await sagas.close()

    asyncio.run(run())


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    cells = []
    for fails in (False, True):
        for number in range(1, MOST_POINTS):
            file = folder / f"{'failing' if fails else 'good'}-{number}"
            point.deadly = number

            code = in_child(lambda file=file, fails=fails: begin(url, file, fails=fails))
            cells.append({"key": file.name, "fails": fails, "point": number, "code": code})
            if code != -signal.SIGKILL:
                break
    point.deadly = 0
    after = json.loads(_in_pipe(lambda: states(url)))
    code = in_child(lambda: resume(url))
    at_last = json.loads(_in_pipe(lambda: states(url)))
    for cell in cells:
        file = folder / cell["key"]
        cell["effects"] = file.read_text().splitlines() if file.exists() else []
        cell["log"], cell["end"] = after.get(cell["key"]), at_last.get(cell["key"])
    print(json.dumps({"resumed": code, "cells": cells}))


def _in_pipe(work: Any) -> str:
    """Do it in a forked process, so that this one never has threads or connections; return its JSON."""
    read, write = os.pipe()

    def send() -> None:
        with os.fdopen(write, "w") as to:
            to.write(json.dumps(work()))

    in_child(send)
    os.close(write)
    with os.fdopen(read) as source:
        return source.read()


if __name__ == "__main__":
    import cello.saga.orchestrator

    cello.saga.orchestrator.SagaLog = DeadlyLog  # type: ignore[misc]
    main()
