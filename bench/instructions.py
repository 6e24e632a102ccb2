"""`python -m bench.instructions`: machine instructions per request, by workload, as valgrind counts them.

Counted is what our own server does between two looks at its epoll descriptor: from readiness to the answer, system
calls excluded. Times tell who is faster; instructions tell what an edit changed, to a tenth of a percent and whatever
else the machine does. `--functions 30` lists where they go.
"""

import argparse
import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from bench.load import workloads
from bench.load.places import APPS, CACHE, CHECKOUT

_ROUNDS = 500
_ROUNDS_PER_CONNECTION = 50
_NAMES = ("plaintext", "json", "param", "async", "suspend", "headers", "pipelined", "middleware")
"""Without `post`: there callgrind loses track of what is to be counted."""


def main(argv: list[str] | None = None) -> int:
    """Count and print; return 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--workloads", default=",".join(_NAMES), metavar="A,B")
    parser.add_argument("--functions", type=int, default=0, help="how many of the dearest functions to list")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.inside:
        _serve(options.inside)
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    for workload in workloads.choose(options.workloads):
        _count(workload, options.functions)
    return 0


def _count(workload: workloads.Workload, functions: int) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    out = CACHE / f"callgrind-{workload.name}.out"
    command = [
        "valgrind",
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=*pw*Poller_*poll",
        f"--callgrind-out-file={out}",
        sys.executable,
        "-m",
        "bench.instructions",
        "--inside",
        workload.name,
    ]
    variables = {
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONHASHSEED": "0",
        "CELLO_SPEEDUPS": "1",
        "BENCH_MIDDLEWARE": "1" if workload.middleware else "0",
        "BENCH_PORT": "1",
    }
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        print(f"{workload.name}: failed\n{done.stderr[-2000:]}", file=sys.stderr)
        return
    requests = _ROUNDS * workload.pipeline
    print(f"{workload.name:12}{int(found[1]) / requests:10,.0f} instructions a request", flush=True)
    if functions:
        _list(out, functions, requests)


def _list(out: Path, functions: int, requests: int) -> None:
    listed = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(out)], capture_output=True, text=True, check=True
    ).stdout
    rows = re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(?:\S+:)(\S+)", listed, re.MULTILINE)
    for count, name in rows[:functions]:
        print(f"{int(count.replace(',', '')) / requests:10,.1f}  {name}")


def _serve(name: str) -> None:
    """Answer a fixed number of requests in this process; runs under valgrind."""
    from cello._speedups.lane import Lane  # type: ignore[import-not-found, unused-ignore]
    from cello._speedups.track import Track  # type: ignore[import-not-found, unused-ignore]
    from cello._speedups.transport import Poller  # type: ignore[import-not-found, unused-ignore]
    from cello.gateways.native import ServerState, choose_tier

    sys.path.insert(0, str(APPS))
    import cello_app  # type: ignore[import-not-found, unused-ignore]

    [workload] = workloads.choose(name)
    dispatcher = cello_app.app.freeze()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        state = ServerState(dispatcher, loop, choose_tier())
        track = Track(dispatcher, state)
        poller = Poller(loop)
        for first in range(0, _ROUNDS, _ROUNDS_PER_CONNECTION):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            poller.adopt(theirs, Lane(track))
            with ours:
                ours.setblocking(False)
                for number in range(first, first + _ROUNDS_PER_CONNECTION):
                    await _exchange(ours, workload, number)
        poller.close()

    asyncio.run(serve())


async def _exchange(ours: socket.socket, workload: workloads.Workload, number: int) -> None:
    exchange = workload.exchanges[number % len(workload.exchanges)]
    ours.send(exchange.request * workload.pipeline)
    answer = b""
    while answer.count(exchange.needle) < workload.pipeline:
        await asyncio.sleep(0)
        try:
            received = ours.recv(65536)
        except BlockingIOError:
            continue
        if not received:
            raise ConnectionError("the server closed")
        answer += received


if __name__ == "__main__":
    sys.exit(main())
