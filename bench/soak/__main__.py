"""Run the soak: `python -m bench.soak --minutes 10`.

In the first half the workers are rolled (SIGHUP) again and again, for lost answers; in the second they stay, and are
watched for leaks: the slope of resident memory over time, by least squares, and descriptors, threads and tasks at the
end against the beginning. The supervisor is watched all the time.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.soak.clients import Ledger, Soaker, answer

ROOT = Path(__file__).resolve().parents[2]
SAMPLES_PER_HALF = 60
MOST_MIB_PER_MINUTE = 0.5
PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """Return the processes started by one, that still run."""
    return [int(found) for found in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def usage(pid: int) -> tuple[float, int, int]:
    """Return MiB of resident memory, descriptors and threads."""
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text().split()[1])
    return pages * PAGE / 2**20, len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))


def slope_per_minute(points: list[tuple[float, float]]) -> float:
    """Return how fast a value grows, by least squares over (seconds, value)."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


async def tasks_of(port: int) -> dict[int, int]:
    """Ask until every worker has told how many tasks it has."""
    found: dict[int, int] = {}
    for _ in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /state HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        told = json.loads((await answer(reader))[1])
        found[told["pid"]] = told["tasks"]
        writer.close()
    return found


async def soak(process: "subprocess.Popen[str]", port: int, minutes: float) -> list[str]:
    """Load the server; print what was seen and return what was wrong."""
    ledger, wrong = Ledger(), []
    clients = asyncio.ensure_future(Soaker(port, ledger).run())
    half_s = minutes * 30
    began = time.monotonic()
    supervisor = [usage(process.pid)]
    while time.monotonic() - began < half_s:
        await asyncio.sleep(min(10.0, half_s / 4))
        process.send_signal(signal.SIGHUP)
        ledger.rolls += 1
        supervisor.append(usage(process.pid))
    await asyncio.sleep(max(5.0, half_s / 10))  # the last generation is alone, and warm
    workers = children(children(process.pid)[-1])
    samples: dict[int, list[tuple[float, tuple[float, int, int]]]] = {pid: [] for pid in workers}
    began = time.monotonic()
    while time.monotonic() - began < half_s:
        for pid in workers:
            samples[pid].append((time.monotonic(), usage(pid)))
        await asyncio.sleep(half_s / SAMPLES_PER_HALF)
    ledger.is_over = True
    await clients
    await asyncio.sleep(2)
    supervisor.append(usage(process.pid))
    for pid, seen in samples.items():
        slope = slope_per_minute([(at, found[0]) for at, found in seen])
        (first, _, _), (last, _, _) = seen[0][1], seen[-1][1]
        quiet = usage(pid)
        print(
            f"worker {pid}: {first:.1f} → {last:.1f} MiB ({slope:+.3f} MiB a minute), "
            f"{quiet[1]} descriptors and {quiet[2]} threads when quiet"
        )
        if slope > MOST_MIB_PER_MINUTE * max(1.0, 5 / minutes):
            wrong.append(f"the memory of worker {pid} grows by {slope:.2f} MiB a minute")
        if quiet[1] > 40:
            wrong.append(f"worker {pid} has {quiet[1]} descriptors open with no client there")
    tasks = await tasks_of(port)
    print(f"tasks when quiet: {tasks}")
    if max(tasks.values()) > 6:
        wrong.append(f"tasks are left: {tasks}")
    print(f"supervisor: {supervisor[0]} → {supervisor[-1]} (MiB, descriptors, threads) over {ledger.rolls} rolls")
    if supervisor[-1][1] > supervisor[1][1] + 2 or supervisor[-1][0] > supervisor[1][0] + 3:
        wrong.append("the supervisor grows")
    print(f"answered: {dict(ledger.answered)}; lost: {len(ledger.lost)}")
    return wrong + ledger.lost[:20]


async def main(minutes: float) -> int:
    """Start the server, soak it, and end it; return an exit code."""
    command = ["-m", "cello", "run", "bench/soak/app.py", "--port", "0", "--workers", "2", "--no-logs", "--no-debug"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELLO_")}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while line := await asyncio.to_thread(process.stderr.readline):
        if found := re.search(r"listening on \S+:(\d+)", line):
            break
    else:
        print("the server did not start")
        return 1
    output = asyncio.ensure_future(asyncio.to_thread(process.stderr.read))
    wrong = await soak(process, int(found[1]), minutes)
    process.terminate()
    code = await asyncio.to_thread(process.wait)
    said = await output
    wrong += [f"exit code {code}"] * bool(code)
    wrong += [line for line in said.splitlines() if "died" in line or "killed" in line or "dropped" in line]
    print("\n".join(["WRONG:", *wrong]) if wrong else "holds")
    return bool(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    sys.exit(asyncio.run(main(parser.parse_args().minutes)))
